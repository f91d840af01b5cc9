package runs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxRecord is the size of the largest record, or report, that is read.
const maxRecord = 1 << 20

// file is what a file holds. Format tells a later version from this one.
type file[T any] struct {
	Format int
	Value  T
}

// format is that of what is written.
const format = 1

// write puts a value into a file, in one step: whoever reads finds the whole of
// it or of what was there before.
func write[T any](path string, value T) error {
	text, err := json.Marshal(file[T]{format, value})
	if err != nil {
		return err
	}
	return replace(path, text)
}

func replace(path string, text []byte) error {
	beside := path + temporary
	err := inDir(path, func() error { return os.WriteFile(beside, text, 0o600) })
	if err == nil {
		err = os.Rename(beside, path)
	}
	if err != nil {
		_ = os.Remove(beside)
	}
	return err
}

// inDir makes the directory of path if do fails for lack of it, and does it again.
func inDir(path string, do func() error) error {
	err := do()
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			err = do()
		}
	}
	return err
}

// read reads what write has written. The error says what is wrong with the file.
func read[T any](path string) (value T, err error) {
	f, err := os.Open(path)
	if err != nil {
		return value, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	switch {
	case err != nil:
		return value, err
	case len(text) > maxRecord:
		return value, fmt.Errorf("it has more than %d bytes", maxRecord)
	}
	var content file[T]
	if err := json.Unmarshal(text, &content); err != nil {
		return value, err
	}
	return content.Value, checkFormat(content.Format)
}

func checkFormat(n int) error {
	if n != format {
		return fmt.Errorf("its format is %d, and this version of proctor reads %d", n, format)
	}
	return nil
}

// files lists the reports in a directory, in the order of their names, and
// removes what a write that was interrupted has left.
func files(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		switch name := e.Name(); {
		case strings.HasSuffix(name, temporary):
			_ = os.Remove(filepath.Join(dir, name))
		case strings.HasSuffix(name, ".json") && e.Type().IsRegular():
			names = append(names, name)
		}
	}
	return names
}
