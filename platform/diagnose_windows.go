package platform

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/windows"
)

// diagnose finds out why spec could not be started and what to do about it.
func diagnose(spec *Spec, err error) *SpawnError {
	if failure, ok := errors.AsType[*SpawnError](err); ok {
		return failure
	}
	path := spec.Path
	fail := func(path, format string, args ...any) *SpawnError {
		return &SpawnError{Path: path, Why: fmt.Sprintf(format, args...), Err: err}
	}
	if path == "" {
		return fail(path, "no executable is given")
	}
	if strings.Contains(strings.Join(append([]string{path, spec.Dir}, append(spec.Args, spec.Env...)...), ""), "\x00") {
		return fail(path, "the path, an argument or a variable contains a NUL character, which no program can be given")
	}
	if spec.Dir != "" {
		info, err := os.Stat(spec.Dir)
		if errors.Is(err, os.ErrNotExist) {
			return fail(spec.Dir, "the working directory does not exist")
		}
		if err == nil && !info.IsDir() {
			return fail(spec.Dir, "the working directory is not a directory")
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(spec.Dir, path)
		}
	}
	info, statErr := os.Stat(path)
	switch {
	case errors.Is(err, windows.ERROR_FILE_NOT_FOUND), errors.Is(err, windows.ERROR_PATH_NOT_FOUND):
		if statErr == nil {
			return fail(path, "something that it needs in order to be loaded does not exist")
		}
		if filepath.Ext(path) == "" {
			if _, err := os.Stat(path + ".exe"); err == nil {
				return fail(path, "the file does not exist; %s.exe does", filepath.Base(path))
			}
		}
		return fail(path, "the file does not exist")
	case statErr == nil && info.IsDir():
		return fail(path, "it is a directory, not a program")
	case errors.Is(err, windows.ERROR_ACCESS_DENIED):
		return fail(path, "permission denied: this user may not execute it, or it is blocked by a policy")
	case errors.Is(err, windows.ERROR_ELEVATION_REQUIRED):
		return fail(path, "it has to be run as an administrator, and this program is not")
	case errors.Is(err, windows.ERROR_BAD_EXE_FORMAT), errors.Is(err, windows.ERROR_EXE_MACHINE_TYPE_MISMATCH):
		return fail(path, "it is not a program that runs here: damaged, for another system or kind of processor, or a script that needs its interpreter to be named as the executable")
	case errors.Is(err, windows.ERROR_DIRECTORY):
		return fail(spec.Dir, "the working directory cannot be used")
	case errors.Is(err, windows.ERROR_FILENAME_EXCED_RANGE), errors.Is(err, syscall.Errno(windows.ERROR_BAD_LENGTH)):
		return fail(path, "its name, or its command line, is too long (32,767 characters are allowed)")
	case errors.Is(err, windows.ERROR_SHARING_VIOLATION):
		return fail(path, "it is being written to, or held open, by another program")
	case errors.Is(err, windows.ERROR_NOT_ENOUGH_MEMORY), errors.Is(err, windows.ERROR_COMMITMENT_LIMIT):
		return fail(path, "there is not enough memory to start it")
	}
	return &SpawnError{Path: path, Err: err}
}
