//go:build darwin || freebsd

package platform

import "time"

// Usage implements Host. There is nothing that counts for a tree: it is what its
// processes tell, added up.
func (h *host) Usage(of []Process, d Detail, into []Usage) {
	members := treeMembers()
	for i, p := range of {
		into[i] = Usage{}
		p, ok := p.(*process)
		if !ok || p.h != h {
			continue
		}
		p.mu.Lock()
		began, pid := p.phase, p.pid
		p.mu.Unlock()
		if began != running && began != exited {
			continue
		}
		u := Usage{At: time.Now(), Source: "sysctl", Known: usageKnown}
		for _, member := range append(members(pid), pid) {
			var one Usage
			if member == pid && began != running {
				continue
			}
			if !processUsage(member, d, &one) {
				continue // it is gone
			}
			u.Processes++
			u.UserTime += one.UserTime
			u.SystemTime += one.SystemTime
			u.Memory += one.Memory
			u.MemoryPeak += one.MemoryPeak
			u.Tasks += one.Tasks
			u.VoluntarySwitches += one.VoluntarySwitches
			u.InvoluntarySwitches += one.InvoluntarySwitches
		}
		p.mu.Lock()
		if p.phase == began && u.Processes > 0 { // else the numbers may have been somebody else's
			into[i] = u
		}
		p.mu.Unlock()
	}
}
