package runs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

// A teller tells a store what a supervisor would.
type teller struct {
	t     *testing.T
	store *Store
	seq   uint64
	at    time.Time
	pid   int
}

func newTeller(t *testing.T, dir string, l Limits) *teller {
	w := &teller{t: t, store: Open(Options{Dir: dir, Limits: l}), at: time.Now().Add(-time.Hour), pid: 1000}
	t.Cleanup(w.store.Close)
	w.event("", 0, messages.Begun{Instance: fmt.Sprintf("life-%p", w)})
	return w
}

func (w *teller) event(id string, incarnation uint64, f messages.Fact, by ...string) {
	w.seq++
	w.at = w.at.Add(time.Millisecond)
	e := messages.Event{Seq: w.seq, At: w.at, ID: id, Incarnation: incarnation, Fact: f}
	if len(by) > 0 {
		e.Origin.By = by[0]
	}
	w.store.Happened(e)
}

func (w *teller) launch(id string, incarnation uint64, by ...string) (pid int) {
	w.at = w.at.Add(time.Second)
	w.pid++
	w.store.Launched(Launch{ID: id, Incarnation: incarnation, PID: w.pid, At: w.at, Binary: "/opt/" + id, Config: config.Collector{Restart: config.RestartOnFailure}})
	w.event(id, incarnation, messages.StateChanged{From: messages.Starting, To: messages.Running, PID: w.pid}, by...)
	return w.pid
}

func (w *teller) exit(id string, e messages.Exit, expected bool, by ...string) {
	w.at = w.at.Add(time.Second)
	e.At, e.Ran = w.at, time.Second
	if e.PID == 0 && e.SpawnError == "" {
		e.PID = w.pid
	}
	w.event(id, e.Incarnation, messages.Exited{Exit: e, Expected: expected}, by...)
}

func (w *teller) runs(id string, last int) []messages.Run {
	w.t.Helper()
	reply, err := w.store.Answer(w.t.Context(), messages.GetRuns{ID: id, Last: last})
	if err != nil {
		w.t.Fatal(err)
	}
	return reply.(messages.RunsReply).Runs
}

func (w *teller) crashes() []messages.Crash {
	w.t.Helper()
	reply, err := w.store.Answer(w.t.Context(), messages.ListCrashes{})
	if err != nil {
		w.t.Fatal(err)
	}
	return reply.(messages.CrashesReply).Crashes
}

func TestARunIsRecordedFromItsStartToWhatFollowed(t *testing.T) {
	w := newTeller(t, tempDir(t), Limits{})
	pid := w.launch("web", 1, "uid 7 (ann)")
	if r := w.runs("web", 0); len(r) != 1 || r[0].End != messages.EndNone || r[0].PID != pid || r[0].Trigger != messages.TriggerCommand || r[0].StartedBy != "uid 7 (ann)" || r[0].ConfigSHA256 == "" {
		t.Fatalf("%+v", r)
	}
	w.exit("web", messages.Exit{Incarnation: 1, Code: 3}, false)
	w.event("web", 1, messages.RestartScheduled{Cause: "exit code 3", After: 2 * time.Second, At: w.at.Add(2 * time.Second), Count: 1, Left: 2, Window: 5 * time.Minute})
	w.event("web", 1, messages.StateChanged{From: messages.Running, To: messages.Starting, NextRestart: w.at})
	w.launch("web", 2)
	w.exit("web", messages.Exit{Incarnation: 2, Signal: "SIGTERM", Code: -1}, true, "uid 8 (bob)")
	w.event("web", 2, messages.StateChanged{From: messages.Stopping, To: messages.Stopped})
	r := w.runs("web", 0)
	if len(r) != 2 {
		t.Fatalf("%+v", r)
	}
	if first := r[1]; first.End != messages.EndExit || first.Decision != `started again after 2s, by restart = "on-failure"; 2 more allowed within 5m0s` || first.NextAt.IsZero() || first.Crash != 1 {
		t.Errorf("%+v", first)
	}
	if second := r[0]; second.Trigger != messages.TriggerRestart || second.End != messages.EndOperator || second.EndedBy != "uid 8 (bob)" || second.Decision != "stopped, as was asked for" || second.Crash != 0 {
		t.Errorf("%+v", second)
	}
	if r := w.runs("web", 1); len(r) != 1 || r[0].Incarnation != 2 {
		t.Errorf("%+v", r)
	}
}

func TestWhatCouldNotBeStartedIsARunToo(t *testing.T) {
	w := newTeller(t, tempDir(t), Limits{})
	w.exit("web", messages.Exit{Incarnation: 1, Code: -1, SpawnError: "no such file"}, false, "uid 7")
	w.event("web", 1, messages.StateChanged{From: messages.Starting, To: messages.Failed, Reason: "could not be started: no such file"})
	r := w.runs("web", 0)
	if len(r) != 1 || r[0].End != messages.EndSpawn || r[0].StartedBy != "uid 7" || r[0].Decision != "failed: could not be started: no such file" || r[0].Crash != 0 {
		t.Errorf("%+v", r)
	}
}

func TestARunThatBeganWhenOneOfAnEarlierLifeDidTakesNothingOfItsPlace(t *testing.T) {
	dir := tempDir(t)
	at := time.Now()
	for life := range 3 {
		w := newTeller(t, dir, Limits{})
		w.at = at // as where the clock was set back
		w.launch("web", 1)
		w.exit("web", messages.Exit{Incarnation: 1, Code: life}, true)
		r := w.runs("web", 0)
		if len(r) != life+1 {
			t.Fatalf("%+v", r)
		}
		for i, r := range r {
			if r.Exit == nil || r.Exit.Code != life-i {
				t.Errorf("life %d, run %d: %+v", life, i, r)
			}
		}
		w.store.Close()
	}
}

func TestRecordsOutliveTheSupervisorAndTellWhatEndedWithIt(t *testing.T) {
	dir := tempDir(t)
	w := newTeller(t, dir, Limits{})
	w.launch("web", 1)
	w.exit("web", messages.Exit{Incarnation: 1, Code: 0}, true)
	w.launch("web", 2)
	w.runs("web", 0) // written by now; and then the supervisor is killed

	again := newTeller(t, dir, Limits{})
	again.launch("web", 1)
	r := again.runs("web", 0)
	if len(r) != 3 || r[0].End != messages.EndNone || r[1].End != messages.EndSupervisor || r[1].Incarnation != 2 || r[2].End != messages.EndOperator {
		t.Fatalf("%+v", r)
	}
	if r[0].Instance == r[1].Instance {
		t.Error("two lives have the same name")
	}
	again.store.Close()
	if _, err := again.store.Answer(t.Context(), messages.GetRuns{ID: "web"}); !errors.Is(err, messages.InvalidState) {
		t.Error(err)
	}
	if r := newTeller(t, dir, Limits{}).runs("web", 1); len(r) != 1 || r[0].End != messages.EndSupervisor {
		t.Errorf("%+v", r)
	}
}

func TestARecordThatIsDamagedIsToldAsUnreadable(t *testing.T) {
	dir := tempDir(t)
	w := newTeller(t, dir, Limits{})
	for n := uint64(1); n <= 5; n++ {
		w.launch("web", n)
		w.exit("web", messages.Exit{Incarnation: n, Code: 1}, false)
	}
	w.store.Close()
	path := filepath.Join(dir, "runs", "web.jsonl")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	good := string(content)
	for _, bad := range []string{"", "{", "\x00\x00", `{"Format":1,"Name":7,"Value":{}}`, `{"Format":99,"Value":{}}`, strings.Repeat("x", maxRecord+1)} {
		content = append(content, bad+"\n"...)
	}
	content = append(content, "torn"...)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "crashes", "000001.json"), []byte("no report"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"web.jsonl.tmp": "interrupted", "-.jsonl": "{}", "notes.txt": ""} {
		if err := os.WriteFile(filepath.Join(dir, "runs", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again := newTeller(t, dir, Limits{})
	r := again.runs("web", 0)
	unreadable := 0
	for _, run := range r {
		if run.Unreadable != "" {
			unreadable++
			if run.ID != "web" || run.End != messages.EndUnknown {
				t.Errorf("%+v", run)
			}
		}
	}
	if len(r) != 11 || unreadable != 6 {
		t.Errorf("%d records, %d unreadable: %+v", len(r), unreadable, r)
	}
	if _, err := os.Stat(filepath.Join(dir, "runs", "web.jsonl.tmp")); err == nil {
		t.Error("what an interrupted write has left is still there")
	}
	// The report that cannot be read is not written over.
	again.launch("web", 1)
	again.exit("web", messages.Exit{Incarnation: 1, Code: 1}, false)
	if r := again.runs("web", 0); len(r) != 12 || r[0].Exit == nil || r[0].Exit.Code != 1 || !strings.Contains(r[1].Unreadable, "web.jsonl:") {
		t.Errorf("%+v", r[:2])
	}
	if now, _ := os.ReadFile(path); strings.Contains(string(now), "torn") || !strings.Contains(string(now), `"Format":99`) || !strings.HasPrefix(good, string(now[:100])) {
		t.Error("what is torn off is to go, and what cannot be read to stay")
	}
	if c := again.crashes(); len(c) != 1 || c[0].Number != 2 || c[0].Count != 1 {
		t.Errorf("%+v", c)
	}
	if _, err := again.store.Answer(t.Context(), messages.GetCrash{Number: 1}); !errors.Is(err, messages.IO) {
		t.Error(err)
	}
	if _, err := again.store.Answer(t.Context(), messages.GetCrash{Number: 9}); !errors.Is(err, messages.ProcessNotFound) {
		t.Error(err)
	}
}

func TestRecordsAreBoundedInNumberSizeAndAge(t *testing.T) {
	count := func(dir string) (n int, size int64) {
		paths, _ := filepath.Glob(filepath.Join(dir, "runs", "*"))
		for _, p := range paths {
			if info, err := os.Stat(p); err == nil {
				size += info.Size()
			}
		}
		w := newTeller(t, dir, Limits{})
		for _, id := range []string{"a", "b", "c"} {
			n += len(w.runs(id, 0))
		}
		return n, size
	}
	fill := func(l Limits) string {
		dir := tempDir(t)
		w := newTeller(t, dir, l)
		for n := uint64(1); n <= 20; n++ {
			for _, id := range []string{"a", "b", "c"} {
				w.launch(id, n)
				w.exit(id, messages.Exit{Incarnation: n, Code: int(n), Tail: []string{strings.Repeat("x", 1000)}}, false)
			}
			if r := w.runs("a", 1); len(r) != 1 || r[0].Incarnation != n {
				t.Fatalf("the last run is not there: %+v", r)
			}
		}
		w.store.Close()
		return dir
	}
	// What is beyond the bound may be in a file for a while, and is not told.
	if n, size := count(fill(Limits{PerCollector: 5})); n < 15 || n > 45 || size > 3*(2*5*1800+spare) {
		t.Errorf("%d records, %d bytes", n, size)
	}
	if w := newTeller(t, fill(Limits{}), Limits{PerCollector: 5}); len(w.runs("a", 0)) != 5 || w.runs("a", 0)[4].Incarnation != 16 {
		t.Errorf("%d records", len(w.runs("a", 0)))
	}
	few := newTeller(t, fill(Limits{Records: 7}), Limits{Records: 7})
	if n := len(few.runs("a", 0)) + len(few.runs("b", 0)) + len(few.runs("c", 0)); n != 7 {
		t.Errorf("%d records", n)
	}
	if n, size := count(fill(Limits{Bytes: 20_000})); size > 20_000 || size < 15_000 || n < 9 {
		t.Errorf("%d records, %d bytes", n, size)
	}
	if reports := files(filepath.Join(fill(Limits{Crashes: 4}), "crashes")); len(reports) != 4 || reports[3] != "000060.json" {
		t.Errorf("%v", reports)
	}
	dir := fill(Limits{}) // they are of an hour ago
	newTeller(t, dir, Limits{Age: 30 * time.Minute}).store.Close()
	if n, size := count(dir); n != 0 || size != 0 {
		t.Errorf("%d records, %d bytes", n, size)
	}
}

func TestTheSameCrashIsCountedAndTellsWhatElseFailed(t *testing.T) {
	dir := tempDir(t)
	output := []string{"starting", "panic: no", "", "goroutine 1 [running]:", "main.boom()", "\t/x.go:1 +0x1"}
	store := Open(Options{Dir: dir, Output: func(id string, incarnation uint64, _ time.Time, lines int) []string {
		if id != "web" {
			return nil
		}
		return append(output[:1:1], append([]string{fmt.Sprint("this is ", incarnation, " of ", lines)}, output[1:]...)...)
	}})
	w := &teller{t: t, store: store, at: time.Now().Add(-time.Hour), pid: 1}
	t.Cleanup(store.Close)
	for n := uint64(1); n <= 12; n++ {
		w.launch("web", n)
		w.exit("web", messages.Exit{Incarnation: n, Code: 2}, false)
		w.runs("web", 1) // so that they are not all in one batch
	}
	w.launch("db", 1)
	w.exit("db", messages.Exit{Incarnation: 1, Signal: "SIGSEGV", Code: -1}, false)
	w.launch("calm", 1)
	w.exit("calm", messages.Exit{Incarnation: 1, Code: 1}, true)
	w.at = w.at.Add(2 * time.Minute)
	w.launch("late", 1)
	w.exit("late", messages.Exit{Incarnation: 1, Code: 1}, false)

	all := w.crashes()
	if len(all) != 3 || all[0].ID != "late" || all[2].ID != "web" {
		t.Fatalf("%+v", all)
	}
	reply, err := store.Answer(t.Context(), messages.GetCrash{Number: all[2].Number})
	if err != nil {
		t.Fatal(err)
	}
	c := reply.(messages.Crash)
	if c.Count != 12 || len(c.Recent) != maxRecent || c.Recent[0].Incarnation != 12 || c.Language != "go" || c.Reason != "panic: no" || len(c.Trace) != 1 || c.Trace[0] != "main.boom" {
		t.Errorf("%+v", c)
	}
	if len(c.Output) != 7 || c.Output[1] != "this is 12 of 400" || !c.First.Before(c.Last) {
		t.Errorf("%q", c.Output)
	}
	if len(c.Others) != 1 || c.Others[0].ID != "db" || c.Others[0].What != "signal SIGSEGV" {
		t.Errorf("%+v", c.Others)
	}
}

func TestASuccessThatTheSettingsNameIsNoCrash(t *testing.T) {
	w := newTeller(t, tempDir(t), Limits{})
	w.store.Launched(Launch{ID: "web", Incarnation: 1, PID: 5, At: w.at, Config: config.Collector{SuccessExitCodes: []string{"143", "SIGINT"}}})
	w.exit("web", messages.Exit{Incarnation: 1, Code: 143, PID: 5}, false)
	if r := w.runs("web", 0); r[0].Crash != 0 || r[0].End != messages.EndExit {
		t.Errorf("%+v", r)
	}
}

func TestASignalThatWasSentThroughProctorIsTold(t *testing.T) {
	w := newTeller(t, tempDir(t), Limits{})
	w.launch("web", 1)
	w.event("web", 1, messages.Audited{Op: "signal"}, "uid 8 (bob)")
	w.exit("web", messages.Exit{Incarnation: 1, Signal: "SIGUSR1", Code: -1}, false)
	w.launch("web", 2)
	w.exit("web", messages.Exit{Incarnation: 2, Signal: "SIGUSR1", Code: -1}, false)
	r := w.runs("web", 0)
	if r[1].SignalledBy != "uid 8 (bob)" || r[0].SignalledBy != "" || r[1].End != messages.EndSignal {
		t.Errorf("%+v", r)
	}
}

func TestWhatSomebodyElseDoesToAFileCostsWhatWasInItAndNoMore(t *testing.T) {
	for name, do := range map[string]func(path string) error{
		"removed":   os.Remove,
		"emptied":   func(path string) error { return os.Truncate(path, 0) },
		"cut":       func(path string) error { return os.Truncate(path, 700) },
		"continued": func(path string) error { return appendText(path, "and more\n") },
		"replaced":  func(path string) error { return os.WriteFile(path, []byte(strings.Repeat("x\n", 5000)), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := tempDir(t)
			w := newTeller(t, dir, Limits{})
			for n := uint64(1); n <= 5; n++ {
				w.launch("web", n)
				w.exit("web", messages.Exit{Incarnation: n, Code: 1}, true)
				w.runs("web", 1)
			}
			if err := do(filepath.Join(dir, "runs", "web.jsonl")); err != nil {
				t.Fatal(err)
			}
			w.launch("web", 6)
			for range 2 {
				r := w.runs("web", 0)
				if len(r) == 0 || r[0].Incarnation != 6 || name == "continued" && len(r) != 6 {
					t.Errorf("%+v", r)
				}
				for _, r := range r {
					if r.Unreadable != "" {
						t.Errorf("%+v", r)
					}
				}
				w.store.Close()
				w = newTeller(t, dir, Limits{})
			}
		})
	}
}

func appendText(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// Whatever happens in whatever order, what is told is what is on disk: the next
// life of the supervisor tells the same, but for what ended with it.
func TestWhatIsToldIsWhatIsOnDisk(t *testing.T) {
	random := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	ids := []string{"a", "b", "c"}
	for range 8 {
		dir := tempDir(t)
		limits := Limits{PerCollector: 1 + random.IntN(8), Records: 5 + random.IntN(12), Bytes: int64(4000 + random.IntN(30_000))}
		at := time.Now().Add(-time.Hour)
		var before map[string][]messages.Run
		for life := range 3 {
			w := newTeller(t, dir, limits)
			w.at = at
			for id, runs := range before {
				if now := w.runs(id, 0); !reflect.DeepEqual(now, runs) {
					t.Fatalf("life %d, %+v:\n%s had %+v\nand has %+v", life, limits, id, runs, now)
				}
			}
			incarnations := map[string]uint64{}
			for range 60 {
				id := ids[random.IntN(len(ids))]
				switch random.IntN(4) {
				case 0, 1:
					incarnations[id]++
					w.launch(id, incarnations[id])
				case 2:
					w.exit(id, messages.Exit{Incarnation: incarnations[id], Code: random.IntN(2), Tail: []string{strings.Repeat("x", random.IntN(2000))}}, random.IntN(2) == 0)
				case 3:
					w.runs(id, 1) // and so it is written down
				}
			}
			told, kept := 0, 0
			for _, id := range ids {
				told += len(w.runs(id, 0))
			}
			w.store.Close()
			at = w.at
			w = newTeller(t, dir, limits)
			before = map[string][]messages.Run{}
			size := int64(0)
			for _, id := range ids {
				before[id] = w.runs(id, 0)
				if kept += len(before[id]); len(before[id]) > limits.PerCollector {
					t.Errorf("%+v: %s has %d runs", limits, id, len(before[id]))
				}
				if info, err := os.Stat(filepath.Join(dir, "runs", id+".jsonl")); err == nil {
					size += info.Size()
				}
				for _, r := range before[id] {
					if r.End == messages.EndNone || r.Unreadable != "" {
						t.Errorf("%+v", r)
					}
				}
			}
			if kept > limits.Records || told > limits.Records || kept == 0 && told > 0 {
				t.Errorf("%+v: %d runs were told, and %d are there", limits, told, kept)
			}
			if size > limits.Bytes {
				t.Errorf("%d bytes of %d", size, limits.Bytes)
			}
			w.store.Close()
		}
	}
}

func TestADiskThatCannotBeWrittenToIsToldOnceAndBlocksNobody(t *testing.T) {
	dir := filepath.Join(tempDir(t), "file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 10)
	store := Open(Options{Dir: dir, Notify: func(err error) { told <- err }})
	w := &teller{t: t, store: store, at: time.Now(), pid: 1}
	for n := uint64(1); n <= 3; n++ {
		w.launch("web", n)
		w.exit("web", messages.Exit{Incarnation: n, Code: 1}, false)
		if r := w.runs("web", 1); len(r) != 1 || r[0].Incarnation != n {
			t.Errorf("%+v", r)
		}
	}
	if err := <-told; !errors.Is(err, messages.IO) || len(told) != 0 {
		t.Error(err, len(told))
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	w.launch("web", 4)
	store.Close()
	if r := newTeller(t, dir, Limits{}).runs("web", 0); len(r) != 4 { // what could not be written is, by now
		t.Errorf("%d records", len(r))
	}
}

// What is told while the one who writes stands still is held within a bound, and
// telling it takes no time.
func TestAThousandCrashesAtOnceNeitherBlockNorExceedTheBound(t *testing.T) {
	stuck, begun := make(chan struct{}), make(chan struct{})
	store := Open(Options{Dir: tempDir(t), Limits: Limits{Waiting: 2500, Crashes: 50, Records: 300}})
	w := &teller{t: t, store: store, at: time.Now(), pid: 1}
	store.put(func() { close(begun); <-stuck })
	<-begun
	for n := range 1000 { // three each: the last ones find no room
		id := fmt.Sprint("c", n)
		w.launch(id, 1)
		w.exit(id, messages.Exit{Incarnation: 1, Code: n % 200}, false)
	}
	store.mu.Lock()
	waiting, dropped := len(store.waiting), store.dropped
	store.mu.Unlock()
	if waiting != 2500 || dropped != 500 {
		t.Errorf("%d wait, %d were dropped", waiting, dropped)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := store.Answer(ctx, messages.ListCrashes{}); !errors.Is(err, messages.Timeout) {
		t.Error(err)
	}
	close(stuck)
	if n := len(w.crashes()); n != 50 {
		t.Errorf("%d reports", n)
	}
	records := 0
	for n := range 1000 {
		records += len(w.runs(fmt.Sprint("c", n), 0))
	}
	if records > 300 || records < 280 {
		t.Errorf("%d records", records)
	}
	store.Close()
}

func TestEndsAreToldApart(t *testing.T) {
	for _, test := range []struct {
		exit     messages.Exit
		expected bool
		because  string
		closing  bool
		want     messages.End
	}{
		{messages.Exit{}, false, "", false, messages.EndExit},
		{messages.Exit{Code: 3, OOMKills: 1}, false, "", false, messages.EndExit}, // one of its children was killed
		{messages.Exit{Signal: "SIGKILL", OOMKills: 1}, false, "", false, messages.EndOOM},
		{messages.Exit{Signal: "SIGKILL"}, false, "", false, messages.EndSignal},
		{messages.Exit{Signal: "SIGXCPU"}, false, "", false, messages.EndLimit},
		{messages.Exit{Signal: "SIGKILL", Forced: true}, true, "", false, messages.EndOperator},
		{messages.Exit{Signal: "SIGKILL", Forced: true, OOMKills: 1}, true, "", false, messages.EndOperator},
		{messages.Exit{Signal: "SIGTERM"}, true, "", true, messages.EndSupervisor},
		{messages.Exit{Signal: "SIGKILL", Unhealthy: "its liveness probe failed"}, false, "", false, messages.EndUnhealthy},
		{messages.Exit{Unhealthy: "its liveness probe failed", Illness: messages.IllProbe}, false, "", false, messages.EndProbe},
		{messages.Exit{Unhealthy: "its watchdog has heard nothing", Illness: messages.IllHang}, false, "", false, messages.EndHang},
		{messages.Exit{Unhealthy: "it has yielded nothing", Illness: messages.IllSilence}, false, "", false, messages.EndSilence},
		{messages.Exit{Unhealthy: "it used too much", Illness: messages.IllMemory}, false, "", false, messages.EndLimit},
		{messages.Exit{Signal: "SIGTERM"}, true, "db, which it requires, ended", false, messages.EndDependency},
		{messages.Exit{Signal: "SIGTERM"}, true, "db, which it requires, ended", true, messages.EndSupervisor},
		{messages.Exit{Fault: "its actor had a fault"}, false, "", false, messages.EndFault},
		{messages.Exit{SpawnError: "no such file"}, true, "", false, messages.EndSpawn},
	} {
		if got := messages.EndOf(test.exit, test.expected, test.because, test.closing); got != test.want {
			t.Errorf("%+v: %v, want %v", test, got, test.want)
		}
	}
}

func TestARunThatWentWithAnotherIsFollowedByARestart(t *testing.T) {
	w := newTeller(t, tempDir(t), Limits{})
	w.launch("api", 1)
	w.at = w.at.Add(time.Second)
	w.event("api", 1, messages.Exited{Exit: messages.Exit{Incarnation: 1, PID: w.pid, Signal: "SIGTERM", Code: -1, At: w.at}, Expected: true, Because: "db, which it requires, ended"})
	w.event("api", 1, messages.StateChanged{From: messages.Stopping, To: messages.Starting})
	w.launch("api", 2)
	r := w.runs("api", 0)
	if len(r) != 2 || r[1].End != messages.EndDependency || r[1].Because != "db, which it requires, ended" || r[1].Decision != "started again, as soon as it may be" || r[1].Crash != 0 {
		t.Fatalf("%+v", r)
	}
	if r[0].Trigger != messages.TriggerRestart {
		t.Errorf("%+v", r[0])
	}
}

func TestACrashReportHasWhatWasUsedInTheLastMinute(t *testing.T) {
	dir := tempDir(t)
	w := newTeller(t, dir, Limits{})
	w.launch("web", 1)
	used := []messages.Usage{
		{At: w.at.UTC(), Known: messages.HasMemory | messages.HasTasks, Source: "cgroup v2", Memory: 100 << 20, Tasks: 3},
		{At: w.at.Add(time.Second).UTC(), Known: messages.HasMemory | messages.HasTasks, Source: "cgroup v2", Memory: 190 << 20, Tasks: 4},
	}
	w.exit("web", messages.Exit{Incarnation: 1, Code: -1, Signal: "SIGKILL", OOMKills: 1, MemoryPeak: 200 << 20, LastMinute: used}, false)
	if r := w.runs("web", 1); len(r) != 1 || r[0].Exit.MemoryPeak != 200<<20 || r[0].Exit.LastMinute != nil {
		t.Errorf("%+v", r)
	}
	w.store.Close()
	crashes := newTeller(t, dir, Limits{}).crashes()
	if len(crashes) != 1 || len(crashes[0].Usage) != 2 || crashes[0].Usage[1].Memory != used[1].Memory || !crashes[0].Usage[1].Has(messages.HasTasks) || crashes[0].Exit.LastMinute != nil {
		t.Errorf("%+v", crashes)
	}
}

// tempDir is t.TempDir, but does not fail the test where wine cannot delete the way
// that Go wants to.
func tempDir(t *testing.T) string {
	t.Helper()
	if runtime.GOOS != "windows" {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("", "runs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
