package tests

import (
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/platform"
	"github.com/proctord/proctor/platform/platformtest"
)

// specOf is what a host is asked to start for a collector.
func specOf(t *testing.T, c config.Collector, environment ...string) (spec platform.Spec) {
	t.Helper()
	c.BinaryPath = "/usr/bin/web"
	inBubble(t, config.Config{Collectors: map[string]config.Collector{"web": c}}, func(s platform.Spec, _ int) platformtest.Program {
		spec = s
		return platformtest.Program{}
	}, func(w *world) {
		if _, err := w.Start(w.ctx, "web", "", nil); err != nil {
			t.Error(err)
		}
	}, actors.WithEnvironment(environment))
	return spec
}

func TestWhatConfinesACollectorIsWhatItsSettingsSay(t *testing.T) {
	yes, no := true, false
	for name, c := range map[string]struct {
		settings config.Collector
		want     platform.Confinement
	}{
		"nothing":         {config.Collector{}, platform.Confinement{Required: true}},
		"no mask":         {config.Collector{Umask: "0000"}, platform.Confinement{Umask: -1, Required: true}},
		"no capabilities": {config.Collector{Capabilities: []string{}}, platform.Confinement{Capabilities: []string{}, Required: true}},
		"a wish":          {config.Collector{Seccomp: "strict", ConfinementRequired: config.Off}, platform.Confinement{Seccomp: "strict"}},
		"privileges":      {config.Collector{NoNewPrivileges: config.Off}, platform.Confinement{NoNewPrivileges: &no, Required: true}},
		"everything": {
			config.Collector{
				Umask: "0027", Capabilities: []string{"net_raw"}, NoNewPrivileges: config.On, RootDirectory: "/srv", ReadOnlyPaths: []string{"/"}, ReadWritePaths: []string{"/var"},
				InaccessiblePaths: []string{"/home"}, PrivateTmp: true, Seccomp: "default", BinarySHA256: strings.Repeat("0", 64),
			},
			platform.Confinement{
				Umask: 0o027, Capabilities: []string{"net_raw"}, NoNewPrivileges: &yes, Root: "/srv", ReadOnly: []string{"/"}, ReadWrite: []string{"/var"},
				Inaccessible: []string{"/home"}, PrivateTmp: true, Seccomp: "default", SHA256: strings.Repeat("0", 64), Required: true,
			},
		},
	} {
		if got := specOf(t, c.settings).Confinement; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	if got := specOf(t, config.Collector{KeepFds: []int{7, 4}}).KeepFDs; !slices.Equal(got, []int{7, 4}) {
		t.Errorf("%v is kept", got)
	}
}

func TestASecretIsReadWhenItsCollectorIsStarted(t *testing.T) {
	dir, err := os.MkdirTemp("", "secret") // t.TempDir would fail the test where wine cannot delete the way that Go wants to
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "secret")
	if err := os.WriteFile(path, []byte("of a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	spec := specOf(t, config.Collector{Secrets: map[string]string{"b.c": path, "a-b": "env:TOKEN", "d": "env:NONE", "e": path + "x"}},
		"TOKEN=of the environment", "OTHER=1")
	if !slices.Equal(spec.Env, []string{"OTHER=1"}) {
		t.Errorf("its environment is %q", spec.Env)
	}
	for i, want := range []struct{ variable, content, words string }{
		{"PROCTOR_SECRET_A_B", "of the environment", ""},
		{"PROCTOR_SECRET_B_C", "of a file\n", ""},
		{"PROCTOR_SECRET_D", "", `the secret "d": the supervisor has no environment variable NONE`},
		{"PROCTOR_SECRET_E", "", `the secret "e": open ` + path + "x"},
	} {
		content, err := spec.Secrets[i].Read()
		if spec.Secrets[i].Env != want.variable || string(content) != want.content || (err == nil) != (want.words == "") || err != nil && !strings.Contains(err.Error(), want.words) {
			t.Errorf("%s: %q, %v, want %+v", spec.Secrets[i].Env, content, err, want)
		}
	}
}

func TestEveryCapabilityOfASettingIsOneOfTheSystem(t *testing.T) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("needs root, on Linux")
	}
	host, err := platform.New(platform.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	}()
	told := make(chan platform.Notice, 4)
	host.Start(platform.Spec{Label: "true", Path: "/bin/true", Confinement: platform.Confinement{Capabilities: config.CapabilityNames()}}, func(n platform.Notice) { told <- n })
	n := <-told
	if n.Kind != platform.Spawned || len(n.InForce) == 0 {
		t.Fatalf("%v: %v, %q", n.Kind, n.Err, n.InForce)
	}
	_, all, _ := strings.Cut(n.InForce[0], "it can have: ")
	for _, name := range strings.Fields(all) {
		if _, ok := config.Capability(name); !ok {
			t.Errorf("there is no setting for %s", name)
		}
	}
}
