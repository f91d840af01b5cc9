package cmd

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/mattn/go-isatty"
	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/collector/capture"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/config/toml"
	"github.com/proctord/proctor/messages"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// logsFlags are what can be asked of proctor logs.
type logsFlags struct {
	file, stateDir       string
	follow               bool
	last                 int
	since, until, grep   string
	stream               string
	stderr               bool
	run                  uint64
	previous             bool
	after                string
	showOffset, raw, own bool
	timestamps, noColor  bool
}

func (a *app) logsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "logs [ID…]",
		Aliases: []string{"log", "tail"},
		Short:   "Show what collectors have written",
		Long: `Logs shows what collectors have written, through rotated and compressed files,
that of several in the order of time. An ID may be a pattern ("web-*"); without
one it is all of them.

It reads the files in the state directory, and needs no running supervisor for
that. What is not there, or may not be read, it has the supervisor read; so it does
where --socket names one, or PROCTOR_SOCKET does and PROCTOR_STATE_DIR is not set.

On a terminal, escape sequences and other control characters that a collector has
written are shown, not obeyed. Where lines are missing, as a disk was full or too
much came, it says how many.

A time is "15:04", "2006-01-02 15:04:05", as in RFC 3339, or how long ago it is:
"90s", "10m", "2h30m".

EXIT STATUS
  0  done
  1  some of it could not be read
  2  wrong usage
  3  nothing of a collector with this id is there
  7  the configuration cannot work
  8  not permitted
  9  no supervisor answers
`,
		Example: `  proctor logs -f
  proctor logs procmond -n 50
  proctor logs web-1 --since 1h --grep 'error|panic' --stderr
  proctor logs web-1 --previous
  proctor logs @pipeline -f`,
		ValidArgsFunction: a.completeIDs(nil),
	}
	var o logsFlags
	f := c.Flags()
	f.StringVarP(&o.file, "config", "c", "", "the configuration file of the supervisor")
	f.StringVar(&o.stateDir, "state-dir", "", "its state directory (default: state_dir of the configuration, else "+stateDirs+")")
	f.BoolVarP(&o.follow, "follow", "f", false, "go on with what comes")
	f.IntVarP(&o.last, "lines", "n", -1, "the last so many lines")
	f.StringVar(&o.since, "since", "", "not before this time")
	f.StringVar(&o.until, "until", "", "not after this time")
	f.StringVar(&o.grep, "grep", "", "lines that this expression matches")
	f.StringVar(&o.stream, "stream", "", "stdout or stderr: that stream only")
	f.BoolVar(&o.stderr, "stderr", false, "short for --stream stderr")
	f.Uint64Var(&o.run, "run", 0, "the process with this number, as status shows it")
	f.BoolVarP(&o.previous, "previous", "p", false, "the process before the last")
	f.StringVar(&o.after, "after", "", "what comes after an offset that --show-offset has shown")
	f.BoolVar(&o.showOffset, "show-offset", false, "say on standard error how far it has come, at the end")
	f.BoolVar(&o.raw, "raw", false, "escape sequences are not made harmless on a terminal")
	f.BoolVarP(&o.timestamps, "timestamps", "t", false, "begin each line with its time")
	f.BoolVar(&o.noColor, "no-color", false, "no colours")
	f.BoolVar(&o.own, "self", false, "the log of the supervisor itself, if [log] path has it written to a file")
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "tail" { // what others call it
			name = "lines"
		}
		return pflag.NormalizedName(name)
	})
	f.Lookup("lines").DefValue = "all; with -f 10"
	format := outputFlag(c, "text", "json", "raw")
	c.RunE = func(c *cobra.Command, args []string) error {
		q, err := o.query(time.Now())
		if err != nil {
			return err
		}
		ctx, stop := a.interruptible(c.Context())
		defer stop()
		p := newPrinter(c.OutOrStdout(), *format, &o)
		q.Begin, q.Idle = p.begin, p.idle
		records, end, err := a.records(ctx, c, &o, args, q)
		if err != nil {
			return err
		}
		defer end()
		return p.all(c.ErrOrStderr(), records, q, o.showOffset)
	}
	return c
}

// records reads files, or has the supervisor read them. End is to be called when
// that is over.
func (a *app) records(ctx context.Context, c *cobra.Command, o *logsFlags, ids []string, q capture.Query) (records iter.Seq2[capture.Record, error], end func(), err error) {
	if ids, err = a.membersOf(ctx, o, ids); err != nil {
		return nil, nil, err
	}
	files := o.file != "" || o.stateDir != "" || o.own
	named := c.Flags().Changed("socket")
	if named && files {
		return nil, nil, errors.New("--socket has the supervisor read the logs, and -c, --state-dir and --self have files read: use one of them")
	}
	var logs []capture.Log
	if !named && (files || a.getenv("PROCTOR_SOCKET") == "" || a.getenv(config.StateDirVariable) != "") {
		if logs, err = o.logs(c.ErrOrStderr(), ids); err == nil && (files || readable(logs)) {
			q.More = o.more(logs, ids)
			return capture.Read(ctx, logs, q), func() {}, nil
		}
		var nothing absence
		if err != nil && (files || !errors.Is(err, messages.ProcessNotFound) && !errors.As(err, &nothing)) {
			return nil, nil, err
		}
	}
	conn, dialErr := a.dial(ctx, a.socket)
	switch {
	case dialErr == nil:
	case err != nil && !named: // what is wrong with the files says more
		return nil, nil, err
	case logs != nil && errors.Is(dialErr, actors.ErrNoSupervisor): // let the system say what may not be read
		return capture.Read(ctx, logs, q), func() {}, nil
	default:
		return nil, nil, a.unreachable(dialErr)
	}
	remote := &call{app: a, op: "logs", ctx: ctx, connection: conn}
	return func(yield func(capture.Record, error) bool) {
		for r, err := range conn.Logs(ctx, ids, q) {
			if !yield(r, a.unreachable(remote.explain(err))) {
				return
			}
		}
		if q.Follow && ctx.Err() == nil {
			yield(capture.Record{}, &messages.Error{Op: "logs", Kind: messages.Internal, Text: "the supervisor has ended", Err: errEnded})
		}
	}, func() { _ = conn.Close() }, nil
}

// membersOf puts the collectors of groups in their places: those that the
// configuration names, or those that the supervisor knows.
func (a *app) membersOf(ctx context.Context, o *logsFlags, ids []string) ([]string, error) {
	if !slices.ContainsFunc(ids, isGroup) {
		return ids, nil
	}
	if o.file == "" {
		conn, err := a.dial(ctx, a.socket)
		if err != nil {
			return nil, a.unreachable(err)
		}
		defer conn.Close()
		t, err := (&call{app: a, op: "logs", ctx: ctx, connection: conn}).resolve(ids, false, false)
		return t.ids, err
	}
	units := toml.Check(o.file).Config.Units() // what is wrong with it is said when it is read
	t := targets{groups: map[string]messages.GroupStatus{}}
	for name, children := range units {
		if name != "" {
			t.groups[name] = messages.GroupStatus{Name: name, Children: children}
		}
	}
	var all []string
	for _, id := range ids {
		group := groupOf(id)
		_, known := t.groups[group]
		switch {
		case !isGroup(id):
			all = append(all, id)
		case !known:
			return nil, &messages.Error{Op: "logs", ID: id, Kind: messages.ProcessNotFound, Text: noGroup(group, t.groups)}
		default:
			all = append(all, t.within(group)...)
		}
	}
	return unique(all), nil
}

// readable reports whether this user may read all of these.
func readable(logs []capture.Log) bool {
	for _, log := range logs {
		f, err := os.Open(log.Path)
		if errors.Is(err, fs.ErrPermission) {
			return false
		}
		_ = f.Close()
	}
	return true
}

// more finds the logs that have come into being since.
func (o *logsFlags) more(logs []capture.Log, ids []string) func() []capture.Log {
	if o.own || len(logs) == 0 {
		return nil
	}
	dir := filepath.Dir(logs[0].Path)
	var looked time.Time
	return func() []capture.Log {
		info, err := os.Stat(dir)
		if err != nil || info.ModTime().Equal(looked) {
			return nil
		}
		looked = info.ModTime()
		all, _ := capture.Find(dir)
		return slices.DeleteFunc(all, func(log capture.Log) bool {
			return len(ids) > 0 && !slices.ContainsFunc(ids, func(id string) bool {
				match, err := path.Match(id, log.ID)
				return match && err == nil
			})
		})
	}
}

// query is what the flags ask for.
func (o *logsFlags) query(now time.Time) (q capture.Query, err error) {
	q = capture.Query{Follow: o.follow, Run: o.run, Previous: o.previous, Last: o.last}
	if o.previous && (o.run != 0 || o.follow) {
		return q, errors.New("--previous goes neither with --run nor with -f: that process writes no more")
	}
	if o.last < 0 {
		q.Last = 0
		if o.follow && o.after == "" {
			q.Last = 10
		}
	} else if o.last == 0 {
		q.New = true
	}
	if o.after != "" {
		if q.After, err = capture.ParseCursor(o.after); err != nil {
			return q, fmt.Errorf("--after: %w", err)
		}
	}
	if o.since != "" {
		if q.Since, err = parseMoment(o.since, now); err != nil {
			return q, fmt.Errorf("--since: %w", err)
		}
	}
	if o.until != "" {
		if q.Until, err = parseMoment(o.until, now); err != nil {
			return q, fmt.Errorf("--until: %w", err)
		}
	}
	if o.grep != "" {
		if q.Grep, err = regexp.Compile(o.grep); err != nil {
			return q, fmt.Errorf("--grep: %w", err)
		}
	}
	if o.stderr {
		if o.stream != "" && o.stream != "stderr" {
			return q, errors.New("--stderr contradicts --stream " + o.stream)
		}
		o.stream = "stderr"
	}
	switch o.stream {
	case "":
	case "stdout":
		q.Stream = capture.Stdout
	case "stderr":
		q.Stream = capture.Stderr
	default:
		return q, fmt.Errorf("--stream %s: it is one of stdout and stderr", o.stream)
	}
	return q, nil
}

// moments are the ways to write a time.
var moments = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02", "15:04:05", "15:04",
}

func parseMoment(text string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(strings.TrimSuffix(text, " ago")); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	for _, layout := range moments {
		at, err := time.ParseInLocation(layout, text, now.Location())
		if err != nil {
			continue
		}
		if !strings.Contains(layout, "2006") { // today, or, where that is yet to come, yesterday
			at = time.Date(now.Year(), now.Month(), now.Day(), at.Hour(), at.Minute(), at.Second(), 0, now.Location())
			if at.After(now) {
				at = at.AddDate(0, 0, -1)
			}
		}
		return at, nil
	}
	return time.Time{}, fmt.Errorf("%q is no time; write \"15:04\", \"2006-01-02 15:04:05\", or how long ago: \"10m\"", text)
}

// logs finds the logs with these ids, or all.
func (o *logsFlags) logs(stderr io.Writer, ids []string) ([]capture.Log, error) {
	var cfg config.Config
	if o.file != "" {
		report := toml.Check(o.file)
		if len(report.Problems) > 0 {
			for i := range report.Problems {
				_, _ = fmt.Fprintln(stderr, report.Problems[i].Error())
			}
			return nil, exitError(exitInvalidConfig)
		}
		cfg = report.Config.WithDefaults()
	}
	if o.stateDir != "" {
		cfg.ProcessManager.StateDir = o.stateDir
	}
	if o.own {
		if cfg.ProcessManager.LogPath == "" {
			return nil, failed{errors.New("the supervisor's log is in no file: it goes to its standard error, unless [log] path in its configuration names one, which -c has to name here")}
		}
		return []capture.Log{{ID: "proctor", Path: cfg.ProcessManager.LogPath, Format: capture.Raw}}, nil
	}
	dir := stateDirOf(cfg)
	found := map[string]capture.Log{}
	for id, one := range cfg.Collectors {
		if one.Output.Target == config.OutputFile {
			set := actors.SettingsOf(one.Output, id, dir)
			found[id] = capture.Log{ID: id, Path: set.Path, Format: set.Format}
		}
	}
	there, err := capture.Find(filepath.Join(dir, "logs"))
	if err != nil {
		return nil, failed{err}
	}
	for _, log := range there {
		if _, known := found[log.ID]; !known {
			found[log.ID] = log
		}
	}
	all := slices.Sorted(maps.Keys(found))
	wanted := all
	if len(ids) > 0 {
		wanted = nil
	}
	for _, id := range ids {
		before := len(wanted)
		for _, known := range all {
			if match, err := path.Match(id, known); err == nil && match {
				wanted = append(wanted, known)
			}
		}
		if len(wanted) == before {
			text := "nothing that it has written is in " + filepath.Join(dir, "logs")
			if near := config.Nearest(id, all); near != "" {
				text += "; did you mean " + near + "?"
			} else if len(all) > 0 {
				text += "; there is output of " + strings.Join(all, ", ")
			}
			return nil, &messages.Error{Op: "logs", ID: id, Kind: messages.ProcessNotFound, Text: text}
		}
	}
	slices.Sort(wanted)
	logs := make([]capture.Log, 0, len(wanted))
	for _, id := range slices.Compact(wanted) {
		logs = append(logs, found[id])
	}
	if len(logs) == 0 {
		return nil, failed{absence("no collector has written anything yet: there is nothing in " + filepath.Join(dir, "logs"))}
	}
	return logs, nil
}

// absence is an error that says that nothing is there at all.
type absence string

func (a absence) Error() string { return string(a) }

// A printer shows records.
type printer struct {
	w        *bufio.Writer
	format   string
	harmless bool // control characters are shown, not obeyed
	color    bool
	times    bool
	names    map[string]string // what a line of a collector begins with; nil: there is only one
	known    []string          // the ids that there are
	from     capture.Cursor    // where the reading of each began
	width    int               // of the longest
	open     string            // whose line has not ended
	line     []byte
}

// colors are those that can be told apart on any background.
var colors = []string{"36", "33", "32", "35", "34", "96", "93", "92", "95", "94"}

func newPrinter(w io.Writer, format string, o *logsFlags) *printer {
	f, isFile := w.(*os.File)
	terminal := isFile && (isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()))
	_, noColor := os.LookupEnv("NO_COLOR")
	return &printer{
		w: bufio.NewWriterSize(w, 64<<10), format: format, harmless: terminal && !o.raw,
		color: terminal && !noColor && !o.noColor, times: o.timestamps,
	}
}

// begin is told whose logs are read.
func (p *printer) begin(from capture.Cursor) {
	p.from = from
	for _, id := range sortedKeys(from) {
		p.meet(id)
	}
}

// meet gives a collector a colour, in the order in which they are met, and lines up
// the names of all.
func (p *printer) meet(id string) {
	p.known = append(p.known, id)
	p.width = max(p.width, len(id))
	if len(p.known) == 1 {
		return
	}
	p.names = make(map[string]string, len(p.known))
	for i, id := range p.known {
		name := fmt.Sprintf("%-*s | ", p.width, id)
		if p.color {
			name = "\x1b[" + colors[i%len(colors)] + "m" + name + "\x1b[0m"
		}
		p.names[id] = name
	}
}

// idle is told that all has been given out: it is shown.
func (p *printer) idle() { _ = p.w.Flush() } // an error comes again with the next write

// all shows records until there are no more.
func (p *printer) all(stderr io.Writer, records iter.Seq2[capture.Record, error], q capture.Query, showOffset bool) error {
	cursor := capture.Cursor{}
	maps.Copy(cursor, q.After)
	var failure error
	for r, err := range records {
		if err != nil {
			if e, told := errors.AsType[*messages.Error](err); told && (r.ID == "" || e.Kind == messages.ProcessNotFound) || r.ID == "" {
				failure = cmp.Or(failure, err) // the others are read all the same
				continue
			}
			failure = exitError(exitFailed)
			_, _ = fmt.Fprintf(stderr, "proctor: %s: %v\n", r.ID, err)
			continue
		}
		if err := p.record(r); err != nil {
			return quietPipe(err)
		}
		if showOffset {
			cursor[r.ID] = r.Position
		}
	}
	if err := p.end(); err != nil {
		return quietPipe(err)
	}
	if showOffset {
		for id, begin := range p.from {
			if _, shown := cursor[id]; !shown {
				cursor[id] = begin
			}
		}
		_, _ = fmt.Fprintf(stderr, "offset: %s\n", cursor)
	}
	return failure
}

// quietPipe is nil for a reader that has seen enough, as head has.
func quietPipe(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return failed{err}
}

func (p *printer) record(r capture.Record) error {
	switch p.format {
	case "json":
		line, err := json.Marshal(r)
		if err != nil {
			return err
		}
		p.line = append(line, '\n')
	case "raw":
		if r.Gap != nil {
			return nil
		}
		p.line = append(p.line[:0], r.Text...)
		if !r.Partial {
			p.line = append(p.line, '\n')
		}
	default:
		p.text(r)
	}
	_, err := p.w.Write(p.line)
	return err
}

// text makes a line for people.
func (p *printer) text(r capture.Record) {
	p.line = p.line[:0]
	if p.open != "" && p.open != r.ID+r.Stream.String() {
		p.line = append(p.line, '\n')
		p.open = ""
	}
	if p.open == "" {
		if p.times && !r.Time.IsZero() {
			p.line = append(r.Time.Local().AppendFormat(p.line, "2006-01-02T15:04:05.000Z07:00"), ' ')
		}
		if p.names[r.ID] == "" && (len(p.known) != 1 || p.known[0] != r.ID) {
			p.meet(r.ID)
		}
		p.line = append(p.line, p.names[r.ID]...)
	}
	if r.Gap != nil {
		if p.color {
			p.line = append(p.line, "\x1b[33m"...)
		}
		p.line = append(p.line, "… "...)
		p.line = append(p.line, r.Gap.String()...)
		if p.color {
			p.line = append(p.line, "\x1b[0m"...)
		}
		p.line = append(p.line, '\n')
		return
	}
	if p.harmless {
		p.line = appendHarmless(p.line, r.Text)
	} else {
		p.line = append(p.line, r.Text...)
	}
	p.open = ""
	if r.Partial {
		p.open = r.ID + r.Stream.String()
		return
	}
	p.line = append(p.line, '\n')
}

// end ends a line that was left open, on a terminal at least.
func (p *printer) end() error {
	if p.open != "" && p.format == "text" {
		_ = p.w.WriteByte('\n')
	}
	return p.w.Flush()
}

// appendHarmless appends text in a way that a terminal obeys nothing in it:
// control characters are shown as pictures of them, and what turns the direction
// of writing is shown as its number.
func appendHarmless(dst, text []byte) []byte {
	if n := len(text); n > 0 && text[n-1] == '\r' {
		text = text[:n-1]
	}
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == '\t', r == '\n':
			dst = append(dst, byte(r))
		case r < 0x20:
			dst = utf8.AppendRune(dst, 0x2400+r)
		case r == 0x7f:
			dst = utf8.AppendRune(dst, 0x2421)
		case r >= 0x80 && r < 0xa0, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x2028, r == 0x2029:
			dst = fmt.Appendf(dst, "<U+%04X>", r)
		default:
			dst = utf8.AppendRune(dst, r) // what is not UTF-8 is U+FFFD by now
		}
		text = text[size:]
	}
	return dst
}
