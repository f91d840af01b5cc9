package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
)

// A Difference is one setting that is not the same in two configurations.
type Difference struct {
	Key string // as a file names it within its table: "max_restarts", "env.LOG"

	// Old and New are the values, for people. They are empty where a value
	// might be a secret, or is too long to be read at a glance.
	Old, New string

	// InPlace says that the difference can be put in force without another process.
	InPlace bool
}

func (d Difference) String() string {
	if d.Old == "" && d.New == "" {
		return d.Key + " differs"
	}
	return fmt.Sprintf("%s: %s → %s", d.Key, orNothing(d.Old), orNothing(d.New))
}

func orNothing(value string) string {
	if value == "" {
		return "(none)"
	}
	return value
}

// inPlace are the fields of Collector that say what to do with a process, not
// how to make it. A field that is not named here needs another process.
var inPlace = []string{
	"AutoRestart", "Restart", "MaxRestarts", "RestartWindow", "BackoffInitial", "BackoffMax", "BackoffReset",
	"GracefulTimeout", "ForceTimeout", "Autostart", "Kind", "SuccessExitCodes", "NoRestartExitCodes", "RetryFailedAfter",
	"Group", "Significant", "Requires", "Wants", "After", "Warn",
	"ResourceLimits", "Liveness", "ReadinessProbe", "StartupProbe", "RestartOnUnhealthy", "StartupTimeout", "WatchdogSignal",
	"PreStart", "PostStart", "PreStop", "PostExit", "StopCommand", "StopSequence", "ReloadSignal", "ReloadCommand", "HookTimeout",
}

// onceOnly are the settings of the process manager that are used when it is
// started, and not again.
var onceOnly = []string{"state_dir", "log_path", "cgroup_parent", "on_supervisor_death", "runs"}

// secret are the fields whose values are not shown.
var secret = []string{"Args", "Env"}

// Diff is what differs between two settings of a collector, in both of which the
// defaults are filled in, and in the settings that their binaries are found by.
func Diff(before, after Collector, manager, managerAfter ProcessManager) []Difference {
	var d differ
	d.structs("", reflect.ValueOf(before), reflect.ValueOf(after))
	if before.BinaryPath == "" && after.BinaryPath == "" && before.Type == after.Type {
		key := Key("process_manager", "collector_binaries", after.Type)
		d.values(key, "", manager.CollectorBinaries[before.Type], managerAfter.CollectorBinaries[after.Type])
	}
	return d.found
}

// DiffGroup is what differs between two settings of a group, in both of which the
// defaults are filled in. All of it is put in force in place.
func DiffGroup(before, after Group) []Difference {
	var d differ
	d.structs("", reflect.ValueOf(before), reflect.ValueOf(after))
	return d.found
}

// DiffManager is what differs between the settings of two process managers
// beyond what differs for single collectors.
func DiffManager(before, after ProcessManager) []Difference {
	before.CollectorBinaries, after.CollectorBinaries = nil, nil
	after.Output = before.Output // it is part of what every collector has
	var d differ
	d.structs("", reflect.ValueOf(before), reflect.ValueOf(after))
	for i := range d.found {
		key, _, _ := strings.Cut(d.found[i].Key, ".")
		d.found[i].InPlace = !slices.Contains(onceOnly, key)
	}
	return d.found
}

type differ struct {
	found   []Difference
	inPlace bool // all that is looked at now is
}

func (d *differ) structs(prefix string, before, after reflect.Value) {
	for i := range before.NumField() {
		field := before.Type().Field(i)
		key := prefix + keyOf(field)
		a, b := before.Field(i), after.Field(i)
		switch field.Type.Kind() {
		case reflect.Struct:
			outside := d.inPlace
			d.inPlace = outside || slices.Contains(inPlace, field.Name)
			d.structs(key+".", a, b)
			d.inPlace = outside
		case reflect.Map:
			d.maps(key, a, b)
		case reflect.Slice:
			if a.Len() != b.Len() || a.Len() > 0 && !reflect.DeepEqual(a.Interface(), b.Interface()) {
				d.add(field.Name, Difference{Key: key})
			}
		default:
			d.values(key, field.Name, a.Interface(), b.Interface())
		}
	}
}

func (d *differ) values(key, field string, before, after any) {
	if !reflect.DeepEqual(before, after) {
		d.add(field, Difference{Key: key, Old: show(before), New: show(after)})
	}
}

func (d *differ) maps(key string, before, after reflect.Value) {
	names := map[string]bool{}
	for _, m := range []reflect.Value{before, after} {
		for _, name := range m.MapKeys() {
			names[name.String()] = true
		}
	}
	for _, name := range sorted(names) {
		a, b := before.MapIndex(reflect.ValueOf(name)), after.MapIndex(reflect.ValueOf(name))
		if a.IsValid() != b.IsValid() || !reflect.DeepEqual(a.Interface(), b.Interface()) {
			d.add("", Difference{Key: key + "." + Key(name)})
		}
	}
}

func (d *differ) add(field string, found Difference) {
	found.InPlace = d.inPlace || slices.Contains(inPlace, field)
	if slices.Contains(secret, field) {
		found.Old, found.New = "", ""
	}
	d.found = append(d.found, found)
}

func show(value any) string {
	switch v := value.(type) {
	case time.Duration:
		if v < 0 {
			return "0 s"
		}
		return Seconds(v) + " s"
	case int:
		return fmt.Sprint(max(v, 0))
	case *bool, *int, *float64:
		if p := reflect.ValueOf(v); !p.IsNil() {
			return fmt.Sprint(p.Elem().Interface())
		}
		return ""
	}
	text := fmt.Sprint(value)
	if len(text) > maxShown {
		return abbreviate(text)
	}
	return text
}

// keyOf is the name that a field has in a file.
func keyOf(field reflect.StructField) string {
	if field.Name == "Required" { // of ResourceLimits
		return keyRequired
	}
	var b strings.Builder
	runes := []rune(field.Name)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	if field.Type == reflect.TypeFor[time.Duration]() {
		b.WriteString("_seconds")
	}
	return b.String()
}
