package supervisor

// signalNumber is nothing: there are no signals.
func signalNumber(string) int { return 0 }
