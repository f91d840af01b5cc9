package cmd

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/proctord/proctor/messages"
	"github.com/spf13/cobra"
)

func (a *app) whyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "why ID…",
		Short: "Tell why collectors are as they are: their last runs, and what led to what",
		Long: `Why tells the story of each collector's last runs, the newest first: who or what
started a process, how it ended, what it used, what it wrote last, and which rule
decided what followed. It knows of earlier lives of the supervisor, and of collectors
that were removed. Records are kept in the state directory.
` + exitStatus,
		Example:           "  proctor why web-1\n  proctor why web-1 -n 1\n  proctor why web-1 -n 0 -o json | jq '.collectors[0].runs[].end'",
		ValidArgsFunction: a.completeIDs(nil),
	}
	all := allFlag(c)
	last := c.Flags().IntP("last", "n", 3, "the last so many runs; 0: all that there are records of")
	c.Args = needIDs(all)
	c.RunE = a.remote(func(c *call, args []string) error {
		if *last < 0 {
			return errors.New("why -n: it is a number of runs, or 0 for all of them")
		}
		t, err := c.resolve(args, *all, false)
		if err != nil {
			return err
		}
		type document struct {
			ID   string        `json:"id"`
			Runs []runDocument `json:"runs"`
		}
		documents, stories := []document{}, []string{}
		var failure error
		for _, id := range t.ids {
			asked := *last
			if asked > 0 {
				asked++ // the one before says what has changed
			}
			runs, err := c.Runs(c.ctx, id, asked)
			if err != nil {
				err = c.unreachable(c.explain(err))
				failure = worse(failure, err)
				c.complain(err)
				continue
			}
			d := document{id, []runDocument{}}
			if len(runs) == 0 {
				stories = append(stories, id+" has not run yet\n")
			}
			for i := range runs {
				if *last > 0 && i == *last {
					break
				}
				var before *messages.Run
				if i+1 < len(runs) {
					before = &runs[i+1]
				}
				d.Runs = append(d.Runs, runOf(runs[i]))
				stories = append(stories, c.story(runs[i], before))
			}
			documents = append(documents, d)
		}
		switch {
		case c.structured():
			err = c.print(map[string]any{"collectors": documents})
		case len(stories) > 0:
			err = c.write([]byte(strings.Join(stories, "\n")))
		}
		if failure != nil {
			return told(failure)
		}
		return err
	})
	return c
}

// story tells of one run.
func (c *call) story(r messages.Run, before *messages.Run) string {
	var b strings.Builder
	color, width := c.colored(c.stdout), c.width()
	say := func(format string, args ...any) {
		b.WriteString(indented(fmt.Sprintf(format, args...), 2, width))
	}
	if r.Unreadable != "" {
		_, _ = fmt.Fprintf(&b, "%s, a run of %s\n", paint(color, bold, r.ID), clock(r.StartedAt))
		say("Its record is unreadable: %s.", r.Unreadable)
		return b.String()
	}
	head := fmt.Sprintf("%s, run %d", paint(color, bold, r.ID), r.Incarnation)
	switch {
	case r.PID == 0:
		head += fmt.Sprintf(", tried %s, %s", clock(r.StartedAt), c.ago(r.StartedAt))
	case r.End == messages.EndNone:
		head += fmt.Sprintf(" with pid %d, since %s, up %s", r.PID, clock(r.StartedAt), duration(max(c.now().Sub(r.StartedAt), 0)))
	case r.Exit != nil:
		head += fmt.Sprintf(" with pid %d, from %s for %s, until %s", r.PID, clock(r.StartedAt), duration(r.Exit.Ran), c.ago(r.Exit.At))
	default:
		head += fmt.Sprintf(" with pid %d, from %s", r.PID, clock(r.StartedAt))
	}
	b.WriteString(hanging("", 0, head, width))
	say("%s", beginning(r))
	if changed := changes(r, before); changed != "" {
		say("%s", changed)
	}
	say("%s", paint(color, endColor(r), ending(r)))
	if r.Decision != "" {
		say("What followed: %s.", strings.TrimSuffix(r.Decision, "."))
	}
	if r.Crash != 0 {
		say("Crash %d: proctor crashes show %d tells more.", r.Crash, r.Crash)
	}
	if e := r.Exit; e != nil && r.PID != 0 {
		say("It had used %s of processor time, and %s of memory at most.", duration(e.UserTime+e.SystemTime), bytesText(max(e.MaxRSS, e.MemoryPeak)))
		if len(e.Tail) > 0 && r.End != messages.EndOperator && r.End != messages.EndSupervisor {
			say("Its last lines:")
			for _, l := range e.Tail {
				b.WriteString("    " + string(appendHarmless(nil, []byte(l))) + "\n")
			}
		}
	}
	return b.String()
}

func beginning(r messages.Run) string {
	switch r.Trigger {
	case messages.TriggerCommand:
		return fmt.Sprintf("It was started by %s.", r.StartedBy)
	case messages.TriggerRestart:
		return "It was started by the restart policy, as the one before it had ended."
	}
	return "It was started with the supervisor, or by the program that the supervisor is part of."
}

// changes says what is not as it was for the run before.
func changes(r messages.Run, before *messages.Run) string {
	if before == nil {
		return ""
	}
	var what []string
	if r.BinarySHA256 != "" && before.BinarySHA256 != "" && r.BinarySHA256 != before.BinarySHA256 {
		what = append(what, "its binary")
	}
	if r.ConfigSHA256 != "" && before.ConfigSHA256 != "" && r.ConfigSHA256 != before.ConfigSHA256 {
		what = append(what, "its configuration")
	}
	switch len(what) {
	case 0:
		return ""
	case 1:
		return capital(what[0]) + " was another one than for the run before."
	}
	return capital(strings.Join(what, " and ")) + " were others than for the run before."
}

// ending says how a run ended, and who had a hand in it.
func ending(r messages.Run) string {
	if r.Exit == nil {
		switch r.End {
		case messages.EndNone:
			return "It goes on."
		case messages.EndSupervisor:
			return "Its end was not seen: the supervisor ended before it, by a fault or killed, and it with that."
		}
		return "It is over, and how it ended is not known."
	}
	e := *r.Exit
	by := "as was asked for"
	if r.EndedBy != "" {
		by = "as " + r.EndedBy + " had asked for"
	}
	var text string
	switch r.End {
	case messages.EndSpawn:
		return "There was no process: it " + e.String() + "."
	case messages.EndSupervisor:
		text = "It was ended since the supervisor was ending: " + e.String()
		if r.EndedBy != "" {
			text = "It was ended since the supervisor was ending, " + by + ": " + e.String()
		}
	case messages.EndOperator:
		text = "It was ended, " + by + ": " + e.String()
	case messages.EndOOM:
		text = "It was killed for lack of memory, at its limit or for want of any on this host"
	case messages.EndLimit:
		text = "It was killed at a limit of processor time or of a file's size: " + e.String()
		if e.Unhealthy != "" {
			text = "It was ended at a limit: " + e.Unhealthy
		}
	case messages.EndDependency:
		text = "It was ended, as " + r.Because + ": " + e.String()
	case messages.EndHang:
		text = "It was ended since it hung: " + e.Unhealthy
	case messages.EndSilence:
		text = "It was ended since nothing came of it: " + e.Unhealthy
	case messages.EndUnhealthy, messages.EndProbe:
		text = "It was ended since it did not work: " + e.Unhealthy
	case messages.EndFault:
		text = "It was ended by a fault of Proctor's own: " + e.Fault
	case messages.EndSignal:
		text = "It was ended by " + e.String() + ", which Proctor has not sent: by a fault of its own, by somebody else on this host, or by the kernel"
		switch e.Signal {
		case "SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP", "SIGSYS":
			text = "It crashed with " + e.String()
		case "SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT":
			text = "It was ended by " + e.String() + " from outside: Proctor has not sent it"
		}
	default:
		text = "It exited by itself with code " + fmt.Sprint(e.Code)
		if e.Code == 0 {
			text += ": nobody had asked Proctor to end it, and whether somebody else had asked it cannot be told"
		}
	}
	if e.Forced && (r.End == messages.EndOperator || r.End == messages.EndSupervisor) {
		text += "; it had to be killed"
		if e.Signal == "" {
			text += ", or what it had started"
		}
	}
	if e.OOMKills > 0 && r.End != messages.EndOOM {
		text += fmt.Sprintf("; %d of its processes had been killed for lack of memory", e.OOMKills)
	}
	if r.SignalledBy != "" {
		text += "; " + r.SignalledBy + " had sent it a signal through Proctor shortly before"
	}
	return text + "."
}

func endColor(r messages.Run) string {
	switch {
	case r.End == messages.EndNone:
		return good
	case r.Crash != 0 || r.End == messages.EndSpawn:
		return bad
	}
	return ""
}

// bytesText is a size for people.
func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

// A runDocument is the record of a run for programs.
type runDocument struct {
	ID           string           `json:"id"`
	Instance     string           `json:"instance"`
	Incarnation  uint64           `json:"incarnation"`
	PID          int              `json:"pid"`
	StartedAt    *time.Time       `json:"started_at"`
	Trigger      messages.Trigger `json:"trigger"`
	StartedBy    string           `json:"started_by"`
	Binary       string           `json:"binary"`
	BinarySHA256 string           `json:"binary_sha256"`
	ConfigSHA256 string           `json:"config_sha256"`
	End          messages.End     `json:"end"`
	EndedBy      string           `json:"ended_by"`
	SignalledBy  string           `json:"signalled_by"`
	Exit         *exitDocument    `json:"exit"`
	Decision     string           `json:"decision"`
	NextAt       *time.Time       `json:"next_at"`
	Crash        uint64           `json:"crash"`
	Unreadable   string           `json:"unreadable,omitempty"`
}

func runOf(r messages.Run) runDocument {
	return runDocument{
		ID: r.ID, Instance: r.Instance, Incarnation: r.Incarnation, PID: r.PID, StartedAt: moment(r.StartedAt),
		Trigger: r.Trigger, StartedBy: r.StartedBy, Binary: r.Binary, BinarySHA256: r.BinarySHA256, ConfigSHA256: r.ConfigSHA256,
		End: r.End, EndedBy: r.EndedBy, SignalledBy: r.SignalledBy, Exit: exitOf(r.Exit), Decision: r.Decision, NextAt: moment(r.NextAt),
		Crash: r.Crash, Unreadable: r.Unreadable,
	}
}
