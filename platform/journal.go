package platform

import "sync"

// A journal holds what there is to tell of one process and tells it: every
// notice once to every observer, in order, never two at a time. Whoever finds
// nobody telling does it himself and stays until there is nothing left to tell,
// so that no goroutine waits for another and a notify function may itself call
// any method of the process.
type journal struct {
	mu      sync.Mutex
	notices [3]Notice // Spawned, Exited, Emptied; or SpawnFailed alone
	written int
	told    int // how many of them the present observer has been given
	telling bool
	notify  func(Notice)
}

func (j *journal) write(n Notice) {
	j.mu.Lock()
	j.notices[j.written] = n
	j.written++
	j.mu.Unlock()
}

// tell passes on what has not been told yet.
func (j *journal) tell() {
	j.mu.Lock()
	if j.telling {
		j.mu.Unlock()
		return
	}
	j.telling = true
	j.tellRest()
}

// tellRest is called with the lock held and telling set; it releases both.
func (j *journal) tellRest() {
	for j.told < j.written {
		notify, n := j.notify, j.notices[j.told]
		j.told++
		j.mu.Unlock()
		if notify != nil {
			notify(n)
		}
		j.mu.Lock()
	}
	j.telling = false
	j.mu.Unlock()
}

// observe implements Process.Observe. The replay has a goroutine of its own: the
// caller may hold what notify wants.
func (j *journal) observe(notify func(Notice)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.notify = notify
	j.told = 0
	if j.telling || j.written == 0 {
		return
	}
	j.telling = true
	go func() {
		j.mu.Lock()
		j.tellRest()
	}()
}
