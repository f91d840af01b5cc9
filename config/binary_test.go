package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// onlyAt is a host on which there is one binary.
func onlyAt(paths ...string) func(string) error {
	return func(path string) error {
		for _, p := range paths {
			if absolute, _ := filepath.Abs(p); path == absolute {
				return nil
			}
		}
		return fs.ErrNotExist
	}
}

func TestTheFirstHitIsTheBinary(t *testing.T) {
	listed := ProcessManager{CollectorBinaries: map[string]string{"web": "/opt/web"}}
	everywhere := []string{"/srv/web", "/opt/web", "/usr/local/bin/web", "/usr/bin/web", "target/release/web"}
	for _, test := range []struct {
		name string
		c    Collector
		pm   ProcessManager
		host []string
		want string
	}{
		{"binary_path", Collector{Type: "web", BinaryPath: "/srv/web"}, listed, everywhere, "/srv/web"},
		{"collector_binaries", Collector{Type: "web"}, listed, everywhere, "/opt/web"},
		{"/usr/local/bin", Collector{Type: "web"}, ProcessManager{}, everywhere, "/usr/local/bin/web"},
		{"/usr/bin", Collector{Type: "web"}, ProcessManager{}, everywhere[3:], "/usr/bin/web"},
		{"target/release", Collector{Type: "web"}, ProcessManager{}, everywhere[4:], "target/release/web"},
		{"relative path", Collector{Type: "web", BinaryPath: "bin/web"}, ProcessManager{}, []string{"bin/web"}, "bin/web"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := resolve(test.c, test.pm, onlyAt(test.host...), "linux")
			if want, _ := filepath.Abs(test.want); err != nil || got != want {
				t.Errorf("%s, %v; want %s", got, err, want)
			}
		})
	}
}

func TestWindowsHasAnExtensionAndNoUnixPaths(t *testing.T) {
	for _, test := range []struct {
		c    Collector
		want string
	}{
		{Collector{Type: "web"}, "target/release/web.exe"},
		{Collector{Type: "web", BinaryPath: "bin/web"}, "bin/web.exe"},
		{Collector{Type: "web", BinaryPath: "bin/web.v2"}, "bin/web.v2.exe"},
		{Collector{Type: "web", BinaryPath: "bin/web.EXE"}, "bin/web.EXE"},
		{Collector{Type: "web", BinaryPath: "bin/web.cmd"}, "bin/web.cmd"},
	} {
		var looked []string
		got, err := resolve(test.c, ProcessManager{}, func(path string) error { looked = append(looked, path); return nil }, "windows")
		if want, _ := filepath.Abs(test.want); err != nil || got != want || len(looked) != 1 {
			t.Errorf("%+v: %s, %v, looked at %q; want %s", test.c, got, err, looked, want)
		}
	}
}

func TestAnExplicitPathIsFinal(t *testing.T) {
	for name, test := range map[string]struct {
		c       Collector
		pm      ProcessManager
		setting string
	}{
		"binary_path":        {Collector{Type: "web", BinaryPath: "/srv/gone"}, ProcessManager{}, "binary_path"},
		"collector_binaries": {Collector{Type: "web"}, ProcessManager{CollectorBinaries: map[string]string{"web": "/srv/gone"}}, "process_manager.collector_binaries.web"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := resolve(test.c, test.pm, onlyAt("/usr/bin/web"), "linux")
			var missing *NotFoundError
			if !errors.As(err, &missing) {
				t.Fatalf("%q, %v", got, err)
			}
			if len(missing.Tried) != 1 || missing.Setting != test.setting || !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%+v", missing)
			}
		})
	}
}

func TestTheErrorListsEveryPathThatWasTriedAndSaysWhatToDo(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the paths have drive letters there")
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	look := func(string) error { return statFault(filepath.Join(dir, "nowhere"), fs.ErrNotExist) }
	_, err = resolve(Collector{Type: "web"}, ProcessManager{}, look, "linux")
	want := `no binary for type "web": /usr/local/bin/web does not exist, /usr/bin/web does not exist, ` + dir +
		`/target/release/web does not exist; put it at one of these paths, or set binary_path or process_manager.collector_binaries.web`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error("it does not wrap fs.ErrNotExist")
	}
}

func TestAPathThatAShellWouldUnderstandGetsAdvice(t *testing.T) {
	for path, want := range map[string]string{
		"python3":      "PATH is not searched: write the whole path",
		"~/bin/web":    "~ is not expanded: write the whole path",
		"$HOME/web":    "variables are not expanded: write the whole path",
		"/opt/missing": "correct binary_path, or remove it to have the binary found by its type",
	} {
		_, err := resolve(Collector{Type: "web", BinaryPath: path}, ProcessManager{}, onlyAt(), "linux")
		if err == nil || !strings.HasSuffix(err.Error(), "; "+want) {
			t.Errorf("%s: %v, want ...%s", path, err, want)
		}
	}
}

func TestATypeCannotPointOutsideTheUsualPaths(t *testing.T) {
	for _, typ := range []string{"", "../../etc/passwd", "a/b"} {
		_, err := resolve(Collector{Type: typ}, ProcessManager{}, func(path string) error { t.Errorf("looked at %s", path); return nil }, "linux")
		if err == nil {
			t.Errorf("type %q was accepted", typ)
		}
	}
}

func TestWhatIsNoBinarySaysWhy(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string, mode fs.FileMode) {
		if err := os.WriteFile(at(name), []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("good.exe", 0o700)
	for path, want := range map[string]string{"good.exe": "", "gone": "does not exist", ".": "is a directory, not a file"} {
		if got := reason(lookFile(at(path))); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if runtime.GOOS == "windows" {
		return // modes and links are not the same there
	}
	write("plain", 0o600)
	write("group", 0o010)
	for link, target := range map[string]string{"link": "good.exe", "dangling": "nowhere", "loop": "loop", "to-plain": "plain"} {
		if err := os.Symlink(target, at(link)); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"plain":      "is not executable",
		"group":      "",
		"link":       "",
		"to-plain":   "is not executable",
		"dangling":   "is a link to nowhere, which does not exist",
		"loop":       "cannot be looked at: too many levels of symbolic links",
		"plain/file": "cannot be looked at: not a directory",
	} {
		if got := reason(lookFile(at(path))); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if err := lookFile(at("plain")); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v does not wrap fs.ErrPermission", err)
	}
	if err := lookFile(at("dangling")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v does not wrap fs.ErrNotExist", err)
	}
	if err := lookFile(os.DevNull); reason(err) != "is a device, not a file" {
		t.Errorf("a device: %v", err)
	}

	_, err := ResolveBinary(Collector{Type: "web", BinaryPath: at("plain")}, ProcessManager{})
	if err == nil || !strings.HasSuffix(err.Error(), "; make it executable with chmod +x") {
		t.Errorf("%v", err)
	}
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestMissingIsWhatTheHostDoesNotHave(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "web.exe")
	if err := os.WriteFile(file, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	c := Config{Collectors: map[string]Collector{
		"good":   {BinaryPath: file, WorkingDir: dir},
		"gone":   {BinaryPath: filepath.Join(dir, "gone.exe")},
		"nodir":  {BinaryPath: file, WorkingDir: filepath.Join(dir, "gone")},
		"notdir": {BinaryPath: file, WorkingDir: file},
	}}
	missing := c.Missing()
	want := []string{
		"collectors.gone.binary_path: no binary for type \"gone\": " + filepath.Join(dir, "gone.exe") +
			" does not exist; correct binary_path, or remove it to have the binary found by its type",
		"collectors.nodir.working_dir: " + filepath.Join(dir, "gone") + " does not exist; make it, or correct the path",
		"collectors.notdir.working_dir: " + file + " is a file, not a directory; make it, or correct the path",
	}
	if got := missing.Error(); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	var notFound *NotFoundError
	if !errors.As(missing, &notFound) {
		t.Error("there is no *NotFoundError in it")
	}
}
