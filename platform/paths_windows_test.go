package platform

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestPathsAndArgumentsMayHaveBlanksQuotesAndAnyLetters(t *testing.T) {
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(tempDir(t), "Pröktor & Söhne (x86)", "データ 収集")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "ein Köllektor.exe")
	if err := os.WriteFile(path, self, 0o755); err != nil {
		t.Fatal(err)
	}
	args := []string{"ein Wort", `mit "Anführung"`, `C:\am Ende\`, "", "каша", "a\tb", `\\server\share`, "%PATH%", "^&|"}
	h := newTestHost(t, Options{})
	spec := childSpec(t, "where", args...)
	spec.Path, spec.Dir = path, dir
	spec.Env = append(spec.Env, "PLATFORM_TEST_VALUE=Wert mit ✓ und ‘’")
	out := listen(t, &spec)
	_, w := run(t, h, spec)
	out.expect(fmt.Sprintf("%q", dir))
	out.expect(fmt.Sprintf("%q", args))
	out.expect(fmt.Sprintf("%q", "Wert mit ✓ und ‘’"))
	if exit := w.end(); !exit.Success() {
		t.Errorf("%+v", exit)
	}
}
