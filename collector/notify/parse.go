package notify

import (
	"bytes"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A fault is a kind of what is wrong with a message.
type fault uint8

const (
	noFault fault = iota
	tooLarge
	empty
	malformed
	badValue
	fdStore
	notOfTree
	stranger
	badBarrier
)

// maxUsec is the longest time that a message can name: what is longer cannot be
// added to a date.
const maxUsec = uint64(100 * 365 * 24 * time.Hour / time.Microsecond)

// parse reads a datagram. What it does not know it leaves out, as the protocol
// says. Why is about the first thing that is wrong, if anything is.
func parse(data []byte) (m Message, barrier bool, wrong fault, why string) {
	refuse := func(f fault, text string) {
		if wrong == noFault {
			wrong, why = f, text
		}
	}
	data = bytes.TrimRight(data, "\n")
	switch {
	case len(data) == 0:
		return m, false, empty, "a message was empty"
	case bytes.IndexByte(data, 0) >= 0:
		return m, false, malformed, "a message has a NUL in it"
	case !utf8.Valid(data):
		return m, false, malformed, "a message is not UTF-8"
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			refuse(malformed, "a line of a message is no assignment: "+short(line))
			continue
		}
		usec := func() (time.Duration, bool) {
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil || n > maxUsec {
				refuse(badValue, short(line)+" is no time in microseconds")
				return 0, false
			}
			return time.Duration(n) * time.Microsecond, true
		}
		number := func(least, most int) int {
			n, err := strconv.Atoi(value)
			if err != nil || n < least || n > most {
				refuse(badValue, short(line)+" cannot be")
				return 0
			}
			return n
		}
		switch name {
		case "READY":
			m.Ready = m.Ready || value == "1"
		case "RELOADING":
			m.Reloading = m.Reloading || value == "1"
		case "STOPPING":
			m.Stopping = m.Stopping || value == "1"
		case "MONOTONIC_USEC":
			m.Monotonic, _ = usec()
		case "STATUS":
			m.Status, m.HasStatus = value, true
		case "ERRNO":
			m.Errno = number(1, 4095)
		case "BUSERROR", "VARLINKERROR":
			m.BusError = short(value)
		case "EXIT_STATUS":
			m.ExitStatus = short(value)
		case "MAINPID":
			m.MainPID = number(1, 1<<22)
		case "WATCHDOG":
			switch value {
			case "1":
				m.Watchdog = max(m.Watchdog, WatchdogReset)
			case "trigger":
				m.Watchdog = WatchdogTrigger
			default:
				refuse(badValue, short(line)+" cannot be")
			}
		case "WATCHDOG_USEC":
			m.WatchdogIn, m.WatchdogSet = usec()
		case "EXTEND_TIMEOUT_USEC":
			m.Extend, _ = usec()
		case "HEARTBEAT":
			m.Heartbeat = m.Heartbeat || value == "1"
		case "FDSTORE":
			refuse(fdStore, "descriptors are not kept (FDSTORE): a process that is started again opens its own")
		case "BARRIER":
			if len(data) != len(line) {
				refuse(badBarrier, "BARRIER=1 has to be sent alone")
				continue
			}
			barrier = value == "1"
		}
	}
	return m, barrier, wrong, why
}

// maxShort is how much of a message is repeated to say what is wrong with it.
const maxShort = 64

func short(text string) string {
	if len(text) <= maxShort {
		return text
	}
	cut := maxShort
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
