package notify

import (
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestAMessageSaysWhatItsLinesSay(t *testing.T) {
	for text, want := range map[string]Message{
		"READY=1":                             {Ready: true},
		"READY=1\n":                           {Ready: true},
		"READY=0":                             {},
		"READY=1\nSTATUS=serving\nMAINPID=42": {Ready: true, Status: "serving", HasStatus: true, MainPID: 42},
		"STATUS=":                             {HasStatus: true},
		"STATUS=a=b":                          {Status: "a=b", HasStatus: true},
		"RELOADING=1\nMONOTONIC_USEC=1500000": {Reloading: true, Monotonic: 1500 * time.Millisecond},
		"STOPPING=1\nERRNO=2\nEXIT_STATUS=7":  {Stopping: true, Errno: 2, ExitStatus: "7"},
		"BUSERROR=org.freedesktop.DBus.Error.Fail": {BusError: "org.freedesktop.DBus.Error.Fail"},
		"WATCHDOG=1":                         {Watchdog: WatchdogReset},
		"WATCHDOG=trigger\nWATCHDOG=1":       {Watchdog: WatchdogTrigger},
		"WATCHDOG_USEC=20000000":             {WatchdogIn: 20 * time.Second, WatchdogSet: true},
		"WATCHDOG_USEC=0":                    {WatchdogSet: true},
		"EXTEND_TIMEOUT_USEC=5000000":        {Extend: 5 * time.Second},
		"HEARTBEAT=1":                        {Heartbeat: true},
		"X_SOMETHING=else\nNOTIFYACCESS=all": {},
	} {
		m, barrier, wrong, why := parse([]byte(text))
		if !reflect.DeepEqual(m, want) || barrier || wrong != noFault {
			t.Errorf("%q says %+v (%v: %s), want %+v", text, m, wrong, why, want)
		}
	}
}

func TestWhatIsWrongWithAMessageIsSaidAndTheRestIsHeard(t *testing.T) {
	for text, want := range map[string]struct {
		fault fault
		why   string
		ready bool
	}{
		"":                                     {empty, "empty", false},
		"\n\n":                                 {empty, "empty", false},
		"READY=1\x00":                          {malformed, "NUL", false},
		"STATUS=\xff\nREADY=1":                 {malformed, "UTF-8", false},
		"hello\nREADY=1":                       {malformed, "no assignment: hello", true},
		"MAINPID=-1\nREADY=1":                  {badValue, "MAINPID=-1", true},
		"MAINPID=0":                            {badValue, "MAINPID=0", false},
		"ERRNO=x":                              {badValue, "ERRNO=x", false},
		"WATCHDOG=2":                           {badValue, "WATCHDOG=2", false},
		"WATCHDOG_USEC=99999999999999999999":   {badValue, "no time", false},
		"EXTEND_TIMEOUT_USEC=1844674407370955": {noFault, "", false},
		"FDSTORE=1\nFDNAME=db\nREADY=1":        {fdStore, "FDSTORE", true},
		"BARRIER=1\nREADY=1":                   {badBarrier, "alone", true},
	} {
		m, barrier, wrong, why := parse([]byte(text))
		if wrong != want.fault || !strings.Contains(why, want.why) || m.Ready != want.ready || barrier {
			t.Errorf("%q: %v %q, ready %v, barrier %v", text, wrong, why, m.Ready, barrier)
		}
	}
	if _, barrier, wrong, _ := parse([]byte("BARRIER=1")); !barrier || wrong != noFault {
		t.Errorf("a barrier is not seen")
	}
}

func FuzzNoMessageIsTooBad(f *testing.F) {
	f.Add([]byte("READY=1\nSTATUS=x\nWATCHDOG_USEC=1\nMAINPID=7"))
	f.Add([]byte("BARRIER=1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, _, wrong, why := parse(data)
		if (wrong == noFault) != (why == "") || !utf8.ValidString(m.Status) || !utf8.ValidString(why) || len(why) > 512 || m.Extend < 0 || m.WatchdogIn < 0 {
			t.Errorf("%q: %+v, %v %q", data, m, wrong, why)
		}
	})
}
