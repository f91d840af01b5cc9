package toml_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	gotoml "github.com/pelletier/go-toml/v2"
	"pgregory.net/rapid"

	"github.com/proctord/proctor/config/toml"
)

// What may be set twice and what may be extended is intricate in TOML. The
// library is the judge of it, in files made of few names that often collide.
func TestAKeyIsADuplicateWhereTheLibrarySaysSo(t *testing.T) {
	key := rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 1, 3), func(parts []string) string { return strings.Join(parts, ".") })
	line := rapid.Custom(func(t *rapid.T) string {
		form := rapid.SampledFrom([]string{"[%s]", "[[%s]]", "%s = 1", "%s = {}", "%s = []", "%s = { %s = 1 }", "%s = [{ %s = 1 }]", "%s = { %s = 1, %s = { %s = 1 } }", "%s = { %s = {}, %s = 1 }"}).Draw(t, "form")
		var keys []any
		for range strings.Count(form, "%s") {
			keys = append(keys, key.Draw(t, "key"))
		}
		return fmt.Sprintf(form, keys...)
	})
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(line, 1, 8).Draw(t, "lines"), "\n")
		var all map[string]any
		library := gotoml.Unmarshal([]byte(text), &all)
		problems := toml.CheckData("f", []byte(text)).Problems
		duplicate := slices.ContainsFunc(problems, func(p toml.Problem) bool { return strings.HasPrefix(p.Message, "already ") })
		if duplicate != (library != nil) {
			t.Fatalf("%s\n\nthe library says: %v\nwe say:\n%v", text, library, problems)
		}
	})
}
