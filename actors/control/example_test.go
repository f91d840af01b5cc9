//go:build unix

package control_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/actors/control"
	"github.com/proctord/proctor/config"
)

// restartAll is written against a supervisor, wherever that is.
func restartAll(ctx context.Context, sup actors.Commands) error {
	list, err := sup.List(ctx)
	if err != nil {
		return err
	}
	for _, c := range list {
		if _, err := sup.Restart(ctx, c.ID, 0); err != nil {
			return err
		}
	}
	return nil
}

// The same code commands a supervisor in the program, and one at the other end of
// a socket.
func ExampleDial() {
	ctx := context.Background()
	sup, err := actors.New(config.Config{Collectors: map[string]config.Collector{
		"sleeper-1": {BinaryPath: "/bin/sleep", Args: []string{"60"}, Autostart: true},
	}})
	if err != nil {
		log.Fatal(err)
	}
	defer sup.Close()

	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	server, err := control.Open(config.Control{Socket: filepath.Join(dir, "s")})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	server.Serve(sup)

	client, err := control.Dial(ctx, server.Address())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	fmt.Println(restartAll(ctx, sup.Commands))
	fmt.Println(restartAll(ctx, client.Commands))
	// Output:
	// <nil>
	// <nil>
}
