//go:build linux || darwin || freebsd

package platform

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// diagnose finds out why spec could not be started. The system gives a bare
// number for whichever of a dozen steps failed; a person needs to know which
// file is meant and what to do about it.
func diagnose(spec *Spec, err error) *SpawnError {
	if failure, ok := errors.AsType[*SpawnError](err); ok {
		return failure
	}
	fail := func(path, format string, args ...any) *SpawnError {
		return &SpawnError{Path: path, Why: fmt.Sprintf(format, args...), Err: err}
	}
	path := spec.Path
	if path == "" {
		return fail(path, "no executable is given")
	}
	if what := withNUL(spec); what != "" {
		return fail(path, "%s contains a NUL byte, which no program can be given", what)
	}
	if spec.Dir != "" {
		if why := whyNotEntered(spec.Dir); why != "" {
			return fail(spec.Dir, "%s", why)
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(spec.Dir, path)
		}
	}
	switch {
	case errors.Is(err, unix.EMFILE):
		return fail(path, "this program has as many files open as it may%s: close some, or raise the limit (ulimit -n, LimitNOFILE=)",
			limit(unix.RLIMIT_NOFILE))
	case errors.Is(err, unix.ENFILE):
		return fail(path, "the system has as many files open as it may: raise %s", systemFileLimit)
	case errors.Is(err, unix.EAGAIN):
		return fail(path, "no more processes may be started: the user's limit%s, or that of the container or the system, "+
			"is reached (ulimit -u, LimitNPROC=, pids.max)", limit(rlimitNPROC))
	case errors.Is(err, unix.ENOMEM):
		return fail(path, "there is not enough memory to start it")
	case errors.Is(err, unix.E2BIG):
		return fail(path, "its arguments and environment are too long: %d bytes together, the longest string %d bytes, "+
			"where the system allows about %s", argSize(spec), longest(spec), argLimit())
	case errors.Is(err, unix.ETXTBSY):
		return fail(path, "it is just being written to: wait until it is complete, and replace it by renaming instead of overwriting")
	case errors.Is(err, unix.ELOOP):
		return fail(path, "its symbolic links go round in a circle")
	case errors.Is(err, unix.ENAMETOOLONG):
		return fail(path, "the name is too long")
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return fail(path, "%s", whyNotFound(path))
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fail(path, "%s", whyNotAllowed(path))
	case errors.Is(err, unix.ENOEXEC), errors.Is(err, unix.EIO), errors.Is(err, unix.EINVAL), errors.Is(err, errBadArch):
		return fail(path, "%s", whyNoProgram(path))
	}
	return &SpawnError{Path: path, Err: err}
}

// withNUL says which of the strings has a NUL byte in it.
func withNUL(spec *Spec) string {
	const nul = "\x00"
	switch {
	case strings.Contains(spec.Path, nul):
		return "the path"
	case strings.Contains(spec.Dir, nul):
		return "the working directory"
	}
	for i, arg := range spec.Args {
		if strings.Contains(arg, nul) {
			return fmt.Sprintf("argument %d", i+1)
		}
	}
	for _, kv := range spec.Env {
		if strings.Contains(kv, nul) {
			key, _, _ := strings.Cut(kv, "=")
			return fmt.Sprintf("the environment variable %q", key)
		}
	}
	return ""
}

// whyNotEntered says why a directory cannot be the working directory, if it cannot.
func whyNotEntered(dir string) string {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return "the working directory does not exist: " + whyNotFound(dir)
	case errors.Is(err, fs.ErrPermission):
		return "the working directory cannot be reached: " + closedDirectory(dir)
	case err != nil:
		return "the working directory cannot be used: " + cause(err)
	case !info.IsDir():
		return "the working directory is not a directory"
	case unix.Access(dir, unix.X_OK) != nil:
		return fmt.Sprintf("the working directory may not be entered (mode %04o): it needs the right to be searched (chmod +x)", info.Mode().Perm())
	}
	return ""
}

// whyNotFound is for what the system says does not exist.
func whyNotFound(path string) string {
	if target, err := os.Readlink(path); err == nil {
		if _, err := os.Stat(path); err != nil {
			return fmt.Sprintf("it is a symbolic link to %s, which does not exist", target)
		}
	}
	_, err := os.Stat(path)
	switch {
	case err == nil: // so something else that it needs is missing
		if interpreter, ok := interpreterOf(path); ok {
			if strings.HasSuffix(interpreter, "\r") {
				return fmt.Sprintf("the interpreter in its first line is %q, with a carriage return at the end: "+
					"the file has Windows line endings, convert them", interpreter)
			}
			return fmt.Sprintf("the interpreter in its first line, %s, does not exist: install it or correct the line", interpreter)
		}
		if loader := loaderOf(path); loader != "" {
			return fmt.Sprintf("it needs %s to be loaded, which does not exist: it was built for another system or C library", loader)
		}
		return "something that it needs in order to be loaded does not exist"
	case errors.Is(err, unix.ENOTDIR):
		return fmt.Sprintf("%s is not a directory", firstUnlike(path, func(info fs.FileInfo, err error) bool { return err == nil && info.IsDir() }))
	case !errors.Is(err, fs.ErrNotExist):
		return cause(err)
	}
	missing := firstUnlike(path, func(_ fs.FileInfo, err error) bool { return err == nil })
	if missing == path {
		return "the file does not exist"
	}
	return fmt.Sprintf("the file does not exist, as there is no directory %s", missing)
}

// whyNotAllowed is for what the system refuses to execute.
func whyNotAllowed(path string) string {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrPermission) {
		return closedDirectory(path)
	}
	if err != nil {
		return cause(err)
	}
	switch {
	case info.IsDir():
		return "it is a directory, not a program"
	case !info.Mode().IsRegular():
		return fmt.Sprintf("it is not a file that could be executed (%s)", info.Mode().Type())
	case info.Mode().Perm()&0o111 == 0:
		return fmt.Sprintf("it is not executable (mode %04o): chmod +x", info.Mode().Perm())
	case unix.Access(path, unix.X_OK) != nil:
		if onNoexec(path) {
			return "its file system is mounted noexec: nothing on it can be executed"
		}
		return fmt.Sprintf("this user may not execute it (mode %04o): change its mode or owner", info.Mode().Perm())
	}
	if interpreter, ok := interpreterOf(path); ok {
		return fmt.Sprintf("the interpreter in its first line, %s, may not be executed: %s", interpreter, whyNotAllowed(interpreter))
	}
	return "the system does not permit it to be executed: look for a security policy, or for how its file system is mounted"
}

// whyNoProgram is for what the system cannot make sense of.
func whyNoProgram(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "it is not a program of a kind that the system knows"
	}
	defer f.Close()
	head := make([]byte, 256)
	n, _ := f.Read(head)
	head = head[:n]
	switch {
	case n == 0:
		return "the file is empty"
	case bytes.HasPrefix(head, []byte("#!")):
		return "the first line after #! is not the path of a program"
	case bytes.HasPrefix(head, []byte(elf.ELFMAG)):
		e, err := elf.NewFile(f)
		if err != nil {
			return "the file is damaged or incomplete: it begins like a program (ELF), but it is not one"
		}
		if machine := machines[runtime.GOARCH]; machine != 0 && e.Machine != machine {
			return fmt.Sprintf("it was built for another kind of processor (%s), and this one is %s",
				strings.TrimPrefix(e.Machine.String(), "EM_"), runtime.GOARCH)
		}
		return "the file is damaged, or was built for another system"
	case bytes.HasPrefix(head, []byte("MZ")):
		return "it is a program for Windows"
	case bytes.HasPrefix(head, []byte("\xcf\xfa\xed\xfe")), bytes.HasPrefix(head, []byte("\xca\xfe\xba\xbe")):
		return "it is a program for macOS that does not run here"
	case bytes.IndexByte(head, 0) < 0:
		return "it is a text without a first line like #!/bin/sh that names its interpreter: add one"
	}
	return "it is not a program of a kind that the system knows"
}

var machines = map[string]elf.Machine{
	"386":     elf.EM_386,
	"amd64":   elf.EM_X86_64,
	"arm":     elf.EM_ARM,
	"arm64":   elf.EM_AARCH64,
	"loong64": elf.EM_LOONGARCH,
	"ppc64le": elf.EM_PPC64,
	"riscv64": elf.EM_RISCV,
	"s390x":   elf.EM_S390,
}

// interpreterOf is the interpreter that a script names in its first line.
func interpreterOf(path string) (interpreter string, ok bool) {
	f, err := os.Open(path)
	if err != nil {
		return "", false
	}
	defer f.Close()
	head := make([]byte, 256)
	n, _ := f.Read(head)
	line, isScript := bytes.CutPrefix(head[:n], []byte("#!"))
	if !isScript {
		return "", false
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	interpreter, _, _ = strings.Cut(strings.Trim(string(line), " \t"), " ")
	return interpreter, interpreter != ""
}

// loaderOf is the dynamic loader that an ELF file asks for.
func loaderOf(path string) string {
	e, err := elf.Open(path)
	if err != nil {
		return ""
	}
	defer e.Close()
	for _, prog := range e.Progs {
		if prog.Type == elf.PT_INTERP && prog.Filesz < 4096 {
			name := make([]byte, prog.Filesz)
			if _, err := prog.ReadAt(name, 0); err == nil {
				return strings.TrimRight(string(name), "\x00")
			}
		}
	}
	return ""
}

// closedDirectory says which directory on the way to path may not be searched.
func closedDirectory(path string) string {
	for _, dir := range parents(path) {
		if unix.Access(dir, unix.X_OK) == nil {
			continue
		}
		mode := ""
		if info, err := os.Stat(dir); err == nil {
			mode = fmt.Sprintf(" (mode %04o)", info.Mode().Perm())
		}
		return fmt.Sprintf("permission denied in the directory %s%s: this user needs the right to search it (chmod +x)", dir, mode)
	}
	return "permission denied in a directory on the way to it"
}

// firstUnlike is the first part of path, from the root, that is not as ok wants it.
func firstUnlike(path string, ok func(fs.FileInfo, error) bool) string {
	for _, dir := range parents(path) {
		if !ok(os.Stat(dir)) {
			return dir
		}
	}
	return path
}

// parents are the directories above path, the root first.
func parents(path string) []string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	var dirs []string
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		dirs = append([]string{dir}, dirs...)
		if dir == filepath.Dir(dir) {
			return dirs
		}
	}
}

// cause is an error without the path, which is named elsewhere.
func cause(err error) string {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathErr.Err
	}
	return err.Error()
}

// limit describes a resource limit, in brackets, if it can be found out.
func limit(resource int) string {
	var l unix.Rlimit
	if unix.Getrlimit(resource, &l) != nil || uint64(l.Cur) >= 1<<62 {
		return ""
	}
	return fmt.Sprintf(" (%d)", l.Cur)
}

func argSize(spec *Spec) int {
	size := len(spec.Path) + 1
	for _, list := range [][]string{spec.Args, spec.Env} {
		for _, s := range list {
			size += len(s) + 1
		}
	}
	return size
}

func longest(spec *Spec) int {
	n := 0
	for _, list := range [][]string{spec.Args, spec.Env} {
		for _, s := range list {
			n = max(n, len(s))
		}
	}
	return n
}
