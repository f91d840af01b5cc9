package forward

import (
	"bufio"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leodido/go-syslog/v4/rfc5424"
	"github.com/proctord/proctor/collector/capture"
)

var record = capture.Record{
	Time: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), ID: "web-1", Stream: capture.Stderr, Incarnation: 7, Text: []byte("it \"burns\" ]"),
}

const shape = `^<14>1 2026-01-02T03:04:05\.000006Z \S+ web-1 - stderr \[proctor@0 incarnation="7"\] it "burns" \]$`

func TestARecordBecomesASyslogMessage(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f := Syslog("syslog+udp://" + c.LocalAddr().String())
	defer f.Close()
	f.Forward(record)
	buf := make([]byte, 2048)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, _, err := c.ReadFrom(buf)
	if err != nil || !regexp.MustCompile(shape).Match(buf[:n]) {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	if _, err := rfc5424.NewParser().Parse(buf[:n]); err != nil {
		t.Error(err)
	}
}

func TestOverTCPMessagesAreCountedAndAReceiverMayComeBack(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f := Syslog("syslog+tcp://" + l.Addr().String())
	defer f.Close()
	for range 2 {
		go func() {
			for range 100 { // the first ones after the connection has broken are lost
				f.Forward(record)
				time.Sleep(20 * time.Millisecond) // as a collector that writes now and then
			}
		}()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(c)
		length, err := r.ReadString(' ')
		n, _ := strconv.Atoi(strings.TrimSpace(length))
		message := make([]byte, n)
		if _, readErr := io.ReadFull(r, message); err != nil || readErr != nil || !strings.HasPrefix(string(message), "<1") {
			t.Fatalf("%q, %v, %v", message, err, readErr)
		}
		c.Close()
	}
}

func TestNobodyWaitsForAReceiverThatIsNotThere(t *testing.T) {
	f := Syslog("syslog+tcp://127.0.0.1:1")
	began := time.Now()
	for range 3 * backlog {
		f.Forward(record)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if missed := f.Missed(); missed < backlog {
		t.Errorf("%d are missed", missed)
	}
	f.Close()
}
