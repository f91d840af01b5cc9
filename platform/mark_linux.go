package platform

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"strings"
)

// markKey is the environment variable by which a host knows its own again,
// after they have left their session and lost their parent. Its value has one
// component for each host in a chain of nested ones, the outermost first,
// separated by colons: <nonce of the host>.<number of the process>.
const markKey = "PROCTOR_MARK"

func newNonce() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// markEnv appends env to dst with this host's component added to the mark. outer
// is the mark of the host's own environment: it is kept also when the spec does
// not hand it on, or the outer host would lose what this one leaves behind.
func markEnv(dst, env []string, outer, nonce string, seq uint64) []string {
	value := outer
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, markKey+"="); ok {
			if strings.HasPrefix(v, outer) {
				value = v
			}
			continue
		}
		dst = append(dst, kv)
	}
	if value != "" {
		value += ":"
	}
	return append(dst, markKey+"="+value+nonce+"."+strconv.FormatUint(seq, 10))
}

// findMark looks in environ, as /proc shows it, for the number that the host
// with this nonce gave.
func findMark(environ []byte, nonce string) (seq uint64, ok bool) {
	for kv := range bytes.SplitSeq(environ, []byte{0}) {
		value, isMark := bytes.CutPrefix(kv, []byte(markKey+"="))
		if !isMark {
			continue
		}
		for component := range strings.SplitSeq(string(value), ":") {
			number, ours := strings.CutPrefix(component, nonce+".")
			if !ours {
				continue
			}
			if seq, err := strconv.ParseUint(number, 10, 64); err == nil {
				return seq, true
			}
		}
	}
	return 0, false
}
