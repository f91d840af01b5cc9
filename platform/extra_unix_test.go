//go:build unix

package platform

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

func TestAProcessGetsADescriptorBeyondTheStandardOnesAndNoMore(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := Spec{Label: "tell", Path: "/bin/sh", Env: os.Environ(), Args: []string{"-c",
		"echo here >&5; if (: >&4) 2>/dev/null || (: >&3) 2>/dev/null; then echo more; else echo no more; fi"}}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	spec.ExtraFD, spec.Extra = 5, func() (*os.File, error) { return w, nil }
	out := listen(t, &spec)
	_, watch := run(t, h, spec)
	out.expect("no more")
	text, err := io.ReadAll(r) // to its end: nobody else holds the other one
	if string(text) != "here\n" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	watch.end()
}

func TestAnExtraDescriptorThatCannotBeHadIsWhyThereIsNoProcess(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := childSpec(t, "exit", "0")
	none := errors.New("no pipes left")
	spec.ExtraFD, spec.Extra = 3, func() (*os.File, error) { return nil, none }
	w := newWatcher(t)
	h.Start(spec, w.notify)
	if n := w.next(SpawnFailed); !errors.Is(n.Err, none) || !strings.Contains(n.Err.Error(), "no pipes left") {
		t.Errorf("%v", n.Err)
	}
}
