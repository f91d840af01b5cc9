package capture

import (
	"regexp"
	"sync/atomic"
)

// WatchFor is given records as a Forwarder, and calls found once, for the first
// one of that incarnation that pattern matches. Found must not block.
func WatchFor(pattern *regexp.Regexp, incarnation uint64, found func()) Forwarder {
	return &watch{pattern: pattern, incarnation: incarnation, found: found}
}

type watch struct {
	pattern     *regexp.Regexp
	incarnation uint64
	found       func()
	done        atomic.Bool // two streams are read at the same time
}

func (w *watch) Forward(r Record) {
	if w.done.Load() || r.Incarnation != w.incarnation || !w.pattern.Match(r.Text) {
		return
	}
	if !w.done.Swap(true) {
		w.found()
	}
}
