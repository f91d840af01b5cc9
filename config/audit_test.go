package config_test

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/proctord/proctor/config"
)

// tight is a collector that nothing could be said against.
func tight() config.Collector {
	return config.Collector{
		User: "web", Capabilities: []string{}, Seccomp: config.SeccompStrict, ReadOnlyPaths: []string{"/"}, InaccessiblePaths: []string{"/home", "/root"},
		PrivateTmp: true, Umask: "0077", BinarySHA256: strings.Repeat("0", 64), ClearEnv: true,
		ResourceLimits: config.ResourceLimits{MemoryMaxMB: 100, TasksMax: 10},
	}
}

func TestTheExposureOfACollector(t *testing.T) {
	secret := tight()
	secret.Env = map[string]string{"DB_PASSWORD": "x"}
	raw := tight()
	raw.Capabilities = []string{"net_raw"}
	admin := tight()
	admin.Capabilities = []string{"net_raw", "sys_admin"}
	lenient := tight()
	lenient.ConfinementRequired = config.Off
	for _, c := range []struct {
		name      string
		collector config.Collector
		least     float64
		most      float64
		level     string
		first     string // what would lower it most
	}{
		{"nothing said", config.Collector{}, 8.95, 9.95, "unsafe", "user"},
		{"a user", config.Collector{User: "web"}, 4.95, 7, "medium", "seccomp"},
		{"root by name", config.Collector{User: "root"}, 8.95, 9.95, "unsafe", "user"},
		{"all of it", tight(), 0, 0, "perfect", ""},
		{"a capability", raw, 0.05, 0.5, "safe", "capabilities"},
		{"one that is as good as root", admin, 0.95, 2, "ok", "capabilities"},
		{"a secret in the environment", secret, 0.05, 0.9, "safe", "secrets"},
		{"confined if possible", lenient, 0.05, 0.9, "safe", "confinement_required"},
	} {
		e := c.collector.Audit("web")
		if e.Score < c.least || e.Score > c.most || e.Level != c.level {
			t.Errorf("%s: %.2f %s, want %v to %v, %s", c.name, e.Score, e.Level, c.least, c.most, c.level)
		}
		first := ""
		if len(e.Findings) > 0 {
			first = strings.TrimPrefix(e.Findings[0].Key, "collectors.web.")
		}
		if first != c.first {
			t.Errorf("%s: first %q, want %q", c.name, first, c.first)
		}
	}
}

func TestWhoFollowsAnAuditLowersTheExposureByWhatItSays(t *testing.T) {
	follow := map[string]func(*config.Collector){
		"user":              func(c *config.Collector) { c.User = "web" },
		"capabilities":      func(c *config.Collector) { c.Capabilities = []string{} },
		"private_tmp":       func(c *config.Collector) { c.PrivateTmp = true },
		"umask":             func(c *config.Collector) { c.Umask = "0077" },
		"clear_env":         func(c *config.Collector) { c.ClearEnv = true },
		"no_new_privileges": func(c *config.Collector) { c.NoNewPrivileges = config.On },
	}
	rapid.Check(t, func(t *rapid.T) {
		c := config.Collector{
			User:            rapid.SampledFrom([]string{"", "root", "web"}).Draw(t, "user"),
			Capabilities:    rapid.SampledFrom([][]string{nil, {}, {"net_raw"}, {"CAP_SYS_ADMIN"}}).Draw(t, "capabilities"),
			NoNewPrivileges: rapid.SampledFrom([]config.Switch{config.Unsaid, config.On, config.Off}).Draw(t, "privileges"),
			PrivateTmp:      rapid.Bool().Draw(t, "tmp"),
			Umask:           rapid.SampledFrom([]string{"", "0022", "0027", "0077"}).Draw(t, "umask"),
		}
		e := c.Audit("web")
		for _, f := range e.Findings {
			change, ok := follow[strings.TrimPrefix(f.Key, "collectors.web.")]
			if !ok {
				continue
			}
			mended := c
			change(&mended)
			if got := mended.Audit("web").Score; math.Abs(e.Score-f.Lowers-got) > 1e-9 || f.Lowers <= 0 {
				t.Fatalf("%s: from %v to %v, and it says %v", f.Key, e.Score, got, f.Lowers)
			}
		}
	})
}
