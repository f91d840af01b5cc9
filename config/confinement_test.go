package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/proctord/proctor/config"
)

func TestAConfinementThatCannotWorkIsRefusedByItsKey(t *testing.T) {
	digest := strings.Repeat("0a", 32)
	good := config.Collector{
		Umask: "0027", Capabilities: []string{"CAP_NET_RAW", "net_admin"}, NoNewPrivileges: config.On, RootDirectory: "/srv", ReadOnlyPaths: []string{"/"},
		ReadWritePaths: []string{"/var"}, InaccessiblePaths: []string{"/home"}, PrivateTmp: true, Seccomp: "strict", BinarySHA256: digest,
		KeepFds: []int{3, 255}, Secrets: map[string]string{"db": "/etc/db", "token": "env:TOKEN"},
	}
	if err := good.Validate("web"); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		key, words string
		bad        config.Collector
	}{
		{"umask", "octal", config.Collector{Umask: "0999"}},
		{"umask", "octal", config.Collector{Umask: "01777"}},
		{"capabilities[1]", `did you mean "net_raw"`, config.Collector{Capabilities: []string{"kill", "net_rw"}}},
		{"seccomp", `"strict"`, config.Collector{Seccomp: "strickt"}},
		{"no_new_privileges", "got round", config.Collector{NoNewPrivileges: config.Off, Seccomp: "default"}},
		{"no_new_privileges", "got round", config.Collector{NoNewPrivileges: config.Off, ReadOnlyPaths: []string{"/"}}},
		{"root_directory", "begin it with /", config.Collector{RootDirectory: "srv"}},
		{"binary_path", "root_directory", config.Collector{RootDirectory: "/srv", BinaryPath: "bin/web"}},
		{"working_dir", "root_directory", config.Collector{RootDirectory: "/srv", WorkingDir: "web"}},
		{"read_only_paths[0]", "begin it with /", config.Collector{ReadOnlyPaths: []string{"etc"}}},
		{"inaccessible_paths[0]", "twice", config.Collector{ReadWritePaths: []string{"/srv/"}, InaccessiblePaths: []string{"/srv"}}},
		{"keep_fds[0]", "3 to 255", config.Collector{KeepFds: []int{2}}},
		{"keep_fds[1]", "twice", config.Collector{KeepFds: []int{4, 4}}},
		{"keep_fds[0]", "readiness", config.Collector{KeepFds: []int{3}, Readiness: config.ReadyFD}},
		{"binary_sha256", "64 hexadecimal", config.Collector{BinarySHA256: digest[1:]}},
		{"secrets.db", "env:NAME", config.Collector{Secrets: map[string]string{"db": "hunter2"}}},
		{"secrets.db", "no environment variable", config.Collector{Secrets: map[string]string{"db": "env:"}}},
		{`secrets."a b"`, "not a name", config.Collector{Secrets: map[string]string{"a b": "/x"}}},
		{"secrets.a_b", "another", config.Collector{Secrets: map[string]string{"a-b": "/x", "a_b": "/x"}}},
		{"secrets.db", "env has", config.Collector{Secrets: map[string]string{"db": "/x"}, Env: map[string]string{"PROCTOR_SECRET_DB": "x"}}},
	} {
		var ps config.Problems
		err := c.bad.Validate("web")
		if !errors.As(err, &ps) || len(ps) != 1 || ps[0].Key != "collectors.web."+c.key || !strings.Contains(ps[0].Error(), c.words) {
			t.Errorf("%s: %v", c.key, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("a secret is repeated: %v", err)
		}
	}
}

func TestRootCanLeaveItsRootDirectory(t *testing.T) {
	for want, c := range map[int]config.Collector{
		1: {RootDirectory: "/srv"},
		0: {RootDirectory: "/srv", User: "web"},
	} {
		if got := c.Warnings("web", config.ProcessManager{}); len(got) != want {
			t.Errorf("%v, want %d", got, want)
		}
	}
}

func TestABinaryIsLookedForInItsRootDirectory(t *testing.T) {
	var looked []string
	look := func(path string) error { looked = append(looked, path); return nil }
	path, err := config.Resolve(config.Collector{RootDirectory: "/srv", BinaryPath: "/bin/web"}, config.ProcessManager{}, look)
	if err != nil || path != "/bin/web" || looked[0] != "/srv/bin/web" {
		t.Errorf("%q, %v, looked at %q", path, err, looked)
	}
}
