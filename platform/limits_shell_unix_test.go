//go:build unix

package platform

import (
	"strings"
	"testing"
)

func TestAShellGivesAProgramItsLimits(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := Spec{Label: "sh"}
	spec.Path, spec.Args = behindShell("/bin/sh", []string{"-c", `ulimit -n; ulimit -H -n; ulimit -c; echo "$0 $1"`, "a b", "c;d"}, &Limits{OpenFiles: 44, Core: -1})
	out := listen(t, &spec)
	_, w := run(t, h, spec)
	for _, want := range []string{"44", "44", "0", "a b c;d"} {
		out.expect(want)
	}
	if exit := w.end(); !exit.Success() {
		t.Errorf("%+v", exit)
	}
	if path, args := behindShell("/nowhere/none", []string{"x"}, &Limits{OpenFiles: 44}); path != "/nowhere/none" || strings.Join(args, "") != "x" {
		t.Errorf("%s %q", path, args)
	}
	if path, _ := behindShell("/bin/sh", nil, &Limits{Nice: 3}); path != "/bin/sh" {
		t.Error(path)
	}
}
