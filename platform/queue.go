package platform

import (
	"slices"
	"sync"
)

// A queue is an unbounded FIFO between whoever starts processes and the few
// spawners: putting never blocks.
type queue[T any] struct {
	mu     sync.Mutex
	items  []T
	head   int
	closed bool
	// Those who wait, the one who has worked last at the end: it is woken first,
	// as its thread is still warm.
	idle []parker
}

// A parker lets one goroutine wait until it is released, now or earlier.
type parker interface {
	park()
	release()
}

// A chanParker waits as goroutines do.
type chanParker chan struct{}

func newChanParker() chanParker { return make(chanParker, 1) }

func (c chanParker) park()    { <-c }
func (c chanParker) release() { c <- struct{}{} }

func newQueue[T any]() *queue[T] { return &queue[T]{} }

// put reports whether the queue took the item: once closed it does not.
func (q *queue[T]) put(item T) bool {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	if q.head > 0 && len(q.items) == cap(q.items) { // reuse the room in front before growing
		q.items = slices.Delete(q.items, 0, q.head)
		q.head = 0
	}
	q.items = append(q.items, item)
	var wake parker
	if n := len(q.idle); n > 0 {
		wake, q.idle = q.idle[n-1], q.idle[:n-1]
	}
	q.mu.Unlock()
	if wake != nil {
		wake.release()
	}
	return true
}

// take waits for an item by means of p, which is the caller's alone; ok is false
// when the queue is closed and empty.
func (q *queue[T]) take(p parker) (item T, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.head == len(q.items) {
		if q.closed {
			return item, false
		}
		q.idle = append(q.idle, p)
		q.mu.Unlock()
		p.park()
		q.mu.Lock()
	}
	var zero T
	item, q.items[q.head] = q.items[q.head], zero
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return item, true
}

// close lets takers go once the queue is empty.
func (q *queue[T]) close() {
	q.mu.Lock()
	idle := q.idle
	q.closed, q.idle = true, nil
	q.mu.Unlock()
	for _, p := range idle {
		p.release()
	}
}
