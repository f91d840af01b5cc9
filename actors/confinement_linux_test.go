package actors_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

// scripted is a collector that runs a script and then stays.
func scripted(script string) config.Collector {
	return config.Collector{BinaryPath: "/bin/sh", Args: []string{"-c", script + "\nexec sleep 600"}, Readiness: config.ReadyLog, ReadinessPattern: "^done"}
}

func TestWhatConfinesACollectorIsShown(t *testing.T) {
	c := scripted("umask; grep NoNewPrivs /proc/self/status; echo done")
	c.Umask, c.Seccomp, c.Capabilities = "0077", config.SeccompStrict, []string{}
	sup := speakers(t, config.Config{Collectors: map[string]config.Collector{"web": c}})
	if _, err := sup.Start(t.Context(), "web", "", nil); err != nil {
		t.Fatal(err)
	}
	status, err := sup.Status(t.Context(), "web")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"umask 0077", "no new privileges", "system calls: strict"} {
		if !slices.Contains(status.Confinement, want) {
			t.Errorf("%q, want %q", status.Confinement, want)
		}
	}
	if len(status.Unmet) > 0 {
		t.Errorf("%q", status.Unmet)
	}
	if _, err := sup.Stop(t.Context(), "web", 0); err != nil {
		t.Fatal(err)
	}
	if status, err = sup.Status(t.Context(), "web"); err != nil || len(status.Confinement) > 0 {
		t.Errorf("%q, when it is stopped; %v", status.Confinement, err)
	}
}

func TestAConfinementThatCannotBeHadIsAnErrorOrAWarning(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root can have them all")
	}
	c := scripted("echo done")
	c.PrivateTmp = true
	lenient := c
	lenient.ConfinementRequired = config.Off
	sup := speakers(t, config.Config{Collectors: map[string]config.Collector{"web": c, "lenient": lenient}})
	if _, err := sup.Start(t.Context(), "web", "", nil); !errors.Is(err, messages.SpawnFailed) || !strings.Contains(err.Error(), "private tmp") {
		t.Errorf("%v", err)
	}
	if _, err := sup.Start(t.Context(), "lenient", "", nil); err != nil {
		t.Fatal(err)
	}
	if status, err := sup.Status(t.Context(), "lenient"); err != nil || len(status.Unmet) != 1 || !strings.HasPrefix(status.Unmet[0], "private tmp: ") {
		t.Errorf("%q, %v", status.Unmet, err)
	}
}

func TestASecretIsToldInMemoryAndNowhereElse(t *testing.T) {
	const fromFile, fromEnv = "hunter2 of the file", "hunter2 of the environment"
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(fromFile), 0o600); err != nil {
		t.Fatal(err)
	}
	c := scripted(`[ "$(cat $PROCTOR_SECRET_DB_PASSWORD)" = "` + fromFile[:8] + `of the file" ] || exit 3
[ "$(cat $PROCTOR_SECRET_TOKEN)" = "hunter2 of the environment" ] || exit 4
[ -z "$TOKEN" ] || exit 5
env; tr '\0' '\n' </proc/self/environ; echo done`)
	c.Args[1] = strings.ReplaceAll(c.Args[1], "hunter2", `hunter""2`) // the arguments are known to all
	c.Secrets = map[string]string{"db-password": path, "token": "env:TOKEN"}
	kept, err := actors.OpenCapture(t.TempDir(), os.Stdout, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	sup, err := actors.New(config.Config{Collectors: map[string]config.Collector{"web": c}}, actors.WithCapture(kept),
		actors.WithEnvironment([]string{"PATH=/usr/bin:/bin", "TOKEN=" + fromEnv}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sup.Close(); err != nil {
			t.Error(err)
		}
		_ = kept.Close()
	})
	if _, err := sup.Start(t.Context(), "web", "", nil); err != nil {
		t.Fatal(err)
	}
	exit, err := sup.Stop(t.Context(), "web", 0)
	if err != nil {
		t.Fatal(err)
	}
	if said := strings.Join(exit.Tail, "\n"); strings.Contains(said, "hunter2") || !strings.Contains(said, "PROCTOR_SECRET_DB_PASSWORD=/proc/self/fd/") {
		t.Errorf("its environment is\n%s", said)
	}

	missing := scripted("echo done")
	missing.Secrets = map[string]string{"db": "/no/such/file"}
	if _, err := sup.Start(t.Context(), "other", "", &missing); !errors.Is(err, messages.SpawnFailed) || !strings.Contains(err.Error(), `the secret "db": open /no/such/file`) {
		t.Errorf("%v", err)
	}
	missing.Secrets = map[string]string{"db": "env:NO_SUCH_VARIABLE"}
	if _, err := sup.Start(t.Context(), "third", "", &missing); !errors.Is(err, messages.SpawnFailed) || !strings.Contains(err.Error(), "NO_SUCH_VARIABLE") {
		t.Errorf("%v", err)
	}
}

func TestAProbeAndAHookAreConfinedAsTheirCollectorIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte("a secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := scripted("")
	c.Seccomp, c.Umask, c.Secrets = config.SeccompStrict, "0077", map[string]string{"db": path}
	c.Readiness, c.ReadinessPattern = config.ReadyProbe, ""
	confined := []string{"/bin/sh", "-c", `[ "$(cat $PROCTOR_SECRET_DB)" = "a secret" ] && [ "$(umask)" = 0077 ] && grep -q "^Seccomp:.*2" /proc/self/status`}
	c.PreStart = confined
	c.ReadinessProbe = config.Probe{Exec: confined, Timeout: 10 * time.Second, Period: 20 * time.Millisecond}
	sup := speakers(t, config.Config{Collectors: map[string]config.Collector{"web": c}})
	if _, err := sup.Start(t.Context(), "web", "", nil); err != nil {
		t.Error(err)
	}
}
