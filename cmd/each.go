package cmd

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/messages"
	"github.com/spf13/cobra"
)

// patience is how long --no-wait waits for word that a command has been taken in
// hand. Of one that joins another there is none.
const patience = time.Second

// A change is a command that does the same to each of several collectors.
type change struct {
	verb string // "stop"
	ing  string // "stopping"

	// fits is whether there is something to do for one in this state; it is asked
	// for those that were not named, and to say what would be done.
	fits func(messages.Status) bool

	// idle says what one that it does not fit is already: "is not running".
	idle string

	// does carries it out for one, and returns what to print for people, and for
	// programs.
	does func(c *call, id string) (text string, document any, err error)

	// begun is which event says that the supervisor has taken it in hand. Nil: what
	// takes no time is waited for.
	begun func(messages.Event) bool

	// asks has the user asked before it is done to all.
	asks bool

	all    *bool
	noWait *bool
	dryRun *bool
	yes    *bool
}

// changeFlags adds what every change has.
func changeFlags(c *cobra.Command, ch *change) {
	ch.all = allFlag(c)
	ch.dryRun = c.Flags().Bool("dry-run", false, "only say what would be done")
	ch.yes, ch.noWait = new(bool), new(bool)
	if ch.asks {
		ch.yes = c.Flags().BoolP("yes", "y", false, "the answer to the question that a terminal is asked")
	}
	if ch.begun != nil {
		ch.noWait = c.Flags().Bool("no-wait", false, "return when it is begun")
		alias(c, "no-block", "no-wait")
	}
	if c.Args == nil {
		c.Args = needIDs(ch.all)
	}
}

// run does it.
func (ch *change) run(c *call, args []string) error {
	c.wholeGroups = !*ch.dryRun
	t, err := c.resolve(args, *ch.all, *ch.dryRun)
	if err != nil {
		return err
	}
	ids := t.ids
	if t.known != nil {
		ids = nil
		for _, id := range t.ids {
			if t.named[id] || ch.fits(t.known[id]) {
				ids = append(ids, id)
			}
		}
	}
	if len(ids) == 0 {
		return c.say(fmt.Sprintf("nothing to do: no collector to %s", ch.verb), map[string]any{"collectors": []any{}})
	}
	if *ch.dryRun {
		return ch.rehearse(c, ids, t)
	}
	if t.all && ch.asks {
		if err := c.confirm(*ch.yes, fmt.Sprintf("%s %d %s: %s?", capital(ch.verb), len(ids), plural(len(ids), "collector", "collectors"), abridged(ids))); err != nil {
			return err
		}
	}
	return ch.each(c, ids)
}

// rehearse says what would be done.
func (ch *change) rehearse(c *call, ids []string, t targets) error {
	type line struct {
		ID     string `json:"id"`
		Action string `json:"action"`
		State  string `json:"state"`
	}
	var lines []line
	var b strings.Builder
	var failure error
	for _, id := range ids {
		s, known := t.known[id]
		switch {
		case !known:
			err := c.explain(&messages.Error{Op: c.op, ID: id, Kind: messages.ProcessNotFound})
			c.complain(err)
			failure = worse(failure, err)
		case !ch.fits(s):
			lines = append(lines, line{id, "none", s.State.String()})
			_, _ = fmt.Fprintf(&b, "would not %s %s: it %s\n", ch.verb, id, orState(ch.idle, s.State))
		default:
			lines = append(lines, line{id, ch.verb, s.State.String()})
			_, _ = fmt.Fprintf(&b, "would %s %s, which is %s\n", ch.verb, id, stateWithPID(s))
		}
	}
	if err := c.say(strings.TrimSuffix(b.String(), "\n"), map[string]any{"dry_run": true, "collectors": list(lines)}); err != nil {
		return err
	}
	return told(failure)
}

func orState(idle string, state messages.State) string {
	if idle != "" {
		return idle
	}
	return "is " + state.String()
}

func stateWithPID(s messages.Status) string {
	if s.PID != 0 {
		return fmt.Sprintf("%v with pid %d", s.State, s.PID)
	}
	return s.State.String()
}

// each carries it out for each of them. All are tried; the first one that fails
// decides the exit code.
func (ch *change) each(c *call, ids []string) error {
	results, failure := ch.carryOut(c, ids)
	if c.structured() {
		var documents []any
		for _, r := range results {
			if r.err == nil {
				documents = append(documents, r.document)
			}
		}
		if err := c.print(map[string]any{"collectors": list(documents)}); err != nil {
			return err
		}
	}
	return told(failure)
}

// A changeDocument is a result for programs.
type changeDocument struct {
	ID      string        `json:"id"`
	PID     int           `json:"pid,omitempty"`
	Signal  string        `json:"signal,omitempty"`
	Exit    *exitDocument `json:"exit,omitempty"`
	Already bool          `json:"already,omitempty"` // it was so before
	Begun   bool          `json:"begun,omitempty"`   // it goes on
}

// A result is what became of a change of one collector.
type result struct {
	text     string
	document any
	err      error
}

// carryOut does it for all of them at the same time, and says what became of it,
// to people, and of what failed to programs too. The error is the first one.
func (ch *change) carryOut(c *call, ids []string) ([]result, error) {
	do := ch.does
	if *ch.noWait {
		do = ch.begin
	}
	results := make([]result, len(ids))
	pending := newPending(ids)
	stop := c.spin(func() string { return pending.text(ch.ing) })
	var all sync.WaitGroup
	free := make(chan struct{}, c.atOnce)
	for i, id := range ids {
		free <- struct{}{}
		all.Go(func() {
			text, document, err := do(c, id)
			results[i] = result{text, document, err}
			pending.done(id)
			<-free
		})
	}
	all.Wait()
	stop()
	var failure error
	for i, r := range results {
		if r.err != nil {
			err := c.unreachable(c.explain(c.interrupted(r.err)))
			results[i].err, failure = err, worse(failure, err)
			c.complain(err)
			continue
		}
		if !c.structured() {
			// A reader who went away does not undo what was done for the others.
			_ = c.say(r.text, nil)
		}
	}
	return results, failure
}

// begin sends the command, and returns when the supervisor has taken it in hand.
func (ch *change) begin(c *call, id string) (string, any, error) {
	events, err := c.Events(c.ctx)
	if err != nil {
		return "", nil, err
	}
	begun := make(chan struct{})
	go func() {
		for e := range events {
			if e.ID == id && ch.begun(e) {
				close(begun)
				return
			}
		}
	}()
	answered := make(chan result, 1)
	go func() {
		text, document, err := ch.does(c, id)
		answered <- result{text, document, err}
	}()
	select {
	case a := <-answered:
		return a.text, a.document, a.err
	case <-begun:
	case <-time.After(patience):
	}
	return fmt.Sprintf("%s: %s; proctor status %s tells how it goes", id, ch.ing, id), changeDocument{ID: id, Begun: true}, nil
}

// interrupted has an error say that what was begun goes on, where it was Ctrl-C
// that ended the waiting.
func (c *call) interrupted(err error) error {
	var e *messages.Error
	if c.ctx.Err() == nil || !errors.As(err, &e) || e.Kind != messages.Timeout {
		return err
	}
	see := "proctor status"
	if e.ID != "" {
		see += " " + e.ID
	}
	return &messages.Error{Op: e.Op, ID: e.ID, Kind: messages.Timeout, Text: "the waiting was interrupted; the command goes on: " + see}
}

// worse is the first failure.
func worse(before, err error) error {
	if before != nil {
		return before
	}
	return err
}

// told is the exit code of an error that has been printed already.
func told(err error) error {
	if err == nil {
		return nil
	}
	return exitError(exitCode(err))
}

// say prints a line for people, or a document for programs.
func (a *app) say(text string, document any) error {
	switch {
	case a.structured():
		return a.print(document)
	case a.quiet || text == "":
		return nil
	}
	return a.write([]byte(text + "\n"))
}

// complain prints an error: for programs, one document a line.
func (a *app) complain(err error) {
	if !a.structured() {
		_, _ = fmt.Fprintf(a.stderr, "proctor: %v\n", err)
		return
	}
	text, encodeErr := encode(map[string]any{"error": errorOf(err)}, false)
	if encodeErr == nil {
		_, _ = a.stderr.Write(text)
	}
}

func errorOf(err error) errorDocument {
	d := errorDocument{Code: messages.Internal.Code(), Category: messages.Internal.Category(), Message: err.Error()}
	var e *messages.Error
	switch {
	case errors.Is(err, actors.ErrNoSupervisor):
		d.Code = "NO_SUPERVISOR"
	case errors.As(err, &e):
		d.Code, d.Category = e.Kind.Code(), e.Kind.Category()
	case exitCode(err) == exitUsage:
		d.Code, d.Category = "USAGE", "configuration"
	}
	if e != nil {
		d.Collector = e.ID
	}
	return d
}

// pending are the collectors for which there is no answer yet.
type pending struct {
	mu  sync.Mutex // between those that wait and the one that draws
	ids []string
}

func newPending(ids []string) *pending { return &pending{ids: append([]string(nil), ids...)} }

func (p *pending) done(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.ids {
		if other == id {
			p.ids = append(p.ids[:i], p.ids[i+1:]...)
			return
		}
	}
}

func (p *pending) text(ing string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return ing + " " + abridged(p.ids) + ""
}

func abridged(ids []string) string {
	if len(ids) > 5 {
		return fmt.Sprintf("%s and %d more", strings.Join(ids[:4], ", "), len(ids)-4)
	}
	return strings.Join(ids, ", ")
}

func capital(word string) string { return strings.ToUpper(word[:1]) + word[1:] }
