package platform

// prepare does what may block before a process can be started. It is for
// spawners; release has to follow it.
func (s *Spec) prepare() error {
	if s.Find != nil {
		path, err := s.Find()
		if err != nil {
			return err
		}
		s.Path = path
	}
	if s.Output != nil {
		stdout, stderr, err := s.Output()
		if err != nil {
			return &SpawnError{Path: s.Path, Why: err.Error(), Err: err}
		}
		s.Stdout, s.Stderr = stdout, stderr
	}
	return nil
}

// release closes what prepare has opened: the process has its own by now.
func (s *Spec) release() {
	if s.Output == nil {
		return
	}
	if s.Stdout != nil {
		_ = s.Stdout.Close()
	}
	if s.Stderr != nil && s.Stderr != s.Stdout {
		_ = s.Stderr.Close()
	}
}
