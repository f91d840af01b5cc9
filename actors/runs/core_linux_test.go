package runs

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestTheCoreDumpIsFoundWhereThePatternPutsIt(t *testing.T) {
	for _, test := range []struct {
		pattern string
		usesPID bool
		file    string
	}{
		{"core", false, "core"},
		{"core", true, "core.42"},
		{"core.%p", true, "core.42"},
		{"dumps/%e-%s-%t.%p.core", false, "dumps/agent-11-1700000000.42.core"},
		{"100%%[x]-%E", false, "100%[x]-!usr!bin!agent"},
		{"c-%i-%P", false, "c-77-4242"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, test.file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("dump"), 0o600); err != nil {
			t.Fatal(err)
		}
		if d := coreOf(test.pattern, test.usesPID, 42, time.Now(), dir); d.Path != path || d.Size != 4 || d.Note != "" {
			t.Errorf("%s: %+v", test.pattern, d)
		}
	}
	dir := t.TempDir()
	old := filepath.Join(dir, "core")
	if err := os.WriteFile(old, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if d := coreOf("core", false, 42, time.Now(), dir); d.Path != "" || d.Note == "" {
		t.Errorf("an old dump is taken for a new one: %+v", d)
	}
	if d := coreOf("|/usr/lib/systemd/systemd-coredump %P %u", false, 42, time.Now(), dir); d.Note != "the kernel hands dumps to /usr/lib/systemd/systemd-coredump; coredumpctl info 42 tells more" {
		t.Errorf("%+v", d)
	}
}
