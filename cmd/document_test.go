package cmd

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/config/toml"
)

// What inspect shows of the configuration has the names that a file has.
func TestEverySettingOfACollectorIsShown(t *testing.T) {
	probe := config.Probe{Exec: []string{"/bin/true"}, HTTP: "http://h/", TCP: "h:1", GRPC: "h:1", Unix: "/s"}
	full := config.Collector{Liveness: probe, ReadinessProbe: probe, StartupProbe: probe}.WithDefaults("web", config.ProcessManager{})
	data, err := json.Marshal(configOf(full))
	if err != nil {
		t.Fatal(err)
	}
	var shown map[string]any
	if err := json.Unmarshal(data, &shown); err != nil {
		t.Fatal(err)
	}
	for _, doc := range toml.Keys() {
		key, ok := strings.CutPrefix(doc.Key, "collectors.<id>.")
		if !ok {
			continue
		}
		table := shown
		for name := range strings.SplitSeq(strings.TrimSuffix(key, ".<NAME>"), ".") {
			value, ok := table[name]
			if !ok {
				t.Errorf("%s is not shown", doc.Key)
				break
			}
			table, _ = value.(map[string]any)
		}
	}
}
