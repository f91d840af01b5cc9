//go:build unix

package actors_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
	"github.com/rs/zerolog"
)

// A supervisor of one's own, asked from ordinary Go.
func Example() {
	sup, err := actors.New(config.Config{
		ProcessManager: config.ProcessManager{EnableAutoRestart: true},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer sup.Close()

	ctx := context.Background()
	pid, err := sup.Start(ctx, "sleeper-1", "", &config.Collector{
		BinaryPath:  "/bin/sleep",
		Args:        []string{"60"},
		AutoRestart: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	status, err := sup.Status(ctx, "sleeper-1")
	fmt.Println(status.State, status.PID == pid, err)

	exit, err := sup.Stop(ctx, "sleeper-1", 5*time.Second)
	fmt.Println(exit, err)

	// Output:
	// running true <nil>
	// signal SIGTERM <nil>
}

// What happens, as it happens.
func ExampleSupervisor_Events() {
	sup, err := actors.New(config.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer sup.Close()

	ctx, enough := context.WithCancel(context.Background())
	defer enough()
	events, err := sup.Events(ctx)
	if err != nil {
		log.Fatal(err)
	}
	_, _ = sup.Start(ctx, "once", "", &config.Collector{BinaryPath: "/bin/sh", Args: []string{"-c", "exit 3"}})

	for e := range events {
		switch fact := e.Fact.(type) {
		case messages.Exited:
			fmt.Println(e.ID, "ended:", fact.Exit)
		case messages.StateChanged:
			if fact.To == messages.Failed {
				fmt.Println(e.ID, "failed:", fact.Reason)
				return
			}
		}
	}
	// Output:
	// once ended: exit code 3
	// once failed: exit code 3; automatic restarts are off
}

// application is an actor of a program that has an actor system already. The
// supervisor is its child; commands, replies and events are messages.
type application struct {
	host platform.Host
	sup  *actor.PID
	done chan<- string
}

func (a *application) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		a.sup = ctx.Spawn(actors.Props(config.Config{}, actors.WithHost(a.host)))
		ctx.Request(a.sup, messages.Subscribe{Subscriber: ctx.Self()})
		ctx.Request(a.sup, messages.StartCollector{ID: "sleeper-1", Config: &config.Collector{
			BinaryPath: "/bin/sleep", Args: []string{"60"},
		}})
	case messages.StartReply:
		ctx.Request(a.sup, messages.StopCollector{ID: m.ID, Timeout: 5 * time.Second})
	case messages.StopReply:
		a.done <- m.ID + " ended: " + m.Exit.String()
	case messages.Event: // everything that happens to any collector
	case *messages.Error:
		a.done <- m.Error()
	}
}

// A supervisor as an actor among the application's own.
func ExampleProps() {
	host, err := platform.New(platform.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()

	system := actors.NewActorSystem(zerolog.Nop())
	done := make(chan string)
	system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor {
		return &application{host: host, done: done}
	}))
	fmt.Println(<-done)
	// Output: sleeper-1 ended: signal SIGTERM
}
