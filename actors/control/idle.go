package control

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// idle keeps the number of connections within bounds: one too many costs the one
// that has had nothing to do for the longest time its place, so that those who
// only connect keep nobody out.
type idle struct {
	most int

	mu      sync.Mutex                 // leaf I/O: connections change from goroutines of their own
	open    map[net.Conn]*list.Element // nil while it is busy
	waiting *list.List                 // of net.Conn, the longest first
}

func newIdle(most int) *idle {
	return &idle{most: most, open: map[net.Conn]*list.Element{}, waiting: list.New()}
}

// changed is an http.Server's ConnState.
func (i *idle) changed(conn net.Conn, state http.ConnState) {
	if victim := i.place(conn, state); victim != nil {
		_ = victim.Close()
	}
}

func (i *idle) place(conn net.Conn, state http.ConnState) (victim net.Conn) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if at := i.open[conn]; at != nil {
		i.waiting.Remove(at)
	}
	switch state {
	case http.StateNew, http.StateIdle:
		i.open[conn] = i.waiting.PushBack(conn)
	case http.StateActive:
		i.open[conn] = nil
	default:
		delete(i.open, conn)
	}
	if len(i.open) <= i.most {
		return nil
	}
	victim = conn
	if first := i.waiting.Front(); first != nil {
		victim = i.waiting.Remove(first).(net.Conn)
	}
	delete(i.open, victim)
	return victim
}
