//go:build linux || darwin || freebsd

package platform

import (
	"errors"
	"fmt"
	"os"
	"os/user"
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

// refused explains that a process may not be started as somebody else.
func (s *Spec) refused(c *syscall.Credential, err error) error {
	if c == nil || os.Geteuid() == 0 || !errors.Is(err, unix.EPERM) {
		return err
	}
	return &SpawnError{Path: s.Path, Why: fmt.Sprintf("only root may start it as user %d, group %d: this program runs as user %d", c.Uid, c.Gid, os.Geteuid()), Err: err}
}
