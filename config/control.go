package config

import (
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
)

// A Control is how a supervisor is commanded from outside ([control]).
type Control struct {
	// Socket is the path of the Unix socket, or of the named pipe. Empty: the
	// place that the platform means for it.
	Socket string

	// SocketMode is the socket's mode, in octal: "0660". Empty: "0600".
	SocketMode string

	// SocketGroup is the group that the socket belongs to, by name or number.
	// Empty: the supervisor's own.
	SocketGroup string

	// Listen is a TCP address to be commanded at, too: "0.0.0.0:9444". It needs
	// the three files below: only mutual TLS is spoken there. Empty: none.
	Listen      string
	TLSCert     string // the certificate of the supervisor
	TLSKey      string // and its key
	TLSClientCA string // whose certificates clients must have

	// MetricsListen is a TCP address where anybody may read the metrics and
	// whether the supervisor is well: "127.0.0.1:9445". Empty: none.
	MetricsListen string

	// Roles say who may do what. The supervisor's own user and root are always
	// Admin, and nobody else is anything without being named here.
	Roles Roles
}

// Roles are who may do what ([control.roles]): "uid:1000", "user:alice", or
// "cert:ops.example.org", the common name or a DNS name of a certificate.
type Roles struct {
	Viewer   []string // may look
	Operator []string // may start, stop, … what is known, too
	Admin    []string // may do anything
}

// DefaultSocketMode is what an empty SocketMode means.
const DefaultSocketMode = "0600"

// Mode is the socket's mode. It is meaningful if the settings are valid.
func (c Control) Mode() os.FileMode {
	word := c.SocketMode
	if word == "" {
		word = DefaultSocketMode
	}
	mode, _ := strconv.ParseUint(word, 8, 32)
	return os.FileMode(mode)
}

func (f *findings) control(c Control) {
	key := func(parts ...string) string { return Key(append([]string{"control"}, parts...)...) }
	f.noNUL(key("socket"), c.Socket)
	f.noNUL(key("socket_group"), c.SocketGroup)
	if c.SocketMode != "" {
		if mode, err := strconv.ParseUint(c.SocketMode, 8, 32); err != nil || mode > 0o777 || mode&0o600 != 0o600 {
			f.add(key("socket_mode"), c.SocketMode, quote(c.SocketMode)+" is not a mode that its owner can use", `use octal digits, for example "0600" or "0660"`)
		}
	}
	for _, at := range []struct{ name, address string }{{"listen", c.Listen}, {"metrics_listen", c.MetricsListen}} {
		if at.address == "" {
			continue
		}
		if _, port, err := net.SplitHostPort(at.address); err != nil || port == "" {
			f.add(key(at.name), at.address, quote(at.address)+" is not an address", `write "HOST:PORT", for example "127.0.0.1:9444"`)
		}
	}
	files := []struct{ name, path string }{{"tls_cert", c.TLSCert}, {"tls_key", c.TLSKey}, {"tls_client_ca", c.TLSClientCA}}
	for _, file := range files {
		f.noNUL(key(file.name), file.path)
		switch {
		case c.Listen != "" && file.path == "":
			f.add(key(file.name), "", "listen needs it: over TCP, only mutual TLS is spoken", "name the file", key("listen"))
		case c.Listen == "" && file.path != "":
			f.add(key(file.name), file.path, "without effect, because there is no listen", `add listen = "HOST:PORT", or remove it`, key("listen"))
		}
	}
	for _, role := range []struct {
		name string
		who  []string
	}{{"viewer", c.Roles.Viewer}, {"operator", c.Roles.Operator}, {"admin", c.Roles.Admin}} {
		for i, who := range role.who {
			kind, name, ok := strings.Cut(who, ":")
			at := Element(key("roles", role.name), i)
			switch {
			case !ok || name == "" || !slices.Contains([]string{"uid", "user", "cert"}, kind):
				f.add(at, who, quote(who)+" names nobody", `write "uid:1000", "user:alice" or "cert:ops.example.org"`)
			case kind == "uid":
				if _, err := strconv.ParseUint(name, 10, 32); err != nil {
					f.add(at, who, quote(name)+" is not a user's number", `write "user:`+name+`" for a name`)
				}
			}
		}
	}
}
