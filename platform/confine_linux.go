package platform

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// confineWithin is how long a trampoline may take. It reads the binary, if that has
// a digest.
const confineWithin = time.Minute

// cannotConfine is why this program cannot be executed as a trampoline; nil: it can.
var cannotConfine = sync.OnceValue(func() error {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-buildmode" && slices.Contains([]string{"c-shared", "c-archive", "plugin", "shared"}, s.Value) {
				return fmt.Errorf("the program that does this is a library (-buildmode=%s), and has to be one of its own: %w", s.Value, ErrNotSupported)
			}
		}
	}
	if _, err := os.Stat("/proc/self/exe"); err != nil {
		return fmt.Errorf("there is no /proc, by which the program is executed once more: %w", ErrNotSupported)
	}
	return nil
})

// A trampolining is what a spawner does to have one process confined.
type trampolining struct {
	task     task
	ours     *os.File // the supervisor's end of the socket
	theirs   *os.File
	implied  bool // only noNewPrivileges, and nobody has asked for it
	byThread bool // only noNewPrivileges: a thread that has it hands it on, and nothing else needs to be executed
	word     word
}

// executes reports whether there is a trampoline.
func (t *trampolining) executes() bool { return t != nil && !t.byThread }

// missing is why a process that has to be confined is not started.
func (t *trampolining) missing(spec *Spec) error {
	if len(t.word.Unmet) == 0 || !spec.Confinement.Required || t.implied {
		return nil
	}
	return &SpawnError{Path: spec.Path, Why: "what it is to be confined by cannot be had: " + strings.Join(t.word.Unmet, "; "), Err: ErrNotSupported}
}

// trampolining is how spec is to be confined, as somebody; nil: not at all.
func (s *Spec) trampolining(who *syscall.Credential) (*trampolining, error) {
	c := &s.Confinement
	asked := c.asked()
	if who == nil && !anySet(asked[:]) {
		return nil, nil
	}
	t := &trampolining{task: task{Parent: os.Getpid(), Confine: *c, Credential: who, OpenFilesSet: s.Limits.OpenFiles != 0}}
	t.task.NoNew = c.Seccomp != "" || c.paths() || c.Capabilities != nil && os.Geteuid() != 0
	if c.NoNewPrivileges != nil {
		t.task.NoNew = *c.NoNewPrivileges
	} else if who != nil && who.Uid != 0 && os.Geteuid() == 0 {
		t.task.NoNew = true
	}
	t.implied = !anySet(asked[:])
	if t.implied && !t.task.NoNew {
		return nil, nil
	}
	more := *c
	more.NoNewPrivileges = nil
	if asked := more.asked(); !anySet(asked[:]) {
		t.byThread = true
		return t, nil
	}
	if err := cannotConfine(); err != nil {
		return nil, &SpawnError{Path: s.Path, Why: "it cannot be confined: " + err.Error(), Err: err}
	}
	if _, err := capabilitiesOf(c.Capabilities); err != nil {
		return nil, &SpawnError{Path: s.Path, Why: err.Error(), Err: err}
	}
	return t, nil
}

// open makes the socket.
func (t *trampolining) open() error {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socketpair: %w", err)
	}
	t.theirs = os.NewFile(uintptr(ends[1]), "trampoline")
	if err := unix.SetNonblock(ends[0], true); err != nil { // for Go's poller
		unix.Close(ends[0])
		return err
	}
	t.ours = os.NewFile(uintptr(ends[0]), "trampoline")
	return t.ours.SetDeadline(time.Now().Add(confineWithin))
}

// interrupt ends the waiting for a trampoline.
func (t *trampolining) interrupt() { _ = t.ours.SetDeadline(time.Unix(1, 0)) }

func (t *trampolining) close() {
	for _, f := range []*os.File{t.ours, t.theirs} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// confine has a trampoline, which has just been started, do its work, and says
// when the process is executed. Limits are set while it waits.
func (t *trampolining) confine(r *procReader, p *process, pid int, limits func() error) error {
	_ = t.theirs.Close() // or its end would never be seen
	t.theirs = nil
	spec := &p.spec
	decoder := json.NewDecoder(t.ours)
	err := json.NewEncoder(t.ours).Encode(t.task)
	if err == nil {
		err = decoder.Decode(&t.word)
	}
	if err != nil {
		return &lostError{err}
	}
	if t.word.Step != "" {
		return t.failed(spec, &t.word)
	}
	if err := t.missing(spec); err != nil {
		return err
	}
	if err := limits(); err != nil {
		return err
	}
	p.unmet = append(p.unmet, t.word.Unmet...)
	if _, err := t.ours.Write([]byte{0}); err != nil {
		return &lostError{err}
	}
	var last word
	switch err := decoder.Decode(&last); {
	case err == nil:
		return t.failed(spec, &last)
	case !errors.Is(err, io.EOF):
		return &lostError{err}
	}
	p.inForce = t.inForce(r, spec, pid)
	return nil
}

// A lostError says that a trampoline has not answered.
type lostError struct{ error }

// explainLoss is the error of a process that was not confined, when its trampoline
// has ended.
func explainLoss(spec *Spec, err error, ws unix.WaitStatus) error {
	var lost *lostError
	switch {
	case !errors.As(err, &lost):
		return err
	case errors.Is(lost.error, os.ErrDeadlineExceeded):
		return &SpawnError{Path: spec.Path, Why: fmt.Sprintf("it was killed while it was being confined, or that has taken more than %v", confineWithin), Err: lost.error}
	}
	how := "exit code " + strconv.Itoa(ws.ExitStatus())
	if ws.Signaled() {
		how = "signal " + unix.SignalName(ws.Signal())
	}
	return &SpawnError{Path: spec.Path, Err: lost.error, Why: "this program was executed once more, in order to confine it, and has ended before that was done (" + how +
		"): memory or tasks may be short, or something that it does at its start keeps it from it"}
}

// failed is why a trampoline has given up.
func (t *trampolining) failed(spec *Spec, w *word) error {
	var err error = w.Errno
	if w.Errno == 0 {
		err = errors.New(w.Why)
	}
	fail := func(format string, args ...any) error {
		return &SpawnError{Path: spec.Path, Why: fmt.Sprintf(format, args...), Err: err}
	}
	c := &spec.Confinement
	switch {
	case w.Step == stepRoot && w.Errno == unix.EPERM:
		return fail("root directory: %s: that needs root", w.Why)
	case w.Step == stepIdentity && w.Errno == unix.EPERM:
		return spec.refused(t.task.Credential, err)
	case w.Step == stepDir && c.Root == "" && whyNotEntered(spec.Dir) == "":
		return fail("its working directory %s: %s: its user may not enter it", spec.Dir, w.Why)
	case w.Step == stepDigest && w.Errno == 0:
		return fail("its SHA-256 digest: %s", w.Why)
	case w.Step != stepExec && w.Step != stepDir && w.Step != stepDigest:
		return fail("%s: %s", w.Step, w.Why)
	case c.Root != "":
		return fail("%s, in the root directory %s: %s", w.Step, c.Root, w.Why)
	case w.Step == stepExec && c.SHA256 != "" && w.Errno == unix.ENOENT:
		return fail("exec: %s: with a digest it is executed by way of /proc, and a script needs /dev/fd too", w.Why)
	case w.Step == stepExec && w.Errno == unix.EACCES && c.paths() && unix.Access(spec.Path, unix.X_OK) == nil:
		return fail("exec: %s: it, its interpreter or its loader is among what is inaccessible to it, or its user may not execute it", w.Why)
	}
	return err
}

// inForce is what confines a process that has been executed, as the kernel tells; of
// one that has ended by now it does not tell all, and the trampoline is believed.
func (t *trampolining) inForce(r *procReader, spec *Spec, pid int) (all []string) {
	c := &spec.Confinement
	text, err := r.read("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return nil
	}
	status := map[string]string{}
	for line := range strings.Lines(string(text)) {
		switch key, value, _ := strings.Cut(line, ":"); key {
		case "Uid", "Gid", "Umask", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp":
			status[key] = strings.TrimSpace(value)
		}
	}
	set := func(key string) capSet {
		n, _ := strconv.ParseUint(status[key], 16, 64)
		return capSet(n)
	}
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if uid, _, ok := strings.Cut(status["Uid"], "\t"); ok && t.task.Credential != nil {
		gid, _, _ := strings.Cut(status["Gid"], "\t")
		add("user %s, group %s", uid, gid)
	}
	if c.Umask != 0 {
		add("umask %s", cmp.Or(status["Umask"], fmt.Sprintf("%04o", max(c.Umask, 0))))
	}
	if c.Root != "" {
		root, _ := os.Readlink("/proc/" + strconv.Itoa(pid) + "/root")
		add("root directory %s", cmp.Or(root, c.Root))
	}
	if c.PrivateTmp && !t.isUnmet("private tmp") {
		add("a /tmp of its own")
	}
	if t.word.Landlock > 0 {
		for _, group := range []struct {
			what  string
			paths []string
		}{{"read only", c.ReadOnly}, {"read and write", c.ReadWrite}, {"inaccessible", c.Inaccessible}} {
			if len(group.paths) > 0 {
				add("%s: %s (Landlock %d)", group.what, strings.Join(group.paths, " "), t.word.Landlock)
			}
		}
	}
	if c.Capabilities != nil {
		add("capabilities: %s; it can have: %s", set("CapPrm"), set("CapBnd"))
	} else if t.task.Credential != nil {
		add("capabilities: %s", set("CapPrm"))
	}
	if status["NoNewPrivs"] == "1" {
		add("no new privileges")
	}
	if status["Seccomp"] == "2" && c.Seccomp != "" && !t.isUnmet("system calls") {
		add("system calls: %s", c.Seccomp)
	}
	if c.SHA256 != "" {
		add("SHA-256 of its binary: %s", strings.ToLower(c.SHA256))
	}
	return all
}

func (t *trampolining) isUnmet(name string) bool {
	return slices.ContainsFunc(t.word.Unmet, func(u string) bool { return strings.HasPrefix(u, name+": ") })
}

// openFD is a descriptor that the program was started with.
type openFD struct{ device, inode uint64 }

// givenFDs are those from 3 on. Go opens all of its own with close-on-exec; what is
// without it when the first host is made has come from outside.
var givenFDs = sync.OnceValue(func() map[int]openFD {
	given := map[int]openFD{}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd < 3 {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		var st unix.Stat_t
		if err == nil && flags&unix.FD_CLOEXEC == 0 && unix.Fstat(fd, &st) == nil {
			given[fd] = openFD{st.Dev, st.Ino}
		}
	}
	return given
})

// keep puts what is to be kept, and then the secrets, into the descriptors that a
// process is to have. It returns what has to be closed after the fork, and appends to env
// where the secrets are.
func (s *Spec) keep(files []uintptr, env []string, who *syscall.Credential) (_ []uintptr, _ []string, ours []*os.File, err error) {
	for _, fd := range s.KeepFDs {
		var st unix.Stat_t
		given, ok := givenFDs()[fd]
		if !ok || unix.Fstat(fd, &st) != nil || given != (openFD{st.Dev, st.Ino}) {
			return files, env, nil, &SpawnError{Path: s.Path, Why: fmt.Sprintf("descriptor %d cannot be kept: this program was not started with it", fd), Err: unix.EBADF}
		}
		for len(files) <= fd {
			files = append(files, ^uintptr(0))
		}
		if files[fd] != ^uintptr(0) {
			return files, env, nil, &SpawnError{Path: s.Path, Why: fmt.Sprintf("descriptor %d cannot be kept: it is used for something else", fd), Err: unix.EBADF}
		}
		files[fd] = uintptr(fd)
	}
	for _, secret := range s.Secrets {
		f, err := secret.file(who)
		if err != nil {
			for _, f := range ours {
				_ = f.Close()
			}
			return files, env, nil, s.notPrepared(err)
		}
		ours = append(ours, f)
		env = append(slices.DeleteFunc(env, func(kv string) bool { return strings.HasPrefix(kv, secret.Env+"=") }),
			secret.Env+"=/proc/self/fd/"+strconv.Itoa(len(files)))
		files = append(files, f.Fd())
	}
	return files, env, ours, nil
}

// file makes a file in memory of a secret, that somebody may read and nobody may change.
func (s *Secret) file(who *syscall.Credential) (*os.File, error) {
	content, err := s.Read()
	if err != nil {
		return nil, err
	}
	defer clear(content)
	if len(content) > MaxSecret {
		return nil, fmt.Errorf("the secret for %s has %d bytes, and may have %d", s.Env, len(content), MaxSecret)
	}
	fd, err := unix.MemfdCreate("secret", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), "secret")
	if _, err = f.Write(content); err == nil {
		err = f.Chmod(0o400)
	}
	if err == nil && who != nil && os.Geteuid() == 0 {
		err = f.Chown(int(who.Uid), int(who.Gid))
	}
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("the secret for %s: %w", s.Env, err)
	}
	return f, nil
}
