package config_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/proctord/proctor/config"
)

func TestValidIDs(t *testing.T) {
	for _, id := range []string{"a", "7", "procmond-1", "A.b_c-d", "web..", strings.Repeat("x", 64)} {
		if err := config.ValidID(id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestAnInvalidIDIsToldWhatIsWrongWithIt(t *testing.T) {
	for id, want := range map[string]string{
		"":                      "it is empty",
		"../x":                  `it starts with '.'`,
		".hidden":               `it starts with '.'`,
		"-f":                    `it starts with '-'`,
		"_x":                    `it starts with '_'`,
		"a/b":                   `it contains '/'`,
		"a b":                   `it contains ' '`,
		"a\x00":                 `it contains '\x00'`,
		"zürich":                `it contains 'ü'`,
		strings.Repeat("x", 65): "it is too long: 65 characters",
		"a\xff":                 "it is not UTF-8",
	} {
		want += "; use 1 to 64 of a-z A-Z 0-9 . _ -, starting with a letter or a digit"
		if err := config.ValidID(id); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", id, err, want)
		}
	}
}

func FuzzValidID(f *testing.F) {
	for _, id := range []string{"", "a", "web-1", "../x", "a/b", "\xff", strings.Repeat("x", 65)} {
		f.Add(id)
	}
	syntax := regexp.MustCompile(`\A[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}\z`)
	f.Fuzz(func(t *testing.T, id string) {
		if err := config.ValidID(id); (err == nil) != syntax.MatchString(id) {
			t.Errorf("%q: %v", id, err)
		}
	})
}
