package capture

import (
	"bytes"
	"strings"
	"testing"
)

// What is skipped is exactly the whole lines before the first that may be wanted.
func FuzzSkip(f *testing.F) {
	f.Add("b", "a line\nanother b\nlast", false)
	f.Add("five,", strings.Repeat("one, two, three, four\n", 500)+"four, five, six\n", true)
	f.Add("x", `{"id":"a","text":"y"}`+"\n"+`{"id":"a","base64":"eA=="}`+"\n"+`{"id":"a","text":"x"}`+"\n", false)
	f.Add("y", `{"id":"a","text":"y"}`+"\n"+`{"id":"abc","text":"y"}`+"\n\n\n"+`{"id":"abc","gap":{}}`+"\n", false)
	f.Add("aab", strings.Repeat("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", 200)+"aab\n", true)
	f.Fuzz(func(t *testing.T, literal, text string, plain bool) {
		if literal == "" || strings.Contains(literal, "\n") {
			return
		}
		want := 0
		for line := range strings.Lines(text) {
			encoded := !plain && !strings.Contains(line, string(textKey)) && strings.Contains(line, string(base64Key))
			if strings.Contains(line, literal) || encoded || !strings.HasSuffix(line, "\n") {
				break
			}
			want += len(line)
		}
		s := skipper{plain: plain}
		for range 2 { // the second time it knows what is rare, and where text begins
			if got := s.skip([]byte(text), []byte(literal)); got != want {
				t.Fatalf("%d bytes are skipped, not %d", got, want)
			}
			if got, want := s.index([]byte(text), []byte(literal)), bytes.Index([]byte(text), []byte(literal)); got != want {
				t.Fatalf("found at %d, not %d", got, want)
			}
		}
	})
}
