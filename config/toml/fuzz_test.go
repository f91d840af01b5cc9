package toml_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	gotoml "github.com/pelletier/go-toml/v2"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/config/toml"
)

// Whatever is parsed: there is no panic, every problem has a place within the
// file, and what is accepted is TOML and valid.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, text := range []string{"", "\xff", "\ufeff", "a.b=1\n[a]\n", "[[a]]\n[a.b]\n[[a]]\n[a.b]", "[a.b]\n[a]\nb.c=1", "a=[{b=1,b=2}]", "a={b.c=1,b.d=2}"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := toml.CheckData("f", data)
		lines := bytes.Split(bytes.TrimPrefix(data, []byte("\ufeff")), []byte("\n"))
		for _, list := range []toml.Problems{r.Problems, r.Missing, r.Warnings} {
			for _, p := range list {
				if p.Line == 0 && p.Column == 0 {
					continue // the whole file
				}
				if p.Line < 1 || p.Line > len(lines) || p.Column < 1 || p.Column > utf8.RuneCount(lines[p.Line-1])+1 {
					t.Errorf("%v: there is no such place", &p)
				}
			}
		}

		var all map[string]any
		library := gotoml.Unmarshal(bytes.TrimPrefix(data, []byte("\ufeff")), &all)
		c, err := toml.Parse("f", data)
		for _, p := range r.Problems {
			if library == nil && len(data) <= toml.MaxFileSize && (strings.HasPrefix(p.Message, "this is not TOML") || strings.HasPrefix(p.Message, "already ")) {
				t.Errorf("the library has nothing against it: %v", &p)
			}
		}
		if err != nil {
			var problems toml.Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Errorf("%v is not Problems", err)
			}
			return
		}
		if library != nil {
			t.Errorf("accepted, but not TOML: %v", library)
		}
		if err := c.WithDefaults().Validate(); err != nil {
			t.Errorf("accepted, but not valid: %v", err)
		}
		for id := range c.Collectors {
			if err := config.ValidID(id); err != nil {
				t.Errorf("accepted id %q: %v", id, err)
			}
		}
	})
}
