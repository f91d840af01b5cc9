package platform

import (
	"fmt"
	"strconv"
	"strings"
)

// The signals of Microsoft's C library; there are no others.
const (
	sigInt   Signal = 2
	sigKill  Signal = 9
	sigTerm  Signal = 15
	sigBreak Signal = 21
)

var signalNames = map[Signal]string{
	sigInt:   "SIGINT",
	sigKill:  "SIGKILL",
	sigTerm:  "SIGTERM",
	sigBreak: "SIGBREAK",
}

func signalName(s Signal) string {
	if name, ok := signalNames[s]; ok {
		return name
	}
	return "signal " + strconv.Itoa(int(s))
}

func parseSignal(name string) (Signal, error) {
	wanted := strings.ToUpper(name)
	if !strings.HasPrefix(wanted, "SIG") {
		wanted = "SIG" + wanted
	}
	for s, n := range signalNames {
		if n == wanted || strconv.Itoa(int(s)) == name {
			return s, nil
		}
	}
	return 0, fmt.Errorf("%q is not a signal here: Windows has SIGINT, SIGTERM, SIGKILL and SIGBREAK", name)
}
