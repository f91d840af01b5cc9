package procmond

import (
	"context"
	"errors"
	"io/fs"
	"runtime"
	"syscall"
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

// profile is what can be said of a process beside its numbers.
type profile struct {
	Name    string   `json:"name,omitempty"`
	Exe     string   `json:"exe,omitempty"`
	UID     *uint32  `json:"uid,omitempty"`  // the effective one
	User    string   `json:"user,omitempty"` // on Windows, which has no numbers
	CmdLine []string `json:"cmdline,omitempty"`
}

// entry is a process that is alive as far as has been reported.
type entry struct {
	profile
	ppid int32

	// created is when the system says that the process was created, in milliseconds since 1970, zero if it did not
	// say. With the pid it identifies a process: pids are used again.
	created int64

	// seen is when a process that is still being made was seen first.
	seen time.Time

	// began is the same as exactly as we know it, for lifetimes.
	began time.Time
}

// formingTime is how long a process may be without a command line, because it is
// still being made, until it is announced without one.
const formingTime = time.Second

// differs reports whether a process that has the pid of e and was created at created is another one than e.
func (e *entry) differs(created int64) bool {
	switch {
	case created == 0:
		return false // the system does not say; then the pid has to do
	case e.created != 0:
		return created != e.created
	case e.began.IsZero():
		return false
	}
	// Of a process that the connector announced we know the time of the fork by another clock. On Linux the times that
	// creation is computed from are whole seconds (boot) and hundredths.
	gap := time.UnixMilli(created).Sub(e.began).Abs()
	return gap > 2*time.Second
}

// scan reads who is alive, and reports what came and went since what was known. The first scan reports nothing.
//
// A list that cannot be read is one error line, and what was known stays known: it is no sign that everything died.
func (m *monitor) scan(ctx context.Context) error {
	begin := time.Now()
	pids, err := m.list(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return m.out.Failure(err)
	}

	first := m.live == nil
	if first {
		m.live = make(map[int32]*entry, len(pids))
	}
	present := make(map[int32]bool, len(pids))
	forming := map[int32]*entry{}
	for _, pid := range pids {
		if ctx.Err() != nil {
			return nil // half a list: what is not in it may well be alive
		}
		if m.ended != nil && m.ended(pid) {
			continue
		}
		p := &process.Process{Pid: pid}
		created, err := p.CreateTimeWithContext(ctx)
		if isGone(err) {
			continue
		}
		if err != nil {
			created = 0 // some processes of Windows may not even be asked
		}
		present[pid] = true

		known := m.live[pid]
		if known != nil {
			if !known.differs(created) {
				continue
			}
			if err := m.writeExit(time.Now(), pid, known, ending{}); err != nil {
				return err
			}
		}
		e := &entry{created: created, ppid: parent(ctx, p), profile: describe(ctx, p, m.opts.CommandLines)}
		if created != 0 {
			e.began = time.UnixMilli(created)
		}
		if first {
			m.live[pid] = e
			continue
		}
		// What was not there at the last scan began after it, whatever rounding made of its creation time.
		now := time.Now()
		if e.began.Before(m.scanned) {
			e.began = m.scanned
		}
		if e.began.After(now) {
			e.began = now
		}
		e.seen = now
		if held := m.forming[pid]; held != nil && !held.differs(created) {
			e.seen, e.began = held.seen, held.began
		}
		if m.opts.CommandLines && len(e.CmdLine) == 0 && now.Sub(e.seen) < formingTime { // later: it really has none, as a kernel thread
			forming[pid] = e
			continue
		}
		m.live[pid] = e
		if err := m.writeStart(now, pid, e); err != nil {
			return err
		}
	}
	for pid, e := range m.live {
		if present[pid] {
			continue
		}
		delete(m.live, pid)
		if err := m.writeExit(time.Now(), pid, e, ending{}); err != nil {
			return err
		}
	}
	m.scanned, m.forming = begin, forming
	return nil
}

func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) || errors.Is(err, process.ErrorProcessNotRunning)
}

func parent(ctx context.Context, p *process.Process) int32 {
	ppid, err := p.PpidWithContext(ctx)
	if err != nil {
		return 0
	}
	return ppid
}

// describe asks the system about a process. What it does not answer stays empty: the process may be gone by now, may
// belong to somebody else, or, as a kernel thread, has no program.
func describe(ctx context.Context, p *process.Process, commandLine bool) profile {
	var d profile
	d.Name, _ = p.NameWithContext(ctx)
	d.Exe, _ = p.ExeWithContext(ctx)
	if runtime.GOOS == "windows" {
		d.User, _ = p.UsernameWithContext(ctx)
	} else if uids, err := p.UidsWithContext(ctx); err == nil && len(uids) > 0 {
		// Real, effective, saved; macOS gives the effective one only.
		d.UID = &uids[min(1, len(uids)-1)]
	}
	if commandLine {
		d.CmdLine, _ = p.CmdlineSliceWithContext(ctx)
	}
	return d
}
