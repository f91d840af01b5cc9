// Package control brings the commands of package messages to a supervisor from
// another program: a [Server] is a thin shell over an actors.Backend, and a
// [Client] is an actors.Backend over a socket. What is said in between is the
// protocol of proto/proctor/v1, which gRPC, gRPC-Web and plain HTTP with JSON
// carry.
package control

import (
	"fmt"
	"net/url"
	"os"
	"strings"
)

// CorrelationHeader is the header of a request with the caller's own name for it,
// for logs and events. Without it a name is made up; the answer has it.
const CorrelationHeader = "Proctor-Correlation-Id"

// maxCorrelation is how long that name can be, in bytes.
const maxCorrelation = 128

// maxMessage is the size of the largest request, in bytes: a configuration of
// many collectors. maxReply is that of the largest reply.
const (
	maxMessage = 2 << 20
	maxReply   = 64 << 20
)

// DefaultAddress is where a supervisor is commanded if nothing else is said:
// PROCTOR_SOCKET, else the place that the platform means for it.
func DefaultAddress() string {
	if address := os.Getenv("PROCTOR_SOCKET"); address != "" {
		return address
	}
	return platformAddress()
}

// socketPath is the path of the socket or pipe that address names, or false if
// it names a host. The forms are a path, unix:PATH, unix:///PATH, npipe:PATH and
// https://HOST:PORT.
func socketPath(address string) (path string, ok bool, err error) {
	for _, scheme := range []string{"unix", "npipe"} {
		if rest, found := strings.CutPrefix(address, scheme+":"); found {
			if after, found := strings.CutPrefix(rest, "//"); found && (strings.HasPrefix(after, "/") || scheme == "npipe") {
				rest = after
			}
			if rest == "" {
				return "", false, fmt.Errorf("the address %s names no socket; write unix:///PATH", address)
			}
			if scheme == "npipe" {
				rest = strings.ReplaceAll(rest, "/", `\`)
			}
			return rest, true, nil
		}
	}
	if strings.Contains(address, "://") {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.Path != "" && u.Path != "/" {
			return "", false, fmt.Errorf("the address %s is not one of a supervisor; write a path, unix:///PATH or https://HOST:PORT", address)
		}
		return "", false, nil
	}
	if address == "" {
		return "", false, fmt.Errorf("the address is empty; write a path, unix:///PATH or https://HOST:PORT")
	}
	return address, true, nil
}
