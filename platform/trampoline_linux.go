package platform

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// What confines a process on Linux belongs to a thread, and is handed on to what
// the thread executes: nothing but the process itself can put it in force, before
// its first instruction. So the program is executed in its place first, as a
// trampoline that is told by a socket what to do, does it, says what has become of
// it, waits for a word (its limits are set meanwhile), and executes the process.
// The number, the session, the group and the cgroup stay the same ones.
//
// It is the first thing that this package does when a program starts. What other
// packages do before it must not depend on arguments.

// trampolineName is the name, in place of its own, that the program is executed by
// as a trampoline, with the number of the socket as its only argument.
const trampolineName = "proctor: confining a process"

func init() {
	if len(os.Args) != 2 || os.Args[0] != trampolineName {
		return
	}
	fd, err := strconv.Atoi(os.Args[1])
	if err != nil || fd < 3 {
		unix.Exit(trampolineFault)
	}
	runtime.LockOSThread() // what confines is the thread's
	unix.CloseOnExec(fd)
	t := trampoline{socket: fd}
	t.run()
}

// trampolineFault is the exit code of one that has not come to execute a process. It
// has said why, if there was anybody to hear it.
const trampolineFault = 127

// A task is what a trampoline is told.
type task struct {
	Parent     int // whose death is to be the process's
	Path, Dir  octets
	Argv, Env  []octets
	Confine    Confinement
	Credential *syscall.Credential
	NoNew      bool

	OpenFilesSet bool // that there is a limit of descriptors
}

// octets is a string that need not be text.
type octets string

func (o octets) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, []byte(o)), nil
}

func (o *octets) UnmarshalText(text []byte) error {
	b, err := base64.StdEncoding.DecodeString(string(text))
	*o = octets(b)
	return err
}

func allOctets(list []string) []octets {
	all := make([]octets, len(list))
	for i, s := range list {
		all[i] = octets(s)
	}
	return all
}

func plain(list []octets) []string {
	all := make([]string, len(list))
	for i, s := range list {
		all[i] = string(s)
	}
	return all
}

// A word is what a trampoline says: first how things are, and if it comes to that,
// what it has failed at then.
type word struct {
	Unmet    []string // what is not in force, and why
	Landlock int      // the version of Landlock that is; 0: none

	Step  string // what it has failed at; empty: nothing
	Why   string
	Errno syscall.Errno
}

// The steps that a process cannot do without.
const (
	stepRoot     = "root directory"
	stepDigest   = "sha256"
	stepIdentity = "identity"
	stepDir      = "working directory"
	stepExec     = "exec"
)

type trampoline struct {
	socket int
	task   task
	word   word
	binary int // what is to be executed, if its digest was taken; else -1
}

// Read and Write are those of the socket.
func (t *trampoline) Read(b []byte) (int, error) {
	n, err := ignoreEINTR(func() (int, error) { return unix.Read(t.socket, b) })
	if err == nil && n == 0 {
		err = io.EOF
	}
	return max(n, 0), err
}

func (t *trampoline) Write(b []byte) (int, error) {
	return ignoreEINTR(func() (int, error) {
		return unix.SendmsgN(t.socket, b, nil, nil, unix.MSG_NOSIGNAL)
	})
}

func (t *trampoline) run() {
	if err := json.NewDecoder(t).Decode(&t.task); err != nil {
		unix.Exit(trampolineFault)
	}
	t.binary = -1
	t.confine()
	t.say(t.word)
	var goOn [1]byte
	if _, err := t.Read(goOn[:]); err != nil {
		unix.Exit(trampolineFault)
	}
	if t.task.OpenFilesSet { // by now; Go would restore at the exec what there was when it started
		var l syscall.Rlimit
		if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) == nil {
			_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
		}
	}
	path, argv := string(t.task.Path), plain(t.task.Argv)
	if t.binary >= 0 {
		path = "/proc/self/fd/" + strconv.Itoa(t.binary)
	}
	t.fail(stepExec, syscall.Exec(path, argv, plain(t.task.Env)))
}

// fail says what it has failed at, and ends.
func (t *trampoline) fail(step string, err error) {
	w := word{Step: step, Why: err.Error()}
	errors.As(err, &w.Errno)
	t.say(w)
	unix.Exit(trampolineFault)
}

func (t *trampoline) say(w word) {
	text, err := json.Marshal(w)
	for err == nil && len(text) > 0 {
		var n int
		n, err = t.Write(text)
		text = text[max(n, 0):]
	}
	if err != nil {
		unix.Exit(trampolineFault) // nobody is there any more
	}
}

// try does a step that one may have to do without.
func (t *trampoline) try(name string, wanted bool, step func() error) {
	if wanted {
		if err := step(); err != nil {
			t.word.Unmet = append(t.word.Unmet, name+": "+err.Error())
		}
	}
}

// must does one that cannot be left out.
func (t *trampoline) must(name string, wanted bool, step func() error) {
	if wanted {
		if err := step(); err != nil {
			t.fail(name, err)
		}
	}
}

// confine puts in force what is to be: first what needs privileges, then what takes
// them away.
func (t *trampoline) confine() {
	c := &t.task.Confine
	t.try("umask", c.Umask != 0, func() error {
		unix.Umask(max(c.Umask, 0))
		return nil
	})
	apart := false
	t.try("private tmp", c.PrivateTmp, func() error {
		err := ownMounts()
		apart = err == nil
		return err
	})
	t.must(stepRoot, c.Root != "", func() error { return enterRoot(c.Root) })
	t.try("private tmp", apart, mountTmp)
	t.must(stepDigest, c.SHA256 != "", t.checkDigest)
	t.try("no new privileges", t.task.NoNew, func() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })
	t.try("paths", c.paths(), func() error {
		version, err := enforce(c, 3)
		t.word.Landlock = version
		return err
	})
	t.identify()
	t.must(stepDir, t.task.Dir != "", func() error { return unix.Chdir(string(t.task.Dir)) })
	t.try("system calls", c.Seccomp != "", func() error { return filterCalls(c.Seccomp) })
}

// identify takes on the identity and the capabilities.
func (t *trampoline) identify() {
	c, who := &t.task.Confine, t.task.Credential
	limited := c.Capabilities != nil
	var want capSet
	t.try("capabilities", limited, func() error {
		set, err := capabilitiesOf(c.Capabilities)
		if err != nil {
			limited = false
			return err
		}
		has, err := permitted()
		if err != nil {
			return err
		}
		want = set & has
		err = bound(set)
		if missing := set &^ has; missing != 0 {
			return fmt.Errorf("whoever starts it has no %s", missing)
		}
		if t.task.NoNew { // then what is dropped is gone in any case
			return nil
		}
		return err
	})
	t.must(stepIdentity, who != nil, func() error {
		handOver(int(who.Uid), []uintptr{0, 1, 2})
		if limited && want != 0 {
			if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
				return err
			}
		}
		if !who.NoSetGroups {
			groups := make([]int, len(who.Groups))
			for i, g := range who.Groups {
				groups[i] = int(g)
			}
			if err := syscall.Setgroups(groups); err != nil {
				return err
			}
		}
		if err := syscall.Setresgid(int(who.Gid), int(who.Gid), int(who.Gid)); err != nil {
			return err
		}
		return syscall.Setresuid(int(who.Uid), int(who.Uid), int(who.Uid))
	})
	t.try("capabilities", limited, func() error { return grant(want) })

	// A change of identity has had the kernel forget it.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil || os.Getppid() != t.task.Parent {
		unix.Exit(trampolineFault)
	}
}

// handOver gives pipes that are standard streams to a user, so that he can open them
// again (/dev/stdout). What fails with that is no reason not to start.
func handOver(uid int, streams []uintptr) {
	for _, fd := range streams {
		var st unix.Stat_t
		if unix.Fstat(int(fd), &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO {
			_ = unix.Fchown(int(fd), uid, -1)
		}
	}
}

// ownMounts gives this thread a table of mounts of its own.
func ownMounts() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("separating the mounts: %w", err)
	}
	return nil
}

func mountTmp() error {
	for _, dir := range []string{"/tmp", "/var/tmp"} {
		info, err := os.Lstat(dir)
		if dir != "/tmp" && (err != nil || !info.IsDir()) {
			continue // there is none, or it is the same one
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"); err != nil {
			return fmt.Errorf("mounting %s: %w", dir, err)
		}
	}
	return nil
}

func enterRoot(dir string) error {
	if err := unix.Chdir(dir); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot %s: %w", dir, err)
	}
	return unix.Chdir("/")
}

// checkDigest opens what is to be executed and takes its digest.
func (t *trampoline) checkDigest() error {
	path := string(t.task.Path)
	if !filepath.IsAbs(path) {
		path = filepath.Join(string(t.task.Dir), path)
	}
	fd, err := ignoreEINTR(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0) })
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), path)
	var before, after unix.Stat_t
	if err := unix.Fstat(fd, &before); err != nil {
		return err
	}
	if before.Mode&unix.S_IFMT != unix.S_IFREG {
		return errors.New("it is not a file")
	}
	// Until it is executed, when the kernel sees to that, nobody begins to write to
	// it. Where there are no leases, this is left out.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK); err == unix.EAGAIN {
		return errors.New("somebody has it open for writing")
	}
	digest := sha256.New()
	if _, err := io.Copy(digest, file); err != nil {
		return err
	}
	if err := unix.Fstat(fd, &after); err != nil {
		return err
	}
	if before.Ctim != after.Ctim || before.Size != after.Size {
		return errors.New("the file is just being changed")
	}
	if got := hex.EncodeToString(digest.Sum(nil)); !strings.EqualFold(got, t.task.Confine.SHA256) {
		return fmt.Errorf("it is %s, and not %s", got, strings.ToLower(t.task.Confine.SHA256))
	}
	// Out of reach of Go, which would close it. What is interpreted has to be
	// opened again, by its interpreter.
	flag := unix.F_DUPFD_CLOEXEC
	var head [2]byte
	if n, err := unix.Pread(fd, head[:], 0); err == nil && string(head[:n]) == "#!" {
		flag = unix.F_DUPFD
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK) // it would be the interpreter's, and a signal would come with its end
	}
	if t.binary, err = unix.FcntlInt(uintptr(fd), flag, fd+1); err != nil {
		return err
	}
	return file.Close()
}
