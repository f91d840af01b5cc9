package platform

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Landlock knows only what is allowed: a right to a directory is one to all below
// it. So that a path can have less than what is around it, what is around it is
// allowed entry by entry.

// access is what may be done with a path.
type access uint8

const (
	inaccessible access = iota
	readOnly
	readWrite
)

// A grantedPath is one rule for Landlock.
type grantedPath struct {
	path   string
	access access
}

// grants turns what is said of paths, which have to be absolute and without
// symbolic links, into rules. List returns the names in a directory: one that cannot
// be listed cannot have exceptions.
func grants(said map[string]access, list func(dir string) ([]string, error)) ([]grantedPath, error) {
	said = maps.Clone(said)
	if _, ok := said["/"]; !ok {
		said["/"] = readWrite
	}
	g := granter{said: said, list: list, paths: slices.Sorted(maps.Keys(said))}
	g.below("/", said["/"])
	return g.rules, g.err
}

type granter struct {
	said  map[string]access
	paths []string
	list  func(string) ([]string, error)
	rules []grantedPath
	err   error // the first one
}

// exceptions are the paths below dir that something is said of.
func (g *granter) exceptions(dir string) (below []string) {
	prefix := strings.TrimSuffix(dir, "/") + "/"
	for _, p := range g.paths {
		if p != dir && strings.HasPrefix(p, prefix) {
			below = append(below, p)
		}
	}
	return below
}

func (g *granter) below(dir string, own access) {
	exceptions := g.exceptions(dir)
	common := own
	for _, p := range exceptions {
		common = min(common, g.said[p])
	}
	if common > inaccessible {
		g.rules = append(g.rules, grantedPath{dir, common})
	}
	if own == common {
		for _, p := range exceptions { // more than what is around them, or the like
			if g.said[p] > common || len(g.exceptions(p)) > 0 {
				g.below(p, g.said[p])
			}
		}
		return
	}
	names, err := g.list(dir)
	if err != nil && g.err == nil {
		g.err = fmt.Errorf("%s can be less than what is around it only if %s can be listed: %s", exceptions[0], dir, cause(err))
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		switch level, ok := g.said[path]; {
		case ok:
			if level > common || len(g.exceptions(path)) > 0 {
				g.below(path, level)
			}
		case len(g.exceptions(path)) > 0:
			g.below(path, own)
		default:
			g.rules = append(g.rules, grantedPath{path, own})
		}
	}
}

// takenForGranted are what may be written to even where nothing may be.
var takenForGranted = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"}

// What may be done with a file, and with a directory.
const (
	landlockRead  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	landlockFile  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	landlockWrite = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE
)

// landlockVersion is the version of Landlock that the kernel has.
func landlockVersion() (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch errno {
	case 0:
		return int(n), nil
	case unix.ENOSYS:
		return 0, errors.New("the kernel has no Landlock (Linux 5.13 or later is needed)")
	case unix.EOPNOTSUPP:
		return 0, errors.New("no Landlock: it is not enabled (lsm=landlock,… on the kernel's command line)")
	}
	return 0, fmt.Errorf("no Landlock: %w", errno)
}

// enforce restricts this thread to what is said of paths, and says which version of
// Landlock does that. A version without a right that was to be taken is no good.
func enforce(c *Confinement, standard int) (version int, err error) {
	version, err = landlockVersion()
	if err != nil {
		return 0, err
	}
	if version < 3 && len(c.ReadOnly) > 0 {
		return 0, fmt.Errorf("version %d of Landlock does not keep files from being truncated (Linux 6.2 or later is needed)", version)
	}
	said := map[string]access{}
	for _, group := range []struct {
		paths []string
		access
	}{{c.ReadWrite, readWrite}, {c.ReadOnly, readOnly}, {c.Inaccessible, inaccessible}} {
		for _, path := range group.paths {
			resolved, err := filepath.EvalSymlinks(path)
			if group.access == inaccessible && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) {
				continue // it is
			}
			if err != nil {
				return 0, &missingPathError{path, cause(err)}
			}
			said[resolved] = group.access
		}
	}
	handled := uint64(landlockRead | landlockWrite)
	if version < 2 {
		handled &^= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if version < 3 {
		handled &^= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	rules, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&handled)), unsafe.Sizeof(handled), 0)
	if errno != 0 {
		return 0, fmt.Errorf("landlock_create_ruleset: %w", errno)
	}
	set := ruleSet{fd: int(rules), handled: handled}
	defer unix.Close(set.fd)
	granted, err := grants(said, names)
	if err != nil {
		return 0, err
	}
	for _, g := range granted {
		set.allow(g.path, g.access)
	}
	for _, path := range takenForGranted {
		if _, ok := said[path]; !ok && !within(path, said) {
			set.allow(path, readWrite)
		}
	}
	for fd := range standard { // that /dev/stdout can be opened
		set.allowFD(fd, readWrite)
	}
	if set.err != nil {
		return 0, set.err
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(set.fd), 0, 0); errno != 0 {
		return 0, fmt.Errorf("landlock_restrict_self: %w", errno)
	}
	return version, nil
}

// within reports whether something above path was said to be inaccessible.
func within(path string, said map[string]access) bool {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if a, ok := said[dir]; ok {
			return a == inaccessible
		}
		if dir == "/" {
			return false
		}
	}
}

// A missingPathError is about a path that is to be confined to, and is not there.
type missingPathError struct{ path, why string }

func (e *missingPathError) Error() string { return e.path + ": " + e.why }

func names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	list := make([]string, len(entries))
	for i, e := range entries {
		list[i] = e.Name()
	}
	return list, nil
}

// A ruleSet is one of Landlock.
type ruleSet struct {
	fd      int
	handled uint64
	err     error // the first one
}

// allow adds a rule. What cannot be reached is not allowed either.
func (s *ruleSet) allow(path string, a access) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch {
	case err == unix.EMFILE || err == unix.ENFILE || err == unix.ENOMEM:
		s.fail(path, err)
		return
	case err != nil:
		return
	}
	s.allowFD(fd, a)
	unix.Close(fd)
}

func (s *ruleSet) allowFD(fd int, a access) {
	rights := uint64(landlockRead)
	if a == readWrite {
		rights |= landlockWrite
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
	case unix.S_IFLNK:
		return // what it points to has its own
	default:
		rights &= landlockFile
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights & s.handled, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(s.fd), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 && errno != unix.EBADFD { // that is a pipe or the like, which is not in a directory
		s.fail(fmt.Sprint("descriptor ", fd), errno)
	}
}

func (s *ruleSet) fail(what string, err error) {
	if s.err == nil {
		s.err = fmt.Errorf("landlock_add_rule: %s: %w", what, err)
	}
}
