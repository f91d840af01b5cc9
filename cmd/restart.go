package cmd

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/proctord/proctor/messages"
	"github.com/spf13/cobra"
)

func (a *app) restartCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "restart ID…",
		Short: "Stop collectors where needed, and start them",
		Long: `Restart stops each collector, if it runs, and starts it again; it returns when
each runs. If one does not end, nothing is started in its place.

With --rolling it takes them one after the other, or N at a time, and goes on only
when these run again and have done so for a second: after a failure the rest is
left as it is.
` + exitStatus,
		Example: `  proctor restart web-1
  proctor restart 'web-*' --rolling
  proctor restart --all --rolling=4`,
		ValidArgsFunction: a.completeIDs(nil),
	}
	timeout := timeoutFlag(c)
	rolling := rollingFlag(c)
	ch := restarting(timeout, func(messages.Status) bool { return true })
	changeFlags(c, ch)
	c.RunE = a.remote(func(c *call, args []string) error {
		if rolling.n > 0 {
			return ch.rolling(c, args, rolling.n)
		}
		return ch.run(c, args)
	})
	return c
}

func (a *app) tryRestartCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "try-restart ID…",
		Aliases: []string{"condrestart"},
		Short:   "Restart those collectors that run",
		Long: `Try-restart is restart for those collectors that run; the others are left as they
are, and that is no error.
` + exitStatus,
		Example:           `  proctor try-restart 'web-*'`,
		ValidArgsFunction: a.completeIDs(up),
	}
	timeout := timeoutFlag(c)
	rolling := rollingFlag(c)
	ch := restarting(timeout, up)
	changeFlags(c, ch)
	c.RunE = a.remote(func(c *call, args []string) error {
		ids, err := c.running(args, *ch.all)
		if err != nil {
			return err
		}
		if len(ids) == 0 {
			return c.say("nothing to do: none of them runs", map[string]any{"collectors": []any{}})
		}
		if *ch.dryRun || rolling.n == 0 {
			*ch.all = false
			return ch.run(c, ids)
		}
		return ch.rolling(c, ids, rolling.n)
	})
	return c
}

func restarting(timeout *durationValue, fits func(messages.Status) bool) *change {
	return &change{
		verb: "restart", ing: "restarting", fits: fits, idle: "does not run",
		begun: stateBecomes(messages.Stopping, messages.Starting, messages.Running),
		does: func(c *call, id string) (string, any, error) {
			pid, err := c.Restart(c.ctx, id, timeout.d)
			text := fmt.Sprintf("%s: restarted with pid %d", id, pid)
			if isGroup(id) {
				text = id + ": restarted"
			}
			return text, changeDocument{ID: id, PID: pid}, err
		},
	}
}

func up(s messages.Status) bool {
	return s.State == messages.Running || s.State == messages.Paused || s.State == messages.Starting
}

// running are those of the collectors that are meant that run. An id that is not
// known is an error.
func (c *call) running(args []string, all bool) ([]string, error) {
	t, err := c.resolve(args, all, true)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, id := range t.ids {
		s, known := t.known[id]
		switch {
		case !known:
			return nil, c.explain(&messages.Error{Op: c.op, ID: id, Kind: messages.ProcessNotFound})
		case up(s):
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// rollingValue is the flag --rolling, with or without a number.
type rollingValue struct{ n int }

func rollingFlag(c *cobra.Command) *rollingValue {
	v := &rollingValue{}
	c.Flags().Var(v, "rolling", "N at a time, and the next ones only when these run again")
	c.Flags().Lookup("rolling").NoOptDefVal = "1"
	return v
}

func (v *rollingValue) String() string {
	if v.n == 0 {
		return ""
	}
	return strconv.Itoa(v.n)
}

func (v *rollingValue) Set(text string) (err error) {
	if v.n, err = strconv.Atoi(text); err != nil || v.n < 1 {
		return fmt.Errorf("it is how many at a time: 1 or more")
	}
	return nil
}

func (v *rollingValue) Type() string { return "N" }

// settled is how long a collector has to run before the next ones are restarted.
const settled = time.Second

// rolling restarts n at a time.
func (ch *change) rolling(c *call, args []string, n int) error {
	t, err := c.resolve(args, *ch.all, *ch.dryRun)
	if err != nil {
		return err
	}
	if len(t.ids) == 0 {
		return c.say("nothing to do: no collector is known", map[string]any{"collectors": []any{}})
	}
	if *ch.dryRun {
		return ch.rehearse(c, t.ids, t)
	}
	var documents []any
	for at := 0; at < len(t.ids); at += n {
		batch := t.ids[at:min(at+n, len(t.ids))]
		err := ch.batch(c, batch, &documents)
		if err == nil {
			err = c.keepRunning(batch)
			if err != nil {
				c.complain(err)
				err = told(err)
			}
		}
		if err != nil {
			if rest := t.ids[min(at+n, len(t.ids)):]; len(rest) > 0 && !c.structured() {
				_, _ = fmt.Fprintf(c.stderr, "proctor: left as they are: %s\n", strings.Join(rest, ", "))
			}
			if c.structured() {
				if printErr := c.print(map[string]any{"collectors": list(documents)}); printErr != nil {
					return printErr
				}
			}
			return err
		}
	}
	if c.structured() {
		return c.print(map[string]any{"collectors": list(documents)})
	}
	return nil
}

// batch restarts some at the same time; their documents are kept for later.
func (ch *change) batch(c *call, ids []string, documents *[]any) error {
	results, failure := ch.carryOut(c, ids)
	for _, r := range results {
		if r.err == nil {
			*documents = append(*documents, r.document)
		}
	}
	return told(failure)
}

// keepRunning waits until all of them have run for a while, each with one process.
func (c *call) keepRunning(ids []string) error {
	events, err := c.Events(c.ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		s, err := c.Status(c.ctx, id)
		if err != nil {
			return err
		}
		if s.State != messages.Running {
			return notUp(id, s.State, s.Reason)
		}
	}
	ctx, cancel := context.WithTimeout(c.ctx, settled)
	defer cancel()
	failure := make(chan error, 1)
	go func() {
		for e := range events {
			changed, ok := e.Fact.(messages.StateChanged)
			if !ok || changed.To == messages.Running {
				continue
			}
			for _, id := range ids {
				if e.ID == id {
					failure <- notUp(id, changed.To, changed.Reason)
					return
				}
			}
		}
	}()
	stop := c.spin(func() string { return "waiting whether " + abridged(ids) + " keeps running" })
	defer stop()
	select {
	case err := <-failure:
		return err
	case <-ctx.Done():
		if c.ctx.Err() != nil {
			return &messages.Error{Op: "restart", ID: ids[0], Kind: messages.Timeout, Text: "the waiting was interrupted; no more are restarted", Err: c.ctx.Err()}
		}
		return nil
	}
}

func notUp(id string, state messages.State, reason string) error {
	text := "it was restarted, and is " + state.String()
	if reason != "" {
		text += ": " + reason
	}
	return &messages.Error{Op: "restart", ID: id, Kind: messages.SpawnFailed, State: state, Text: text}
}
