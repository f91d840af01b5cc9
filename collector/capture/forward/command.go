package forward

import (
	"bytes"
	"errors"
	"os"
	"sync/atomic"
	"time"

	"github.com/proctord/proctor/collector/capture"
	"github.com/proctord/proctor/platform"
)

// steady is how long a program has to run to count as one that does its work.
const steady = 10 * time.Second

// Command gives records to the standard input of a program, a JSON object a line
// as in a file. It is started when the first record comes. When it ends it is
// started again, after a pause that grows as long as it does not run for a while;
// the next one gets what it has not read, where the system can tell.
func Command(command []string, host platform.Host) *Forwarder {
	p := &program{host: host, spec: platform.Spec{
		Label: command[0] + "@also", // which no collector is called
		Path:  command[0], Args: command[1:], Env: os.Environ(), Stdout: os.Stderr, Stderr: os.Stderr,
	}}
	f := newForwarder(p)
	p.poke = func() {
		select {
		case f.poke <- struct{}{}:
		default:
		}
	}
	return f
}

type program struct {
	host platform.Host
	spec platform.Spec
	poke func() // has send called, although nothing has come

	life  *life     // nil: it does not run
	quick int       // how often in a row it has ended soon
	again time.Time // it is not started before
	rest  []byte    // what has been taken over and is not written yet
}

// A life is one process of a program, from its start to its end.
type life struct {
	began   time.Time
	in, out *os.File // we write, it reads
	process platform.Process
	spawned chan error
	dead    atomic.Bool
	gone    chan struct{} // closed when nothing that it started is left
}

// Why nothing can be written.
var (
	errEnded = errors.New("the program has ended")
	errPause = errors.New("the program has ended just now")
)

func (p *program) send(batch []capture.Record) (done, lost int, err error) {
	if p.life != nil && p.life.dead.Load() {
		p.bury()
	}
	if p.life == nil {
		if len(batch) == 0 && len(p.rest) == 0 {
			return 0, 0, nil
		}
		if err := p.start(); err != nil {
			return 0, 0, err
		}
	}
	if len(p.rest) == 0 {
		for _, r := range batch {
			line, err := r.MarshalJSON()
			if err != nil {
				return 0, 0, err
			}
			p.rest = append(append(p.rest, line...), '\n')
		}
		done = len(batch)
	}
	return done, 0, p.write()
}

func (p *program) start() error {
	if time.Now().Before(p.again) {
		return errPause
	}
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	l := &life{began: time.Now(), in: in, out: out, spawned: make(chan error, 1), gone: make(chan struct{})}
	spec := p.spec
	spec.Stdin = out
	notices := make(chan platform.Notice, 4) // there are three at most
	l.process = p.host.Start(spec, func(n platform.Notice) { notices <- n })
	go l.watch(notices, p.poke)
	if err := <-l.spawned; err != nil {
		_, _ = in.Close(), out.Close()
		p.failed(l)
		return err
	}
	if !inheritsRest {
		_ = out.Close()
	}
	p.life = l
	return nil
}

// watch hears of the process until nothing of it is left.
func (l *life) watch(notices <-chan platform.Notice, poke func()) {
	for n := range notices {
		switch n.Kind {
		case platform.Spawned:
			l.spawned <- nil
		case platform.SpawnFailed:
			l.spawned <- n.Err
			return
		case platform.Exited:
			l.process.Kill() // what it has left behind
		case platform.Emptied:
			l.dead.Store(true)
			close(l.gone)
			_ = l.in.SetWriteDeadline(time.Unix(1, 0)) // nobody reads
			poke()
			return
		}
	}
}

// failed says when it may be started again.
func (p *program) failed(l *life) {
	if time.Since(l.began) >= steady {
		p.quick = 0
	}
	wait := min(firstWait<<min(p.quick, 10), longWait)
	p.quick++
	p.again = time.Now().Add(wait)
	time.AfterFunc(wait, p.poke)
}

// bury takes back what a process that has ended has not read. A line of which it
// has read a part has ended with it.
func (p *program) bury() {
	if inheritsRest {
		p.rest = append(unread(p.life.out), p.rest...)
		_ = p.life.out.Close()
	}
	_ = p.life.in.Close()
	if !bytes.HasPrefix(p.rest, recordHead) {
		p.rest = p.rest[bytes.IndexByte(p.rest, '\n')+1:]
	}
	p.failed(p.life)
	p.life = nil
}

// recordHead is how every record begins, as JSON, and what is in one does not.
var recordHead = []byte(`{"time":"`)

// write gives it what it takes within some time.
func (p *program) write() error {
	l := p.life
	_ = l.in.SetWriteDeadline(time.Now().Add(patience))
	if l.dead.Load() { // before or after the deadline was set
		return errEnded
	}
	n, err := l.in.Write(p.rest)
	if p.rest = p.rest[n:]; len(p.rest) == 0 {
		p.rest = nil
	}
	return err
}

func (p *program) close() {
	l := p.life
	if l == nil {
		return
	}
	if !l.dead.Load() {
		_ = p.write()
	}
	_ = l.in.Close() // the end of its input: it is to end
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-l.gone:
	case <-timer.C:
		l.process.Kill()
		<-l.gone
	}
	if inheritsRest {
		_ = l.out.Close()
	}
	p.life = nil
}
