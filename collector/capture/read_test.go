//go:build unix

package capture

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fill writes a log without a process: lines of one collector a second apart.
func fillLog(t *testing.T, log string, s Settings, id string, from, to int, at time.Time) {
	t.Helper()
	s.Path = log
	s = s.withDefaults()
	f := &file{log: log, settings: &s}
	defer f.close()
	for i := from; i < to; i++ {
		head := jsonHead(nil, at.Add(time.Duration(i)*time.Second), Stdout, id, uint64(1+i/100))
		if _, rotated, err := f.write(appendJSON(nil, head, []byte("line "+strconv.Itoa(i)), false)); err != nil {
			t.Fatal(err)
		} else if rotated {
			if err := tidy(log, s, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func texts(t *testing.T, logs []Log, q Query) []string {
	t.Helper()
	var got []string
	for r, err := range Read(t.Context(), logs, q) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r.ID+" "+string(r.Text))
	}
	return got
}

func TestQueriesFindTheirRecordsThroughRotatedAndCompressedFiles(t *testing.T) {
	epoch := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, how := range []Compression{None, Gzip, Zstd} {
		dir := t.TempDir()
		logs := []Log{{ID: "a", Path: filepath.Join(dir, "a.log")}, {ID: "b", Path: filepath.Join(dir, "b.log")}}
		for i := range logs {
			logs[i].Format = JSON
			fillLog(t, logs[i].Path, Settings{MaxSize: 5000, MaxFiles: 100, Compress: how}, logs[i].ID, 0, 500, epoch.Add(time.Duration(i)*time.Millisecond))
		}
		one := logs[:1]
		span := func(id string, from, to int) (lines []string) {
			for i := from; i < to; i++ {
				lines = append(lines, fmt.Sprintf("%s line %d", id, i))
			}
			return lines
		}
		var both []string
		for i := range 500 {
			both = append(both, fmt.Sprintf("a line %d", i), fmt.Sprintf("b line %d", i))
		}
		for name, c := range map[string]struct {
			logs []Log
			q    Query
			want []string
		}{
			"all":           {one, Query{}, span("a", 0, 500)},
			"merged":        {logs, Query{}, both},
			"last":          {one, Query{Last: 130}, span("a", 370, 500)},
			"last merged":   {logs, Query{Last: 7}, both[993:]},
			"more than all": {one, Query{Last: 1000}, span("a", 0, 500)},
			"since":         {one, Query{Since: epoch.Add(123 * time.Second)}, span("a", 123, 500)},
			"until":         {one, Query{Until: epoch.Add(123 * time.Second)}, span("a", 0, 124)},
			"since, until":  {one, Query{Since: epoch.Add(123 * time.Second), Until: epoch.Add(125 * time.Second)}, span("a", 123, 126)},
			"grep":          {one, Query{Grep: regexp.MustCompile(`ne 33\d$`)}, span("a", 330, 340)},
			"last of grep":  {one, Query{Grep: regexp.MustCompile(`(?i)LINE 33\d$`), Last: 3}, span("a", 337, 340)},
			"run":           {one, Query{Run: 2}, span("a", 100, 200)},
			"previous":      {one, Query{Previous: true}, span("a", 300, 400)},
			"previous last": {one, Query{Previous: true, Last: 2}, span("a", 398, 400)},
			"stderr":        {one, Query{Stream: Stderr}, nil},
			"new":           {one, Query{New: true}, nil},
		} {
			if got := texts(t, c.logs, c.q); strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("%s, %s: %d records, want %d: %.200q", how, name, len(got), len(c.want), got)
			}
		}
	}
}

func TestAReaderGoesOnWhereAnotherStopped(t *testing.T) {
	log := Log{ID: "a", Path: filepath.Join(t.TempDir(), "a.log"), Format: JSON}
	set := Settings{MaxSize: 3000, MaxFiles: 100}
	var got []string
	cursor := Cursor{}.String()
	for i := range 50 {
		fillLog(t, log.Path, set, "a", i*10, i*10+10, time.Now())
		after, err := ParseCursor(cursor)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for r, err := range Read(t.Context(), []Log{log}, Query{After: after}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(r.Text))
			after[r.ID] = r.Position
			if n++; n == 7 && i < 40 {
				break // it falls behind, and has to read older files later
			}
		}
		cursor = after.String()
	}
	if len(got) != 500 || got[499] != "line 499" || got[250] != "line 250" {
		t.Errorf("%d records", len(got))
	}
}

// A follower sees every line once, over rotations, compression, restarts of the
// process, and a file that is moved away.
func TestAFollowerSeesEveryLineOnce(t *testing.T) {
	for _, inside := range []bool{true, false} {
		t.Run(fmt.Sprintf("inside=%v", inside), func(t *testing.T) {
			s, path := open(t)
			set := Settings{Path: path, MaxSize: 50_000, MaxFiles: 1000, Lossless: true}
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			logs := []Log{{ID: "web", Path: path, Format: JSON}}
			records := Read(ctx, logs, Query{Follow: true})
			if inside {
				records = s.Read(ctx, logs, Query{Follow: true})
			}
			written, caughtUp := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(written)
				for run := range 4 {
					r := s.Begin("web", uint64(run+1), set)
					cmd := start(t, r, "lines", "5000", "50", "0")
					cmd.Wait()
					done := make(chan struct{})
					r.Finish(func(Ending) { close(done) })
					<-done
					if run == 1 {
						<-caughtUp // what is moved away before it was opened cannot be followed
						_ = os.Rename(path, path+"-moved")
					}
				}
			}()
			next, run := 0, uint64(1)
			for r, err := range records {
				if err != nil {
					t.Fatal(err)
				}
				if r.Incarnation != run || !strings.HasPrefix(string(r.Text), strconv.Itoa(next)) {
					t.Fatalf("run %d, line %.40q; want run %d, line %d", r.Incarnation, r.Text, run, next)
				}
				if next++; next == 5000 {
					next, run = 0, run+1
					if run == 3 {
						close(caughtUp)
					} else if run == 5 {
						break
					}
				}
			}
			<-written
			if err := ctx.Err(); err != nil {
				t.Errorf("it has seen run %d, line %d, and no more", run, next)
			}
		})
	}
}

func FuzzParseCursor(f *testing.F) {
	f.Add("p1.")
	f.Add(Cursor{"web": {1, 2}, "db": {3, 4}}.String())
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCursor(s)
		if err != nil {
			if !errors.Is(err, ErrCursor) {
				t.Error(err)
			}
			return
		}
		again, err := ParseCursor(c.String())
		if err != nil || !maps.Equal(c, again) {
			t.Errorf("%q: %v, %v, %v", s, c, again, err)
		}
	})
}

func FuzzSplitter(f *testing.F) {
	f.Add([]byte("a\nb\r\n\x00\n\n"), uint8(3), uint8(4))
	f.Fuzz(func(t *testing.T, data []byte, piece, limit uint8) {
		s := splitter{limit: int(limit) + 1}
		var back []byte
		emit := func(text []byte, partial bool) {
			if len(text) > s.limit {
				t.Errorf("a line of %d bytes, the limit is %d", len(text), s.limit)
			}
			if strings.Contains(string(text), "\n") {
				t.Errorf("a line feed in %q", text)
			}
			back = append(back, text...)
			if !partial {
				back = append(back, '\n')
			}
		}
		for rest := data; len(rest) > 0; {
			n := min(len(rest), int(piece)+1)
			s.feed(rest[:n], emit)
			rest = rest[n:]
		}
		s.flush(emit)
		if string(back) != string(data) {
			t.Errorf("%q became %q", data, back)
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte("text"), "web", uint64(3), true)
	f.Add([]byte("\"\\\t\r\n\x00\x7f\xff é 日本"), "w", uint64(0), false)
	f.Fuzz(func(t *testing.T, text []byte, id string, incarnation uint64, partial bool) {
		at := time.Unix(1700000000, int64(len(text))).UTC()
		head := jsonHead(nil, at, Stderr, "web", incarnation%(1<<53))
		line := appendJSON(nil, head, text, partial)
		if strings.Count(string(line), "\n") != 1 || line[len(line)-1] != '\n' {
			t.Fatalf("not one line: %q", line)
		}
		for _, parse := range []func([]byte) (Record, bool){
			func(l []byte) (Record, bool) { r, _ := parseRecord(l, JSON, nil); return r, true },
			parseForeign,
		} {
			r, ok := parse(line[:len(line)-1])
			if !ok || string(r.Text) != string(text) || r.Partial != partial || !r.Time.Equal(at) || r.Stream != Stderr || r.ID != "web" || r.Incarnation != incarnation%(1<<53) {
				t.Errorf("%q became %+v", line, r)
			}
		}
		_, _ = parseRecord(text, JSON, nil) // whatever it is
		_, _ = parseRecord(append([]byte(timeKey), text...), JSON, nil)
	})
}
