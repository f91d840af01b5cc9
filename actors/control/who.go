package control

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"os/user"
	"slices"
	"strconv"
	"sync"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

// A role is what somebody may do; a higher one may do what a lower one may.
type role int

const (
	nobody role = iota
	viewer
	operator
	admin
)

func (r role) String() string { return [...]string{"nobody", "viewer", "operator", "admin"}[r] }

// needs is the role that a command needs. A start that says how to run something
// runs anything at all.
func needs(command any) role {
	switch c := command.(type) {
	case messages.StartCollector:
		if c.Config == nil && c.Type == "" {
			return operator
		}
	case messages.StopCollector, messages.RestartCollector, messages.PauseCollector, messages.ResumeCollector,
		messages.SignalCollector, messages.ReloadCollector, messages.LimitCollector, messages.SendHeartbeat, messages.RemoveCollector, messages.ResetCollector:
		return operator
	case messages.InspectCollector: // it shows environments, where secrets are
		return operator
	case messages.GetStatus, messages.ListCollectors, messages.GetUsage, messages.CheckHealth, messages.GetSupervisor, messages.GetGraph, messages.DescribeActors,
		messages.GetRuns, messages.ListCrashes, messages.GetCrash:
		return viewer
	}
	return admin
}

// A peer is who is at the other end of a connection, as far as the kernel says.
type peer struct {
	known bool
	local bool // the supervisor's own user, or who may do the same
	uid   uint32
}

// A caller is somebody with a name and a role.
type caller struct {
	name string
	role role
}

// A directory knows who may do what.
type directory struct {
	own   int // the supervisor's own user
	roles config.Roles
}

func newDirectory(roles config.Roles) directory { return directory{own: os.Geteuid(), roles: roles} }

// roleOf is the highest role that one of these names has.
func (d directory) roleOf(names ...string) role {
	for _, r := range []struct {
		role role
		who  []string
	}{{admin, d.roles.Admin}, {operator, d.roles.Operator}, {viewer, d.roles.Viewer}} {
		if slices.ContainsFunc(r.who, func(who string) bool { return slices.Contains(names, who) }) {
			return r.role
		}
	}
	return nobody
}

// local is who is at the other end of a socket of this host.
func (d directory) local(p peer) caller {
	if p.local {
		return caller{name: "local administrator", role: admin}
	}
	if !p.known {
		return caller{name: "unknown"}
	}
	uid := strconv.FormatUint(uint64(p.uid), 10)
	names := []string{"uid:" + uid}
	c := caller{name: "uid " + uid}
	if u, err := user.LookupId(uid); err == nil {
		c.name += " (" + u.Username + ")"
		names = append(names, "user:"+u.Username)
	}
	c.role = d.roleOf(names...)
	if p.uid == 0 || int(p.uid) == d.own {
		c.role = admin
	}
	return c
}

// certified is who has this certificate.
func (d directory) certified(cert *x509.Certificate) caller {
	var names []string
	for _, name := range append([]string{cert.Subject.CommonName}, cert.DNSNames...) {
		if name != "" {
			names = append(names, "cert:"+name)
		}
	}
	return caller{name: fmt.Sprintf("certificate %s", cert.Subject.CommonName), role: d.roleOf(names...)}
}

// A connection is what is known of one, found out when it is first asked for: the
// name of a user may have to be looked up in a network.
type connection struct{ caller func() caller }

type connectionKey struct{}

func newConnection(d directory, p peer) *connection {
	return &connection{sync.OnceValue(func() caller { return d.local(p) })}
}

// callerOf is who has sent the request.
func (s *Server) callerOf(r *http.Request) caller {
	if r.TLS != nil {
		if err := s.certs.verify(r.TLS); err != nil {
			return caller{name: "certificate that is not valid any more: " + err.Error()}
		}
		return s.directory.certified(r.TLS.PeerCertificates[0])
	}
	if c, ok := r.Context().Value(connectionKey{}).(*connection); ok {
		return c.caller()
	}
	return caller{name: "unknown"}
}
