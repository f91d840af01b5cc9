package toml_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/config/toml"
)

func TestTheExampleOfTheReferenceLoadsAsItStands(t *testing.T) {
	got, err := toml.ReadFile("testdata/reference.toml")
	want := config.Config{
		ProcessManager: config.ProcessManager{
			CollectorBinaries:      map[string]string{"procmond": "/usr/local/bin/procmond", "netmond": "/usr/local/bin/netmond"},
			DefaultGracefulTimeout: 30 * time.Second,
			DefaultForceTimeout:    5 * time.Second,
			HealthCheckInterval:    60 * time.Second,
			EnableAutoRestart:      true,
		},
		Collectors: map[string]config.Collector{},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}
}

func TestEveryKeySetsItsField(t *testing.T) {
	got, err := toml.ReadFile("testdata/complete.toml")
	want := config.Config{
		ProcessManager: config.ProcessManager{
			CollectorBinaries:          map[string]string{"procmond": "/opt/procmond", "net.mond": "/opt/net mond"},
			DefaultGracefulTimeout:     20 * time.Second,
			DefaultForceTimeout:        2500 * time.Millisecond,
			HealthCheckInterval:        500 * time.Millisecond,
			HeartbeatTimeoutMultiplier: 5,
			MaxSpawnsPerSecond:         50,
			StartConcurrency:           4,
			CgroupParent:               "/sys/fs/cgroup/proctor",
			OnSupervisorDeath:          config.Kill,
			ExitWith:                   "procmond-1",
			EnableAutoRestart:          true,
			StateDir:                   "/srv/state",
			Output:                     config.Output{Target: config.OutputMemory, MaxSizeMB: 7, Also: []string{}},
			LogPath:                    "/srv/proctor.log",
			Runs:                       config.Runs{MaxPerCollector: 20, MaxSizeMB: 8, MaxAgeDays: 30, MaxCrashes: 40},
		},
		Collectors: map[string]config.Collector{
			"procmond-1": {
				Type:            "procmond",
				BinaryPath:      "/srv/procmond",
				Args:            []string{"--config", "/etc/procmond.conf"},
				Env:             map[string]string{"PATH": "/bin", "EMPTY": "", "with.dot": "x"},
				ClearEnv:        true,
				WorkingDir:      "/srv",
				AutoRestart:     true,
				Restart:         config.RestartOnFailure,
				MaxRestarts:     16,
				RestartWindow:   1000 * time.Second,
				BackoffInitial:  time.Millisecond,
				BackoffMax:      10 * time.Second,
				BackoffReset:    250 * time.Millisecond,
				GracefulTimeout: 45 * time.Second,
				ForceTimeout:    3 * time.Second,
				StopSequence:    []config.StopStep{{Signal: "SIGINT"}, {Signal: "SIGTERM", After: 10 * time.Second}, {Signal: "SIGQUIT", After: 2500 * time.Millisecond}},
				StopCommand:     []string{"/usr/bin/procmondctl", "stop"},
				ReloadCommand:   []string{"/usr/bin/procmondctl", "reload"},
				ReloadNotify:    true,
				PreStart:        []string{"/usr/bin/mkdir", "-p", "/run/procmond"},
				PostStart:       []string{"/usr/bin/procmondctl", "check"},
				PreStop:         []string{"/usr/bin/procmondctl", "drain"},
				PostExit:        []string{"/usr/bin/rm", "-rf", "/run/procmond"},
				HookTimeout:     12 * time.Second,
				Group:           "pipeline",
				Significant:     true,
				Requires:        []config.Dependency{{ID: "tcp"}, {ID: "unix", Condition: config.Healthy}},
				Wants:           []string{"zeroes"},
				After:           []config.Dependency{{ID: "zeroes", Condition: config.Started}},
				User:            "procmond", UnixGroup: "4711", SupplementaryGroups: []string{"adm"},
				Umask: "0027", Capabilities: []string{"net_raw", "CAP_NET_ADMIN"}, NoNewPrivileges: config.On, RootDirectory: "/srv/root",
				ReadOnlyPaths: []string{"/"}, ReadWritePaths: []string{"/srv/data"}, InaccessiblePaths: []string{"/srv/data/keys"},
				PrivateTmp: true, Seccomp: config.SeccompStrict, BinarySHA256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
				ConfinementRequired: config.Off, KeepFds: []int{6}, Secrets: map[string]string{"db-password": "/etc/proctor/db", "token": "env:TOKEN"},
				ResourceLimits: config.ResourceLimits{
					CPUPercent: 150, CPUWeight: 50, MemoryMaxMB: 200, MemoryHighMB: 150, SwapMaxMB: config.None, TasksMax: 64,
					MemorySoftMB: 120, MemorySoft: 20 * time.Second, IOReadMBPerSecond: 30, IOWriteMBPerSecond: 20, IOWeight: 200,
					OpenFiles: 1024, CoreMB: config.None, Nice: -5, OOMScoreAdjust: 500, CPUAffinity: []int{0, 1}, Required: true,
				},
				Warn: config.Warnings{MemoryPercent: 90, CPUPercent: 120, TasksPercent: 80, For: 30 * time.Second},

				Readiness:          config.ReadyLog,
				ReadinessPattern:   "^ready",
				Notify:             config.On,
				Watchdog:           15 * time.Second,
				WatchdogSignal:     "SIGQUIT",
				StartupTimeout:     90 * time.Second,
				RestartOnUnhealthy: config.Off,
				Liveness: config.Probe{HTTP: "http://127.0.0.1:8080/healthz", InitialDelay: 5 * time.Second, Period: 2 * time.Second,
					Timeout: 500 * time.Millisecond, FailureThreshold: 4},
				ReadinessProbe: config.Probe{GRPC: "127.0.0.1:9000/service", SuccessThreshold: 2},
				StartupProbe:   config.Probe{Exec: []string{"/bin/ready", "-q"}},

				Kind:               config.Task,
				SuccessExitCodes:   []string{"3", "SIGTERM"},
				NoRestartExitCodes: []string{"78", "hup"},
				RetryFailedAfter:   10 * time.Minute,
				Output: config.Output{
					Target: config.OutputFile, Path: "/srv/procmond.log", MaxSizeMB: 10, MaxFiles: 3, MaxAgeDays: 14,
					Compress: config.CompressZstd, Format: config.OutputRaw, Streams: config.StreamsTogether,
					Timestamps: config.On, Lossless: config.On, MaxLineKB: 64, RateLimit: 1000, TailLines: 5,
					Mask: []string{`password=\S+`}, MultilineStart: `^\S`, Also: []string{"inherit", "syslog+udp://logs:514", "otlp+grpc://otel:4317", "command:/usr/bin/ship --to somewhere"},
				},
			},
			"tcp": {StopSignal: "SIGINT", ReloadSignal: "SIGUSR1", Readiness: config.ReadyFD, ReadinessFD: 5, Liveness: config.Probe{TCP: "127.0.0.1:5432"}, Autostart: true},
			"unix": {Activity: config.Activity{
				Source: config.ActivityMetrics, URL: "http://127.0.0.1:9100/metrics", Metric: "packets_total",
				MaxSilence: 5 * time.Minute, MinPerMinute: 5, RestartOnSilence: true,
			}, Liveness: config.Probe{Unix: "/run/x.sock"}, Autostart: true},
			"zeroes": {
				MaxRestarts:    config.None,
				RestartWindow:  config.Forever,
				BackoffInitial: config.None,
				BackoffReset:   config.None,
				Output:         config.Output{MaxAgeDays: config.None, RateLimit: config.None, Lossless: config.Off, Timestamps: config.Off},
				Autostart:      true,
			},
		},
		Groups: map[string]config.Group{
			"all": {OnEscalation: config.ShutDown, AutoShutdown: config.AnySignificant},
			"pipeline": {
				Parent: "all", Strategy: config.RestForOne, MaxRestarts: config.None, RestartWindow: time.Minute,
				OnEscalation: config.Escalate, AutoShutdown: config.AllSignificant, Significant: true,
				ResourceLimits: config.ResourceLimits{MemoryMaxMB: 500, SwapMaxMB: config.None, Required: true},
			},
		},
		Order: []string{"procmond-1", "tcp", "unix", "zeroes", "@all", "@pipeline"},
		Control: config.Control{
			Socket: "/run/proctor/proctor.sock", SocketMode: "0660", SocketGroup: "ops",
			Listen: "0.0.0.0:9444", TLSCert: "/etc/proctor/server.pem", TLSKey: "/etc/proctor/server.key", TLSClientCA: "/etc/proctor/clients.pem",
			MetricsListen: "127.0.0.1:9445",
			Roles:         config.Roles{Viewer: []string{"uid:1001"}, Operator: []string{"user:alice"}, Admin: []string{"cert:ops.example.org"}},
		},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}
	// So that a new key gets its line in the file, and thus in this test.
	data, err := os.ReadFile("testdata/complete.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range toml.Keys() {
		parts := strings.Split(doc.Key, ".")
		name := parts[len(parts)-1]
		if strings.HasPrefix(name, "<") {
			name = parts[len(parts)-2]
		}
		if !strings.Contains(string(data), name) {
			t.Errorf("complete.toml does not have %s", doc.Key)
		}
		if doc.Doc == "" || doc.Form == "" {
			t.Errorf("%s is not documented", doc.Key)
		}
	}
}

func TestThereAreManyWaysToWriteTheSame(t *testing.T) {
	want, err := toml.Parse("plain", []byte("[process_manager]\nenable_auto_restart = true\n"+
		"[collectors.web]\nargs = [\"a\", \"b\"]\nmax_restarts = 5\n[collectors.web.env]\nA = \"1\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"inline tables":   "process_manager = { enable_auto_restart = true }\ncollectors = { web = { args = ['a', 'b'], max_restarts = 5, env = { A = '1' } } }",
		"dotted keys":     "process_manager.enable_auto_restart = true\ncollectors.web.args = ['a', 'b']\ncollectors.web.max_restarts = 5\ncollectors.web.env.A = '1'",
		"one table":       "[process_manager]\nenable_auto_restart = true\n[collectors]\nweb = { args = ['a', 'b'], max_restarts = 5, env.A = '1' }",
		"quoted keys":     "[\"process_manager\"]\n'enable_auto_restart' = true\n[\"collectors\".'web']\n\"args\" = ['a', 'b']\n\"max_\\u0072estarts\" = 5\n\"env\".'A' = '1'",
		"spaces":          "[ process_manager ]\n\tenable_auto_restart   =   true\n[ collectors . web ]\nargs=['a','b']\nmax_restarts=5\nenv . A = '1'",
		"several lines":   "[process_manager]\nenable_auto_restart = true\n[collectors.web]\nargs = [ # two\n  'a',\n\n  '''b''', # last\n]\nmax_restarts = +5\nenv = {\n  A = \"\"\"\n1\"\"\",\n}",
		"children first":  "[collectors.web.env]\nA = '1'\n[collectors.web]\nargs = ['a', 'b']\nmax_restarts = 0b101\n[collectors]\n[process_manager]\nenable_auto_restart = true",
		"CRLF":            "[process_manager]\r\nenable_auto_restart = true\r\n[collectors.web]\r\nargs = ['a', 'b']\r\nmax_restarts = 5\r\nenv.A = '1'\r\n",
		"byte order mark": "\ufeff[process_manager]\nenable_auto_restart = true\n[collectors.web]\nargs = ['a', 'b']\nmax_restarts = 5\nenv.A = '1'",
	} {
		got, err := toml.Parse(name, []byte(text))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v\nwant %+v", name, got, err, want)
		}
	}
}

func TestPositionsCountCharactersWhateverTheLineEnds(t *testing.T) {
	for text, want := range map[string]string{
		"\ufeffx = 1":                       "f:1:1: x: unknown key; the keys of a file are process_manager, state_dir, output, log, runs, control, groups, collectors",
		"[collectors.web]\r\nx_y_z = 1\r\n": "f:2:1: ",
		"collectors.web = { working_dir = 'äöü', \t args = 1 }": "f:1:50: collectors.web.args: expected an array of strings",
		"collectors.web.args = [ 'ä',\n\n  1 ]":                 "f:3:3: collectors.web.args[1]: expected a string, not 1",
	} {
		_, err := toml.Parse("f", []byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s…", text, err, want)
		}
	}
}

func TestHostileInputIsRefusedInBoundedTime(t *testing.T) {
	repeat := strings.Repeat
	for _, test := range []struct {
		name, text, want string
	}{
		{"nothing", "", "f: the file says nothing; add a collector:\n"},
		{"white space", " \t\r\n\n", "f: the file says nothing; add a collector:\n"},
		{"NUL bytes", "\x7fELF\x02\x01\x01\x00\x00", "f:1:8: this is not a text file: byte 8 is a NUL"},
		{"not UTF-8", "[collectors.web]\ntype = \"w\xffb\"", "f:2:10: byte 27, 0xff, is not UTF-8; save the file as UTF-8"},
		{"id not UTF-8", "[collectors.\"\xff\"]", "f:1:14: byte 14, 0xff, is not UTF-8; save the file as UTF-8"},
		{"UTF-16", "\xff\xfe[\x00", "f:1:1: the file is UTF-16; save it as UTF-8"},
		{"control characters", "\x01\x02", "f:1:1: this is not TOML: invalid character at start of key: U+0001"},
		{"too large", repeat("a=1\n", 10<<20/4), "f: the file is larger than 1048576 bytes, which no configuration is"},
		{"deep arrays", "x = " + repeat("[", 10_000) + repeat("]", 10_000), "f:1:1: x: unknown key"},
		{"deeper arrays", "x = " + repeat("[", 500_000), "f:1:10005: this is not TOML: arrays and inline tables are nested more than the maximum"},
		{"deep array of strings", "collectors.web.args = " + repeat("[", 9_000) + repeat("]", 9_000), "f:1:23: collectors.web.args[0]: expected a string, not an array"},
		{"deep inline tables", "x = " + repeat("{a=", 9_999) + "1" + repeat("}", 9_999), "f:1:1: x: unknown key"},
		{"many dots", repeat("a.", 500_000) + "b = 1", "f:1:1: the file has more than 20000 keys"},
		{"too many dots", repeat("a.", 100) + "b = 1", "f:1:1: a key of 101 parts is beyond the limit of 100"},
		{"many dots in a header", "[" + repeat("a.", 100) + "b]\ntype = 1", "f:1:2: a key of 101 parts is beyond the limit of 100"},
		{"long key", repeat("k", 500_000) + " = 1", "f:1:1: a key of 500000 bytes is beyond the limit of 1024"},
		{"long id", "[collectors." + repeat("x", 1000) + "]\n" + repeat("y = 1\n", 500), "f:1:13: collectors.xxx"},
		{"many keys", "[collectors.web.env]\n" + repeat("a = 1\n", 150_000), "f:3:1: collectors.web.env.a: already set in line 2"},
		{"one long line", "collectors.web.args = [" + repeat("1,", 500_000) + "]", "f:1:24: collectors.web.args[0]: expected a string"},
		{"many tables", repeat("[[collectors]]\n", 69_000), "f:1:3: collectors: expected a table, not an array of tables"},
	} {
		t.Run(test.name, func(t *testing.T) {
			began := time.Now()
			_, err := toml.Parse("f", []byte(test.text))
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got  %.300v\nwant %s…", err, test.want)
			}
			if took := time.Since(began); took > 2*time.Minute { // seconds on a busy machine; hours if it grew with the square
				t.Errorf("it took %v", took)
			}
			if err != nil && len(err.Error()) > 200_000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestOnlyARegularFileIsRead(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	big := at("big.toml")
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, 10<<20); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir:             "it is a directory, not a file",
		big:             "the file is larger than 1048576 bytes, which no configuration is",
		at("gone.toml"): "cannot be read: ",
	} {
		_, err := toml.ReadFile(path)
		if err == nil || !strings.HasPrefix(err.Error(), path+": "+want) {
			t.Errorf("%v, want %s: %s", err, path, want)
		}
	}
	if _, err := toml.ReadFile(at("gone.toml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v does not wrap fs.ErrNotExist", err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	if _, err := toml.ReadFile(os.DevNull); err == nil || err.Error() != os.DevNull+": it is a device, not a file" {
		t.Errorf("a device: %v", err)
	}
	if err := os.Symlink("nowhere", at("dangling")); err != nil {
		t.Fatal(err)
	}
	if _, err := toml.ReadFile(at("dangling")); err == nil || err.Error() != at("dangling")+": cannot be read: it is a link to nowhere, which does not exist" {
		t.Errorf("a dangling link: %v", err)
	}
	if err := os.WriteFile(at("good"), []byte("[collectors.web]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("good", at("link")); err != nil {
		t.Fatal(err)
	}
	if _, err := toml.ReadFile(at("link")); err != nil {
		t.Errorf("a link: %v", err)
	}
	if os.Geteuid() == 0 {
		return // who may read everything
	}
	if err := os.Chmod(at("good"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := toml.ReadFile(at("good")); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("an unreadable file: %v", err)
	}
}

func TestCheckTellsWhatIsWrongWithTheFileFromWhatTheHostLacks(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "proctor.toml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	gone := filepath.ToSlash(filepath.Join(dir, "gone.exe"))

	write("[collectors.web]\nbinary_path = '" + gone + "'\nworking_dir = '" + gone + "'\n")
	r := toml.Check(file)
	if len(r.Problems) != 0 || len(r.Missing) != 2 || len(r.Config.Collectors) != 1 {
		t.Fatalf("%+v", r)
	}
	var notFound *config.NotFoundError
	if p := r.Missing[0]; p.Line != 2 || p.Column != 15 || p.Key != "collectors.web.binary_path" || !errors.As(r.Err(), &notFound) {
		t.Errorf("%+v", p)
	}
	if p := r.Missing[1]; p.Line != 3 || p.Key != "collectors.web.working_dir" {
		t.Errorf("%+v", p)
	}
	if _, err := toml.ReadFile(file); err != nil {
		t.Errorf("a missing binary keeps the file from being read: %v", err)
	}

	// A collector whose settings are wrong is not looked for; the others are.
	write("[collectors.bad]\nbinary_path = 3\n[collectors.web]\nbinary_path = '" + gone + "'\n")
	r = toml.Check(file)
	if len(r.Problems) != 1 || len(r.Missing) != 1 || r.Missing[0].Key != "collectors.web.binary_path" || len(r.Config.Collectors) != 0 {
		t.Errorf("%+v", r)
	}
	if lines := strings.Count(r.Err().Error(), "\n") + 1; lines != 2 {
		t.Errorf("Err has %d lines, want both: %v", lines, r.Err())
	}

	// Nothing is concluded from a file that breaks off.
	write("[collectors.web]\nbinary_path = '" + gone + "'\ntype = \n")
	if r = toml.Check(file); len(r.Problems) != 1 || len(r.Missing) != 0 || len(r.Warnings) != 0 {
		t.Errorf("%+v", r)
	}
}

func TestACollectorWithoutASettingPointsAtItsTable(t *testing.T) {
	r := toml.CheckData("f", []byte("[process_manager]\n\n  [collectors.no-such-type-anywhere]\n"))
	if len(r.Missing) != 1 || r.Missing[0].Line != 3 || r.Missing[0].Column != 15 {
		t.Errorf("%+v", r.Missing)
	}
}

func TestProblemsAreDataToo(t *testing.T) {
	_, err := toml.Parse("f", []byte("[collectors.web]\nmax_restarts = '3'\n"))
	var problems toml.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("%v is not Problems", err)
	}
	got, err := json.Marshal(problems)
	want := `[{"file":"f","line":2,"column":16,"key":"collectors.web.max_restarts","value":"3",` +
		`"message":"expected a whole number, not the string \"3\"","hint":"write it without quotes: 3"}]`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v\nwant %s", got, err, want)
	}
	var p *config.Problem
	if !errors.As(problems, &p) || p.Key != "collectors.web.max_restarts" {
		t.Errorf("errors.As found %v", p)
	}
}

func TestTheExampleInHintsIsValid(t *testing.T) {
	c, err := toml.Parse("f", []byte(config.ExampleCollector))
	if err != nil || len(c.Collectors) != 1 || len(c.Warnings()) != 0 {
		t.Errorf("%+v, %v, %v", c, err, c.Warnings())
	}
}
