package config

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

func TestSettingsAreWrittenAsInAFile(t *testing.T) {
	c := Collector{
		MaxRestarts: None, RestartWindow: Forever, GracefulTimeout: 1500 * time.Millisecond, Env: map[string]string{"A": "1"},
		Output: Output{RateLimit: 5, Lossless: On},
	}
	c.ResourceLimits.MemoryMaxMB, c.ResourceLimits.Nice = 64, -1
	all := Settings(c.WithDefaults("web-1", ProcessManager{}))
	for key, want := range map[string]any{
		"type": "web", "max_restarts": int64(0), "restart_window_seconds": 0.0, "graceful_timeout_seconds": 1.5, "restart": "on-failure",
	} {
		if all[key] != want {
			t.Errorf("%s is %v (%T), want %v", key, all[key], all[key], want)
		}
	}
	output, limits := all["output"].(map[string]any), all["resource_limits"].(map[string]any)
	if output["rate_limit_lines_per_second"] != int64(5) || output["lossless"] != true || output["max_size_mb"] != int64(DefaultMaxSizeMB) {
		t.Errorf("%v", output)
	}
	if limits["memory_max_mb"] != int64(64) || limits["nice"] != int64(-1) || len(limits) != 2 {
		t.Errorf("%v", limits)
	}
	if _, there := all["liveness"]; there {
		t.Error("there is a probe where none was asked for")
	}
	if _, err := json.Marshal(all); err != nil {
		t.Error(err)
	}
}

func TestASequenceIsShownAsItStandsInAFile(t *testing.T) {
	c := Collector{StopSequence: []StopStep{{Signal: "INT"}, {Signal: "TERM", After: 2500 * time.Millisecond}}}
	if got := fmt.Sprint(Settings(c)["stop_sequence"]); got != "[INT 2.5 TERM]" {
		t.Errorf("got %s", got)
	}
}
