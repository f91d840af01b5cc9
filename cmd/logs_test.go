package cmd

import (
	"testing"
	"time"
)

func TestNothingThatACollectorWritesIsObeyedByATerminal(t *testing.T) {
	for text, want := range map[string]string{
		"plain\ttext é 日本\r":       "plain\ttext é 日本",
		"\x1b[2J\x1b]0;title\a":    "␛[2J␛]0;title␇",
		"a\rb\b\x7f\x00":           "a␍b␈␡␀",
		"\u009b31m \u202eevil":     "<U+009B>31m <U+202E>evil",
		"\xff\xc3(":                "\ufffd\ufffd(",
		"two\nlines of one record": "two\nlines of one record",
	} {
		if got := string(appendHarmless(nil, []byte(text))); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func TestTimesAreWrittenInManyWays(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"10m":                  now.Add(-10 * time.Minute),
		"1h30m ago":            now.Add(-90 * time.Minute),
		"11:30":                time.Date(2026, 3, 4, 11, 30, 0, 0, time.UTC),
		"12:30:15":             time.Date(2026, 3, 3, 12, 30, 15, 0, time.UTC),
		"2026-01-02":           time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC),
		"2026-01-02 03:04":     time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC),
		"2026-01-02T03:04:05Z": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	} {
		if got, err := parseMoment(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v, want %v", text, got, err, want)
		}
	}
	if _, err := parseMoment("soon", now); err == nil {
		t.Error("soon is a time")
	}
}
