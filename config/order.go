package config

import (
	"cmp"
	"container/heap"
	"slices"
	"strings"
)

// An order is what has to be started before what: a graph whose nodes are
// collectors, and the beginnings and ends of groups.
type order struct {
	names []string
	index map[string]int
	rank  []int
	later [][]int // of each node, those that come after it
}

func newOrder(size int) *order {
	return &order{index: make(map[string]int, size)}
}

// node is the number of the node with a name, which is made if there is none.
func (o *order) node(name string, rank int) int {
	if n, ok := o.index[name]; ok {
		return n
	}
	n := len(o.names)
	o.index[name] = n
	o.names, o.rank, o.later = append(o.names, name), append(o.rank, rank), append(o.later, nil)
	return n
}

func (o *order) before(a, b int) { o.later[a] = append(o.later[a], b) }

// sequence is the nodes in an order in which everything comes after what it has
// to come after; among those that may come next, the lowest rank comes first. If
// there is none, cycle is nodes each of which has to come before the next one,
// and the last before the first.
func (o *order) sequence() (sequence, cycle []int) {
	waits := make([]int, len(o.names))
	for _, later := range o.later {
		for _, b := range later {
			waits[b]++
		}
	}
	free := &byRank{rank: o.rank}
	for n, w := range waits {
		if w == 0 {
			free.nodes = append(free.nodes, n)
		}
	}
	heap.Init(free)
	for free.Len() > 0 {
		n := heap.Pop(free).(int)
		sequence = append(sequence, n)
		for _, b := range o.later[n] {
			if waits[b]--; waits[b] == 0 {
				heap.Push(free, b)
			}
		}
	}
	if len(sequence) == len(o.names) {
		return sequence, nil
	}
	return nil, o.cycle(waits)
}

// cycle walks along those that still wait, against the direction of time, until
// it comes to one for the second time.
func (o *order) cycle(waits []int) []int {
	earlier := make([]int, len(o.names)) // one before each that waits, which waits as well
	for a, later := range o.later {
		if waits[a] > 0 {
			for _, b := range later {
				earlier[b] = a
			}
		}
	}
	seen := make([]int, len(o.names)) // the step at which it was come to
	var walk []int
	n := slices.IndexFunc(waits, func(w int) bool { return w > 0 })
	for seen[n] == 0 {
		walk = append(walk, n)
		seen[n] = len(walk)
		n = earlier[n]
	}
	walk = walk[seen[n]-1:]
	slices.Reverse(walk)
	least := 0 // the same cycle is told the same way every time
	for i := range walk {
		if o.names[walk[i]] < o.names[walk[least]] {
			least = i
		}
	}
	return append(slices.Clone(walk[least:]), walk[:least]...)
}

// byRank is a heap of nodes.
type byRank struct{ nodes, rank []int }

func (h *byRank) Len() int { return len(h.nodes) }
func (h *byRank) Less(i, j int) bool {
	a, b := h.nodes[i], h.nodes[j]
	return cmp.Or(cmp.Compare(h.rank[a], h.rank[b]), cmp.Compare(a, b)) < 0
}
func (h *byRank) Swap(i, j int) { h.nodes[i], h.nodes[j] = h.nodes[j], h.nodes[i] }
func (h *byRank) Push(n any)    { h.nodes = append(h.nodes, n.(int)) }
func (h *byRank) Pop() any {
	n := h.nodes[len(h.nodes)-1]
	h.nodes = h.nodes[:len(h.nodes)-1]
	return n
}

// CompareIDs orders ids the way people count: web-2 comes before web-10.
func CompareIDs(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		if digit(x[0]) && digit(y[0]) {
			var m, n string
			m, x = number(x)
			n, y = number(y)
			if c := cmp.Or(cmp.Compare(len(m), len(n)), strings.Compare(m, n)); c != 0 {
				return c
			}
			continue
		}
		if x[0] != y[0] {
			return cmp.Compare(x[0], y[0])
		}
		x, y = x[1:], y[1:]
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(a, b))
}

func digit(b byte) bool { return '0' <= b && b <= '9' }

// number splits the digits at the beginning of s off, without leading zeroes.
func number(s string) (digits, rest string) {
	n := 0
	for n < len(s) && digit(s[n]) {
		n++
	}
	return strings.TrimLeft(s[:n], "0"), s[n:]
}
