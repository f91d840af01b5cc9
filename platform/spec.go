package platform

import (
	"errors"
	"syscall"
)

// MaxExtraFD is the highest number that Spec.ExtraFD can have.
const MaxExtraFD = 255

// prepare does what may block before a process can be started. It is for
// spawners; release has to follow it if it succeeds.
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
			return s.notPrepared(err)
		}
		s.Stdout, s.Stderr = stdout, stderr
	}
	if s.Extra != nil {
		extra, err := s.Extra()
		if err != nil {
			s.release()
			return s.notPrepared(err)
		}
		s.extra = extra
	}
	return nil
}

// notPrepared is why there is no process. That there are no descriptors left is
// said as it is where the fork finds that.
func (s *Spec) notPrepared(err error) error {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return diagnose(s, err)
	}
	return &SpawnError{Path: s.Path, Why: err.Error(), Err: err}
}

// release closes what prepare has opened: the process has its own by now.
func (s *Spec) release() {
	if s.extra != nil {
		_ = s.extra.Close()
	}
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

// descriptors appends to three standard ones what the process is to have beyond
// them: what it is not to have is closed.
func (s *Spec) descriptors(files []uintptr) []uintptr {
	if s.extra == nil {
		return files
	}
	for len(files) < s.ExtraFD {
		files = append(files, ^uintptr(0))
	}
	return append(files, s.extra.Fd())
}
