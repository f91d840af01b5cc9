package platform

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

// identify starts a shell as somebody and returns what it says of itself: user,
// group, all groups.
func identify(t *testing.T, h Host, who Identity) [3]string {
	t.Helper()
	spec := Spec{Label: "id", Path: "/bin/sh", Args: []string{"-c", "id -u; id -g; id -G"}, Env: []string{"PATH=/usr/bin:/bin"}, As: who}
	out := listen(t, &spec)
	_, w := run(t, h, spec)
	said := [3]string{out.line(), out.line(), out.line()}
	w.end()
	return said
}

func TestAProcessRunsAsWhomItIsToRun(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, in order to run as another user")
	}
	h := newTestHost(t, Options{})
	for _, c := range []struct {
		who  Identity
		want [3]string
	}{
		{Identity{User: "64230"}, [3]string{"64230", "64230", "64230"}},
		{Identity{User: "64230", Group: "64231"}, [3]string{"64230", "64231", "64231"}},
		{Identity{User: "64230", Group: "64231", Groups: []string{"64232", "64233"}}, [3]string{"64230", "64231", "64231 64232 64233"}},
		{Identity{Group: "64231"}, [3]string{"0", "64231", "64231"}},
	} {
		if got := identify(t, h, c.who); got != c.want {
			t.Errorf("%+v: %q, want %q", c.who, got, c.want)
		}
	}
	if got := identify(t, h, Identity{User: "root"}); got[0] != "0" || got[1] != "0" {
		t.Errorf("root: %q", got)
	}
	if got := identify(t, h, Identity{}); got[0] != "0" { // what one ran as is not what the next one does
		t.Errorf("nobody in particular: %q", got)
	}
}

func TestAUserWhoIsNotThereIsNamed(t *testing.T) {
	h := newTestHost(t, Options{})
	for who, words := range map[*Identity]string{
		{User: "no-such-user"}:                     `no user "no-such-user"`,
		{Group: "no-such-group"}:                   `no group "no-such-group"`,
		{User: "0", Groups: []string{"no-such-g"}}: `no group "no-such-g"`,
	} {
		if err := spawnError(t, h, Spec{Label: "true", Path: "/bin/true", As: *who}); !strings.Contains(err.Error(), words) {
			t.Errorf("%+v: %v", *who, err)
		}
	}
}

func TestOnlyRootStartsProcessesAsOthers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, in order to be somebody else")
	}
	asProcess(t, "impersonator", &syscall.Credential{Uid: 64234, Gid: 64234})
}

func init() {
	children["impersonator"] = func([]string) int {
		c := &check{}
		h := mustHost(Options{})
		notices := make(chan Notice, 4)
		h.Start(Spec{Label: "true", Path: "/bin/true", As: Identity{User: "64235"}}, func(n Notice) { notices <- n })
		if n := await(notices); n.Kind != SpawnFailed || !errors.Is(n.Err, syscall.EPERM) || !strings.Contains(n.Err.Error(), "only root") {
			c.errorf("%v: %v", n.Kind, n.Err)
		}
		h.Start(Spec{Label: "true", Path: "/bin/true", As: Identity{User: "64234"}}, func(n Notice) { notices <- n })
		if n := await(notices); n.Kind != Spawned {
			c.errorf("as himself: %v: %v", n.Kind, n.Err)
		}
		if err := h.Close(); err != nil {
			c.errorf("Close: %v", err)
		}
		return c.result()
	}
}
