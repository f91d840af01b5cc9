package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Resolve finds the binary of a collector, whose defaults have to be filled in,
// and returns its absolute path. Look says why a path is not one that can be
// executed, or nil.
//
// BinaryPath, or else the entry for the type in CollectorBinaries, is final:
// where it is missing, no other program is run in its place. Without either,
// the first of /usr/local/bin/<type>, /usr/bin/<type> and ./target/release/<type>
// is taken; on Windows only the last one, with .exe.
//
// Relative paths are relative to the supervisor's working directory, not to the
// collector's, and PATH is not searched. With a RootDirectory all of them are paths
// in that, and so is what is returned. The error is a *[NotFoundError].
func Resolve(c Collector, pm ProcessManager, look func(path string) error) (string, error) {
	return resolve(c, pm, look, runtime.GOOS)
}

// ResolveBinary is Resolve on the file system that is there.
func ResolveBinary(c Collector, pm ProcessManager) (string, error) {
	return Resolve(c, pm, lookFile)
}

func resolve(c Collector, pm ProcessManager, look func(string) error, system string) (string, error) {
	missing := &NotFoundError{Type: c.Type}
	var paths []string
	if path := pm.CollectorBinaries[c.Type]; c.BinaryPath != "" {
		missing.Setting, paths = "binary_path", []string{c.BinaryPath}
	} else if path != "" {
		missing.Setting, paths = Key("process_manager", "collector_binaries", c.Type), []string{path}
	} else if nameFault(c.Type) == "" { // an unchecked type could point anywhere
		paths = []string{"/usr/local/bin/" + c.Type, "/usr/bin/" + c.Type, "./target/release/" + c.Type}
		if system == "windows" {
			paths = paths[2:]
		}
	}
	for _, path := range paths {
		if system == "windows" {
			path = withExtension(path)
		}
		// The collector may have another working directory than we have.
		absolute, err := filepath.Abs(path)
		if err == nil {
			err = look(filepath.Join(c.RootDirectory, absolute))
		}
		if err == nil {
			return absolute, nil
		}
		missing.Tried = append(missing.Tried, Attempt{Path: absolute, Reason: err})
		missing.hint(path)
	}
	return "", missing
}

// withExtension appends .exe to what Windows would not execute without it.
func withExtension(path string) string {
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".exe", ".com", ".bat", ".cmd":
		return path
	}
	return path + ".exe"
}

// A NotFoundError says that a collector has no binary, and where it was looked
// for. It wraps the reasons, among them fs.ErrNotExist and fs.ErrPermission.
type NotFoundError struct {
	Type string

	// Setting is the key of the setting that names the binary; empty if none
	// does, and it was looked for by its type.
	Setting string

	Tried []Attempt

	advice string
}

// An Attempt is a path at which there was no binary, and why.
type Attempt struct {
	Path   string
	Reason error
}

// hint finds advice in how an explicit path is written.
func (e *NotFoundError) hint(path string) {
	switch {
	case e.Setting == "":
	case strings.HasPrefix(path, "~"):
		e.advice = "~ is not expanded: write the whole path"
	case strings.HasPrefix(path, "$"):
		e.advice = "variables are not expanded: write the whole path"
	case !strings.ContainsAny(path, `/\`):
		e.advice = "PATH is not searched: write the whole path"
	}
}

func (e *NotFoundError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "no binary for type %s", quote(e.Type))
	for i, attempt := range e.Tried {
		b.WriteString([]string{": ", ", "}[min(i, 1)])
		fmt.Fprintf(&b, "%s %v", abbreviate(attempt.Path), attempt.Reason)
	}
	b.WriteString("; ")
	b.WriteString(e.Advice())
	return b.String()
}

// Advice says what to do about it.
func (e *NotFoundError) Advice() string {
	switch {
	case e.advice != "":
		return e.advice
	case len(e.Tried) == 0:
		return "a type has the syntax of an id; set binary_path"
	case slices.ContainsFunc(e.Tried, func(a Attempt) bool { return errors.Is(a.Reason, errNotExecutable) }):
		return "make it executable with chmod +x"
	case e.Setting != "":
		return "correct " + e.Setting + ", or remove it to have the binary found by its type"
	}
	return "put it at one of these paths, or set binary_path or " + Key("process_manager", "collector_binaries", e.Type)
}

// Unwrap is the reason of each attempt.
func (e *NotFoundError) Unwrap() []error {
	errs := make([]error, len(e.Tried))
	for i, attempt := range e.Tried {
		errs[i] = attempt.Reason
	}
	return errs
}

// errNotExecutable is its own error, so that advice can be given about it.
var errNotExecutable = fmt.Errorf("is not executable%w", silent{fs.ErrPermission})

// silent wraps an error for errors.Is without repeating its text.
type silent struct{ error }

func (silent) Error() string   { return "" }
func (s silent) Unwrap() error { return s.error }

// lookFile says why there is nothing to execute at path, or nil.
func lookFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return statFault(path, err)
	case !info.Mode().IsRegular():
		return errors.New("is " + FileKind(info.Mode()) + ", not a file")
	case runtime.GOOS != "windows" && info.Mode()&0o111 == 0:
		return errNotExecutable
	}
	return nil
}

// statFault says in words why path could not be looked at.
func statFault(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		if target, linkErr := os.Readlink(path); linkErr == nil {
			return fmt.Errorf("is a link to %s, which does not exist%w", abbreviate(target), silent{fs.ErrNotExist})
		}
		return fmt.Errorf("does not exist%w", silent{fs.ErrNotExist})
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return fmt.Errorf("cannot be looked at: %w", err)
}

// FileKind says in words what a file of this mode is: "a directory".
func FileKind(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "a file"
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "something special"
}

// Missing are the problems with what a configuration needs from the host: the
// binary of each collector, as *[NotFoundError], and its working directory. A
// supervisor can be started all the same; those collectors will fail.
func (c Config) Missing() Problems {
	full := c.WithDefaults()
	var missing Problems
	for _, id := range sorted(full.Collectors) {
		collector := full.Collectors[id]
		if _, err := ResolveBinary(collector, full.ProcessManager); err != nil {
			missing = append(missing, missingBinary(id, err))
		}
		if dir := collector.WorkingDir; dir != "" {
			if err := lookDirectory(filepath.Join(collector.RootDirectory, dir)); err != nil {
				missing = append(missing, Problem{
					Key: Key("collectors", id, "working_dir"), Value: dir,
					Message: abbreviate(dir) + " " + err.Error(), Hint: "make it, or correct the path", Err: err,
				})
			}
		}
		missing = append(missing, collector.missingConfinement(id)...)
	}
	return missing
}

func missingBinary(id string, err error) Problem {
	p := Problem{Key: Key("collectors", id), Message: err.Error(), Err: err}
	var missing *NotFoundError
	if errors.As(err, &missing) {
		if missing.Setting == "binary_path" {
			p.Key, p.Value = Key("collectors", id, "binary_path"), missing.Tried[0].Path
		}
		// The advice stands in the hint already.
		p.Message, p.Hint = strings.TrimSuffix(p.Message, "; "+missing.Advice()), missing.Advice()
	}
	return p
}

func lookDirectory(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return statFault(path, err)
	}
	if !info.IsDir() {
		return errors.New("is " + FileKind(info.Mode()) + ", not a directory")
	}
	return nil
}
