//go:build !linux

package netmond

import (
	"context"
	"net/netip"
	"syscall"

	gopsnet "github.com/shirou/gopsutil/v4/net"
)

// library asks gopsutil, which reads the tables of Windows and runs lsof on macOS and FreeBSD. Both have the pid of
// each socket at no further cost.
type library struct{}

func newTables() tables { return library{} }

// atomic is true of Windows, and lsof is too dear to be run twice.
func (library) atomic() bool { return true }

func (library) list(ctx context.Context) (map[socket]details, error) {
	// The variant WithoutUids, which promises less work, is not implemented for Windows; on these systems this one
	// does not look for uids either.
	stats, err := gopsnet.ConnectionsWithContext(ctx, "inet")
	if err != nil {
		return nil, err
	}
	all := make(map[socket]details, len(stats))
	for _, c := range stats {
		s, ok := socketOf(c)
		if ok && held(c.Status) {
			all[s] = details{state: state(c.Status), pid: c.Pid}
		}
	}
	return all, nil
}

func (library) owners(context.Context, map[socket]details) error { return nil }

// held reports whether a process still has a socket in that state. What waits for the other side after our close is
// not told from what a process only closed for writing (shutdown): both count as closed.
func held(status string) bool {
	switch status {
	case "FIN_WAIT1", "FIN_WAIT2", "FIN_WAIT_1", "FIN_WAIT_2", "CLOSING", "LAST_ACK", "TIME_WAIT", "CLOSE", "CLOSED", "DELETE":
		return false
	}
	return true
}

func state(status string) string {
	if status == "NONE" {
		return ""
	}
	return status
}

func socketOf(c gopsnet.ConnectionStat) (socket, bool) {
	s := socket{proto: "tcp", pid: c.Pid}
	if c.Type == syscall.SOCK_DGRAM {
		s.proto = "udp"
	}
	v6 := c.Family == syscall.AF_INET6
	var ok bool
	if s.local, ok = address(c.Laddr, v6); !ok {
		return socket{}, false
	}
	if s.remote, ok = address(c.Raddr, v6); !ok {
		return socket{}, false
	}
	if s.proto == "tcp" {
		s.listener = c.Status == "LISTEN"
	} else {
		s.listener = s.remote.Port() == 0
	}
	return s, true
}

// address reads an address of gopsutil, in which "any" may be empty or a star.
func address(a gopsnet.Addr, v6 bool) (netip.AddrPort, bool) {
	ip := netip.IPv4Unspecified()
	if v6 {
		ip = netip.IPv6Unspecified()
	}
	if a.IP != "" && a.IP != "*" {
		var err error
		if ip, err = netip.ParseAddr(a.IP); err != nil {
			return netip.AddrPort{}, false
		}
	}
	return netip.AddrPortFrom(ip, uint16(a.Port)), true
}
