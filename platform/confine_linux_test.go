package platform

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// The test binary as a process that is confined tries what it is told to, and says
// what has become of each: "allowed", or the error. What it says is the test.
func init() {
	children["try"] = func(attempts []string) int {
		for _, attempt := range attempts {
			what, with, _ := strings.Cut(attempt, " ")
			err := tries[what](with)
			var errno unix.Errno
			switch {
			case err == nil:
				fmt.Println(attempt + ": allowed")
			case errors.As(err, &errno):
				fmt.Println(attempt + ": " + unix.ErrnoName(errno))
			default:
				fmt.Println(attempt + ": " + err.Error())
			}
		}
		return 0
	}
	// whoami says as whom it is run.
	children["whoami"] = func([]string) int {
		fmt.Println(os.Geteuid())
		return 0
	}
}

// diesAtItsStart has the program be one that cannot be executed once more.
const diesAtItsStart = "PLATFORM_TEST_DIES"

var _ = func() bool { // variables come before functions called init
	if what := os.Getenv(diesAtItsStart); what != "" && os.Args[0] == trampolineName {
		if what == "hangs" {
			forever()
		}
		os.Exit(5)
	}
	return false
}()

func TestAProgramThatCannotBeExecutedOnceMoreConfinesNothing(t *testing.T) {
	t.Setenv(diesAtItsStart, "yes")
	h := newTestHost(t, Options{})
	spec := Spec{Label: "true", Path: "/bin/true", Confinement: Confinement{Umask: 0o077}}
	if err := spawnError(t, h, spec); !strings.Contains(err.Error(), "exit code 5") {
		t.Error(err)
	}
	spec.Confinement = Confinement{}
	_, w := run(t, h, spec)
	w.end()
}

func TestAKillEndsAConfinementThatHangs(t *testing.T) {
	t.Setenv(diesAtItsStart, "hangs")
	h := newTestHost(t, Options{})
	w := newWatcher(t)
	p := h.Start(Spec{Label: "true", Path: "/bin/true", Confinement: Confinement{Umask: 0o077}}, w.notify)
	p.Kill()
	if err := w.next(SpawnFailed).Err; !strings.Contains(err.Error(), "killed while it was being confined") {
		t.Error(err)
	}
}

func TestConfinementLeaksNothing(t *testing.T) {
	h := newTestHost(t, Options{})
	good := Spec{Label: "true", Path: "/bin/true", Confinement: Confinement{Umask: 0o077}, Secrets: []Secret{{Env: "X", Read: func() ([]byte, error) { return nil, nil }}}}
	bad, worse, worst := good, good, good
	bad.Path = "/no/such/program"
	worse.Confinement.SHA256 = "0"
	worst.Secrets = append(slices.Clone(good.Secrets), Secret{Env: "Y", Read: func() ([]byte, error) { return nil, os.ErrNotExist }})
	once := func() {
		_, w := run(t, h, good)
		w.end()
		for _, spec := range []Spec{bad, worse, worst} {
			spawnError(t, h, spec)
		}
	}
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	once()
	before := open()
	for range 10 {
		once()
	}
	if after := open(); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

var tries = map[string]func(string) error{
	"read": func(path string) error { _, err := os.ReadFile(path); return err },
	"list": func(path string) error { _, err := os.ReadDir(path); return err },
	"write": func(path string) error {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			f.Close()
		}
		return err
	},
	"create":   func(path string) error { return os.WriteFile(path, []byte("x"), 0o666) },
	"truncate": func(path string) error { return os.Truncate(path, 0) },
	"remove":   os.Remove,
	"move": func(paths string) error {
		from, to, _ := strings.Cut(paths, " ")
		return os.Rename(from, to)
	},
	"exec": func(path string) error { return exec.Command(path).Run() },
	"bind-low-port": func(string) error {
		l, err := net.Listen("tcp", "127.0.0.1:81")
		if err == nil {
			l.Close()
		}
		return err
	},
	"connect": func(address string) error {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err
	},
	"socket": func(family string) error {
		n, _ := strconv.Atoi(family)
		fd, err := unix.Socket(n, unix.SOCK_DGRAM, 0)
		unix.Close(fd)
		return err
	},
	"mount":         func(path string) error { return unix.Mount("none", path, "tmpfs", 0, "") },
	"ptrace":        func(string) error { return unix.PtraceAttach(os.Getppid()) },
	"unshare-users": func(string) error { return unix.Unshare(unix.CLONE_NEWUSER) },
	"clone-users": func(string) error {
		c := exec.Command("/bin/true")
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
		return c.Run()
	},
	"bpf": func(string) error { return raw(unix.SYS_BPF, ^uintptr(0), 0, 0) },
	"keyctl": func(string) error {
		_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true)
		return err
	},
	"personality": func(string) error { return raw(unix.SYS_PERSONALITY, 0xffffffff) },
	"module":      func(string) error { return raw(unix.SYS_DELETE_MODULE, 0, 0) },
	"thread":      func(string) error { return exec.Command("/bin/true").Run() },
	"type-into-terminal": func(string) error {
		return raw(unix.SYS_IOCTL, 0, unix.TIOCSTI, 0)
	},
	"chroot": func(path string) error { return unix.Chroot(path) },
	"setuid": func(string) error { return syscall.Setuid(0) },
}

func raw(number uintptr, args ...uintptr) error {
	args = append(args, 0, 0, 0, 0, 0, 0)
	if _, _, errno := unix.Syscall6(number, args[0], args[1], args[2], args[3], args[4], args[5]); errno != 0 {
		return errno
	}
	return nil
}

// attempt starts the child with a confinement and returns what it says of each
// attempt, and the notice.
func attempt(t *testing.T, h Host, change func(*Spec), attempts ...string) (results []string, spawned Notice) {
	t.Helper()
	spec := childSpec(t, "try", attempts...)
	spec.Confinement.Required = true
	change(&spec)
	out := listen(t, &spec)
	w := newWatcher(t)
	h.Start(spec, w.notify)
	n := <-w.notices
	if n.Kind != Spawned {
		t.Fatalf("%v: %v", n.Kind, n.Err)
	}
	for range attempts {
		results = append(results, out.line())
	}
	if exit := w.end(); !exit.Success() {
		t.Errorf("%+v", exit)
	}
	return results, n
}

func wantResults(t *testing.T, got []string, want ...string) {
	t.Helper()
	for i := range want {
		if i >= len(got) || !strings.HasSuffix(got[i], ": "+want[i]) {
			t.Errorf("%q, want %q", got[min(i, len(got)-1)], want[i])
		}
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
}

// needLandlock skips where the kernel has not that version of it.
func needLandlock(t *testing.T, version int) {
	t.Helper()
	if v, err := landlockVersion(); err != nil || v < version {
		t.Skipf("Landlock %d, %v", v, err)
	}
}

// openDir is a directory that anybody may use, with a file in it.
func openDir(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(tempDir(t), name)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "file"), 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestConfinedPathsCanBeReadOnlyReadWriteOrInaccessible(t *testing.T) {
	needLandlock(t, 3)
	h := newTestHost(t, Options{})
	ro, rw := openDir(t, "ro"), openDir(t, "rw")
	secret := filepath.Join(rw, "secret")
	if err := os.Mkdir(secret, 0o777); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(secret, "key"), nil, 0o666)
	results, n := attempt(t, h, func(s *Spec) {
		s.Confinement.ReadOnly, s.Confinement.ReadWrite, s.Confinement.Inaccessible = []string{"/"}, []string{rw}, []string{secret}
	},
		"read "+ro+"/file", "list "+ro, "write "+ro+"/file", "create "+ro+"/new", "truncate "+ro+"/file", "remove "+ro+"/file",
		"read "+rw+"/file", "write "+rw+"/file", "truncate "+rw+"/file", "read "+secret+"/key", "list "+secret,
		"write /dev/null", "read /etc/passwd", "exec /bin/true", "thread", "write /dev/stdout")
	wantResults(t, results,
		"allowed", "allowed", "EACCES", "EACCES", "EACCES", "EACCES",
		"allowed", "allowed", "allowed", "EACCES", "EACCES",
		"allowed", "allowed", "allowed", "allowed", "allowed")
	if !slices.ContainsFunc(n.InForce, func(s string) bool { return strings.HasPrefix(s, "read and write: "+rw+" (Landlock ") }) ||
		!slices.Contains(n.InForce, "no new privileges") {
		t.Errorf("%q", n.InForce)
	}
}

func TestInaccessiblePathsLeaveTheRestAsItIs(t *testing.T) {
	needLandlock(t, 2)
	h := newTestHost(t, Options{})
	dir := openDir(t, "a")
	other := openDir(t, "b")
	results, _ := attempt(t, h, func(s *Spec) { s.Confinement.Inaccessible = []string{dir, "/no/such/directory"} },
		"read "+dir+"/file", "write "+dir+"/file", "write "+other+"/file", "create "+other+"/new", "move "+other+"/new "+other+"/newer", "read /etc/passwd")
	wantResults(t, results, "EACCES", "EACCES", "allowed", "allowed", "allowed", "allowed")
}

func TestAPathThatIsToBeReadOnlyHasToBeThere(t *testing.T) {
	needLandlock(t, 3)
	h := newTestHost(t, Options{})
	spec := childSpec(t, "exit", "0")
	spec.Confinement = Confinement{ReadOnly: []string{"/no/such/directory"}, Required: true}
	if err := spawnError(t, h, spec); !strings.Contains(err.Error(), "/no/such/directory") {
		t.Error(err)
	}
}

func TestRulesForPathsWithExceptions(t *testing.T) {
	tree := map[string][]string{"/": {"etc", "home", "usr", "var"}, "/home": {"a", "b"}, "/var": {"lib", "log"}}
	list := func(dir string) ([]string, error) {
		if tree[dir] == nil {
			return nil, os.ErrPermission
		}
		return tree[dir], nil
	}
	for name, c := range map[string]struct {
		said map[string]access
		want string
	}{
		"nothing":               {map[string]access{}, "/=rw"},
		"all read only":         {map[string]access{"/": readOnly}, "/=r"},
		"read only but one":     {map[string]access{"/": readOnly, "/var": readWrite}, "/=r /var=rw"},
		"one is read only":      {map[string]access{"/etc": readOnly}, "/=r /home=rw /usr=rw /var=rw"},
		"one is inaccessible":   {map[string]access{"/home": inaccessible}, "/etc=rw /usr=rw /var=rw"},
		"a deep one is":         {map[string]access{"/home/a": inaccessible}, "/etc=rw /home/b=rw /usr=rw /var=rw"},
		"nothing but one":       {map[string]access{"/": inaccessible, "/usr": readOnly}, "/usr=r"},
		"three levels":          {map[string]access{"/": readOnly, "/var": readWrite, "/var/log": inaccessible}, "/etc=r /home=r /usr=r /var/lib=rw"},
		"more within less":      {map[string]access{"/": readWrite, "/var": readOnly, "/var/lib": readWrite}, "/=r /etc=rw /home=rw /usr=rw /var/lib=rw /var=r"},
		"what is not there yet": {map[string]access{"/home/c": inaccessible}, "/etc=rw /home/a=rw /home/b=rw /usr=rw /var=rw"},
	} {
		rights := map[string]access{}
		all, err := grants(c.said, list)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, g := range all {
			rights[g.path] = max(rights[g.path], g.access)
		}
		var got []string
		for path, a := range rights {
			got = append(got, path+"="+map[access]string{readOnly: "r", readWrite: "rw"}[a])
		}
		slices.Sort(got)
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: %s, want %s", name, text, c.want)
		}
	}
	if _, err := grants(map[string]access{"/etc/ssl/private": inaccessible}, list); err == nil || !strings.Contains(err.Error(), "only if /etc can be listed") {
		t.Error(err)
	}
}

func TestSystemCallsOfAProfileAreDenied(t *testing.T) {
	h := newTestHost(t, Options{})
	dir := openDir(t, "d")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	attempts := []string{"mount " + dir, "ptrace", "bpf", "keyctl", "module", "unshare-users", "clone-users", "type-into-terminal",
		"socket 16", "socket 38", "personality", "create " + dir + "/new", "thread", "exec /bin/true", "connect " + l.Addr().String()}
	results, n := attempt(t, h, func(s *Spec) { s.Confinement.Seccomp = "default" }, attempts...)
	wantResults(t, results, "EPERM", "EPERM", "EPERM", "EPERM", "EPERM", "EPERM", "EPERM", "EPERM", "allowed")
	if results[9] == "socket 38: EPERM" || !strings.HasSuffix(results[10], "allowed") || !strings.HasSuffix(results[11], "allowed") || !strings.HasSuffix(results[12], "allowed") || !strings.HasSuffix(results[13], "allowed") || !strings.HasSuffix(results[14], "allowed") {
		t.Errorf("%q", results[9:])
	}
	if !slices.Contains(n.InForce, "system calls: default") {
		t.Errorf("%q", n.InForce)
	}
	results, n = attempt(t, h, func(s *Spec) { s.Confinement.Seccomp = "strict" }, attempts...)
	wantResults(t, results, "EPERM", "EPERM", "EPERM", "EPERM", "EPERM", "EPERM", "EPERM", "EPERM",
		"allowed", "EAFNOSUPPORT", "ENOSYS", "allowed", "allowed", "allowed", "allowed")
	if !slices.Contains(n.InForce, "system calls: strict") || !slices.Contains(n.InForce, "no new privileges") {
		t.Errorf("%q", n.InForce)
	}
}

func TestOrdinaryProgramsWorkUnderTheStrictProfile(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := Spec{Label: "sh", Path: "/bin/sh", Env: []string{"PATH=/usr/bin:/bin"}, Args: []string{"-c",
		"cd /; ls -l /etc >/dev/null && echo one | sed s/one/two/ && sleep 0.01 && test \"$(id -u)\" -ge 0 && cat /proc/self/status >/dev/null && (trap 'echo caught; exit' USR1; kill -USR1 $$ & wait) ; echo done"}}
	spec.Confinement = Confinement{Seccomp: "strict", Required: true}
	out := listen(t, &spec)
	_, w := run(t, h, spec)
	out.expect("two")
	w.end()
}

func TestCapabilitiesAreThoseThatAreNamed(t *testing.T) {
	needRoot(t)
	h := newTestHost(t, Options{})
	status := func(c Confinement, who Identity) (got [4]string, n Notice) {
		spec := Spec{Label: "status", Path: "/bin/grep", Args: []string{"-E", "^Cap(Prm|Eff|Bnd|Amb)", "/proc/self/status"}, Confinement: c, As: who}
		spec.Confinement.Required = true
		out := listen(t, &spec)
		w := newWatcher(t)
		h.Start(spec, w.notify)
		if n = <-w.notices; n.Kind != Spawned {
			t.Fatal(n.Err)
		}
		for i := range got {
			got[i] = strings.TrimPrefix(strings.Fields(out.line())[1], "000000")
		}
		w.end()
		return got, n
	}
	const none, netRaw = "0000000000", "0000002000"
	for _, c := range []struct {
		names []string
		who   string
		want  [4]string
		said  string
	}{
		{[]string{}, "64230", [4]string{none, none, none, none}, "capabilities: none; it can have: none"},
		{[]string{"CAP_NET_RAW"}, "64230", [4]string{netRaw, netRaw, netRaw, netRaw}, "capabilities: net_raw; it can have: net_raw"},
		{[]string{"net_raw"}, "", [4]string{netRaw, netRaw, netRaw, netRaw}, "capabilities: net_raw; it can have: net_raw"},
		{[]string{}, "", [4]string{none, none, none, none}, "capabilities: none; it can have: none"},
	} {
		got, n := status(Confinement{Capabilities: c.names}, Identity{User: c.who})
		if got != c.want || !slices.Contains(n.InForce, c.said) {
			t.Errorf("%q as %q: %q, want %q; said %q", c.names, c.who, got, c.want, n.InForce)
		}
	}
	results, _ := attempt(t, h, func(s *Spec) { s.Confinement.Capabilities = []string{} }, "bind-low-port", "mount /tmp", "chroot /", "read /proc/1/environ")
	wantResults(t, results, "EACCES", "EPERM", "EPERM")
	results, _ = attempt(t, h, func(s *Spec) {
		s.Confinement.Capabilities, s.As = []string{"net_bind_service"}, Identity{User: "64230"}
		s.Path = readable(t)
	}, "bind-low-port", "mount /tmp")
	wantResults(t, results, "allowed", "EPERM")
}

// bindsOnly are the specs that ask for no more than no_new_privs.
func bindsOnly() map[string]Spec {
	yes := true
	all := map[string]Spec{"asked for": {Confinement: Confinement{NoNewPrivileges: &yes, Required: true}, Limits: Limits{OpenFiles: 77, Required: true}}}
	if os.Getuid() == 0 {
		all["by default"] = Spec{As: Identity{User: "64230"}}
		all["with all the rest"] = Spec{As: Identity{User: "64230", Group: "64231", Groups: []string{"64232"}}, Confinement: Confinement{NoNewPrivileges: &yes, Required: true},
			Limits: Limits{Nice: 3, CPUs: []int{0}, Required: true}}
	}
	return all
}

// What a process asks of NoNewPrivileges is had from the thread that forks it, and
// nothing else of the program has it.
func TestNoNewPrivilegesAloneNeedNoSecondExecution(t *testing.T) {
	t.Setenv(diesAtItsStart, "yes")
	h := newTestHost(t, Options{Spawners: 2})
	plain := Spec{Label: "grep", Path: "/bin/grep", Args: []string{"NoNewPrivs", "/proc/self/status"}}
	for name, c := range bindsOnly() {
		for range 4 { // by each of the spawners
			spec := plain
			spec.As, spec.Confinement, spec.Limits = c.As, c.Confinement, c.Limits
			out := listen(t, &spec)
			w := newWatcher(t)
			h.Start(spec, w.notify)
			n := w.next(Spawned)
			out.expect("NoNewPrivs:\t1")
			w.end()
			if !slices.Contains(n.InForce, "no new privileges") || len(n.Unmet) > 0 {
				t.Errorf("%s: in force %q, not met %q", name, n.InForce, n.Unmet)
			}
			if who := fmt.Sprintf("user %s, group %s", c.As.User, cmp.Or(c.As.Group, c.As.User)); c.As.User != "" && !(slices.Contains(n.InForce, who) && slices.Contains(n.InForce, "capabilities: none")) {
				t.Errorf("%s: in force %q", name, n.InForce)
			}
			spec = plain
			out = listen(t, &spec)
			_, w = run(t, h, spec)
			out.expect("NoNewPrivs:\t0")
			w.end()
		}
	}
	bound := 0
	for _, tid := range listNumbers("/proc/self/task") {
		text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/status", tid))
		if err == nil && strings.Contains(string(text), "NoNewPrivs:\t1") {
			bound++
		}
	}
	if bound < 1 || bound > 2 {
		t.Errorf("%d threads have no_new_privs, want one for each of 2 spawners", bound)
	}
}

func TestAProcessThatGainsNoPrivilegesIsWhereItWouldBeOtherwise(t *testing.T) {
	t.Setenv(diesAtItsStart, "yes")
	h := newTestHost(t, Options{})
	for name, c := range bindsOnly() {
		spec := Spec{Label: "sh", Path: "/bin/sh", Dir: openDir(t, "d"), As: c.As, Confinement: c.Confinement, Limits: c.Limits, Env: []string{"PATH=/usr/bin:/bin"},
			Args: []string{"-c", `pwd; ls /proc/self/fd | wc -l; cut -d ' ' -f 5,6,19 /proc/$$/stat; echo "$(ulimit -n)"; echo again >/proc/self/fd/1; cat /proc/self/cgroup | grep ^0:: ; exit 3`}}
		out := listen(t, &spec)
		p, w := run(t, h, spec)
		pid := strconv.Itoa(p.PID())
		out.expect(spec.Dir)
		out.expect("4") // three, and the one that it lists with
		out.expect(fmt.Sprintf("%s %s %d", pid, pid, c.Limits.Nice))
		if line := out.line(); c.Limits.OpenFiles != 0 && line != strconv.Itoa(int(c.Limits.OpenFiles)) {
			t.Errorf("%s: %s descriptors", name, line)
		}
		out.expect("again")
		if group := out.line(); h.(*host).cgroups != nil && !strings.Contains(group, "/c-sh.") {
			t.Errorf("%s: it is in %s", name, group)
		}
		if exit := w.end(); exit.Code != 3 {
			t.Errorf("%s: %+v", name, exit)
		}
	}
}

func TestWhatAUserMayNotEnterOrExecuteIsNamed(t *testing.T) {
	needRoot(t)
	h := newTestHost(t, Options{})
	dir := openDir(t, "open")
	closed := filepath.Join(dir, "closed")
	os.Mkdir(closed, 0o700)
	within := filepath.Join(closed, "sh")
	script := filepath.Join(dir, "script")
	for path, mode := range map[string]os.FileMode{within: 0o755, script: 0o744} {
		os.WriteFile(path, []byte("#!/bin/sh\n"), mode)
	}
	for words, spec := range map[string]Spec{
		"working directory " + closed + ": its user may not enter it":        {Path: "/bin/true", Dir: closed},
		"user 64230 may not execute it: it has no right to search " + closed: {Path: within},
		"user 64230 may not execute it (mode 0744)":                          {Path: script},
	} {
		spec.Label, spec.As = "it", Identity{User: "64230"}
		if err := spawnError(t, h, spec); !errors.Is(err, unix.EACCES) || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want %q", err, words)
		}
	}
}

func TestThreadsThatBindEndWithTheirHost(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	yes := true
	spec := Spec{Label: "true", Path: "/bin/true", Confinement: Confinement{NoNewPrivileges: &yes, Required: true}}
	before, files := threads(t), openFiles(t)
	for range 20 {
		h := mustHost(Options{Spawners: 4})
		for range 8 {
			_, w := run(t, h, spec)
			w.end()
		}
		mine := openFiles(t)
		for range 8 {
			_, w := run(t, h, spec)
			w.end()
			spec := spec
			spec.Path = "/no/such/program"
			spawnError(t, h, spec)
		}
		if got := openFiles(t); got > mine+8 { // sockets of four threads
			t.Errorf("%d descriptors, %d before", got, mine)
		}
		h.Start(Spec{Label: "sleep", Path: sleeper, Args: []string{"600"}, Confinement: spec.Confinement}, nil)
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := openFiles(t); got > files+1 {
		t.Errorf("%d descriptors, %d before", got, files)
	}
	if got := threads(t); got > before+20 {
		t.Errorf("%d threads, %d before", got, before)
	}
}

// readable is a copy of the test binary that other users may execute.
func readable(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(openDir(t, "bin"), "test")
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNoPrivilegesAreGainedByAProgramThatHasThem(t *testing.T) {
	needRoot(t)
	h := newTestHost(t, Options{})
	binary := readable(t)
	if err := os.Chmod(binary, 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	who := func(gain *bool) string {
		spec := childSpec(t, "whoami")
		spec.Path, spec.As = binary, Identity{User: "64230"}
		spec.Confinement.NoNewPrivileges = gain
		out := listen(t, &spec)
		_, w := run(t, h, spec)
		defer w.end()
		return out.line()
	}
	yes, no := true, false
	if got := who(&no); got != "0" {
		t.Skipf("it is user %s even where it may gain privileges: the file system is mounted nosuid", got)
	}
	if got := who(&yes); got != "64230" {
		t.Errorf("it has become user %s", got)
	}
	if got := who(nil); got != "64230" { // the default, since root has started it as another
		t.Errorf("it has become user %s by default", got)
	}
}

func TestTheUmaskIsThatOfNewFiles(t *testing.T) {
	h := newTestHost(t, Options{})
	for mask, want := range map[int]os.FileMode{0o027: 0o640, 0o077: 0o600, -1: 0o666} {
		dir := openDir(t, "d")
		_, n := attempt(t, h, func(s *Spec) { s.Confinement.Umask = mask }, "create "+dir+"/new")
		info, err := os.Stat(dir + "/new")
		if err != nil || info.Mode() != want {
			t.Errorf("umask %o: %v, %v", mask, info.Mode(), err)
		}
		if said := fmt.Sprintf("umask %04o", max(mask, 0)); !slices.Contains(n.InForce, said) {
			t.Errorf("%q, want %q", n.InForce, said)
		}
	}
}

func TestARootDirectoryIsAllThatThereIs(t *testing.T) {
	needRoot(t)
	h := newTestHost(t, Options{})
	root := openDir(t, "root")
	content, err := os.ReadFile(static(t))
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(root+"/program", content, 0o755)
	os.Mkdir(root+"/work", 0o755)
	results, n := attempt(t, h, func(s *Spec) {
		s.Path, s.Dir = "/program", "/work"
		s.Confinement.Root = root
		s.As = Identity{User: "64230"}
	}, "read /file", "read /etc/passwd", "read ../file", "create /work/new")
	wantResults(t, results, "allowed", "ENOENT", "allowed", "EACCES")
	if !slices.Contains(n.InForce, "root directory "+root) {
		t.Errorf("%q", n.InForce)
	}
	spec := Spec{Label: "none", Path: "/no-program", Confinement: Confinement{Root: root}}
	if err := spawnError(t, h, spec); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), root) {
		t.Error(err)
	}
	spec.Confinement.Root = "/no/such/root"
	if err := spawnError(t, h, spec); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "/no/such/root") {
		t.Error(err)
	}
}

// static is the test binary, or one like it that needs no libraries.
func static(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if loaderOf(self) == "" {
		return self
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the test binary needs libraries, and there is no go command to make another")
	}
	path := filepath.Join(openDir(t, "bin"), "static.test")
	c := exec.Command("go", "test", "-c", "-o", path, ".")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func TestAPrivateTmpIsEmptyAndItsOwn(t *testing.T) {
	needRoot(t)
	h := newTestHost(t, Options{})
	mine, err := os.MkdirTemp("/tmp", "mine")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(mine)
	binary := "/bin/sh"
	spec := Spec{Label: "sh", Path: binary, As: Identity{User: "64230"}, Args: []string{"-c", "ls -A /tmp; echo of me >/tmp/new && cat /tmp/new"}}
	spec.Confinement = Confinement{PrivateTmp: true, Required: true}
	out := listen(t, &spec)
	_, w := run(t, h, spec)
	out.expect("of me")
	w.end()
	if _, err := os.Stat("/tmp/new"); err == nil {
		t.Error("what it has made can be seen outside")
	}
}

func TestABinaryWithAnotherDigestIsNotExecuted(t *testing.T) {
	h := newTestHost(t, Options{})
	script := filepath.Join(openDir(t, "bin"), "script")
	os.WriteFile(script, []byte("#!/bin/sh\necho $1 here\n"), 0o755)
	digest := func(path string) string {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		return hex.EncodeToString(sum[:])
	}
	shell := filepath.Join(openDir(t, "bin"), "sh") // a copy: what is open for writing cannot be executed by anybody
	content, err := os.ReadFile("/bin/sh")
	if err == nil {
		err = os.WriteFile(shell, content, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	for path, args := range map[string][]string{shell: {"-c", "echo $1 here", "-", "is"}, script: {"is"}} {
		spec := Spec{Label: "it", Path: path, Args: args, Confinement: Confinement{SHA256: strings.ToUpper(digest(path))}}
		out := listen(t, &spec)
		_, w := run(t, h, spec)
		out.expect("is here")
		w.end()
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil { // not of what is being executed just now
			spec.Stdout = nil
			if err := spawnError(t, h, spec); !strings.Contains(err.Error(), "open for writing") {
				t.Error(err)
			}
			f.Close()
		}
		spec.Confinement.SHA256 = strings.Repeat("0", 64)
		spec.Stdout = nil
		if err := spawnError(t, h, spec); !strings.Contains(err.Error(), "it is "+digest(path)) {
			t.Error(err)
		}
	}
}

func TestWhatCannotBeHadIsToldOrRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, in order to be somebody else")
	}
	asProcess(t, "unprivileged", &syscall.Credential{Uid: 64234, Gid: 64234})
}

func init() {
	children["unprivileged"] = func([]string) int {
		c := &check{}
		h := mustHost(Options{})
		notices := make(chan Notice, 4)
		try := func(spec Spec) Notice {
			spec.Label, spec.Path = "true", "/bin/true"
			h.Start(spec, func(n Notice) {
				if n.Kind <= SpawnFailed {
					notices <- n
				}
			})
			return await(notices)
		}
		for want, confine := range map[string]Confinement{
			"private tmp: unshare":                      {PrivateTmp: true},
			"capabilities: whoever starts it has no ne": {Capabilities: []string{"net_raw"}},
		} {
			if n := try(Spec{Confinement: confine}); n.Kind != Spawned || len(n.Unmet) != 1 || !strings.HasPrefix(n.Unmet[0], want) {
				c.errorf("%v: %v, %q, want %q", n.Kind, n.Err, n.Unmet, want)
			}
			confine.Required = true
			if n := try(Spec{Confinement: confine}); n.Kind != SpawnFailed || !errors.Is(n.Err, ErrNotSupported) || !strings.Contains(n.Err.Error(), want) {
				c.errorf("%v: %v, want %q", n.Kind, n.Err, want)
			}
		}
		if n := try(Spec{Confinement: Confinement{Root: "/"}}); n.Kind != SpawnFailed || !strings.Contains(n.Err.Error(), "needs root") {
			c.errorf("%v: %v", n.Kind, n.Err)
		}
		yes := true
		if n := try(Spec{Confinement: Confinement{Capabilities: []string{}, Seccomp: "strict", NoNewPrivileges: &yes, Umask: 0o077, Required: true}}); n.Kind != Spawned {
			c.errorf("what anybody can have: %v", n.Err)
		}
		if err := h.Close(); err != nil {
			c.errorf("Close: %v", err)
		}
		return c.result()
	}
}

func TestAConfinedProcessIsWhereItWouldBeOtherwise(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := childSpec(t, "where", "a b", "\xff")
	spec.Env = append(spec.Env, "PLATFORM_TEST_VALUE=\xfe x")
	spec.Dir = tempDir(t)
	spec.Confinement = Confinement{Umask: 0o077, Required: true}
	spec.Limits = Limits{OpenFiles: 77, Nice: 3}
	out := listen(t, &spec)
	_, w := run(t, h, spec)
	out.expect(fmt.Sprintf("%q", spec.Dir))
	out.expect(fmt.Sprintf("%q", []string{"a b", "\xff"}))
	out.expect(fmt.Sprintf("%q", "\xfe x"))
	out.expect("0 " + io.EOF.Error())
	w.end()

	spec = Spec{Label: "sh", Path: "/bin/sh", Args: []string{"-c", "echo $$; ulimit -n; ulimit -Sn; ls /proc/self/fd | wc -l; cut -d ' ' -f 5,6,19 /proc/$$/stat; env | cut -d = -f 1 | sort | tr '\\n' ' '; echo"},
		Env: []string{"PATH=/usr/bin:/bin", "ONE=1"}, Confinement: Confinement{Umask: 0o077}, Limits: Limits{OpenFiles: 77, Nice: 3}}
	out = listen(t, &spec)
	p, w := run(t, h, spec)
	pid := strconv.Itoa(p.PID())
	out.expect(pid)
	out.expect("77")
	out.expect("77")
	out.expect("4") // three, and the one that it lists with
	out.expect(pid + " " + pid + " 3")
	if line := out.line(); !strings.Contains(line, "ONE PATH PROCTOR_MARK") || strings.Contains(line, "HOME") {
		t.Errorf("%q", line)
	}
	w.end()
}

func TestALimitOfTheConfinedThatIsTooLowForItsConfinementIsNotInItsWay(t *testing.T) {
	h := newTestHost(t, Options{})
	soft := func(confine Confinement) string {
		spec := Spec{Label: "sh", Path: "/bin/sh", Args: []string{"-c", "ulimit -Sn"}, Confinement: confine}
		out := listen(t, &spec)
		_, w := run(t, h, spec)
		defer w.end()
		return out.line()
	}
	if a, b := soft(Confinement{}), soft(Confinement{Umask: 0o077}); a != b {
		t.Errorf("%s descriptors unconfined, %s confined", a, b)
	}
	spec := Spec{Label: "true", Path: "/bin/true", Confinement: Confinement{Umask: 0o077}, Limits: Limits{OpenFiles: 4, TasksMax: 1, MemoryMax: 16 << 20}}
	_, w := run(t, h, spec)
	if exit := w.end(); !exit.Success() {
		t.Errorf("%+v", exit)
	}
}

func TestAUserCanOpenItsStandardStreamsAgain(t *testing.T) {
	needRoot(t)
	h := newTestHost(t, Options{})
	spec := Spec{Label: "sh", Path: "/bin/sh", Args: []string{"-c", "echo again >/proc/self/fd/1"}, As: Identity{User: "64230"}}
	out := listen(t, &spec)
	_, w := run(t, h, spec)
	out.expect("again")
	w.end()
}

func TestAFailedExecOfTheConfinedIsExplained(t *testing.T) {
	h := newTestHost(t, Options{})
	dir := tempDir(t)
	os.WriteFile(dir+"/text", []byte("no program"), 0o755)
	os.WriteFile(dir+"/plain", []byte("#!/bin/sh\n"), 0o644)
	for _, c := range []struct {
		spec  Spec
		cause error
		words string
	}{
		{Spec{Path: "/nowhere/none"}, os.ErrNotExist, "there is no directory /nowhere"},
		{Spec{Path: dir + "/text"}, unix.ENOEXEC, "first line"},
		{Spec{Path: dir + "/plain"}, unix.EACCES, "chmod +x"},
		{Spec{Path: "/bin/true", Dir: "/nowhere"}, os.ErrNotExist, "working directory"},
		{Spec{Path: "/bin/true", Args: []string{"a\x00b"}}, unix.EINVAL, "argument 1"},
		{Spec{Path: "/bin/true", Confinement: Confinement{Capabilities: []string{"fly"}}}, nil, `no capability "fly"`},
	} {
		c.spec.Label, c.spec.Confinement.Umask = "x", 0o077
		err := spawnError(t, h, c.spec)
		if !strings.Contains(err.Error(), c.words) || c.cause != nil && !errors.Is(err, c.cause) {
			t.Errorf("%v, want %q", err, c.words)
		}
	}
}

func TestSecretsAreReadFromMemoryAndCannotBeChanged(t *testing.T) {
	h := newTestHost(t, Options{})
	for _, who := range []Identity{{}, {User: "64230"}} {
		if who.User != "" && os.Getuid() != 0 {
			continue
		}
		spec := Spec{Label: "sh", Path: "/bin/sh", As: who, Env: []string{"PATH=/usr/bin:/bin", "PROCTOR_SECRET_A=old"}, Args: []string{"-c",
			`cat "$PROCTOR_SECRET_A"; cat "$PROCTOR_SECRET_A" "$PROCTOR_SECRET_B"; (echo x >"$PROCTOR_SECRET_B") 2>/dev/null && echo changed; ls /proc/self/fd | wc -l; env | grep -c s3cret`}}
		spec.Secrets = []Secret{
			{Env: "PROCTOR_SECRET_A", Read: func() ([]byte, error) { return []byte("s3cret a\n"), nil }},
			{Env: "PROCTOR_SECRET_B", Read: func() ([]byte, error) { return []byte("s3cret b\n"), nil }},
		}
		out := listen(t, &spec)
		_, w := run(t, h, spec)
		for _, want := range []string{"s3cret a", "s3cret a", "s3cret b", "6", "0"} {
			out.expect(want)
		}
		w.end()
	}
	spec := childSpec(t, "exit", "0")
	none := errors.New("the safe is locked")
	spec.Secrets = []Secret{{Env: "X", Read: func() ([]byte, error) { return nil, none }}}
	if err := spawnError(t, h, spec); !errors.Is(err, none) {
		t.Error(err)
	}
}

func TestSecretsCanBeReadByWhoIsConfinedToNothing(t *testing.T) {
	needLandlock(t, 3)
	h := newTestHost(t, Options{})
	results, _ := attempt(t, h, func(s *Spec) {
		s.Confinement.ReadOnly = []string{"/"}
		s.Confinement.Inaccessible = []string{"/home", "/root/.ssh"}
		s.Confinement.Seccomp = "strict"
		s.Secrets = []Secret{{Env: "X", Read: func() ([]byte, error) { return []byte("x"), nil }}}
	}, "read /proc/self/fd/3", "write /proc/self/fd/3")
	if !strings.HasSuffix(results[0], "allowed") {
		t.Errorf("%q", results)
	}
}

func TestADescriptorThatTheProgramWasStartedWithCanBeKept(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := again("keeper")
	c.Stdout = nil
	c.ExtraFiles = []*os.File{nil, w} // as 4
	out, err := c.Output()
	w.Close()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := io.ReadAll(r)
	if string(text) != "here\n" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

func init() {
	children["keeper"] = func([]string) int {
		c := &check{}
		h := mustHost(Options{Exclusive: true})
		notices := make(chan Notice, 4)
		h.Start(Spec{Label: "sh", Path: "/bin/sh", Args: []string{"-c", "echo here >&4"}, KeepFDs: []int{4}}, func(n Notice) { notices <- n })
		if n := await(notices); n.Kind != Spawned {
			c.errorf("%v", n.Err)
		}
		await(notices)
		await(notices)
		for _, fd := range []int{5, 6, 7} { // whatever they are, they are this program's
			h.Start(Spec{Label: "true", Path: "/bin/true", KeepFDs: []int{fd}}, func(n Notice) { notices <- n })
			if n := await(notices); n.Kind != SpawnFailed || !errors.Is(n.Err, unix.EBADF) {
				c.errorf("%v: %v", n.Kind, n.Err)
			}
		}
		if err := h.Close(); err != nil {
			c.errorf("Close: %v", err)
		}
		return c.result()
	}
}

func TestAConfinedProcessDiesWithASupervisorThatWasKilled(t *testing.T) {
	needRoot(t)
	t.Run("by way of a trampoline", func(t *testing.T) { diesWithItsSupervisor(t, "much") })
	t.Run("by way of a thread", func(t *testing.T) { diesWithItsSupervisor(t, "little") })
}

func diesWithItsSupervisor(t *testing.T, confined string) {
	c := again("careless", confined)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c.Stdout = w
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	said := bufio.NewReader(r)
	if line, err := said.ReadString('\n'); line != "ready\n" || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	kill(t, c.Process.Pid, syscall.SIGKILL)
	c.Wait()
	if err := r.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := said.ReadString('\n'); !errors.Is(err, io.EOF) {
		t.Errorf("it has outlived the supervisor, which was its parent: %v", err)
	}
}

func init() {
	// careless has a process that only the death signal ends if it is killed.
	children["careless"] = func(confined []string) int {
		h := mustHost(Options{CgroupParent: NoCgroup})
		notices := make(chan Notice, 4)
		spec := Spec{Label: "sleep", Path: "/bin/sleep", Args: []string{"600"}, As: Identity{User: "64230"}, Stdout: os.Stdout}
		if confined[0] == "much" {
			spec.Confinement = Confinement{Capabilities: []string{"net_raw"}, Seccomp: "strict"}
		}
		h.Start(spec, func(n Notice) { notices <- n })
		if n := await(notices); n.Kind != Spawned {
			fmt.Println(n.Err)
			return 1
		}
		fmt.Println("ready")
		forever()
		return 0
	}
}

func TestReadOnlyPathsAreRefusedWhereTheKernelLetsFilesBeTruncated(t *testing.T) {
	version, err := landlockVersion()
	if err != nil || version >= 3 {
		t.Skipf("Landlock %d, %v: it does not", version, err)
	}
	h := newTestHost(t, Options{})
	spec := Spec{Label: "true", Path: "/bin/true", Confinement: Confinement{ReadOnly: []string{"/"}, Required: true}}
	if err := spawnError(t, h, spec); !errors.Is(err, ErrNotSupported) || !strings.Contains(err.Error(), "Linux 6.2") {
		t.Error(err)
	}
}
