package platform

import (
	"os"
	"strconv"
	"testing"
)

// Whoever the process has started is of its tree, also one that has left the
// session and lost its parent; nobody else is.
func TestAProcessHoldsItsTreeAndNobodyElse(t *testing.T) {
	for _, parent := range []string{*cgroups, NoCgroup} {
		h := newTestHost(t, Options{CgroupParent: parent})
		spec := Spec{Label: "tree", Path: "/bin/sh", Env: os.Environ(), Args: []string{"-c",
			"sh -c 'sleep 1000 & echo $!; exec sleep 1000' & (setsid sh -c 'echo $$; exec sleep 1000' &); echo ready; wait"}}
		out := listen(t, &spec)
		p, w := run(t, h, spec)
		other, v := run(t, h, childSpec(t, "quiet"))
		var family []int
		for len(family) < 2 {
			if pid, err := strconv.Atoi(out.line()); err == nil {
				family = append(family, pid)
			}
		}
		if !p.Holds(p.PID()) || other.Holds(p.PID()) || p.Holds(other.PID()) || p.Holds(os.Getpid()) || p.Holds(1) || p.Holds(0) || p.Holds(-1) {
			t.Errorf("%q: it does not know who is of its tree", parent)
		}
		for _, pid := range family {
			if !p.Holds(pid) || other.Holds(pid) {
				t.Errorf("%q: %d, of %d: %v, of the other one: %v", parent, pid, p.PID(), p.Holds(pid), other.Holds(pid))
			}
		}
		p.Kill()
		w.end()
		if p.Holds(family[0]) || p.Holds(p.PID()) {
			t.Errorf("%q: it holds somebody, and is gone", parent)
		}
		other.Kill()
		v.end()
	}
}
