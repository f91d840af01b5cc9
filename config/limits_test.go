package config_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/proctord/proctor/config"
)

func TestALimitIsSetAsAFileSaysIt(t *testing.T) {
	var l config.ResourceLimits
	words := []string{
		"cpu_percent=150", "cpu_weight=5", "memory_max_mb=200", "memory_high_mb=150", "memory_soft_mb=120", "memory_soft_seconds=0.5", "swap_max_mb=0", "tasks_max=64",
		"io_read_mb_per_second=30", "io_write_mb_per_second=20", "io_weight=200", "open_files=1024", "core_mb=0", "nice=-5", "oom_score_adjust=500", "cpu_affinity=0,2,3", "limits_required=true",
	}
	var keys []string
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		keys = append(keys, key)
		if err := l.Set(key, value); err != nil {
			t.Error(err)
		}
	}
	if got := l.Settings(); !slices.Equal(got, words) {
		t.Errorf("%q", got)
	}
	all := config.LimitKeys()
	slices.Sort(all)
	slices.Sort(keys)
	if !slices.Equal(all, keys) {
		t.Errorf("the test knows %q, there are %q", keys, all)
	}
	before := l
	before.CPUAffinity = slices.Clone(l.CPUAffinity)
	if !before.Equal(l) {
		t.Error("a copy differs")
	}
	for _, key := range keys {
		if err := l.Set(key, config.NoLimit); err != nil {
			t.Error(err)
		}
	}
	if !l.Equal(config.ResourceLimits{}) || before.Equal(l) {
		t.Errorf("%+v is left", l)
	}
	if err := l.Set("cpu_affinity", "[3, 0-1]"); err != nil || !slices.Equal(l.CPUAffinity, []int{0, 1, 3}) {
		t.Errorf("%v, %v", l.CPUAffinity, err)
	}
}

func TestALimitThatCannotBeSetSaysWhy(t *testing.T) {
	for word, want := range map[string]string{
		"cpu_percent=0":          "cpu_percent = 0: it is out of range; use 1 to 819200, or none to lift it",
		"cpu_percent=much":       "cpu_percent = much: use a whole number, or none to lift it",
		"memory_soft_seconds=-1": "memory_soft_seconds = -1: use a number of seconds",
		"cpu_affinity=9000":      "use numbers of processors from 0 to 8191",
		"cpu_affinity=":          "use numbers of processors",
		"memory=1":               "there is no such limit; there are cpu_percent, cpu_weight",
	} {
		l := config.ResourceLimits{CPUPercent: 7}
		key, value, _ := strings.Cut(word, "=")
		err := l.Set(key, value)
		var fault *config.LimitError
		if !errors.As(err, &fault) || fault.Key != key || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", word, err)
		}
		if key == "cpu_percent" && l.CPUPercent != 7 {
			t.Errorf("%s has changed it to %d", word, l.CPUPercent)
		}
	}
}

func TestLimitsOfEachProcessAreNoneOfAGroup(t *testing.T) {
	err := config.Config{Groups: map[string]config.Group{"team": {ResourceLimits: config.ResourceLimits{
		MemoryMaxMB: 5, OpenFiles: 50, CoreMB: config.None, CPUAffinity: []int{1}, MemorySoftMB: 4, IOWeight: 20_000,
	}}}}.Validate()
	for _, want := range []string{
		"groups.team.resource_limits.open_files: open_files is not a limit of a group; set it for each collector, in [collectors.<id>.resource_limits]",
		"groups.team.resource_limits.core_mb", "groups.team.resource_limits.cpu_affinity", "groups.team.resource_limits.memory_soft_mb",
		"groups.team.resource_limits.io_weight: 20000 is out of range; use 1 to 10000",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\ndoes not say %s", err, want)
		}
	}
}
