package platform

import (
	"sync"
	"testing"
)

func TestAQueueHandsOutEverythingOnceAndInOrder(t *testing.T) {
	q := newQueue[int]()
	const n, takers = 10_000, 4
	var mu sync.Mutex
	seen := make([]int, n)
	var done sync.WaitGroup
	for range takers {
		done.Go(func() {
			idle := newChanParker()
			last := -1
			for {
				i, ok := q.take(idle)
				if !ok {
					return
				}
				if i <= last {
					t.Errorf("%d after %d", i, last)
				}
				last = i
				mu.Lock()
				seen[i]++
				mu.Unlock()
			}
		})
	}
	for i := range n {
		if !q.put(i) {
			t.Errorf("%d was not taken", i)
		}
	}
	q.close()
	done.Wait()
	for i, times := range seen {
		if times != 1 {
			t.Errorf("%d was handed out %d times", i, times)
		}
	}
	if q.put(n) {
		t.Error("a closed queue takes something")
	}
}
