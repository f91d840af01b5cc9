package runs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/windows/registry"

	"github.com/proctord/proctor/messages"
)

func TestTheDumpIsFoundWhereErrorReportingKeepsIt(t *testing.T) {
	const path = `SOFTWARE\Proctor test\LocalDumps`
	run := &messages.Run{Binary: `C:\Program Files\agent.exe`, PID: 42, StartedAt: time.Now().Add(-time.Minute)}
	if d := dumpOf(registry.CURRENT_USER, path, run); d.Path != "" || !strings.Contains(d.Note, "no dump was made") {
		t.Errorf("where nothing is configured: %+v", d)
	}
	shared, own := tempDir(t), tempDir(t)
	key := func(path, folder string) {
		k, _, err := registry.CreateKey(registry.CURRENT_USER, path, registry.SET_VALUE)
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		if err := k.SetExpandStringValue("DumpFolder", folder); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = registry.DeleteKey(registry.CURRENT_USER, path) })
	}
	t.Cleanup(func() { _ = registry.DeleteKey(registry.CURRENT_USER, `SOFTWARE\Proctor test`) })
	t.Setenv("PROCTOR_TEST_DUMPS", shared)
	key(path, `%PROCTOR_TEST_DUMPS%`)
	if d := dumpOf(registry.CURRENT_USER, path, run); d.Path != "" || !strings.Contains(d.Note, "there is no agent.exe.42.dmp in "+shared) {
		t.Errorf("where none was made: %+v", d)
	}
	for i, folder := range []string{shared, own} {
		if i == 1 {
			key(path+`\agent.exe`, own)
		}
		file := filepath.Join(folder, "agent.exe.42.dmp")
		if err := os.WriteFile(file, []byte("dump"), 0o600); err != nil {
			t.Fatal(err)
		}
		if d := dumpOf(registry.CURRENT_USER, path, run); d.Path != file || d.Size != 4 || d.Note != "" {
			t.Errorf("%s: %+v", folder, d)
		}
	}
	run.StartedAt = time.Now().Add(time.Hour)
	if d := dumpOf(registry.CURRENT_USER, path, run); d.Path != "" {
		t.Errorf("an old dump is taken for a new one: %+v", d)
	}
}
