package control

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
)

// idle keeps the number of connections within bounds. One too many costs the one
// its place that is not being answered for the longest time: so those who only
// connect, or stop halfway through a request, keep nobody out.
type idle struct {
	most int

	mu      sync.Mutex                 // leaf I/O: connections change from goroutines of their own
	open    map[net.Conn]*list.Element // nil while it is answered
	waiting *list.List                 // of net.Conn, the longest first
}

func newIdle(most int) *idle {
	return &idle{most: most, open: map[net.Conn]*list.Element{}, waiting: list.New()}
}

// changed is an http.Server's ConnState. That something has been sent is nothing:
// a connection is busy when a whole request is there, see busy.
func (i *idle) changed(conn net.Conn, state http.ConnState) {
	if victim := i.place(conn, state); victim != nil {
		_ = victim.Close()
	}
}

func (i *idle) place(conn net.Conn, state http.ConnState) (victim net.Conn) {
	i.mu.Lock()
	defer i.mu.Unlock()
	at, known := i.open[conn]
	switch state {
	case http.StateActive:
		return nil
	case http.StateNew, http.StateIdle:
		if known && at == nil || !known && state == http.StateNew {
			i.open[conn] = i.waiting.PushBack(conn)
		} else if known {
			i.waiting.MoveToBack(at)
		}
	default:
		i.forget(conn)
	}
	if len(i.open) <= i.most {
		return nil
	}
	victim = conn
	if first := i.waiting.Front(); first != nil {
		victim = first.Value.(net.Conn)
	}
	i.forget(victim)
	return victim
}

// forget drops a connection. The lock is held.
func (i *idle) forget(conn net.Conn) {
	if at := i.open[conn]; at != nil {
		i.waiting.Remove(at)
	}
	delete(i.open, conn)
}

// busy protects a connection until it is idle again: a whole request is there.
func (i *idle) busy(conn net.Conn) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if at := i.open[conn]; at != nil {
		i.waiting.Remove(at)
		i.open[conn] = nil
	}
}

type busyKey struct{}

// withBusy has received protect the connection that requests with ctx come from.
func (i *idle) withBusy(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, busyKey{}, func() { i.busy(conn) })
}
