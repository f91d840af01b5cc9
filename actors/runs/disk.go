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

// maxRecord is the size of the largest file that is read.
const maxRecord = 1 << 20

// file is what a file holds. Format tells a later version from this one.
type file[T any] struct {
	Format int
	Value  T
}

const format = 1

// write puts a value into a file, in one step: whoever reads finds the whole of
// it or of what was there before.
func write[T any](path string, value T) (size int64, err error) {
	text, err := json.Marshal(file[T]{format, value})
	if err != nil {
		return 0, err
	}
	return int64(len(text)), replace(path, text)
}

func replace(path string, text []byte) error {
	temporary := path + ".tmp"
	err := os.WriteFile(temporary, text, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			err = os.WriteFile(temporary, text, 0o600)
		}
	}
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		_ = os.Remove(temporary)
	}
	return err
}

// read reads what write has written. The error says what is wrong with the file.
func read[T any](path string) (value T, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return value, 0, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	size = int64(len(text))
	switch {
	case err != nil:
		return value, size, err
	case size > maxRecord:
		return value, size, fmt.Errorf("it has more than %d bytes", maxRecord)
	}
	var content file[T]
	if err := json.Unmarshal(text, &content); err != nil {
		return value, size, err
	}
	if content.Format != format {
		return value, size, fmt.Errorf("its format is %d, and this version of proctor reads %d", content.Format, format)
	}
	return content.Value, size, nil
}

// files lists the records in a directory, in the order of their names, and
// removes what a write that was interrupted has left.
func files(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		switch name := e.Name(); {
		case strings.HasSuffix(name, ".tmp"):
			_ = os.Remove(filepath.Join(dir, name))
		case strings.HasSuffix(name, ".json") && e.Type().IsRegular():
			names = append(names, name)
		}
	}
	return names
}
