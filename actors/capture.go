package actors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/proctord/proctor/collector/capture"
	"github.com/proctord/proctor/collector/capture/forward"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
)

// A Capture keeps what collectors write, and reads it again. Its methods may be
// called from any goroutine.
type Capture struct {
	release  func() // lets others have the directory
	store    *capture.Store
	stateDir string
	stdout   *shared
	stderr   *shared

	// Leaf I/O, made once for all collectors that have them: a collector's actor
	// only looks them up.
	mu         sync.Mutex
	forwarders map[string]*forward.Forwarder
	copies     map[string][]string // to whom those of each collector go: what nobody has any more is let go of
	leaving    sync.WaitGroup      // forwarders that give out what they still have
	host       platform.Host       // starts the programs that are given output; nil: no supervisor has come yet
}

// OpenCapture opens the place where output is kept: a directory that is made if
// need be, and that no other supervisor may use at the same time. Stdout and
// stderr are where output is shown of collectors whose Output.Also has "inherit";
// nil: nowhere.
func OpenCapture(stateDir string, stdout, stderr io.Writer) (*Capture, error) {
	release, err := platform.LockFile(filepath.Join(stateDir, "lock"))
	var held *platform.LockedError
	if errors.As(err, &held) {
		return nil, &messages.Error{Op: "capture output", Kind: messages.IO, Err: err,
			Text: fmt.Sprintf("another supervisor keeps its collectors' output in %s; end it, or name another directory with --state-dir or state_dir", stateDir)}
	} else if err != nil { // a directory that cannot be written to keeps no collector from running
		release = func() {}
	}
	store, err := capture.Open(capture.Options{Dir: capture.RunDir(stateDir)})
	if err != nil {
		release()
		return nil, &messages.Error{Op: "capture output", Kind: messages.IO, Err: err}
	}
	return &Capture{
		release: release, store: store, stateDir: stateDir, stdout: newShared(stdout), stderr: newShared(stderr),
		forwarders: map[string]*forward.Forwarder{}, copies: map[string][]string{},
	}, nil
}

// StateDir is the directory that it was opened with.
func (c *Capture) StateDir() string { return c.stateDir }

// StopForwarding gives what collectors wrote last to those who are given copies, as
// far as they take it within some seconds, and lets go of them. It is for when all
// collectors have ended, and comes before the host is closed that has started the
// programs among them. Close does it, too.
func (c *Capture) StopForwarding() {
	c.mu.Lock()
	all := c.forwarders
	c.forwarders, c.copies = map[string]*forward.Forwarder{}, map[string][]string{}
	c.mu.Unlock()
	for _, f := range all {
		c.leaving.Go(func() { _ = f.Close() })
	}
	c.leaving.Wait()
}

// giveTo says who is given copies of what a collector writes from now on; nobody,
// where it has been removed. It lets go of whom no collector has any more.
func (c *Capture) giveTo(id string, also []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.copies[id]
	if slices.Equal(before, also) { // as with every further process of a collector
		return
	}
	if c.copies[id] = also; len(also) == 0 {
		delete(c.copies, id)
	}
	for _, address := range before {
		used := false
		for _, others := range c.copies {
			used = used || slices.Contains(others, address)
		}
		if f := c.forwarders[address]; f != nil && !used {
			delete(c.forwarders, address)
			c.leaving.Go(func() { _ = f.Close() })
		}
	}
}

// happened takes in an event of the supervisor.
func (c *Capture) happened(e messages.Event) {
	if _, removed := e.Fact.(messages.Removed); removed {
		c.giveTo(e.ID, nil)
	}
}

// Close stores what there still is, and releases everything. The error says what
// could not be stored.
func (c *Capture) Close() error {
	err := c.store.Close()
	c.StopForwarding()
	c.stdout.flush(time.Second)
	c.stderr.flush(time.Second)
	c.release()
	return err
}

// LastLines are the last lines that one process of a collector has written, both
// streams in order: that with this incarnation number, from then on. It blocks.
func (c *Capture) LastLines(id string, incarnation uint64, from time.Time, lines int) []string {
	var all []string
	// A record has the time when it was read, which may be before the start is known.
	q := capture.Query{Run: incarnation, Since: from.Add(-time.Second), Last: lines}
	for r, err := range c.Logs(context.Background(), []string{id}, q) { //nolint:forbidigo // it reads what is there, and waits for nobody
		if err == nil && r.Gap == nil {
			all = append(all, strings.Split(string(r.Text), "\n")...)
		}
	}
	return all
}

// OwnLog is where the log of the program itself can be written: a file, rotated
// as output is. Writing to it never blocks.
func (c *Capture) OwnLog(path string) io.Writer {
	return c.store.Writer("log", capture.Settings{Path: path})
}

// startsWith has the programs that are given output started by h.
func (c *Capture) startsWith(h platform.Host) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.host = h
}

// record makes the recording of one process. It is called by a collector's actor.
func (c *Capture) record(id string, incarnation uint64, cfg config.Collector, notify func(capture.Notice), watch capture.Forwarder) *capture.Recording {
	o := cfg.Output.WithDefaults()
	if o.Target == config.OutputInherit {
		c.giveTo(id, nil)
		return nil
	}
	set := SettingsOf(o, id, c.stateDir)
	set.Notify = notify
	c.giveTo(id, o.Also)
	for _, also := range o.Also {
		if f := c.forwarder(also); f != nil {
			set.Also = append(set.Also, f)
		}
	}
	if watch != nil {
		set.Also = append(set.Also, watch)
	}
	return c.store.Begin(id, incarnation, set)
}

// SettingsOf is how the output of the collector with this id is captured.
func SettingsOf(o config.Output, id, stateDir string) capture.Settings {
	o = o.WithDefaults()
	set := capture.Settings{
		Target: capture.Target(o.Target), Path: o.PathOf(id, stateDir),
		MaxSize: int64(o.MaxSizeMB) << 20, MaxFiles: o.MaxFiles, MaxAge: time.Duration(max(o.MaxAgeDays, 0)) * 24 * time.Hour,
		Compress: capture.Compression(o.Compress), Format: capture.Format(o.Format),
		Timestamps: o.Timestamps == config.On, Together: o.Streams == config.StreamsTogether, Lossless: o.Lossless == config.On,
		MaxLine: o.MaxLineKB << 10, RateLimit: max(o.RateLimit, 0), TailLines: o.TailLines,
	}
	for _, expression := range o.Mask {
		if re, err := regexp.Compile(expression); err == nil { // the configuration is valid
			set.Masks = append(set.Masks, re)
		}
	}
	if o.MultilineStart != "" {
		set.Multiline, _ = regexp.Compile(o.MultilineStart)
	}
	return set
}

// forwarder is who is given a copy.
func (c *Capture) forwarder(also string) capture.Forwarder {
	if also == config.AlsoInherit {
		return shown{c}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.forwarders[also]; f != nil {
		return f
	}
	f, err := forward.Of(also, c.host)
	if err != nil {
		return nil // the configuration is valid
	}
	c.forwarders[also] = f
	return f
}

// shown shows records on the program's own output.
type shown struct{ c *Capture }

func (s shown) Forward(r capture.Record) {
	if r.Stream == capture.Stderr {
		s.c.stderr.line(r.Text, r.Partial)
	} else {
		s.c.stdout.line(r.Text, r.Partial)
	}
}

// sharedLimit is how many bytes wait for somebody who reads them slowly.
const sharedLimit = 1 << 20

// A shared is an output that several write to, none of whom waits for it: not
// for a terminal that was stopped, nor for a pipe that is full. What there is no
// room for is dropped, and it says how much that was. It has a goroutine while
// there is something to be written.
type shared struct {
	w io.Writer

	mu      sync.Mutex // leaf I/O
	buffer  []byte
	spare   []byte
	writing bool
	missed  uint64
	idle    *sync.Cond
}

func newShared(w io.Writer) *shared {
	if f, ok := w.(*os.File); ok && f == nil {
		w = nil
	}
	s := &shared{w: w}
	s.idle = sync.NewCond(&s.mu)
	return s
}

func (s *shared) line(text []byte, partial bool) {
	if s.w == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.buffer)+len(text) > sharedLimit {
		s.missed++
		return
	}
	if s.missed > 0 {
		s.buffer = fmt.Appendf(s.buffer, "proctor: %d lines are not shown here, as they came too fast; see proctor logs\n", s.missed)
		s.missed = 0
	}
	s.buffer = append(s.buffer, text...)
	if !partial {
		s.buffer = append(s.buffer, '\n')
	}
	if !s.writing {
		s.writing = true
		go s.write()
	}
}

func (s *shared) write() {
	s.mu.Lock()
	for len(s.buffer) > 0 {
		batch := s.buffer
		s.buffer, s.spare = s.spare[:0], nil
		s.mu.Unlock()
		_, _ = s.w.Write(batch) // nobody may be there any more: it is kept all the same
		s.mu.Lock()
		s.spare = batch[:0]
	}
	s.writing = false
	s.idle.Broadcast()
	s.mu.Unlock()
}

// flush waits until all is written, but not for ever.
func (s *shared) flush(patience time.Duration) {
	done := make(chan struct{})
	go func() {
		s.mu.Lock()
		for s.writing {
			s.idle.Wait()
		}
		s.mu.Unlock()
		close(done)
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
