// Package forward gives copies of records to other programs: syslog (RFC 5424)
// and the systemd journal. Each forwarder has a bounded queue and a goroutine:
// who does not take records in fast enough misses some, and nobody waits for him.
package forward

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/leodido/go-syslog/v4/rfc5424"
	"github.com/proctord/proctor/collector/capture"
)

const (
	backlog   = 4096                   // records that may wait
	patience  = time.Second            // for one record to be taken in, and for the last ones at the end
	reconnect = 500 * time.Millisecond // after a receiver could not be reached
)

// A Forwarder is a capture.Forwarder with a queue. Close gives out what waits, if
// that does not take long.
type Forwarder struct {
	send func(capture.Record) error
	end  func()

	records chan capture.Record
	mu      sync.Mutex // of closed: records may still come when it is
	closed  bool
	missed  uint64
	done    chan struct{}
}

func newForwarder(send func(capture.Record) error, end func()) *Forwarder {
	f := &Forwarder{send: send, end: end, records: make(chan capture.Record, backlog), done: make(chan struct{})}
	go f.run()
	return f
}

// Forward takes a copy of a record in. It never waits.
func (f *Forwarder) Forward(r capture.Record) {
	r.Text = append([]byte(nil), r.Text...)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	if f.missed > 0 {
		gap := capture.Record{Time: r.Time, ID: r.ID, Incarnation: r.Incarnation,
			Gap: &capture.Gap{Lines: f.missed, Reason: "they were not taken in fast enough"}}
		select {
		case f.records <- gap:
			f.missed = 0
		default:
		}
	}
	select {
	case f.records <- r:
	default:
		f.missed++
	}
}

func (f *Forwarder) run() {
	defer close(f.done)
	for r := range f.records {
		if err := f.send(r); err != nil {
			f.mu.Lock()
			f.missed++
			closed := f.closed
			f.mu.Unlock()
			if !closed {
				time.Sleep(reconnect) // on this goroutine, for which nobody waits
			}
		}
	}
	f.end()
}

// Close ends it.
func (f *Forwarder) Close() error {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.records)
	}
	f.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-f.done:
	case <-timer.C:
	}
	return nil
}

// Journal sends records to the systemd journal of this machine, with the
// collector as SYSLOG_IDENTIFIER, and PROCTOR_INCARNATION beside it.
func Journal() *Forwarder {
	return newForwarder(func(r capture.Record) error {
		return journal.Send(text(r), journal.Priority(severity(r)), map[string]string{
			"SYSLOG_IDENTIFIER":   r.ID,
			"PROCTOR_COLLECTOR":   r.ID,
			"PROCTOR_INCARNATION": strconv.FormatUint(r.Incarnation, 10),
		})
	}, func() {})
}

// Syslog sends records as RFC 5424 has it: to the socket of this machine, where
// address is "syslog", or by "syslog+udp://HOST:PORT" or "syslog+tcp://HOST:PORT",
// the latter with the octet counting of RFC 6587.
func Syslog(address string) *Forwarder {
	network, host, _ := strings.Cut(strings.TrimPrefix(address, "syslog+"), "://")
	if host == "" {
		network, host = "unixgram", "/dev/log"
	}
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "-"
	}
	var conn net.Conn
	end := func() {
		if conn != nil {
			_ = conn.Close()
			conn = nil
		}
	}
	return newForwarder(func(r capture.Record) error {
		message, err := format(r, hostname)
		if err != nil {
			return nil //nolint:nilerror // what cannot be said in syslog would not be the next time either
		}
		if network == "tcp" {
			message = strconv.Itoa(len(message)) + " " + message
		}
		if conn == nil {
			if conn, err = net.DialTimeout(network, host, patience); err != nil {
				conn = nil
				return err
			}
		}
		_ = conn.SetWriteDeadline(time.Now().Add(patience))
		if _, err = conn.Write([]byte(message)); err != nil {
			end()
		}
		return err
	}, end)
}

// format is a record as a syslog message.
func format(r capture.Record, hostname string) (string, error) {
	const user = 1 // facility
	m := &rfc5424.SyslogMessage{}
	m.SetPriority(uint8(user*8 + severity(r)))
	m.SetVersion(1)
	m.SetTimestamp(r.Time.UTC().Format("2006-01-02T15:04:05.000000Z"))
	m.SetHostname(hostname)
	m.SetAppname(r.ID[:min(len(r.ID), 48)])
	if r.Stream != 0 {
		m.SetMsgID(r.Stream.String())
	}
	m.SetParameter("proctor@0", "incarnation", strconv.FormatUint(r.Incarnation, 10))
	m.SetMessage(text(r))
	return m.String()
}

func text(r capture.Record) string {
	if r.Gap != nil {
		return r.Gap.String()
	}
	return strings.ToValidUTF8(string(r.Text), "\ufffd")
}

// severity is notice for a gap, and info for what was written, whatever the
// stream: what is written to standard error is not always an error.
func severity(r capture.Record) int {
	if r.Gap != nil {
		return int(journal.PriNotice)
	}
	return int(journal.PriInfo)
}

// Of is the forwarder that an address names: "journald", or one of Syslog's.
func Of(address string) (*Forwarder, error) {
	switch {
	case address == "journald":
		return Journal(), nil
	case address == "syslog", strings.HasPrefix(address, "syslog+"):
		return Syslog(address), nil
	}
	return nil, fmt.Errorf("%q is nobody who could be given output", address)
}
