package config

import (
	"cmp"
	"slices"
	"strings"
)

// An Exposure is how much a collector could do to the host, and to others, if it
// were taken over by somebody: from 0, nothing, to 10. It is an opinion on settings,
// and as if root started it; it knows nothing of the program.
type Exposure struct {
	Collector string
	Score     float64 // 0 to 10
	Level     string  // "perfect", "safe", "ok", "medium", "exposed", "unsafe" or "dangerous", as systemd-analyze security has them

	// Findings are what would lower it, what would do so most first.
	Findings []ExposureFinding
}

// An ExposureFinding is one setting that would lower an exposure.
type ExposureFinding struct {
	Key     string  // "collectors.web.user"
	Setting string  // what to write: `seccomp = "strict"`
	Why     string  // what is the matter
	Lowers  float64 // by how much, all else as it is
}

// exposureLevels are the words, from the least score of each.
var exposureLevels = []struct {
	from  float64
	level string
}{{9.95, "dangerous"}, {8.95, "unsafe"}, {7.45, "exposed"}, {4.95, "medium"}, {0.95, "ok"}, {0.05, "safe"}, {0, "perfect"}}

// A measure is one thing that can be wrong with a collector.
type measure struct {
	key, setting, why string
	weight            float64
	bad               func(Collector) float64 // from 0, all is well, to 1
	mend              func(*Collector)        // to what the setting says
}

// dangerous capabilities are as good as all of them.
var dangerous = []string{
	"bpf", "chown", "dac_override", "dac_read_search", "fowner", "mac_admin", "mac_override", "mknod", "setfcap", "setgid", "setuid",
	"sys_admin", "sys_boot", "sys_chroot", "sys_module", "sys_ptrace", "sys_rawio", "perfmon", "checkpoint_restore", "linux_immutable",
}

var measures = []measure{
	{
		key: "user", setting: `user = "…"`, why: "it is root", weight: 20,
		bad:  func(c Collector) float64 { return yes(c.isRoot()) },
		mend: func(c *Collector) { c.User = "nobody" },
	},
	{
		key: "capabilities", setting: `capabilities = []`, why: "it may have capabilities", weight: 18,
		bad: func(c Collector) float64 {
			switch {
			case c.Capabilities == nil && c.isRoot():
				return 1
			case c.Capabilities == nil && c.NoNewPrivileges == Off:
				return 0.5 // of what it executes
			case c.Capabilities == nil:
				return 0.1
			}
			sum := 0.0
			for _, name := range c.Capabilities {
				short, _ := Capability(name)
				sum += 0.08
				if slices.Contains(dangerous, short) {
					sum += 0.5
				}
			}
			return min(sum, 1)
		},
		mend: func(c *Collector) { c.Capabilities = []string{} },
	},
	{
		key: "seccomp", setting: `seccomp = "strict"`, why: "it may use system calls that it does not need", weight: 14,
		bad: func(c Collector) float64 {
			switch c.Seccomp {
			case SeccompStrict:
				return 0
			case SeccompDefault:
				return 0.3
			}
			return 1
		},
		mend: func(c *Collector) {
			c.Seccomp = SeccompStrict
			c.allowsNoNew()
		},
	},
	{
		key: "read_only_paths", setting: `read_only_paths = ["/"]`, why: "it may write wherever its user may", weight: 12,
		bad: func(c Collector) float64 {
			switch {
			case c.RootDirectory != "", slices.Contains(c.ReadOnlyPaths, "/"), slices.Contains(c.InaccessiblePaths, "/"):
				return 0
			case len(c.ReadOnlyPaths) > 0:
				return 0.6
			}
			return 1
		},
		mend: func(c *Collector) {
			c.ReadOnlyPaths = append(slices.Clone(c.ReadOnlyPaths), "/")
			c.allowsNoNew()
		},
	},
	{
		key: "no_new_privileges", setting: `no_new_privileges = true`, why: "it may gain privileges by what it executes", weight: 8,
		bad: func(c Collector) float64 {
			switch {
			case c.NoNewPrivileges == On, c.Seccomp != "", c.hasPaths():
				return 0
			case c.NoNewPrivileges == Unsaid && !c.isRoot():
				return 0
			}
			return 1
		},
		mend: func(c *Collector) { c.NoNewPrivileges = On },
	},
	{
		key: "inaccessible_paths", setting: `inaccessible_paths = ["/home", "/root"]`, why: "it may read the files of people", weight: 6,
		bad: func(c Collector) float64 {
			if c.RootDirectory != "" || slices.Contains(c.InaccessiblePaths, "/") {
				return 0
			}
			return (yes(!slices.Contains(c.InaccessiblePaths, "/home")) + yes(!slices.Contains(c.InaccessiblePaths, "/root"))) / 2
		},
		mend: func(c *Collector) {
			c.InaccessiblePaths = append(slices.Clone(c.InaccessiblePaths), "/home", "/root")
			c.allowsNoNew()
		},
	},
	{
		key: "private_tmp", setting: `private_tmp = true`, why: "it shares /tmp with everybody", weight: 4,
		bad:  func(c Collector) float64 { return yes(!c.PrivateTmp && c.RootDirectory == "") },
		mend: func(c *Collector) { c.PrivateTmp = true },
	},
	{
		key: "secrets", setting: `secrets = { name = "/path" }`, why: "a variable of its environment looks like a secret, and all that it starts, and whoever may inspect it, knows that", weight: 4,
		bad: func(c Collector) float64 {
			for name := range c.Env {
				if looksSecret(name) {
					return 1
				}
			}
			return 0
		},
		mend: func(c *Collector) { c.Env = nil },
	},
	{
		key: "umask", setting: `umask = "0077"`, why: "others may read the files that it makes", weight: 3,
		bad: func(c Collector) float64 {
			bits, ok := c.UmaskBits()
			switch {
			case !ok, bits&0o002 == 0:
				return 1
			case bits&0o007 != 0o007:
				return 0.7
			case bits&0o070 != 0o070:
				return 0.2
			}
			return 0
		},
		mend: func(c *Collector) { c.Umask = "0077" },
	},
	{
		key: "binary_sha256", setting: `binary_sha256 = "…"`, why: "another binary in its place would be executed", weight: 3,
		bad:  func(c Collector) float64 { return yes(c.BinarySHA256 == "") },
		mend: func(c *Collector) { c.BinarySHA256 = strings.Repeat("0", 64) },
	},
	{
		key: "resource_limits.memory_max_mb", setting: `memory_max_mb = …`, why: "it may use all memory", weight: 3,
		bad:  func(c Collector) float64 { return yes(c.ResourceLimits.MemoryMaxMB == 0) },
		mend: func(c *Collector) { c.ResourceLimits.MemoryMaxMB = 1 },
	},
	{
		key: "resource_limits.tasks_max", setting: `tasks_max = …`, why: "it may start any number of processes", weight: 3,
		bad:  func(c Collector) float64 { return yes(c.ResourceLimits.TasksMax == 0) },
		mend: func(c *Collector) { c.ResourceLimits.TasksMax = 1 },
	},
	{
		key: "clear_env", setting: `clear_env = true`, why: "it has the supervisor's environment", weight: 2,
		bad:  func(c Collector) float64 { return yes(!c.ClearEnv) },
		mend: func(c *Collector) { c.ClearEnv = true },
	},
	{
		key: "confinement_required", setting: `confinement_required = true`, why: "it is started where it cannot be confined, too", weight: 2,
		bad:  func(c Collector) float64 { return yes(c.ConfinementRequired == Off) },
		mend: func(c *Collector) { c.ConfinementRequired = On },
	},
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (c Collector) isRoot() bool { return c.User == "" || c.User == "root" || c.User == "0" }

// allowsNoNew takes back what contradicts paths and profiles.
func (c *Collector) allowsNoNew() {
	if c.NoNewPrivileges == Off {
		c.NoNewPrivileges = Unsaid
	}
}

// looksSecret reports whether a variable of this name probably holds a secret.
func looksSecret(variable string) bool {
	for part := range strings.SplitSeq(strings.ToUpper(variable), "_") {
		switch part {
		case "PASSWORD", "PASSWD", "PASS", "SECRET", "TOKEN", "APIKEY", "KEY", "CREDENTIALS":
			return true
		}
	}
	return false
}

func exposure(c Collector) float64 {
	sum, all := 0.0, 0.0
	for _, m := range measures {
		sum += m.weight * m.bad(c)
		all += m.weight
	}
	return 10 * sum / all
}

// Audit is the exposure of each collector, by id.
func (c Config) Audit() []Exposure {
	var all []Exposure
	for _, id := range sorted(c.Collectors) {
		all = append(all, c.Collectors[id].Audit(id))
	}
	return all
}

// Audit is the exposure of the collector with this id. Defaults need not be filled in.
func (c Collector) Audit(id string) Exposure {
	e := Exposure{Collector: id, Score: exposure(c)}
	for _, l := range exposureLevels {
		if e.Score >= l.from {
			e.Level = l.level
			break
		}
	}
	for _, m := range measures {
		if m.bad(c) == 0 {
			continue
		}
		mended := c
		m.mend(&mended)
		if lowers := e.Score - exposure(mended); lowers > 0 {
			key := Key(append([]string{"collectors", id}, strings.Split(m.key, ".")...)...)
			e.Findings = append(e.Findings, ExposureFinding{Key: key, Setting: m.setting, Why: m.why, Lowers: lowers})
		}
	}
	slices.SortStableFunc(e.Findings, func(a, b ExposureFinding) int { return cmp.Compare(b.Lowers, a.Lowers) })
	return e
}
