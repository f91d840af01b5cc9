package runs

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

// The records of a collector are the lines of one file, which is only ever
// appended to: a record that changes is appended again, and the last line that has
// its name counts. A file for each record would be simpler, but file systems make
// and remove files far more slowly than they append to them, and every start of a
// process has its record. What does not count any more goes when there is more of
// it than of what does, by writing the file anew.
type journal struct {
	size    int64 // of the file
	live    int64 // of the lines in it that count
	dropped bool  // it has records that are to be forgotten
	torn    bool  // it is to be written anew before anything is appended
	changed bool  // somebody else has changed it
}

// line is what a line holds. Format tells a later version from this one.
type line struct {
	Format int
	Name   string
	Value  messages.Run
}

const (
	suffix    = ".jsonl"
	temporary = ".tmp"

	// spare is how much of a file may always be what does not count.
	spare = 4 << 10
)

// errChanged says that a file is not as it was left.
var errChanged = errors.New("the file was changed by somebody else")

func (w *worker) path(id string) string {
	return filepath.Join(w.options.Dir, "runs", id+suffix)
}

func encode(name string, r messages.Run) ([]byte, error) {
	text, err := json.Marshal(line{format, name, r})
	return append(text, '\n'), err
}

// decode reads a line. The error says what is wrong with it.
func decode(text []byte) (l line, err error) {
	if err := json.Unmarshal(text, &l); err != nil {
		return l, err
	}
	return l, checkFormat(l.Format)
}

// save writes down what has changed of a collector's records.
func (w *worker) save(h *history, changed []*entry) error {
	slices.SortFunc(changed, func(a, b *entry) int { return a.start.Compare(b.start) })
	fresh := make(map[*entry][]byte, len(changed))
	var all []byte
	live := h.live
	for _, e := range changed {
		text, err := encode(e.name, *e.run)
		if err != nil {
			return err
		}
		fresh[e] = text
		all = append(all, text...)
		live += int64(len(text)) - e.size
	}
	if h.torn || h.size+int64(len(all)) > 2*live+spare {
		return w.rewrite(h, fresh)
	}
	err := h.append(w.path(h.id), all)
	if errors.Is(err, errChanged) {
		h.torn, h.changed = true, true
		return w.rewrite(h, fresh)
	} else if err != nil {
		return err
	}
	at := h.size
	for _, e := range changed {
		n := int64(len(fresh[e]))
		h.live += n - e.size
		e.at, e.size = at, n
		at += n
	}
	w.bytes += at - h.size
	h.size = at
	return nil
}

// append adds to the file, all or nothing.
func (j *journal) append(path string, text []byte) error {
	var f *os.File
	err := inDir(path, func() (err error) {
		f, err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		return err
	})
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != j.size {
		return errChanged
	}
	if _, err = f.Write(text); err != nil && f.Truncate(j.size) != nil {
		j.torn = true
	}
	return err
}

// rewrite writes a file anew, with what counts alone, in one step: whoever reads
// finds the whole of it or of what was there before. What somebody else has
// removed, or written over, is forgotten.
func (w *worker) rewrite(h *history, fresh map[*entry][]byte) error {
	path := w.path(h.id)
	if len(h.entries) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		w.settle(h, nil, nil, nil)
		if h.config == nil {
			delete(w.byID, h.id)
		}
		return nil
	}
	kept, at, all, err := h.counting(path, fresh)
	if err == nil {
		err = replace(path, all)
	}
	if err == nil {
		w.settle(h, kept, at, all)
	}
	return err
}

// counting is what counts of a file and of what is to be added to it.
func (h *history) counting(path string, fresh map[*entry][]byte) (kept []*entry, at []int64, all []byte, err error) {
	old, err := os.Open(path)
	if err == nil {
		defer old.Close()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil, err
	}
	for _, e := range h.entries {
		text := fresh[e]
		if text == nil {
			if text, err = h.text(old, e); errors.Is(err, errChanged) {
				continue
			} else if err != nil {
				return nil, nil, nil, err
			}
		}
		kept, at = append(kept, e), append(at, int64(len(all)))
		all = append(all, text...)
	}
	return kept, at, all, nil
}

// text is an entry's line as it is in the file, or was before it was changed.
func (h *history) text(f *os.File, e *entry) ([]byte, error) {
	if e.run != nil {
		return encode(e.name, *e.run)
	}
	text, _, err := h.stored(f, e)
	return text, err
}

// stored is an entry's line as it is in the file, and what it says if it can be
// read.
func (h *history) stored(f *os.File, e *entry) (text []byte, l line, err error) {
	if f == nil || e.size == 0 {
		return nil, l, errChanged
	}
	text = make([]byte, e.size)
	if _, err := f.ReadAt(text, e.at); errors.Is(err, io.EOF) {
		return nil, l, errChanged
	} else if err != nil {
		return nil, l, err
	}
	if l, err = decode(text); e.fault == "" && (err != nil || l.Name != e.name) || e.fault != "" && h.changed {
		return nil, l, errChanged
	}
	return text, l, nil
}

// settle takes in what a file is after it was written anew.
func (w *worker) settle(h *history, kept []*entry, at []int64, all []byte) {
	w.records -= len(h.entries) - len(kept)
	h.entries = kept
	for i, e := range kept {
		end := int64(len(all))
		if i+1 < len(at) {
			end = at[i+1]
		}
		e.at, e.size = at[i], end-at[i]
	}
	w.bytes += int64(len(all)) - h.size
	h.journal = journal{size: int64(len(all)), live: int64(len(all))}
}

// loadAll finds what has been written before.
func (w *worker) loadAll() {
	dir := filepath.Join(w.options.Dir, "runs")
	entries, _ := os.ReadDir(dir)
	r := bufio.NewReaderSize(nil, maxRecord)
	for _, d := range entries {
		id, ours := strings.CutSuffix(d.Name(), suffix)
		switch {
		case !d.Type().IsRegular():
		case strings.HasSuffix(d.Name(), suffix+temporary): // a write was interrupted
			_ = os.Remove(filepath.Join(dir, d.Name()))
		case ours && config.ValidID(id) == nil:
			w.loadFile(id, r)
			w.bound(w.of(id))
		}
	}
}

// loadFile reads a file. Runs that had not ended did so with their supervisor.
func (w *worker) loadFile(id string, r *bufio.Reader) {
	f, err := os.Open(w.path(id))
	if err != nil {
		return
	}
	defer f.Close()
	h := w.of(id)
	named := map[string]*entry{}
	var before time.Time
	r.Reset(f)
	for number := 1; ; number++ {
		text, err := r.ReadSlice('\n')
		at, size := h.size, int64(len(text))
		for errors.Is(err, bufio.ErrBufferFull) {
			text, err = r.ReadSlice('\n')
			size += int64(len(text))
		}
		h.size += size
		w.bytes += size
		if err != nil {
			h.torn = h.torn || size > 0 // it was being written when all ended
			return
		}
		e := &entry{start: before}
		l, err := decode(text)
		switch {
		case size > maxRecord:
			e.fault = fmt.Sprintf("%s:%d: it has more than %d bytes", w.path(id), number, maxRecord)
		case err != nil:
			e.fault = fmt.Sprintf("%s:%d: %v", w.path(id), number, err)
		case named[l.Name] != nil:
			e = named[l.Name]
			h.live -= e.size
			*e = entry{name: e.name}
		default:
			e.name = l.Name
			named[l.Name] = e
		}
		if e.at, e.size = at, size; e.fault == "" {
			e.recall(l.Value)
			before = e.start
		}
		h.live += size
		if !slices.Contains(h.entries, e) {
			h.entries = append(h.entries, e)
			w.records++
		}
		if delete(w.dirty, e); e.run != nil {
			w.dirty[e] = h
		}
	}
}

// recall takes in a run that is in a file.
func (e *entry) recall(run messages.Run) {
	e.start = run.StartedAt
	if run.End == messages.EndNone {
		run.End, e.run = messages.EndSupervisor, &run
		return
	}
	if run.Exit != nil {
		e.end = run.Exit.At
		if run.Crash != 0 || run.End == messages.EndSpawn {
			e.failure = run.Exit.String()
		}
	}
}

// recorded reads the runs of a collector that are in its file.
func (w *worker) recorded(h *history, last int) []messages.Run {
	var f *os.File
	var all []messages.Run
	for _, e := range slices.Backward(h.entries) {
		if last > 0 && len(all) == last {
			break
		}
		if e.run != nil {
			all = append(all, *e.run)
			continue
		}
		run := messages.Run{StartedAt: e.start, End: messages.EndUnknown, Unreadable: e.fault}
		if e.fault == "" {
			if f == nil {
				f, _ = os.Open(w.path(h.id)) // each of them is missed
			}
			if _, l, err := h.stored(f, e); err == nil {
				run = l.Value
			} else {
				run.Unreadable = fmt.Sprintf("%s: %v", w.path(h.id), err)
			}
		}
		run.ID = h.id
		all = append(all, run)
	}
	if f != nil {
		_ = f.Close()
	}
	return all
}
