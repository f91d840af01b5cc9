//go:build linux && (amd64 || arm64)

package platform

import (
	"testing"

	"golang.org/x/sys/unix"
)

// interpret runs a filter as the kernel would, for one call.
func interpret(t *testing.T, program []unix.SockFilter, number, arch uint32, args ...uint32) uint32 {
	t.Helper()
	var loaded uint32
	for at := 0; at < len(program); at++ {
		i := program[at]
		jump := func(yes bool) {
			if yes {
				at += int(i.Jt)
			} else {
				at += int(i.Jf)
			}
		}
		switch i.Code {
		case loadWord:
			switch {
			case i.K == atNumber:
				loaded = number
			case i.K == atArch:
				loaded = arch
			case int(i.K-atArg)/8 < len(args):
				loaded = args[(i.K-atArg)/8]
			default:
				loaded = 0
			}
		case jumpEqual:
			jump(loaded == i.K)
		case jumpAbove:
			jump(loaded >= i.K)
		case jumpAnyBit:
			jump(loaded&i.K != 0)
		case giveBack:
			return i.K
		default:
			t.Fatalf("instruction %d is %+v", at, i)
		}
	}
	t.Fatal("it has no end")
	return 0
}

func TestFiltersOfSystemCalls(t *testing.T) {
	const foreign = unix.AUDIT_ARCH_I386
	for _, c := range []struct {
		name            string
		number, arch    uint32
		args            []uint32
		standard, tight uint32
	}{
		{"write", unix.SYS_WRITE, architecture, nil, allowed, allowed},
		{"mount", unix.SYS_MOUNT, architecture, nil, denied(unix.EPERM), denied(unix.EPERM)},
		{"a thread", unix.SYS_CLONE, architecture, []uint32{unix.CLONE_VM | unix.CLONE_THREAD}, allowed, allowed},
		{"a namespace", unix.SYS_CLONE, architecture, []uint32{unix.CLONE_NEWUSER}, denied(unix.EPERM), denied(unix.EPERM)},
		{"a table of descriptors", unix.SYS_UNSHARE, architecture, []uint32{unix.CLONE_FILES}, allowed, allowed},
		{"a network", unix.SYS_UNSHARE, architecture, []uint32{unix.CLONE_NEWNET}, denied(unix.EPERM), denied(unix.EPERM)},
		{"flags in memory", unix.SYS_CLONE3, architecture, nil, denied(unix.ENOSYS), denied(unix.ENOSYS)},
		{"a terminal's size", unix.SYS_IOCTL, architecture, []uint32{0, unix.TIOCGWINSZ}, allowed, allowed},
		{"typing into it", unix.SYS_IOCTL, architecture, []uint32{0, unix.TIOCSTI}, denied(unix.EPERM), denied(unix.EPERM)},
		{"TCP", unix.SYS_SOCKET, architecture, []uint32{unix.AF_INET6}, allowed, allowed},
		{"raw packets", unix.SYS_SOCKET, architecture, []uint32{unix.AF_PACKET}, allowed, denied(unix.EAFNOSUPPORT)},
		{"what is in no list", unix.SYS_PERSONALITY, architecture, nil, allowed, denied(unix.ENOSYS)},
		{"what is not there yet", 9999, architecture, nil, allowed, denied(unix.ENOSYS)},
		{"another architecture", unix.SYS_WRITE, foreign, nil, denied(unix.ENOSYS), denied(unix.ENOSYS)},
		{"numbers of another one", foreignNumbers | unix.SYS_WRITE, architecture, nil, denied(unix.ENOSYS), denied(unix.ENOSYS)},
	} {
		for profile, want := range map[string]uint32{"default": c.standard, "strict": c.tight} {
			filter, err := compile(profile)
			if err != nil {
				t.Fatal(err)
			}
			if got := interpret(t, filter, c.number, c.arch, c.args...); got != want {
				t.Errorf("%s, %s: %#x, want %#x", profile, c.name, got, want)
			}
		}
	}
	if _, err := compile("none"); err == nil {
		t.Error("there is a profile that there is not")
	}
}

func TestNoCallIsBothOrdinaryAndAdministrative(t *testing.T) {
	seen := map[uint32]bool{}
	for _, n := range append(append([]uint32{}, administrative...), ordinary...) {
		if seen[n] {
			t.Errorf("call %d is named twice", n)
		}
		seen[n] = true
	}
}
