// Package toml reads a [config.Config] from a TOML file, strictly: what it does
// not know it refuses, and everything that is wrong is reported at once, with
// file, line and column, the key, and what would be right.
//
// Times are seconds, whole or with a fraction (0.5). A zero is meant as it is
// written: max_restarts = 0 allows none, and restart_window_seconds = 0 makes
// every restart count for ever; where nothing can work without some time, as
// with the timeouts, 0 is refused.
package toml

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/proctord/proctor/config"
)

// MaxFileSize is the size of the largest file that is read, in bytes.
const MaxFileSize = 1 << 20

// Parse reads a configuration. Name is what the file is called in problems. The
// error, if there is one, is [Problems], and the configuration then empty.
// Defaults are not filled in.
func Parse(name string, data []byte) (config.Config, error) {
	return only(examine(name, data).report())
}

// ReadFile reads a configuration from a file. The error, if there is one, is
// [Problems]; if the file cannot be read, it wraps the reason, such as
// fs.ErrNotExist.
func ReadFile(path string) (config.Config, error) {
	data, err := read(path)
	if err != nil {
		return config.Config{}, unreadable(path, err)
	}
	return Parse(path, data)
}

func only(r Report) (config.Config, error) {
	if len(r.Problems) > 0 {
		return config.Config{}, r.Problems
	}
	return r.Config, nil
}

// A Report is all that can be said about a file.
type Report struct {
	// Config is what the file says. It is empty if there are Problems.
	Config config.Config

	// Problems are what is wrong with the file. Nothing can be run from it.
	Problems Problems

	// Missing is what the file relies on and this host does not have: binaries
	// and working directories. The collectors concerned cannot run, the others can.
	Missing Problems

	// Warnings are about what can work, but probably not as it is meant.
	Warnings Problems
}

// Err is Problems and Missing as one error of type [Problems], or nil: what is
// an error to a check of the file.
func (r Report) Err() error {
	all := append(append(Problems{}, r.Problems...), r.Missing...)
	if len(all) == 0 {
		return nil
	}
	return all
}

// Check reads a file and reports all that can be said about it on this host.
func Check(path string) Report {
	data, err := read(path)
	if err != nil {
		return Report{Problems: unreadable(path, err)}
	}
	return CheckData(path, data)
}

// CheckData is Check of a file that has been read already.
func CheckData(name string, data []byte) Report {
	d := examine(name, data)
	r := d.report()
	if d.parsed {
		r.Missing = d.place(d.withoutFaulty().Missing())
	}
	return r
}

// read reads a file, if it is one, and not larger than a configuration can be.
// Opening anything else could wait for ever, or never end.
func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if err := readable(info); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// It may have been exchanged, or have grown, since it was looked at.
	if info, err = f.Stat(); err != nil {
		return nil, err
	}
	if err := readable(info); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFileSize+1))
	if err == nil {
		err = tooLarge(int64(len(data)))
	}
	return data, err
}

func readable(info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return errors.New("it is " + config.FileKind(info.Mode()) + ", not a file")
	}
	return tooLarge(info.Size())
}

func tooLarge(size int64) error {
	if size > MaxFileSize {
		return fmt.Errorf("the file is larger than %d bytes, which no configuration is", MaxFileSize)
	}
	return nil
}

// unreadable is the one problem of a file that could not be read.
func unreadable(path string, err error) Problems {
	p := config.Problem{Message: err.Error(), Err: err}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		p.Message = "cannot be read: " + pathErr.Err.Error() // the path stands before it
	}
	if target, linkErr := os.Readlink(path); errors.Is(err, fs.ErrNotExist) && linkErr == nil {
		p.Message = "cannot be read: it is a link to " + target + ", which does not exist"
	}
	return Problems{{File: path, Problem: p}}
}

// A Problem is one thing that is wrong with a file, and where.
type Problem struct {
	File string `json:"file"`

	// Line and Column count from 1, columns in characters. Zero: the whole file.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`

	config.Problem
}

// Error is one line, except where the hint has several:
//
//	proctor.toml:12:3: collectors.web.max_restart: unknown key; did you mean "max_restarts"?
func (p *Problem) Error() string {
	if p.Line == 0 {
		return p.File + ": " + p.Problem.Error()
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Problem.Error())
}

// Unwrap is the problem without its place.
func (p *Problem) Unwrap() error { return &p.Problem }

// Problems are in the order of the file.
type Problems []Problem

// maxLines is how many problems the text of an error shows.
const maxLines = 100

// Error has one problem a line.
func (ps Problems) Error() string {
	lines := make([]string, 0, min(len(ps), maxLines)+1)
	for i := range ps {
		if i == maxLines {
			lines = append(lines, fmt.Sprintf("and %d more problems", len(ps)-i))
			break
		}
		lines = append(lines, ps[i].Error())
	}
	return strings.Join(lines, "\n")
}

// Unwrap is each of the problems, so that errors.As finds a *Problem, and a
// *config.Problem within it.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i := range ps {
		errs[i] = &ps[i]
	}
	return errs
}
