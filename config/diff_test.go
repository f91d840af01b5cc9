package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestWhatDiffersIsNamedWithBothValuesAndWhetherItNeedsAnotherProcess(t *testing.T) {
	before := Collector{BinaryPath: "/bin/a", Env: map[string]string{"KEPT": "1", "GONE": "x", "TOKEN": "old"}}.WithDefaults("web", ProcessManager{})
	after := before
	after.BinaryPath, after.Args, after.MaxRestarts, after.GracefulTimeout = "/bin/b", []string{"--password=hush"}, None, 1500*time.Millisecond
	after.Env = map[string]string{"KEPT": "1", "TOKEN": "new"}
	var got []string
	for _, d := range Diff(before, after, ProcessManager{}, ProcessManager{}) {
		got = append(got, fmt.Sprintf("%v (in place: %v)", d, d.InPlace))
	}
	want := `binary_path: /bin/a → /bin/b (in place: false)
args differs (in place: false)
env.GONE differs (in place: false)
env.TOKEN differs (in place: false)
max_restarts: 3 → 0 (in place: true)
graceful_timeout_seconds: 30 s → 1.5 s (in place: true)`
	if strings.Join(got, "\n") != want {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

func TestLimitsAndWhatIsWarnedOfChangeInPlace(t *testing.T) {
	before := Collector{ResourceLimits: ResourceLimits{CPUPercent: 50, MemoryMaxMB: 100}, Warn: Warnings{CPUPercent: 20}}.WithDefaults("web", ProcessManager{})
	after := before
	after.Warn.CPUPercent, after.Warn.For = 40, None
	after.ResourceLimits.CPUPercent = 60
	var got []string
	for _, d := range Diff(before, after, ProcessManager{}, ProcessManager{}) {
		got = append(got, fmt.Sprintf("%v (in place: %v)", d, d.InPlace))
	}
	want := "resource_limits.cpu_percent: 50 → 60 (in place: true), warn.cpu_percent: 20 → 40 (in place: true), warn.for_seconds: 60 s → 0 s (in place: true)"
	if strings.Join(got, ", ") != want {
		t.Errorf("%s\nwant\n%s", strings.Join(got, ", "), want)
	}
}

func TestEqualSettingsDoNotDiffer(t *testing.T) {
	a := Collector{Args: []string{}, Env: map[string]string{}}.WithDefaults("web", ProcessManager{})
	b := Collector{}.WithDefaults("web", ProcessManager{})
	if d := Diff(a, b, ProcessManager{}, ProcessManager{CollectorBinaries: map[string]string{"other": "/x"}}); d != nil {
		t.Error(d)
	}
}

func TestAnotherBinaryForItsTypeNeedsAnotherProcess(t *testing.T) {
	c := Collector{}.WithDefaults("web-1", ProcessManager{})
	d := Diff(c, c, ProcessManager{}, ProcessManager{CollectorBinaries: map[string]string{"web": "/x"}})
	if len(d) != 1 || d[0].InPlace || d[0].String() != "process_manager.collector_binaries.web: (none) → /x" {
		t.Error(d)
	}
}

func TestFieldsThatChangeInPlaceExist(t *testing.T) {
	for _, name := range append(append([]string{}, inPlace...), secret...) {
		if _, ok := reflect.TypeFor[Collector]().FieldByName(name); !ok {
			t.Errorf("Collector has no field %s", name)
		}
	}
}
