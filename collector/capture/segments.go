package capture

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// A segment is one of the files of a log that is not written any more.
type segment struct {
	number uint64
	suffix string // "", ".gz" or ".zst"
	size   int64
	mtime  time.Time
}

func (s segment) path(log string) string { return numbered(log, s.number) + s.suffix }

func numbered(log string, number uint64) string { return fmt.Sprintf("%s.%06d", log, number) }

// segments lists what has been rotated away from a log, the oldest first. The
// file itself is not among them. It has the number after the last.
//
// A directory that changes while it is listed may show a file that is being
// compressed under neither of its names. So a list with a gap, or one after whose
// end there is more, is believed only when it comes again.
func segments(log string) ([]segment, error) {
	all, err := list(log)
	for range 10 {
		if err != nil || contiguous(all) && !exists(log, lastNumber(all)+1) {
			break
		}
		before := all
		all, err = list(log)
		if slices.EqualFunc(before, all, func(a, b segment) bool { return a.number == b.number }) {
			break
		}
	}
	return all, err
}

func contiguous(all []segment) bool {
	for i := 1; i < len(all); i++ {
		if all[i].number > all[i-1].number+1 {
			return false
		}
	}
	return true
}

// exists reports whether the file with this number has been rotated away.
func exists(log string, number uint64) bool {
	for _, suffix := range suffixes {
		if info, err := os.Lstat(numbered(log, number) + suffix); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}

func list(log string) ([]segment, error) {
	dir, base := filepath.Split(log)
	if dir == "" {
		dir = "."
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	_ = d.Close()
	if err != nil {
		return nil, err
	}
	var all []segment
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, base+".")
		if !ok {
			continue
		}
		digits, suffix := rest, ""
		if i := strings.IndexByte(rest, '.'); i >= 0 {
			digits, suffix = rest[:i], rest[i:]
		}
		number, err := strconv.ParseUint(digits, 10, 62)
		if err != nil || len(digits) < 6 || suffix != "" && suffix != ".gz" && suffix != ".zst" {
			continue
		}
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil || !info.Mode().IsRegular() {
			continue // pruned meanwhile, or none of ours
		}
		all = append(all, segment{number, suffix, info.Size(), info.ModTime()})
	}
	slices.SortFunc(all, func(a, b segment) int {
		if a.number != b.number {
			return int(int64(a.number) - int64(b.number))
		}
		return strings.Compare(a.suffix, b.suffix) // the uncompressed one first, while there are both
	})
	return all, nil
}

// lastNumber is the number of the last segment; 0 if there is none.
func lastNumber(all []segment) uint64 {
	if len(all) == 0 {
		return 0
	}
	return all[len(all)-1].number
}

// A file is the one of a log that is written. It belongs to one goroutine at a time.
type file struct {
	log      string
	settings *Settings
	f        *os.File
	id       os.FileInfo
	size     int64
	number   uint64 // what it will be called; 0: not known yet
}

// write appends whole records, and reports how many bytes of them are in the
// file for good: records that are not whole are taken out again.
func (l *file) write(batch []byte) (n int, rotated bool, err error) {
	for len(batch) > 0 {
		if err := l.open(); err != nil {
			return n, rotated, err
		}
		part := batch
		if room := l.settings.MaxSize - l.size; int64(len(part)) > room {
			end := 0
			if room > 0 {
				end = bytes.LastIndexByte(part[:room], '\n') + 1
			}
			if end == 0 && l.size > 0 {
				if err := l.rotate(); err != nil {
					return n, rotated, err
				}
				rotated = true
				continue
			}
			if end == 0 { // a record that is larger than a file may be
				if end = bytes.IndexByte(part, '\n') + 1; end == 0 {
					end = len(part)
				}
			}
			part = part[:end]
		}
		w, err := l.append(part)
		n += w
		batch = batch[w:]
		if err != nil {
			return n, rotated, err
		}
	}
	return n, rotated, nil
}

// append writes to the file, and makes sure that it is still the one that has
// the name: what went into a file that somebody has deleted is written again.
func (l *file) append(part []byte) (int, error) {
	w, err := l.f.Write(part)
	if err != nil {
		whole := bytes.LastIndexByte(part[:w], '\n') + 1
		if whole < w && l.f.Truncate(l.size+int64(whole)) != nil {
			whole = w // the rest will follow
		}
		l.size += int64(whole)
		l.close()
		return whole, err
	}
	switch {
	case l.named():
		return w, nil
	case unlinked(l.f):
		l.close()
		return 0, nil
	}
	l.movedAway()
	return w, nil
}

// named reports whether the file is still the one that has the name.
func (l *file) named() bool {
	now, err := os.Stat(l.log)
	if err != nil || !os.SameFile(now, l.id) {
		return false
	}
	l.size = now.Size() // somebody may have emptied it
	return true
}

// movedAway lets go of a file that has another name now: its number is used up.
func (l *file) movedAway() {
	l.close()
	if l.number > 0 {
		_ = os.WriteFile(numbered(l.log, l.number), nil, 0o640)
		l.number = 0
	}
}

func (l *file) open() error {
	if l.f != nil {
		return nil
	}
	all, err := segments(l.log)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(l.log), 0o750); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	f, err := openAppend(l.log)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", l.log)
	}
	if err != nil {
		_ = f.Close()
		return err
	}
	l.f, l.id, l.size, l.number = f, info, info.Size(), max(l.number, lastNumber(all)+1)
	return nil
}

func (l *file) close() {
	if l.f != nil {
		_ = l.f.Close()
		l.f, l.id = nil, nil
	}
}

// rotate gives the file its number, in one step.
func (l *file) rotate() error {
	for {
		_, err := os.Lstat(numbered(l.log, l.number))
		if errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return err
		}
		l.number++ // somebody else's file
	}
	if !renameOpen {
		l.close() // Windows renames no file that is open
	}
	if err := os.Rename(l.log, numbered(l.log, l.number)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			l.close()
			return nil
		}
		return err
	}
	l.close()
	l.number++
	return nil
}

// tidy compresses and prunes what has been rotated away. It is called by one
// goroutine at a time.
func tidy(log string, s Settings, now time.Time) error {
	all, err := segments(log)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	var errs []error
	remove := func(s segment) {
		if err := os.Remove(s.path(log)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	var keep []segment
	for i, one := range all {
		last := i == len(all)-1
		switch {
		case i > 0 && one.number == all[i-1].number: // compressed, but not yet removed when we were ended
			remove(one)
		case last || one.number+uint64(s.MaxFiles) > lastNumber(all)+1:
			if s.MaxAge > 0 && one.size > 0 && now.Sub(one.mtime) > s.MaxAge {
				if last { // its number must not be used again: an empty file keeps it
					if err := os.WriteFile(numbered(log, one.number), nil, 0o640); err != nil {
						errs = append(errs, err)
					}
					if one.suffix != "" {
						remove(one)
					}
				} else {
					remove(one)
				}
				continue
			}
			keep = append(keep, one)
		default:
			remove(one)
		}
	}
	for _, one := range keep {
		if one.suffix == "" && one.size > 0 && s.Compress != None {
			if err := compress(one.path(log), one.mtime, s.Compress); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// compress puts a compressed file in the place of path. At every moment one of
// the two is there, and whole.
func compress(path string, mtime time.Time, how Compression) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	suffix := ".gz"
	if how == Zstd {
		suffix = ".zst"
	}
	tmp := path + suffix + ".tmp"
	out, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = out.Close()
			_ = os.Remove(tmp)
		}
	}()
	var w io.WriteCloser
	if how == Zstd {
		w, err = zstd.NewWriter(out, zstd.WithEncoderConcurrency(1))
	} else {
		w, err = gzip.NewWriterLevel(out, gzip.BestSpeed)
	}
	if err != nil {
		return err
	}
	if _, err = io.Copy(w, in); err != nil {
		return err
	}
	if err = w.Close(); err != nil {
		return err
	}
	if err = out.Close(); err != nil {
		return err
	}
	_ = os.Chtimes(tmp, mtime, mtime)
	if err = os.Rename(tmp, path+suffix); err != nil {
		return err
	}
	_ = in.Close()
	return os.Remove(path)
}

// decompress reads a segment.
func decompress(f *os.File, suffix string) (io.Reader, func(), error) {
	switch suffix {
	case ".gz":
		r, err := gzip.NewReader(f)
		return r, func() {}, err
	case ".zst":
		r, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, nil, err
		}
		return r, r.Close, nil
	}
	return f, func() {}, nil
}
