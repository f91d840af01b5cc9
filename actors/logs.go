package actors

import (
	"context"
	"errors"
	"iter"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/proctord/proctor/collector/capture"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

// Logs reads what collectors have written: those with these ids, which may be
// patterns ("web-*"), or all of which there is something. With q.Follow it ends
// with ctx, or when the capture has been closed and what came last has been read.
// An error is a *messages.Error about the collector that the record beside it
// names; the others are read all the same.
func (c *Capture) Logs(ctx context.Context, ids []string, q capture.Query) iter.Seq2[capture.Record, error] {
	return c.read(ctx, ids, q, func(id string) (capture.Log, bool, error) {
		return capture.Log{}, false, &messages.Error{Op: "logs", ID: id, Kind: messages.ProcessNotFound, Text: "nothing has been captured of it"}
	})
}

// read is Logs. Of what nothing is there, missing says where it would be, if it
// is to be in a file at all.
func (c *Capture) read(ctx context.Context, ids []string, q capture.Query, missing func(id string) (log capture.Log, file bool, err error)) iter.Seq2[capture.Record, error] {
	return func(yield func(capture.Record, error) bool) {
		generation := c.store.Generation()
		all, err := c.all()
		if err != nil && !yield(capture.Record{}, &messages.Error{Op: "logs", Kind: messages.IO, Err: err}) {
			return
		}
		logs, without := choose(all, ids)
		for _, id := range without {
			log, file, err := missing(id)
			if err != nil && !yield(capture.Record{ID: id}, err) {
				return
			}
			if err == nil && file {
				logs = append(logs, log)
			}
		}
		if len(logs) == 0 && len(ids) > 0 {
			return
		}
		slices.SortFunc(logs, func(a, b capture.Log) int { return strings.Compare(a.ID, b.ID) })
		q.More = func() []capture.Log {
			now := c.store.Generation()
			if now == generation {
				return nil
			}
			generation = now
			logs, _ := choose(c.store.Logs(), ids)
			return logs
		}
		for r, err := range c.store.Read(ctx, logs, q) {
			if err != nil {
				err = &messages.Error{Op: "logs", ID: r.ID, Kind: messages.IO, Err: err}
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// choose picks the logs with these ids, which may be patterns; none: all. Without
// are those ids that none has.
func choose(all []capture.Log, ids []string) (logs []capture.Log, without []string) {
	if len(ids) == 0 {
		return all, nil
	}
	taken := map[string]bool{}
	for _, id := range ids {
		found := false
		for _, log := range all {
			if match, err := path.Match(id, log.ID); !match || err != nil {
				continue
			}
			found = true
			if !taken[log.ID] {
				taken[log.ID] = true
				logs = append(logs, log)
			}
		}
		if !found {
			without = append(without, id)
		}
	}
	return logs, without
}

// all are the logs that there are: those that are being written, and what is left
// of collectors that have not run in this program's time.
func (c *Capture) all() ([]capture.Log, error) {
	logs := c.store.Logs()
	known := make(map[string]bool, len(logs))
	for _, log := range logs {
		known[log.ID] = true
	}
	before, err := capture.Find(filepath.Join(c.stateDir, "logs"))
	for _, log := range before {
		if !known[log.ID] && config.ValidID(log.ID) == nil {
			logs = append(logs, log)
		}
	}
	return logs, err
}

// Logs is [Backend.Logs].
func (s *Supervisor) Logs(ctx context.Context, ids []string, q capture.Query) iter.Seq2[capture.Record, error] {
	if s.capture == nil {
		return func(yield func(capture.Record, error) bool) {
			yield(capture.Record{}, &messages.Error{Op: "logs", Kind: messages.InvalidState,
				Text: "collectors' output is not kept: the supervisor was started without a place for it"})
		}
	}
	return s.capture.read(ctx, ids, q, func(id string) (log capture.Log, file bool, err error) {
		if strings.ContainsAny(id, `*?[\`) {
			return log, false, &messages.Error{Op: "logs", ID: id, Kind: messages.ProcessNotFound, Text: "nothing has been captured of a collector whose id is like that"}
		}
		known, err := s.Inspect(ctx, id)
		if err != nil {
			var e *messages.Error
			if errors.As(err, &e) {
				told := *e
				told.Op = "logs"
				return log, false, &told
			}
			return log, false, err
		}
		o := known.Config.Output.WithDefaults()
		set := SettingsOf(o, id, s.capture.stateDir)
		return capture.Log{ID: id, Path: set.Path, Format: set.Format}, o.Target == config.OutputFile, nil
	})
}
