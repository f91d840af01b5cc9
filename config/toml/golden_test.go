package toml_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/proctord/proctor/config/toml"
)

var update = flag.Bool("update", false, "rewrite testdata/*.txt with what is reported now")

// Each testdata/*.toml has a .txt with what is reported about it.
func TestWhatIsReportedAboutAFile(t *testing.T) {
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".toml")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			report := toml.CheckData(name+".toml", data)
			got := "valid\n"
			if len(report.Problems) > 0 {
				got = report.Problems.Error() + "\n"
			}
			for i := range report.Warnings {
				got += "warning: " + report.Warnings[i].Error() + "\n"
			}
			golden := strings.TrimSuffix(file, ".toml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
