//go:build linux || darwin || freebsd

package platform

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// credential is as whom a process is to run; nil: as this program. It may read
// the databases of users and groups.
func (s *Spec) credential() (*syscall.Credential, error) {
	who := &s.As
	if who.User == "" && who.Group == "" && len(who.Groups) == 0 {
		return nil, nil
	}
	fail := func(what, name string, err error) error {
		return &SpawnError{Path: s.Path, Why: fmt.Sprintf("there is no %s %q: %v", what, name, err), Err: err}
	}
	c := &syscall.Credential{Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid())}
	if who.User != "" {
		u, err := user.Lookup(who.User)
		if id, number := strconv.ParseUint(who.User, 10, 32); err != nil && number == nil { // a user need not be in the database
			u, err = &user.User{Uid: strconv.FormatUint(id, 10), Gid: strconv.FormatUint(id, 10)}, nil
			if known, e := user.LookupId(who.User); e == nil {
				u = known
			}
		}
		if err != nil {
			return nil, fail("user", who.User, err)
		}
		c.Uid, c.Gid = id(u.Uid), id(u.Gid)
		if groups, err := u.GroupIds(); err == nil && u.Username != "" {
			for _, g := range groups {
				c.Groups = append(c.Groups, id(g))
			}
		}
	}
	group := func(name string) (uint32, error) {
		g, err := user.LookupGroup(name)
		if err == nil {
			return id(g.Gid), nil
		}
		if n, number := strconv.ParseUint(name, 10, 32); number == nil {
			return uint32(n), nil
		}
		return 0, fail("group", name, err)
	}
	var err error
	if who.Group != "" {
		if c.Gid, err = group(who.Group); err != nil {
			return nil, err
		}
	}
	if len(who.Groups) > 0 {
		c.Groups = nil
		for _, name := range who.Groups {
			g, err := group(name)
			if err != nil {
				return nil, err
			}
			c.Groups = append(c.Groups, g)
		}
	} else if os.Geteuid() != 0 {
		c.NoSetGroups = true // it may not; and who asks to run as himself shall
	}
	return c, nil
}

// id is a number that the system has given as text.
func id(text string) uint32 {
	n, _ := strconv.ParseUint(text, 10, 32)
	return uint32(n)
}

// refused explains that a process may not be started as somebody else, or that
// this one may not do what it takes.
func (s *Spec) refused(c *syscall.Credential, err error) error {
	if c != nil && errors.Is(err, unix.EACCES) {
		if why := s.closedTo(c); why != "" {
			return &SpawnError{Path: s.Path, Why: why, Err: err}
		}
	}
	if c == nil || os.Geteuid() == 0 || !errors.Is(err, unix.EPERM) {
		return err
	}
	return &SpawnError{Path: s.Path, Why: fmt.Sprintf("only root may start it as user %d, group %d: this program runs as user %d", c.Uid, c.Gid, os.Geteuid()), Err: err}
}

// closedTo says what somebody may not enter or execute, as far as modes tell that;
// empty: they allow all.
func (s *Spec) closedTo(c *syscall.Credential) string {
	closed := func(path string) (mode os.FileMode, closed bool) {
		info, err := os.Stat(path)
		if err != nil || c.Uid == 0 {
			return 0, false
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return 0, false
		}
		execute := os.FileMode(0o001)
		switch {
		case st.Uid == c.Uid:
			execute = 0o100
		case st.Gid == c.Gid, slices.Contains(c.Groups, st.Gid):
			execute = 0o010
		}
		mode = info.Mode().Perm()
		return mode, mode&execute == 0
	}
	who := fmt.Sprintf("user %d", c.Uid)
	path := s.Path
	if s.Dir != "" {
		for _, dir := range append(parents(s.Dir), s.Dir) {
			if mode, closed := closed(dir); closed {
				return fmt.Sprintf("its working directory %s: its user may not enter it: %s has no right to search %s (mode %04o): chmod +x", s.Dir, who, dir, mode)
			}
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(s.Dir, path)
		}
	}
	for _, dir := range parents(path) {
		if mode, closed := closed(dir); closed {
			return fmt.Sprintf("%s may not execute it: it has no right to search %s (mode %04o): chmod +x", who, dir, mode)
		}
	}
	if mode, closed := closed(path); closed && mode&0o111 != 0 {
		return fmt.Sprintf("%s may not execute it (mode %04o): change its mode or owner", who, mode)
	}
	return ""
}
