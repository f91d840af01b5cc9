package cmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/proctord/proctor/cmd/internal/netmond"
	"github.com/proctord/proctor/cmd/internal/procmond"
	"github.com/spf13/cobra"
)

// builtIn are the collectors inside this binary, by type.
var builtIn = map[string]func(context.Context, io.Writer) error{
	procmond.Name: func(ctx context.Context, w io.Writer) error { return procmond.Run(ctx, w, procmond.Options{}) },
	netmond.Name:  func(ctx context.Context, w io.Writer) error { return netmond.Run(ctx, w, netmond.Options{}) },
}

func builtInNames() []string {
	names := make([]string, 0, len(builtIn))
	for name := range builtIn {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// collectorCommand is what run starts as child processes where there is no
// configuration.
func collectorCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "collector {" + strings.Join(builtInNames(), "|") + "}",
		Short:  "Be one of the collectors that are inside this binary",
		Hidden: true,
		Long: `Be one of the collectors that are inside this binary: procmond tells which
processes start and exit, netmond which sockets open and close. They write one
JSON object a line until they are asked to end.
`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: builtInNames(),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if err := builtIn[args[0]](ctx, c.OutOrStdout()); err != nil {
				return failed{fmt.Errorf("%s: %w", args[0], err)}
			}
			return nil
		},
	}
}
