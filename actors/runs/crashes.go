package runs

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/proctord/proctor/messages"
)

// maxRecent is how many runs a report names, and maxOutput how many lines of
// output it has.
const (
	maxRecent = 10
	maxOutput = 60
)

// crashes are the reports. Of each the directory's index is in memory, and the
// report itself while it changes.
type crashes struct {
	dir   string
	most  int
	age   time.Duration
	next  uint64
	known map[string]*report // by fingerprint
}

type report struct {
	number uint64
	last   time.Time
	id     string
	value  *messages.Crash // while it changes; else it is in its file
	bad    error           // why the file cannot be read
}

func newCrashes(o Options) crashes {
	return crashes{dir: filepath.Join(o.Dir, "crashes"), most: o.Limits.Crashes, age: o.Limits.Age, next: 1, known: map[string]*report{}}
}

func (c *crashes) path(number uint64) string {
	return filepath.Join(c.dir, fmt.Sprintf("%06d.json", number))
}

func (c *crashes) load() {
	for _, name := range files(c.dir) {
		number, err := strconv.ParseUint(strings.TrimSuffix(name, ".json"), 10, 64)
		if err != nil {
			continue
		}
		c.next = max(c.next, number+1)
		value, err := read[messages.Crash](c.path(number))
		r := &report{number: number, last: value.Last, id: value.ID, bad: err}
		key := value.Fingerprint
		if err != nil {
			key = "unreadable " + name
		}
		c.known[key] = r
	}
}

// add counts a run in the report of its kind, and returns the number of that.
func (c *crashes) add(run *messages.Run, dir string, lines []string) uint64 {
	program := programOf(run)
	what := run.Exit.String()
	if run.Exit.Unhealthy != "" || run.End == messages.EndFault { // whose texts have times in them
		what = run.End.String()
	}
	t := findTrace(lines)
	key := fingerprint(program, what, t)
	r := c.known[key]
	if r == nil || r.bad != nil {
		r = &report{number: c.next, value: &messages.Crash{Number: c.next, Fingerprint: key, First: run.Exit.At}}
		c.next++
		c.known[key] = r
	}
	if r.value == nil {
		value, err := read[messages.Crash](c.path(r.number))
		if err != nil { // somebody has removed it meanwhile
			value = messages.Crash{Number: r.number, Fingerprint: key, First: run.Exit.At}
		}
		r.value = &value
	}
	v := r.value
	v.ID, v.Program, v.What, v.Language, v.Reason, v.Trace = run.ID, program, run.Exit.String(), t.language, t.reason, t.frames
	v.Count++
	v.Last, v.Exit = run.Exit.At, *run.Exit
	v.Recent = slices.Insert(v.Recent, 0, messages.CrashedRun{ID: run.ID, Instance: run.Instance, Incarnation: run.Incarnation, PID: run.PID, At: run.Exit.At})
	v.Recent = v.Recent[:min(len(v.Recent), maxRecent)]
	v.Output = bounded(lines[max(0, len(lines)-maxOutput):])
	v.Usage, v.Exit.LastMinute = run.Exit.LastMinute, nil
	v.Core = messages.CoreDump{}
	if mayHaveDumped(run.Exit) {
		v.Core = findCore(run, dir)
	}
	r.last, r.id = v.Last, v.ID
	return r.number
}

// bounded cuts lines that are long.
func bounded(lines []string) []string {
	out := slices.Clone(lines)
	for i, l := range out {
		if len(l) > maxLine {
			out[i] = strings.ToValidUTF8(l[:maxLine], "") + "…"
		}
	}
	return out
}

const maxLine = 512

func programOf(run *messages.Run) string {
	if run.Binary == "" {
		return run.ID
	}
	return filepath.Base(run.Binary)
}

// flush writes what has changed, but for what there is no room for.
func (c *crashes) flush() (failure error) {
	c.trim(time.Time{})
	for _, r := range c.known {
		if r.value == nil {
			continue
		}
		if err := write(c.path(r.number), *r.value); err != nil {
			failure = err
			continue
		}
		r.value = nil
	}
	return failure
}

// trim removes the reports that have not come for the longest time where there
// are too many, and where now is set, those that are too old.
func (c *crashes) trim(now time.Time) {
	if len(c.known) <= c.most && now.IsZero() {
		return
	}
	keys := make([]string, 0, len(c.known))
	for key := range c.known {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int {
		x, y := c.known[a], c.known[b]
		return cmp.Or(x.last.Compare(y.last), cmp.Compare(x.number, y.number))
	})
	for i, key := range keys {
		r := c.known[key]
		if i < len(keys)-c.most || !now.IsZero() && r.bad == nil && now.Sub(r.last) > c.age {
			_ = os.Remove(c.path(r.number))
			delete(c.known, key)
		}
	}
}

// list is all reports, or those of one collector, the last crash first.
func (c *crashes) list(id string) []messages.Crash {
	var all []messages.Crash
	for _, r := range c.known {
		if id == "" || r.id == id {
			if value, err := c.get(r.number); err == nil {
				value.Output = nil // of one alone it is told
				all = append(all, value)
			}
		}
	}
	slices.SortFunc(all, func(a, b messages.Crash) int {
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(b.Number, a.Number))
	})
	return all
}

func (c *crashes) get(number uint64) (messages.Crash, error) {
	fault := &messages.Error{Op: "crashes show", Kind: messages.ProcessNotFound, Text: fmt.Sprintf("there is no crash %d; crashes lists those there are", number)}
	for _, r := range c.known {
		if r.number != number {
			continue
		}
		if r.value != nil {
			return *r.value, nil
		}
		value, err := read[messages.Crash](c.path(number))
		if err != nil {
			return value, &messages.Error{Op: "crashes show", Kind: messages.IO, Text: fmt.Sprintf("the report of crash %d cannot be read", number), Err: err}
		}
		return value, nil
	}
	return messages.Crash{}, fault
}
