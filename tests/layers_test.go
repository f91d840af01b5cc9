package tests

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/proctord/proctor/"

// layers lists what each package may import of this module. A package that is
// not listed has not been given its place yet.
var layers = map[string][]string{
	"config":                    {},
	"config/toml":               {"config"},
	"platform":                  {},
	"platform/platformtest":     {"platform"},
	"messages":                  {"config"},
	"collector/lifecycle":       {"messages"},
	"collector/capture":         {},
	"collector/capture/forward": {"collector/capture", "platform"},
	"collector/probe":           {"config", "platform"},
	"collector/notify":          {},
	"collector/meter":           {"config", "messages", "platform"},
	"collector":                 {"collector/capture", "collector/lifecycle", "collector/notify", "collector/probe", "config", "messages", "platform"},
	"supervisor/restart":        {"config"},
	"supervisor/strategy":       {"config", "supervisor/restart"},
	"supervisor":                {"config", "messages", "supervisor/restart", "supervisor/strategy"}, // never collector: they only talk
	"actors/runs":               {"config", "messages"},
	"actors":                    {"actors/runs", "collector", "collector/capture", "collector/capture/forward", "collector/meter", "collector/notify", "collector/probe", "config", "messages", "platform", "supervisor"},
	"actors/control/proctorv1":  {}, // generated
	"actors/control":            {"actors", "actors/control/proctorv1", "collector/capture", "config", "config/toml", "messages", "platform"},
	"cmd/internal/jsonlines":    {},
	"cmd/internal/procmond":     {"cmd/internal/jsonlines"},
	"cmd/internal/netmond":      {"cmd/internal/jsonlines"},
	"cmd":                       {"actors", "actors/control", "actors/runs", "collector/capture", "cmd/internal/netmond", "cmd/internal/procmond", "config", "config/toml", "messages", "platform"},
	"cmd/proctor":               {"cmd"},
}

// forbidden lists what packages must not import from outside, and why. A path
// that ends in / stands for all below it.
var forbidden = map[string]map[string]string{
	"messages": {
		"github.com/asynkron/protoactor-go/": "the vocabulary is data",
		"sync":                               "a message is a value",
	},
	"config":              {"github.com/asynkron/protoactor-go/": "settings know no actors", "github.com/pelletier/go-toml/": "reading files is config/toml's"},
	"collector/lifecycle": {"github.com/asynkron/protoactor-go/": "it is a function", "os": "it is a function", "time": "it reads no clock", "sync": "it is a function"},
	"collector/capture":   {"github.com/asynkron/protoactor-go/": "it knows no actors", "github.com/rs/zerolog": "it tells its owner"},
	"collector/meter":     {"github.com/asynkron/protoactor-go/": "it is told things, and knows no actors", "github.com/rs/zerolog": "it tells its owner"},
	"collector/notify":    {"github.com/asynkron/protoactor-go/": "it knows no actors", "github.com/rs/zerolog": "it tells its owner"},
	"supervisor/restart":  {"github.com/asynkron/protoactor-go/": "it is arithmetic", "os": "it is arithmetic", "math/rand/v2": "its dice are given to it", "sync": "it is arithmetic"},
	"collector":           {"sync": "state belongs to the mailbox", "os/exec": "that is platform's", "syscall": "that is platform's", "golang.org/x/sys/": "that is platform's"},
	"supervisor/strategy": {"github.com/asynkron/protoactor-go/": "it is arithmetic", "os": "it is arithmetic", "math/rand/v2": "its dice are given to it", "sync": "it is arithmetic"},
	"supervisor":          {"sync": "state belongs to the mailbox", "os": "it owns no process", "os/exec": "it owns no process", "syscall": "it owns no process", "github.com/rs/zerolog": "it says events; logging them is the façade's"},
	"actors/runs":         {"github.com/asynkron/protoactor-go/": "it is told things, and knows no actors", "github.com/rs/zerolog": "it tells its owner"},
	"platform":            {"github.com/asynkron/protoactor-go/": "a host knows no actors", "github.com/rs/zerolog": "a host tells its owner"},
	"cmd/proctor":         {"github.com/spf13/cobra": "main is a few lines over package cmd"},
}

func TestPackagesImportOnlyWhatIsBelowThem(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the go command is not on this machine")
	}
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, module)
		if name == "tests" || strings.HasPrefix(name, "tests/") {
			continue
		}
		below, ok := layers[name]
		if !ok {
			t.Errorf("%s has no place in layers", name)
		}
		for _, i := range p.Imports {
			if own, ok := strings.CutPrefix(i, module); ok && !slices.Contains(below, own) {
				t.Errorf("%s imports %s, which is not below it", name, own)
			}
			for path, why := range forbidden[name] {
				if i == strings.TrimSuffix(path, "/") || strings.HasSuffix(path, "/") && strings.HasPrefix(i, path) {
					t.Errorf("%s imports %s: %s", name, i, why)
				}
			}
		}
	}
}
