package supervisor

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

func TestIDsAreOrderedTheWayPeopleCount(t *testing.T) {
	want := []string{"db", "web", "web-01", "web-1", "web-2", "web-10", "web-10a", "web.1", "x"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, config.CompareIDs)
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// scripted is a child that is no collector: it only speaks as one does.
type scripted struct {
	orders []any
	answer func(ctx actor.Context, order any)
}

func (s *scripted) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case messages.RunProcess, messages.EndProcess, messages.SuspendProcess, messages.ContinueProcess, messages.SignalProcess:
		s.orders = append(s.orders, m)
		s.answer(ctx, m)
	}
}

// withChild runs a scenario with a supervisor of one scripted child, called web.
func withChild(t *testing.T, answer func(ctx actor.Context, order any), scenario func(root *actor.RootContext, sup *actor.PID, child *scripted)) {
	synctest.Test(t, func(t *testing.T) {
		system := actor.NewActorSystem()
		child := &scripted{answer: answer}
		sup := system.Root.Spawn(Props(Options{
			Config: config.Config{Collectors: map[string]config.Collector{"web": {}}},
			Child:  func(string) *actor.Props { return actor.PropsFromProducer(func() actor.Actor { return child }) },
		}))
		synctest.Wait()
		scenario(system.Root, sup, child)
		system.Root.Stop(sup)
		time.Sleep(time.Minute) // the library's own timers run out
	})
}

func ask(t *testing.T, root *actor.RootContext, sup *actor.PID, command any) any {
	t.Helper()
	answer, err := root.RequestFuture(sup, command, time.Hour).Result()
	if err != nil {
		t.Fatalf("%T: %v", command, err)
	}
	return answer
}

func TestAnythingThatAnswersOrdersCanBeSupervised(t *testing.T) {
	withChild(t, func(ctx actor.Context, order any) {
		switch m := order.(type) {
		case messages.RunProcess:
			ctx.Request(ctx.Parent(), messages.Report{ID: "web", State: messages.Running, Alive: true, PID: 7, Incarnation: 1})
			ctx.Request(ctx.Parent(), messages.Outcome{Token: m.Token, PID: 7})
		case messages.EndProcess:
			exit := &messages.Exit{Incarnation: 1, PID: 7}
			ctx.Request(ctx.Parent(), messages.Report{ID: "web", State: messages.Stopped, Ended: true, Exit: exit, Incarnation: 1})
			ctx.Request(ctx.Parent(), messages.Outcome{Token: m.Token, Exit: exit})
		}
	}, func(root *actor.RootContext, sup *actor.PID, child *scripted) {
		if got, want := ask(t, root, sup, messages.StartCollector{ID: "web"}), (messages.StartReply{ID: "web", PID: 7, Incarnation: 1}); got != want {
			t.Errorf("%+v", got)
		}
		if got := ask(t, root, sup, messages.StopCollector{ID: "web", Timeout: time.Second}); got.(messages.StopReply).Exit.PID != 7 {
			t.Errorf("%+v", got)
		}
		end := child.orders[1].(messages.EndProcess)
		if end.Graceful != time.Second || end.Kill != config.DefaultForceTimeout {
			t.Errorf("%+v", end)
		}
	})
}

func TestWhatNobodyAskedForChangesNothing(t *testing.T) {
	withChild(t, func(actor.Context, any) {}, func(root *actor.RootContext, sup *actor.PID, _ *scripted) {
		stranger := root.Spawn(actor.PropsFromFunc(func(actor.Context) {}))
		root.RequestWithCustomSender(sup, messages.Report{ID: "web", State: messages.Running, Alive: true, PID: 9}, stranger)
		root.RequestWithCustomSender(sup, messages.Outcome{Token: 1}, stranger)
		root.Send(sup, messages.Report{ID: "db"})
		root.Send(sup, messages.Outcome{Token: 1})
		root.Send(sup, messages.StopCollector{ID: "web"}) // somebody who wants no answer
		root.Send(sup, "a word that is no message")
		synctest.Wait()
		if s := ask(t, root, sup, messages.GetStatus{ID: "web"}).(messages.Status); s.State != messages.Stopped || s.PID != 0 {
			t.Errorf("%+v", s)
		}
		root.Stop(stranger)
	})
}

// hesitant is a child that says at once what has changed, and keeps the outcome
// of its orders to itself until it is told to speak.
type hesitant struct{ outcomes []messages.Outcome }

func (h *hesitant) answer(ctx actor.Context, order any) {
	switch m := order.(type) {
	case messages.RunProcess:
		ctx.Request(ctx.Parent(), messages.Report{ID: "web", State: messages.Running, Alive: true, PID: 7, Incarnation: 1})
		ctx.Request(ctx.Parent(), messages.Outcome{Token: m.Token, PID: 7})
	case messages.EndProcess:
		exit := &messages.Exit{Incarnation: 1, PID: 7, Code: 5}
		ctx.Request(ctx.Parent(), messages.Report{ID: "web", State: messages.Stopped, Ended: true, Exit: exit, Incarnation: 1})
		h.outcomes = append(h.outcomes, messages.Outcome{Token: m.Token, Exit: exit})
	}
}

func TestWhoseOrderWasCarriedOutIsAnsweredAlsoWhenTheCollectorIsRemoved(t *testing.T) {
	h := &hesitant{}
	withChild(t, h.answer, func(root *actor.RootContext, sup *actor.PID, _ *scripted) {
		ask(t, root, sup, messages.StartCollector{ID: "web"})
		stopped := root.RequestFuture(sup, messages.StopCollector{ID: "web"}, time.Hour)
		synctest.Wait()
		if got, ok := ask(t, root, sup, messages.RemoveCollector{ID: "web"}).(messages.RemoveReply); !ok {
			t.Errorf("%+v", got)
		}
		if got, err := stopped.Result(); err != nil || got.(messages.StopReply).Exit.Code != 5 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestBetweenTheTwoHalvesOfARestartNothingElseBegins(t *testing.T) {
	h := &hesitant{}
	withChild(t, h.answer, func(root *actor.RootContext, sup *actor.PID, child *scripted) {
		ask(t, root, sup, messages.StartCollector{ID: "web"})
		root.RequestFuture(sup, messages.RestartCollector{ID: "web"}, time.Hour)
		synctest.Wait()
		if s := ask(t, root, sup, messages.GetStatus{ID: "web"}).(messages.Status); s.State != messages.Starting {
			t.Errorf("it is %v", s.State)
		}
		for want, command := range map[messages.Kind]any{
			messages.AlreadyRunning: messages.StartCollector{ID: "web"},
			messages.InvalidState:   messages.RemoveCollector{ID: "web"},
		} {
			if got, ok := ask(t, root, sup, command).(*messages.Error); !ok || got.Kind != want {
				t.Errorf("%T: %+v", command, got)
			}
		}
		if n := len(child.orders); n != 2 {
			t.Errorf("%d orders: %v", n, child.orders)
		}
	})
}
