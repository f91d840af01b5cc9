//go:build unix

// The paths and signals that these tests name are those of Unix.

package cmd

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// every calls f for a command and all below it.
func every(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, child := range c.Commands() {
		every(child, f)
	}
}

// Run with -update to rewrite testdata/help.
func TestEveryCommandExplainsItself(t *testing.T) {
	t.Setenv("PROCTOR_SOCKET", "/somewhere") // what is printed must not depend on it
	root := newApp(&bytes.Buffer{}, &bytes.Buffer{}).root()
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	var names []string
	every(root, func(c *cobra.Command) {
		if elsewhere[c.Name()] == "" {
			names = append(names, strings.TrimPrefix(c.CommandPath(), "proctor"))
		}
	})
	for _, name := range names {
		t.Run("proctor"+name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(append(strings.Fields(name), "--help"), &stdout, &stderr); code != 0 || stderr.Len() > 0 {
				t.Fatalf("exit code %d, %s", code, stderr.String())
			}
			help := stdout.String()
			c, _, err := root.Find(strings.Fields(name))
			if err != nil {
				t.Fatal(err)
			}
			if c.GroupID != "" && c.Runnable() && len(c.Commands()) == 0 && (!strings.Contains(help, "EXIT STATUS") || !strings.Contains(help, "Examples:")) {
				t.Error("there are no examples, or no exit codes")
			}
			file := filepath.Join("testdata", "help", "proctor"+strings.ReplaceAll(name, " ", "_")+".txt")
			if *update {
				if err := os.WriteFile(file, stdout.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if help != strings.ReplaceAll(string(want), "\r\n", "\n") {
				t.Errorf("it is different now; -update rewrites it\n%s", help)
			}
		})
	}
}

func TestManualPagesAreWrittenForAllCommands(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man1")
	var stdout, stderr bytes.Buffer
	if code := run([]string{"man", dir}, &stdout, &stderr); code != 0 {
		t.Fatal(stderr.String())
	}
	for _, name := range []string{"proctor.1", "proctor-status.1", "proctor-restart.1", "proctor-config-check.1"} {
		page, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		}
		for _, want := range []string{".SH NAME", ".SH EXIT STATUS", ".SH EXAMPLE"} {
			if !bytes.Contains(page, []byte(want)) {
				t.Errorf("%s has no %s:\n%s", name, want, page)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "proctor-man.1")); err == nil {
		t.Error("there is a page for a command that is hidden")
	}
}
