package cmd

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/proctord/proctor/messages"
	"github.com/spf13/cobra"
)

func (a *app) crashesCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "crashes [ID]",
		Aliases: []string{"crash"},
		Short:   "Show what has crashed, each kind of crash once",
		Long: `Crashes lists the unexpected ends of collectors, the last first. What ended in the
same way, by the program, its signal or exit code, and the top of the trace in its
output (of Go, Python, Java or Rust), is one crash that is counted.
` + exitStatus,
		Example:           "  proctor crashes\n  proctor crashes web-1\n  proctor crashes show 7",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeIDs(nil),
	}
	c.RunE = a.remote(func(c *call, args []string) error {
		crashes, err := c.Crashes(c.ctx, strings.Join(args, ""))
		if err != nil {
			return c.explain(err)
		}
		if c.structured() {
			documents := []crashDocument{}
			for _, crash := range crashes {
				documents = append(documents, crashOf(crash))
			}
			return c.print(map[string]any{"crashes": documents})
		}
		if len(crashes) == 0 {
			return c.write([]byte(indented("nothing has crashed, as far as there are records", 0, c.width())))
		}
		rows, notes := make([][]string, len(crashes)), make([]string, len(crashes))
		for i, crash := range crashes {
			rows[i] = []string{fmt.Sprint(crash.Number), crash.ID, fmt.Sprint(crash.Count), c.ago(crash.Last), c.ago(crash.First)}
			notes[i] = crashText(crash)
		}
		return c.write([]byte(tabulate([]column{{"CRASH", 0}, {"ID", 0}, {"COUNT", 0}, {"LAST", 1}, {"FIRST", 2}}, rows, "WHAT", notes, c.width())))
	})
	c.AddCommand(a.showCrashCommand())
	return c
}

func (a *app) showCrashCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show NUMBER",
		Short: "Show all that is known about a crash",
		Long: `Show tells all that is known about a crash at the last time that it came: how it
ended, where its core dump is, its trace and last lines, and what else failed within
a minute of it.
` + exitStatus,
		Example: "  proctor crashes show 7\n  proctor crashes show 7 -o json",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%s needs the number of one crash; \"proctor crashes\" lists them", c.CommandPath())
			}
			return nil
		},
		RunE: func(cc *cobra.Command, args []string) error {
			number, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return fmt.Errorf("%s: it is not the number of a crash; \"proctor crashes\" lists them", args[0])
			}
			return a.remote(func(c *call, _ []string) error {
				crash, err := c.Crash(c.ctx, number)
				if err != nil {
					return err
				}
				if c.structured() {
					return c.print(map[string]any{"crashes": []crashDocument{crashOf(crash)}})
				}
				return c.write([]byte(c.describeCrash(crash)))
			})(cc, args)
		},
	}
}

// crashText is a crash in one line.
func crashText(crash messages.Crash) string {
	text := crash.Program + ": " + crash.What
	if crash.Reason != "" {
		text += ": " + crash.Reason
	}
	if len(crash.Trace) > 0 {
		text += ", in " + crash.Trace[0]
	}
	return string(appendHarmless(nil, []byte(text)))
}

func (c *call) describeCrash(crash messages.Crash) string {
	color, width := c.colored(c.stdout), c.width()
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "%s %s of %s\n", paint(color, bad, "●"), paint(color, bold, fmt.Sprintf("crash %d", crash.Number)), crash.ID)
	line := func(label, what string) {
		if what != "" {
			b.WriteString(hanging(fmt.Sprintf("%*s: ", labelWidth-2, label), labelWidth, string(appendHarmless(nil, []byte(what))), width))
		}
	}
	line("What", crash.Program+": "+crash.What)
	line("Reason", crash.Reason)
	times := fmt.Sprintf("%s, %s", clock(crash.Last), c.ago(crash.Last))
	if crash.Count > 1 {
		times += fmt.Sprintf("; %d times since %s", crash.Count, clock(crash.First))
	}
	line("Last", times)
	line("Process", fmt.Sprintf("pid %d, after %s; %s of processor time, %s of memory at most", crash.Exit.PID, duration(crash.Exit.Ran), duration(crash.Exit.UserTime+crash.Exit.SystemTime), bytesText(max(crash.Exit.MaxRSS, crash.Exit.MemoryPeak))))
	if crash.Core.Path != "" {
		line("Core dump", fmt.Sprintf("%s, %s", crash.Core.Path, bytesText(crash.Core.Size)))
	}
	line("Core dumps", crash.Core.Note)
	line("Fingerprint", crash.Fingerprint)
	if len(crash.Trace) > 0 {
		b.WriteString("\nIt was in (" + crash.Language + "):\n")
		for _, frame := range crash.Trace {
			b.WriteString("  " + string(appendHarmless(nil, []byte(frame))) + "\n")
		}
	}
	if len(crash.Usage) > 0 {
		b.WriteString("\nWhat it used in its last minute:\n")
		for _, u := range crash.Usage {
			_, _ = fmt.Fprintf(&b, "  %s before: %s\n", duration(crash.Last.Sub(u.At)), usedText(u))
		}
	}
	if len(crash.Others) > 0 {
		b.WriteString("\nWithin a minute of it:\n")
		for _, o := range crash.Others {
			_, _ = fmt.Fprintf(&b, "  %s, %s: %s\n", o.ID, clock(o.At), o.What)
		}
	}
	if len(crash.Output) > 0 {
		b.WriteString("\nIts last lines:\n")
		for _, l := range crash.Output {
			b.WriteString("  " + string(appendHarmless(nil, []byte(l))) + "\n")
		}
	}
	return b.String()
}

// A crashDocument is a crash report for programs.
type crashDocument struct {
	Number      uint64               `json:"number"`
	Fingerprint string               `json:"fingerprint"`
	ID          string               `json:"id"`
	Program     string               `json:"program"`
	What        string               `json:"what"`
	Language    string               `json:"language"`
	Reason      string               `json:"reason"`
	Trace       []string             `json:"trace"`
	Count       uint64               `json:"count"`
	First       *time.Time           `json:"first"`
	Last        *time.Time           `json:"last"`
	Recent      []crashedRunDocument `json:"recent"`
	Exit        *exitDocument        `json:"exit"`
	Core        coreDocument         `json:"core"`
	Output      []string             `json:"output"`
	Usage       []*usageDocument     `json:"usage,omitempty"`
	Others      []otherDocument      `json:"others"`
}

type crashedRunDocument struct {
	ID          string     `json:"id"`
	Instance    string     `json:"instance"`
	Incarnation uint64     `json:"incarnation"`
	PID         int        `json:"pid"`
	At          *time.Time `json:"at"`
}

type coreDocument struct {
	Path string `json:"path"`
	Size int64  `json:"size_bytes"`
	Note string `json:"note"`
}

type otherDocument struct {
	ID   string     `json:"id"`
	At   *time.Time `json:"at"`
	What string     `json:"what"`
}

func crashOf(c messages.Crash) crashDocument {
	d := crashDocument{
		Number: c.Number, Fingerprint: c.Fingerprint, ID: c.ID, Program: c.Program, What: c.What, Language: c.Language, Reason: c.Reason,
		Trace: list(c.Trace), Count: c.Count, First: moment(c.First), Last: moment(c.Last), Exit: exitOf(&c.Exit),
		Core: coreDocument{c.Core.Path, c.Core.Size, c.Core.Note}, Output: list(c.Output),
		Recent: []crashedRunDocument{}, Others: []otherDocument{},
	}
	for _, u := range c.Usage {
		d.Usage = append(d.Usage, usageDocumentOf(u))
	}
	for _, r := range c.Recent {
		d.Recent = append(d.Recent, crashedRunDocument{r.ID, r.Instance, r.Incarnation, r.PID, moment(r.At)})
	}
	for _, o := range c.Others {
		d.Others = append(d.Others, otherDocument{o.ID, moment(o.At), o.What})
	}
	return d
}
