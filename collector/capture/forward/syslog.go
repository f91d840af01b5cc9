package forward

import (
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/leodido/go-syslog/v4/rfc5424"
	"github.com/proctord/proctor/collector/capture"
)

// Journal sends records to the systemd journal of this machine, with the
// collector as SYSLOG_IDENTIFIER, and PROCTOR_INCARNATION and PROCTOR_STREAM
// beside it.
func Journal() *Forwarder { return newForwarder(journald{}) }

type journald struct{}

func (journald) send(batch []capture.Record) (done, lost int, err error) {
	for i, r := range batch {
		fields := map[string]string{
			"SYSLOG_IDENTIFIER":   r.ID,
			"PROCTOR_COLLECTOR":   r.ID,
			"PROCTOR_INCARNATION": strconv.FormatUint(r.Incarnation, 10),
		}
		if r.Stream != 0 {
			fields["PROCTOR_STREAM"] = r.Stream.String()
		}
		if err := journal.Send(text(r), journal.Priority(severity(r)), fields); err != nil {
			return i, 0, err
		}
	}
	return len(batch), 0, nil
}

func (journald) close() {}

// Syslog sends records as RFC 5424 has it: to the socket of this machine, where
// address is "syslog", or by "syslog+udp://HOST:PORT" or "syslog+tcp://HOST:PORT",
// the latter with the octet counting of RFC 6587.
func Syslog(address string) *Forwarder {
	s := &syslog{}
	s.network, s.address, _ = strings.Cut(strings.TrimPrefix(address, "syslog+"), "://")
	if s.address == "" {
		s.network, s.address = "unixgram", "/dev/log"
	}
	var err error
	if s.hostname, err = os.Hostname(); err != nil {
		s.hostname = "-"
	}
	return newForwarder(s)
}

type syslog struct {
	network, address, hostname string

	conn net.Conn
}

func (s *syslog) send(batch []capture.Record) (done, lost int, err error) {
	for i, r := range batch {
		message, err := format(r, s.hostname)
		if err != nil {
			return i + 1, 1, nil //nolint:nilerror // what cannot be said in syslog could not be the next time either
		}
		if s.network == "tcp" {
			message = strconv.Itoa(len(message)) + " " + message
		}
		if s.conn == nil {
			if s.conn, err = net.DialTimeout(s.network, s.address, patience); err != nil {
				s.conn = nil
				return i, 0, err
			}
		}
		_ = s.conn.SetWriteDeadline(time.Now().Add(patience))
		if _, err = s.conn.Write([]byte(message)); err != nil {
			s.close()
			return i, 0, err
		}
	}
	return len(batch), 0, nil
}

func (s *syslog) close() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
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
