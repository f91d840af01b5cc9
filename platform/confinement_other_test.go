//go:build darwin || freebsd || windows

package platform

import (
	"errors"
	"strings"
	"testing"
)

func TestConfinementIsRefusedOrToldWhereThereIsNone(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := childSpec(t, "exit", "0")
	spec.Confinement = Confinement{Umask: 0o027, Seccomp: "strict", Required: true}
	if err := spawnError(t, h, spec); !errors.Is(err, ErrNotSupported) || !strings.Contains(err.Error(), "umask") {
		t.Error(err)
	}
	spec.Confinement.Required = false
	w := newWatcher(t)
	h.Start(spec, w.notify)
	if n := w.next(Spawned); len(n.Unmet) != 2 {
		t.Errorf("%q", n.Unmet)
	}
	w.end()
	for what, c := range map[string]Spec{
		"root directory":   {Confinement: Confinement{Root: "/srv"}},
		"sha256":           {Confinement: Confinement{SHA256: "00"}},
		"secrets":          {Secrets: []Secret{{}}},
		"kept descriptors": {KeepFDs: []int{3}},
	} {
		spec.Confinement, spec.Secrets, spec.KeepFDs = c.Confinement, c.Secrets, c.KeepFDs
		if err := spawnError(t, h, spec); !errors.Is(err, ErrNotSupported) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
