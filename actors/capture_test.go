//go:build unix

package actors_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/collector/capture"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

func TestWhatACollectorWroteIsThereWhenItsEndIsTold(t *testing.T) {
	dir := t.TempDir()
	var shown bytes.Buffer
	kept, err := actors.OpenCapture(dir, &shown, nil)
	if err != nil {
		t.Fatal(err)
	}
	sup, err := actors.New(config.Config{}, actors.WithCapture(kept))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	events, err := sup.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sup.Start(ctx, "web", "", &config.Collector{
		BinaryPath: "/bin/sh", Args: []string{"-c", "echo first; echo second >&2; printf half; exit 3"},
	}); err != nil {
		t.Fatal(err)
	}
	read := func(q capture.Query) (texts []string) {
		for r, err := range kept.Logs(ctx, []string{"web"}, q) {
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, r.Stream.String()+" "+string(r.Text))
		}
		slices.Sort(texts) // the order between two streams is not certain
		return texts
	}
	for e := range events {
		exited, ok := e.Fact.(messages.Exited)
		if !ok {
			continue
		}
		if got := strings.Join(read(capture.Query{}), ","); got != "stderr second,stdout first,stdout half" {
			t.Errorf("stored when the exit was told: %s", got)
		}
		if tail := exited.Exit.Tail; len(tail) != 3 || !slices.Contains(tail, "half") {
			t.Errorf("its last lines: %q", tail)
		}
		break
	}
	status, err := sup.Status(ctx, "web")
	for err == nil && status.State != messages.Failed {
		status, err = sup.Status(ctx, "web")
	}
	if !strings.Contains(status.Reason, "; last output: ") {
		t.Errorf("reason: %s, %v", status.Reason, err)
	}
	for r, err := range kept.Logs(ctx, []string{"nobody"}, capture.Query{}) {
		if !errors.Is(err, messages.ProcessNotFound) || r.ID != "nobody" {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if err := errors.Join(sup.Close(), kept.Close()); err != nil {
		t.Error(err)
	}
	if got := shown.String(); !strings.Contains(got, "first\n") || strings.Contains(got, "second") {
		t.Errorf("shown: %q", got)
	}
	if left, _ := filepath.Glob(filepath.Join(capture.RunDir(dir), "*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
