package cmd

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// durationWords are the units that people write, and what they are here.
var durationWords = map[string]time.Duration{
	"ns": time.Nanosecond, "us": time.Microsecond, "µs": time.Microsecond, "ms": time.Millisecond, "msec": time.Millisecond,
	"": time.Second, "s": time.Second, "sec": time.Second, "secs": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "mins": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hrs": time.Hour, "hour": time.Hour, "hours": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
	"w": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour, "weeks": 7 * 24 * time.Hour,
}

var durationPart = regexp.MustCompile(`^\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-zµ]*)`)

// longest is the longest time that anything takes: a hundred years.
const longest = 100 * 365 * 24 * time.Hour

// parseDuration reads "5s", "1m30s", "1min 30s", "2h", or bare seconds.
func parseDuration(text string) (time.Duration, error) {
	rest, sum, parts := strings.ToLower(strings.TrimSpace(text)), 0.0, 0
	for rest != "" {
		m := durationPart.FindStringSubmatch(rest)
		if m == nil {
			return 0, badDuration(text)
		}
		unit, known := durationWords[m[2]]
		number, err := strconv.ParseFloat(m[1], 64)
		if !known || err != nil {
			return 0, badDuration(text)
		}
		rest = strings.TrimSpace(rest[len(m[0]):])
		if m[2] == "" && (parts > 0 || rest != "") { // "1 30": of what?
			return 0, badDuration(text)
		}
		sum += number * float64(unit)
		parts++
	}
	switch {
	case parts == 0:
		return 0, badDuration(text)
	case sum > float64(longest):
		return 0, fmt.Errorf("%q is more than 100 years", text)
	}
	return time.Duration(sum), nil
}

func badDuration(text string) error {
	return fmt.Errorf(`%q is no duration; write "5s", "1m30s", "1min", "2h", or seconds`, text)
}

// durationValue is a flag that is a duration.
type durationValue struct {
	d   time.Duration
	set bool
}

func (v *durationValue) String() string {
	if !v.set {
		return ""
	}
	return duration(v.d)
}

func (v *durationValue) Set(text string) (err error) {
	v.d, err = parseDuration(text)
	v.set = err == nil
	return err
}

func (v *durationValue) Type() string { return "duration" }

// duration prints a time as people say it: its two largest units.
func duration(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + duration(-d)
	case d < time.Second:
		if d = d.Round(time.Millisecond); d == 0 {
			return "0s"
		}
		return d.String()
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	d = d.Round(time.Second)
	units := []struct {
		name string
		is   time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
	for i, u := range units {
		if d < u.is {
			continue
		}
		text := fmt.Sprintf("%d%s", d/u.is, u.name)
		if i+1 < len(units) {
			if rest := d % u.is / units[i+1].is; rest > 0 {
				text += fmt.Sprintf("%d%s", rest, units[i+1].name)
			}
		}
		return text
	}
	return d.String()
}
