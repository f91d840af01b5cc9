package platform

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Containment by cgroup v2
//
// A host that finds a place in the hierarchy that is its to use makes a group
// of its own there, proctor.<nonce>, with a leaf for each process, which is
// cloned into it: whatever a process starts is in its leaf, whatever session,
// parent and environment it has by then. A leaf is frozen and killed as one, and
// the kernel tells when nothing is left in it. The group is locked (flock) for
// as long as its host lives: what is found unlocked has lost its owner.
//
// A process that may write to the hierarchy can leave its leaf. It is found as
// on systems without cgroups: see tree_linux.go.
type cgroupTree struct {
	name        string // proctor.<nonce>
	parent      string // the directory that it is in
	dir         int    // it, open
	controllers map[string]bool

	mu     sync.Mutex
	groups map[string]*groupState // by path below the host's group
}

// groupState is what has been done to one of the groups that leaves are in.
type groupState struct {
	limits  Limits // what is wanted of it
	missing []string
}

const (
	groupPrefix = "proctor."           // of the groups of hosts
	selfPrefix  = "proctor-supervisor" // of the groups that programs move to themselves
	levelPrefix = "g-"                 // of the groups that leaves are in
)

// An errNoCgroups says why a host has to do without cgroups.
type errNoCgroups string

func (e errNoCgroups) Error() string { return string(e) }

// openCgroups makes the group of a host. Parent is Options.CgroupParent.
func openCgroups(parent, nonce string) (*cgroupTree, error) {
	own := false
	if parent == "" {
		var err error
		if parent, err = findParent(); err != nil {
			return nil, err
		}
		own = true
	} else if err := isCgroup(parent); err != nil {
		return nil, err
	}
	removeStale(parent)
	t := &cgroupTree{name: groupPrefix + nonce, parent: parent, controllers: map[string]bool{}, groups: map[string]*groupState{}}
	if err := unix.Mkdir(t.path(), 0o755); err != nil {
		return nil, errNoCgroups(fmt.Sprintf("no group can be made in %s: %v", parent, err))
	}
	var err error
	if t.dir, err = unix.Open(t.path(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		unix.Rmdir(t.path())
		return nil, errNoCgroups(fmt.Sprintf("open %s: %v", t.path(), err))
	}
	unix.Flock(t.dir, unix.LOCK_EX|unix.LOCK_NB)
	if unix.Faccessat(t.dir, "cgroup.kill", unix.W_OK, 0) != nil {
		t.close()
		return nil, errNoCgroups("the kernel cannot end a group at once: Linux 5.14 or later is needed")
	}
	t.enable(own)
	return t, nil
}

func (t *cgroupTree) path() string { return filepath.Join(t.parent, t.name) }

func (t *cgroupTree) close() {
	removeGroup(t.path())
	unix.Close(t.dir)
}

// isCgroup checks a directory that the user has named.
func isCgroup(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("cgroup parent %s: %w", dir, err)
	}
	if fs.Type != unix.CGROUP2_SUPER_MAGIC {
		return fmt.Errorf("cgroup parent %s is not a directory of a cgroup v2 hierarchy", dir)
	}
	return nil
}

// findParent finds the group that this program is in, if it is its to divide.
func findParent() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", errNoCgroups(err.Error())
	}
	root, point, ok := findMount(mounts)
	if !ok {
		return "", errNoCgroups("cgroup v2 is not mounted")
	}
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", errNoCgroups(err.Error())
	}
	group := unifiedGroup(groups)
	if strings.HasPrefix(filepath.Base(group), selfPrefix) { // another host of this program has moved it there
		group = filepath.Dir(group)
	}
	below, ok := strings.CutPrefix(group, strings.TrimSuffix(root, "/"))
	if group == "" || !ok {
		return "", errNoCgroups("the group " + group + " of this program is not below " + point)
	}
	dir := filepath.Join(point, below)
	if !isDelegated(dir, group) {
		return "", errNoCgroups("the group " + group + " belongs to systemd: with Delegate=yes it would be this program's")
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		return "", errNoCgroups(dir + " may not be written to")
	}
	return dir, nil
}

// isDelegated reports whether a group is its members' to divide. Where systemd
// is there, it must have said so; a leaf of another host is, and elsewhere
// whoever may write to a group may use it.
func isDelegated(dir, group string) bool {
	if strings.Contains(group, "/"+groupPrefix) {
		return true
	}
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return true
	}
	var value [8]byte
	for _, name := range []string{"user.delegate", "trusted.delegate"} {
		if n, err := unix.Getxattr(dir, name, value[:]); err == nil && string(value[:n]) == "1" {
			return true
		}
	}
	return false
}

// findMount finds the cgroup v2 hierarchy in /proc/self/mountinfo: which part of
// it is mounted, and where.
func findMount(mountinfo []byte) (root, point string, ok bool) {
	for line := range bytes.Lines(mountinfo) {
		before, after, found := bytes.Cut(line, []byte(" - "))
		if fields := bytes.Fields(before); found && bytes.HasPrefix(after, []byte("cgroup2 ")) && len(fields) >= 5 {
			return unescapeMount(string(fields[3])), unescapeMount(string(fields[4])), true
		}
	}
	return "", "", false
}

var unescapeMount = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace

// unifiedGroup is the v2 group in the text of /proc/PID/cgroup.
func unifiedGroup(text []byte) string {
	for line := range bytes.Lines(text) {
		if group, ok := bytes.CutPrefix(line, []byte("0::")); ok {
			return string(bytes.TrimSuffix(group, []byte("\n")))
		}
	}
	return ""
}

// wantedControllers are those that limits and telemetry are made of.
var wantedControllers = []string{"cpu", "memory", "pids", "io"}

// enable has the leaves get the controllers that there are. A group that has
// processes itself cannot give any to the groups in it, except for the root of
// the hierarchy: some would be refused, others make the groups unusable. So if
// the program is alone in its own, it moves into one within.
func (t *cgroupTree) enable(own bool) {
	there, err := os.ReadFile(filepath.Join(t.parent, "cgroup.controllers"))
	if err != nil || len(there) < 2 {
		return
	}
	if _, err := os.Stat(filepath.Join(t.parent, "cgroup.type")); err == nil { // not the root
		if own && t.inParent() == strconv.Itoa(os.Getpid()) {
			t.moveSelf()
		}
		if t.inParent() != "" {
			return
		}
	}
	for _, c := range wantedControllers {
		if writeFile(filepath.Join(t.parent, "cgroup.subtree_control"), "+"+c) == nil && t.write("cgroup.subtree_control", "+"+c) == nil {
			t.controllers[c] = true
		}
	}
}

// inParent are the processes in the group that the host's is in.
func (t *cgroupTree) inParent() string {
	pids, err := os.ReadFile(filepath.Join(t.parent, "cgroup.procs"))
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(pids))
}

func (t *cgroupTree) moveSelf() {
	pid := strconv.Itoa(os.Getpid())
	dir := filepath.Join(t.parent, selfPrefix+"."+pid)
	unix.Mkdir(dir, 0o755)
	if writeFile(filepath.Join(dir, "cgroup.procs"), pid) != nil {
		unix.Rmdir(dir)
	}
}

// removeStale ends and removes the groups whose hosts are gone without having done so.
func removeStale(parent string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		dir := filepath.Join(parent, e.Name())
		if pid, ok := strings.CutPrefix(e.Name(), selfPrefix+"."); ok {
			if n, _ := strconv.Atoi(pid); n > 0 && unix.Kill(n, 0) == unix.ESRCH {
				unix.Rmdir(dir)
			}
			continue
		}
		if !strings.HasPrefix(e.Name(), groupPrefix) {
			continue
		}
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		// One that is just being made is not locked yet, but has no leaves.
		if leaves := subgroups(dir); len(leaves) > 0 && unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = writeAt(fd, "cgroup.kill", "1") // what is not killed stays there to be found
			removeGroup(dir)
		}
		unix.Close(fd)
	}
}

func subgroups(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// removeGroup removes a group and those within it, as far as nothing is in them.
func removeGroup(dir string) {
	if unix.Rmdir(dir) == nil {
		return
	}
	for _, name := range subgroups(dir) {
		removeGroup(filepath.Join(dir, name))
	}
	unix.Rmdir(dir)
}

// leafName names a leaf for people, and ends in the number of the process.
func leafName(label string, seq uint64) string {
	label = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_', r == '.':
			return r
		}
		return '_'
	}, label[:min(len(label), 100)])
	return "c-" + label + "." + strconv.FormatUint(seq, 10)
}

// place makes the groups that a process belongs to, as far as they are not there,
// puts their limits in force, and returns where its leaf is to be: an empty path, or
// one that ends in a slash. Missing are limits that are not in force, and lacking
// those of them that have to be.
func (t *cgroupTree) place(within []Group) (path string, missing, lacking []string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range within {
		g := &within[i]
		path += levelPrefix + g.Name
		state := t.groups[path]
		if state == nil {
			if err := unix.Mkdirat(t.dir, path, 0o755); err != nil && err != unix.EEXIST {
				return "", nil, nil, fmt.Errorf("make the group %s/%s: %w", t.path(), path, err)
			}
			for _, c := range wantedControllers {
				if t.controllers[c] {
					_ = t.write(path+"/cgroup.subtree_control", "+"+c) // a limit that needs it says so
				}
			}
			state = &groupState{}
			t.groups[path] = state
		}
		if !sameLimits(&state.limits, &g.Limits) || len(state.missing) > 0 {
			before := state.limits
			if len(state.missing) > 0 {
				before = Limits{}
			}
			state.missing = nil
			for _, m := range t.setTree(path, &before, &g.Limits) {
				state.missing = append(state.missing, ofGroup+g.Name+": "+m)
			}
			state.limits = g.Limits
		}
		missing = append(missing, state.missing...)
		if g.Limits.Required {
			lacking = append(lacking, state.missing...)
		}
		path += "/"
	}
	return path, missing, lacking, nil
}

// findLeaf finds the number of the process in whose leaf somebody is. Text is
// that of /proc/PID/cgroup, which also a zombie has.
func (t *cgroupTree) findLeaf(text []byte) (seq uint64, ok bool) {
	_, below, ok := strings.Cut(unifiedGroup(text), "/"+t.name+"/")
	if !ok {
		return 0, false
	}
	leaf, below, _ := strings.Cut(strings.TrimSuffix(below, " (deleted)"), "/")
	for strings.HasPrefix(leaf, levelPrefix) {
		leaf, below, _ = strings.Cut(below, "/")
	}
	seq, err := strconv.ParseUint(leaf[strings.LastIndexByte(leaf, '.')+1:], 10, 64)
	return seq, err == nil
}

// make makes a leaf and returns a descriptor of it to clone into.
func (t *cgroupTree) make(leaf string) (fd int, err error) {
	if err := unix.Mkdirat(t.dir, leaf, 0o755); err != nil {
		return -1, fmt.Errorf("make the group %s/%s: %w", t.path(), leaf, err)
	}
	fd, err = unix.Openat(t.dir, leaf, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.remove(leaf)
		return -1, fmt.Errorf("open the group %s/%s: %w", t.path(), leaf, err)
	}
	return fd, nil
}

// remove removes an empty leaf, with the groups that were made in it.
func (t *cgroupTree) remove(leaf string) {
	if err := unix.Unlinkat(t.dir, leaf, unix.AT_REMOVEDIR); err != nil && err != unix.ENOENT {
		removeGroup(filepath.Join(t.path(), leaf))
	}
}

// write writes to a file of the group or of a leaf.
func (t *cgroupTree) write(name, text string) error { return writeAt(t.dir, name, text) }

func (t *cgroupTree) kill(leaf string) {
	_ = t.write(leaf+"/cgroup.kill", "1") // fails only if it has been removed, being empty
}

func (t *cgroupTree) freeze(leaf string, frozen bool) error {
	return t.write(leaf+"/cgroup.freeze", map[bool]string{true: "1", false: "0"}[frozen])
}

// processes are those in a leaf, in order; none if they cannot be told.
func (t *cgroupTree) processes(r *procReader, leaf string) []int {
	text, err := r.read(t.path() + "/" + leaf + "/cgroup.procs")
	if err != nil {
		return nil
	}
	pids := numbers(nil, text)
	slices.Sort(pids)
	return pids
}

// events opens what tells whether anything is in a leaf.
func (t *cgroupTree) events(leaf string) (int, error) {
	return ignoreEINTR(func() (int, error) {
		return unix.Openat(t.dir, leaf+"/cgroup.events", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	})
}

// isPopulated reads what events has opened.
func isPopulated(fd int) bool {
	var b [128]byte
	n, err := ignoreEINTR(func() (int, error) { return unix.Pread(fd, b[:], 0) })
	return err == nil && bytes.Contains(b[:n], []byte("populated 1"))
}

func writeAt(dir int, name, text string) error {
	fd, err := ignoreEINTR(func() (int, error) { return unix.Openat(dir, name, unix.O_WRONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = ignoreEINTR(func() (int, error) { return unix.Write(fd, []byte(text)) })
	return err
}

func writeFile(path, text string) error { return writeAt(unix.AT_FDCWD, path, text) }

// canDoWithout reports whether the error of openCgroups is one to live with.
func (o Options) canDoWithout(err error) bool {
	var none errNoCgroups
	return o.CgroupParent == "" && errors.As(err, &none)
}
