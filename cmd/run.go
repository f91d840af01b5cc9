package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/actors/control"
	"github.com/proctord/proctor/actors/runs"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/config/toml"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

func runCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "run",
		Short: "Supervise collectors, in the foreground",
		Long: `Run supervises the collectors that the configuration file names, until it is
asked to end. Without a file it supervises two collectors that are inside this
binary: procmond, which tells of processes that start and exit, and netmond,
which tells of sockets that open and close.

What collectors write is kept, in logs/<id>.log of the state directory, rotated
and compressed; and it is shown on standard output and errors, unless the
configuration says otherwise ([output] also = []). "proctor logs" shows it again.
The log of the supervisor goes to standard error, or to the file that [log] path
names.

SIGNALS
  SIGTERM, SIGINT, Ctrl-C  end all collectors in order; a second one kills them
  SIGHUP                   with -c: read the file again, as "proctor reload" does;
                           without: the same as SIGTERM, as the terminal is gone
  SIGQUIT                  print what the actors are doing, and all goroutines

EXIT STATUS
  0  every collector ended when it was asked to
  1  one had to be killed, or would not end even so
  2  wrong usage
  7  the configuration cannot work; nothing was started
`,
		Example: `  proctor run
  proctor run -c /etc/proctor.toml --log-format json
  proctor run -t -c /etc/proctor.toml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("run takes no arguments; to supervise what a file says: proctor run -c %s", args[0])
			}
			return nil
		},
	}
	file := c.Flags().StringP("config", "c", "", "the configuration file (default: the collectors inside this binary)")
	format := c.Flags().String("log-format", "auto", "console, json, or auto: console on a terminal")
	stateDir := c.Flags().String("state-dir", "", "where collectors' output is kept (default: state_dir of the configuration, else "+stateDirs+")")
	socket := c.Flags().String("socket", "", "where to be commanded (default: [control] socket, else $PROCTOR_SOCKET, else /run/proctor/proctor.sock for root, $XDG_RUNTIME_DIR/proctor/proctor.sock for others)")
	noControl := c.Flags().Bool("no-control", false, "do not be commanded from outside, but by signals")
	metrics := c.Flags().String("metrics-listen", "", "HOST:PORT where anybody may read /metrics, /livez and /readyz (default: [control] metrics_listen, else none)")
	level := c.Flags().String("log-level", "info", "debug, info, warn or error")
	test := c.Flags().BoolP("test", "t", false, "only check the configuration file, as \"proctor config check\" does")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *test {
			if *file == "" {
				return errors.New("run -t needs the file that it checks: proctor run -t -c FILE")
			}
			return checkFile(c.OutOrStdout(), *file, "text", false)
		}
		log, flush, err := newLogger(c.ErrOrStderr(), *format, *level)
		if err != nil {
			return err
		}
		defer flush()
		survivePipes()
		reserveThreads(14)
		cfg, err := configuration(c.ErrOrStderr(), log, *file)
		if err != nil {
			return err
		}
		var again func() (config.Config, error)
		override := func(cfg *config.Config) {
			if *stateDir != "" {
				cfg.ProcessManager.StateDir = *stateDir
			}
			if *socket != "" {
				cfg.Control.Socket = *socket
			}
			if *metrics != "" {
				cfg.Control.MetricsListen = *metrics
			}
		}
		override(&cfg)
		if *file != "" {
			again = func() (config.Config, error) {
				cfg, err := toml.ReadFile(*file)
				override(&cfg)
				return cfg, err
			}
		}
		if err := cfg.Validate(); err != nil {
			return &messages.Error{Op: "run", Kind: messages.InvalidConfig, Err: err}
		}
		// Before anything is started: two must not be where one can be commanded.
		var endpoint *control.Server
		if !*noControl {
			if endpoint, err = control.Open(cfg.Control); err != nil {
				return failed{err}
			}
			defer func() { _ = endpoint.Close() }()
		}
		kept, err := openCapture(log, cfg)
		if err != nil {
			return err
		}
		written := func() {}
		if path := cfg.ProcessManager.LogPath; path != "" && kept != nil {
			if log, written, err = newLogger(kept.OwnLog(path), *format, *level); err != nil {
				return err
			}
		}
		records := openRuns(log, cfg, kept)
		err = supervise(log, cfg, again, kept, records, endpoint)
		if records != nil {
			records.Close()
		}
		written()
		if kept != nil {
			if closeErr := kept.Close(); closeErr != nil {
				_, _ = fmt.Fprintf(c.ErrOrStderr(), "proctor: %v\n", closeErr)
			}
		}
		return err
	}
	return c
}

// newLogger is the log of the supervisor, and of the actor library. Flush must be
// called at the end: lines are written by a goroutine of their own, since an
// actor must not wait for a terminal that was stopped, or a pipe that is full.
func newLogger(w io.Writer, format, level string) (log zerolog.Logger, flush func(), err error) {
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000Z07:00"
	at, err := zerolog.ParseLevel(level)
	if err != nil || level == "" {
		return log, nil, fmt.Errorf("--log-level %s: it is one of debug, info, warn and error", level)
	}
	out := newLogWriter(w)
	f, isFile := w.(*os.File)
	terminal := isFile && (isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()))
	w = out
	switch {
	case format == "console" || format == "auto" && terminal:
		_, noColor := os.LookupEnv("NO_COLOR")
		w = consoleWriter(w, terminal && !noColor)
	case format != "json" && format != "auto":
		return log, nil, fmt.Errorf("--log-format %s: it is one of auto, console and json", format)
	}
	return zerolog.New(w).Level(at).With().Timestamp().Logger(), func() { out.flush(time.Second) }, nil
}

// consoleWriter writes what happens as lines for people.
func consoleWriter(w io.Writer, color bool) zerolog.ConsoleWriter {
	return zerolog.ConsoleWriter{Out: w, TimeFormat: "15:04:05.000", NoColor: !color,
		FieldsExclude: []string{"collector", "seq", "incarnation", "from", "state", "reason", "cause", "restart_count", "restarts_left", "after", "pid", "code", "ran", "signal", "forced", "by", "correlation", "audit", "denied", "op", "instance", "child", "collectors", "tail", "lost_lines", "lost_bytes"},
		PartsOrder:    []string{zerolog.TimestampFieldName, zerolog.LevelFieldName, "collector", zerolog.MessageFieldName},
		FormatPartValueByName: func(value any, name string) string {
			if value == nil {
				value = "proctor"
			}
			return fmt.Sprintf("%-12v", value)
		}}
}

// configuration is what file says, or what there is without one.
func configuration(stderr io.Writer, log zerolog.Logger, file string) (config.Config, error) {
	if file == "" {
		return builtInConfig()
	}
	report := toml.Check(file)
	if len(report.Problems) > 0 {
		for i := range report.Problems {
			_, _ = fmt.Fprintln(stderr, report.Problems[i].Error())
		}
		return config.Config{}, exitError(exitInvalidConfig)
	}
	for i := range report.Warnings {
		log.Warn().Msg(report.Warnings[i].Error())
	}
	return report.Config, nil
}

// builtInConfig has the collectors inside this binary supervised.
func builtInConfig() (config.Config, error) {
	self, err := os.Executable()
	if err != nil {
		return config.Config{}, failed{fmt.Errorf("where this binary is cannot be found: %w; name collectors in a file with -c", err)}
	}
	cfg := config.Config{ProcessManager: config.ProcessManager{EnableAutoRestart: true}, Collectors: map[string]config.Collector{}}
	for _, name := range builtInNames() {
		cfg.Collectors[name] = config.Collector{BinaryPath: self, Args: []string{"collector", name}, AutoRestart: true, Autostart: true}
	}
	return cfg, nil
}

// stateDirs says where the state directory is by default.
const stateDirs = "$PROCTOR_STATE_DIR, /var/lib/proctor for root, ~/.local/state/proctor for others"

// stateDirOf is the state directory of a configuration; empty: there is none.
func stateDirOf(cfg config.Config) string {
	return cmp.Or(cfg.ProcessManager.StateDir, config.DefaultStateDir())
}

// openCapture opens the place where output is kept. Nil: there is none, and
// collectors write to our own output.
func openCapture(log zerolog.Logger, cfg config.Config) (*actors.Capture, error) {
	dir := stateDirOf(cfg)
	if dir == "" {
		log.Warn().Msg("collectors' output is not kept, as this user has no state directory; name one with --state-dir or state_dir")
		return nil, nil
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, failed{err}
	}
	kept, err := actors.OpenCapture(dir, os.Stdout, os.Stderr)
	if err != nil {
		return nil, failed{err}
	}
	return kept, nil
}

// openRuns opens the records of runs, which are beside the output: nil where that
// is not kept.
func openRuns(log zerolog.Logger, cfg config.Config, kept *actors.Capture) *runs.Store {
	if kept == nil {
		return nil
	}
	bounds := cfg.ProcessManager.Runs
	return runs.Open(runs.Options{
		Dir: stateDirOf(cfg), Output: kept.LastLines,
		Limits: runs.Limits{
			PerCollector: bounds.MaxPerCollector, Bytes: int64(bounds.MaxSizeMB) << 20,
			Age: time.Duration(bounds.MaxAgeDays) * 24 * time.Hour, Crashes: bounds.MaxCrashes,
		},
		Notify: func(err error) { log.Error().Msg(err.Error()) },
	})
}

// supervise runs until a signal or a command ends it, or a fault. Again reads the
// configuration once more; nil: it cannot.
func supervise(log zerolog.Logger, cfg config.Config, again func() (config.Config, error), kept *actors.Capture, records *runs.Store, endpoint *control.Server) (err error) {
	// Before anything is started: a signal that comes now must not be lost.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, watched...)
	defer signal.Stop(signals)
	defer underServiceManager(log, signals)()

	host, err := platform.New(platform.Options{Exclusive: true, Guardian: cfg.ProcessManager.EndsWithSupervisor(), CgroupParent: cfg.ProcessManager.CgroupParent})
	if err != nil && cfg.ProcessManager.CgroupParent != "" {
		return &messages.Error{Op: "run", Kind: messages.InvalidConfig, Text: "process_manager.cgroup_parent has to be a directory of a cgroup v2 hierarchy that Proctor may write to", Err: err}
	}
	if err != nil {
		return failed{fmt.Errorf("processes cannot be started on this system: %w", err)}
	}
	options := []actors.Option{actors.WithHost(host), actors.WithLogger(log), actors.WithCapture(kept), actors.WithRuns(records)}
	if again != nil {
		options = append(options, actors.WithConfigSource(func(context.Context) (config.Config, error) { return again() }))
	}
	sup, err := actors.New(cfg, options...)
	if err != nil {
		return failed{errors.Join(err, host.Close())}
	}
	log.Info().Int("pid", os.Getpid()).
		Msgf("proctor %s with pid %d supervises %d %s", thisVersion().Version, os.Getpid(), len(cfg.Collectors), plural(len(cfg.Collectors), "collector", "collectors"))

	if endpoint != nil {
		stopTracing, err := control.StartTracing(context.Background())
		if err != nil {
			log.Warn().Err(err).Msg("commands are not traced")
		} else {
			defer func() { _ = stopTracing(context.Background()) }()
		}
		endpoint.Serve(sup)
		log.Info().Str("socket", endpoint.Address()).Msg("commands are taken at " + endpoint.Address())
	}

	reply, clean := untilEnd(log, sup, signals, again != nil)
	if err := sup.Close(); err != nil {
		log.Error().Err(err).Msg("the supervisor did not end well")
		clean = false
	}
	for _, left := range reply.Left {
		log.Error().Str("collector", left.ID).Int("pid", left.PID).Msg("it would not end: " + left.Reason)
	}
	if len(reply.Forced) > 0 {
		log.Warn().Strs("forced", reply.Forced).Msg("had to be killed: " + strings.Join(reply.Forced, ", "))
	}
	if err := host.Close(); err != nil {
		log.Error().Err(err).Msg("processes are left")
		clean = false
	}
	if reply.Reason != "" {
		log.Info().Int("code", reply.Code).Msg("ended by itself: " + reply.Reason)
	}
	if reply.Code != 0 {
		return exitError(reply.Code)
	}
	if !clean || len(reply.Forced) > 0 || len(reply.Left) > 0 {
		return exitError(exitFailed)
	}
	log.Info().Msg("all collectors have ended")
	return nil
}

// untilEnd obeys signals until all collectors have ended, and says what became
// of them; or until there is no waiting for that any more. Reloads is whether a
// hangup has the configuration read again.
func untilEnd(log zerolog.Logger, sup *actors.Supervisor, signals <-chan os.Signal, reloads bool) (reply messages.ShutdownReply, ok bool) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan messages.ShutdownReply, 1)
	closing := closes(ctx, sup)
	asked := 0
	for {
		select {
		case s := <-signals:
			switch {
			case isDump(s):
				dump(os.Stderr, sup)
			case reloads && isHangup(s):
				log.Info().Stringer("signal", s).Msgf("%v: reading the configuration again", s)
				go reload(ctx, log, sup)
			case asked == 0:
				log.Info().Stringer("signal", s).Msgf("%v: ending all collectors; once more kills them", s)
				asked++
				go func() { ended <- shutDown(log, sup) }()
			case asked == 1:
				log.Warn().Stringer("signal", s).Msgf("%v again: killing all collectors", s)
				asked++
				go func() { _, _ = sup.ForceShutdown(context.Background()) }()
			default:
				log.Error().Msgf("%v a third time: giving up", s)
				return reply, false
			}
		case <-closing: // a command has begun it
			closing = nil
			if asked == 0 {
				asked++
				go func() { ended <- shutDown(log, sup) }()
			}
		case reply = <-ended:
			return reply, true
		case <-sup.Done():
			log.Error().Msg("the supervisor had one fault after another, and ended")
			return reply, false
		}
	}
}

// closes is closed when the supervisor begins to shut down.
func closes(ctx context.Context, sup *actors.Supervisor) <-chan struct{} {
	closing := make(chan struct{})
	events, err := sup.Events(ctx)
	if err != nil {
		return nil // it has ended, which is heard of otherwise
	}
	go func() {
		for e := range events {
			if _, is := e.Fact.(messages.ShuttingDown); is {
				close(closing)
				return
			}
		}
	}()
	return closing
}

// reload puts the configuration in force that the file has now, and logs what
// became of it: nobody else is told.
func reload(ctx context.Context, log zerolog.Logger, sup *actors.Supervisor) {
	reply, err := sup.Reload(ctx, false)
	if err != nil {
		log.Error().Msg(err.Error())
		return
	}
	for _, change := range reply.Changes {
		z := log.Info()
		if change.Err != nil {
			z = log.Error().Err(change.Err).Bool("rolled_back", change.RolledBack)
		}
		if change.ID != "" {
			z = z.Str("collector", change.ID)
		}
		z.Msgf("%v: %s", change.Action, strings.Join(change.Reasons, "; "))
	}
	if len(reply.Changes) == 0 {
		log.Info().Msg("the configuration is as it was")
	}
}

// shutDown ends all collectors. A supervisor that has a fault meanwhile answers
// with an error, and is made anew knowing that it is ending: it is asked again.
// If it is not made anew any more, there is no answer, but its Done.
func shutDown(log zerolog.Logger, sup *actors.Supervisor) messages.ShutdownReply {
	for {
		reply, err := sup.Shutdown(context.Background(), 0)
		if err == nil {
			return reply
		}
		log.Error().Err(err).Msg("the shutdown was interrupted")
		if errors.Is(err, actors.ErrNoSupervisor) {
			select {} // whoever waits for this hears of it by Done
		}
	}
}

// dump writes what the actors are doing, and then what the goroutines are.
func dump(w io.Writer, sup *actors.Supervisor) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = fmt.Fprintln(w, "actors:")
	if err := sup.Describe(ctx, w); err != nil {
		_, _ = fmt.Fprintf(w, "they do not answer: %v\n", err)
	}
	_, _ = fmt.Fprintln(w, "\ngoroutines:")
	_ = pprof.Lookup("goroutine").WriteTo(w, 2)
}

// reserveThreads has the Go runtime make n threads, which it keeps. A runtime
// that wants another one when the user may have no more processes aborts, and
// the collectors die with it: this is more than it was ever seen to want.
func reserveThreads(n int) {
	var all, done sync.WaitGroup
	all.Add(n)
	for range n {
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			all.Done()
			all.Wait()
		})
	}
	done.Wait()
}
