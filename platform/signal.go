package platform

// A Signal is a signal of the operating system, by its number there. Where a
// system has no signals (Windows), SIGINT, SIGTERM, SIGKILL and SIGBREAK exist
// with their usual numbers and mean what is nearest to them.
type Signal int

// Name is the signal's usual name ("SIGTERM"), or "signal 99" for one without a name.
func (s Signal) Name() string { return signalName(s) }

func (s Signal) String() string { return signalName(s) }

// ParseSignal finds a signal by name, with or without SIG and in any case, or
// by number: "SIGHUP", "hup", "1".
func ParseSignal(name string) (Signal, error) { return parseSignal(name) }
