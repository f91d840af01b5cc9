//go:build unix

package platformtest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
	"github.com/proctord/proctor/platform/platformtest"
)

// How a program tests its own supervision: an hour of it, in no time.
func TestTheExporterIsKeptRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A computer in memory, on which every exporter crashes after ten minutes.
		host := platformtest.New(func(platform.Spec, int) platformtest.Program {
			return platformtest.Program{Lives: 10 * time.Minute, Exit: platform.Exit{Code: 1}}
		})
		sup, err := actors.New(config.Config{
			ProcessManager: config.ProcessManager{EnableAutoRestart: true},
			Collectors: map[string]config.Collector{
				"exporter": {BinaryPath: "/usr/bin/exporter", AutoRestart: true, Autostart: true},
			},
		}, actors.WithHost(host))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour + time.Minute) // virtual: it takes no time
		synctest.Wait()

		status, err := sup.Status(t.Context(), "exporter")
		if err != nil || status.State != messages.Running || status.RestartCount != 6 {
			t.Errorf("%+v, %v", status, err)
		}
		if err := sup.Close(); err != nil {
			t.Error(err)
		}
	})
}
