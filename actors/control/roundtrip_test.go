package control

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"testing"
	"time"

	pb "github.com/proctord/proctor/actors/control/proctorv1"
	"github.com/proctord/proctor/collector/capture"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/config/toml"
	"github.com/proctord/proctor/messages"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"
)

// travelling are the messages that go from one program to another.
var travelling = []any{
	messages.StartCollector{}, messages.StopCollector{}, messages.RestartCollector{}, messages.PauseCollector{}, messages.ResumeCollector{}, messages.ReloadCollector{}, messages.LimitCollector{}, messages.SendHeartbeat{},
	messages.SignalCollector{}, messages.RemoveCollector{}, messages.ResetCollector{}, messages.Shutdown{}, messages.GetStatus{},
	messages.ListCollectors{}, messages.CheckHealth{}, messages.InspectCollector{}, messages.GetSupervisor{}, messages.DescribeActors{}, messages.GetGraph{}, messages.Graph{},
	messages.ApplyConfig{}, messages.ReloadConfig{},
	messages.GetRuns{}, messages.ListCrashes{}, messages.GetCrash{}, messages.RunsReply{}, messages.CrashesReply{}, messages.Crash{},
	messages.StartReply{}, messages.StopReply{}, messages.RestartReply{}, messages.PauseReply{}, messages.ResumeReply{}, messages.SignalReply{}, messages.ReloadReply{}, messages.LimitReply{}, messages.HeartbeatReply{},
	messages.RemoveReply{}, messages.ResetReply{}, messages.ShutdownReply{}, messages.Status{}, messages.ListReply{}, messages.HealthReply{},
	messages.Inspection{}, messages.GetUsage{}, messages.UsageReply{}, messages.SupervisorInfo{}, messages.DescribeReply{}, messages.ApplyReply{},
}

var facts = []messages.Fact{
	messages.Added{}, messages.Removed{}, messages.StateChanged{}, messages.Exited{}, messages.RestartScheduled{}, messages.StopForced{},
	messages.TerminateFailure{}, messages.Crashed{}, messages.ShuttingDown{}, messages.Begun{}, messages.ConfigApplied{}, messages.Audited{},
	messages.OutputLost{}, messages.OutputStored{}, messages.Lost{}, messages.HealthChanged{}, messages.GroupRestarting{}, messages.GroupEnded{}, messages.NotifyRefused{}, messages.Reloaded{}, messages.HookFailed{}, messages.UsageHigh{}, messages.UsageNormal{},
}

// unsent are fields that do not travel, and why.
var unsent = map[string]string{
	"config.Config.Control":    "how a supervisor is commanded does not change while it is",
	"config.Problem.Err":       "an error beneath travels as its text",
	"messages.Exit.LastMinute": "it is in the crash report, messages.Crash.Usage",
}

// A filler sets every field of a value to something, random or not zero.
type filler struct{ t *rapid.T } // nil: never zero

func (f filler) number(most int64) int64 {
	if f.t == nil {
		return most
	}
	return rapid.Int64Range(0, most).Draw(f.t, "number")
}

func (f filler) length() int {
	if f.t == nil {
		return 2
	}
	return rapid.IntRange(0, 3).Draw(f.t, "length")
}

func (f filler) text() string {
	if f.t == nil {
		return "text"
	}
	return rapid.String().Draw(f.t, "text")
}

func (f filler) yes() bool { return f.t == nil || rapid.Bool().Draw(f.t, "yes") }

func (f filler) fill(v reflect.Value) {
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		if f.yes() {
			*p = time.Unix(f.number(4e9), f.number(1e9-1)).UTC()
		}
		return
	case *time.Duration:
		*p = time.Duration(f.number(2e15)) // 23 days, to the nanosecond
		if f.t != nil && f.yes() {
			*p = time.Duration(f.number(3e15)) * time.Microsecond // 95 years
		}
		return
	case *config.Switch:
		*p = config.Switch(f.number(2))
		return
	case *messages.State:
		*p = messages.State(f.number(messages.NumStates - 1))
		return
	case *messages.Health:
		*p = messages.Health(f.number(3))
		return
	case *messages.Action:
		*p = messages.Action(f.number(messages.NumActions - 1))
		return
	case *messages.Illness:
		*p = messages.Illness(f.number(messages.NumIllnesses - 1))
		return
	case *messages.End:
		*p = messages.End(f.number(messages.NumEnds - 1))
		return
	case *messages.Trigger:
		*p = messages.Trigger(f.number(messages.NumTriggers - 1))
		return
	case *messages.Kind:
		*p = messages.Kind(f.number(messages.NumKinds - 1))
		return
	case *error:
		switch f.number(3) {
		case 1:
			*p = errors.New("beneath")
		case 2:
			list := config.Problems{{Message: "one"}, {}}
			f.fill(reflect.ValueOf(&list[0]).Elem())
			*p = list
		case 3:
			list := toml.Problems{{}, {}}
			f.fill(reflect.ValueOf(&list[0]).Elem())
			list[0].File = "file"
			*p = list
		}
		return
	case *messages.Metric:
		*p = messages.Metric(f.number(int64(messages.HasOOMKills)<<1 - 1))
		return
	case *messages.Usage:
		f.fields(v)
		*p = onlyKnown(*p)
		return
	case *config.Collector:
		f.fields(v)
		f.explicitZeroes(p)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(f.text())
	case reflect.Bool:
		v.SetBool(f.yes())
	case reflect.Float64:
		v.SetFloat(float64(f.number(1<<40)) / 1024)
	case reflect.Int, reflect.Int64:
		v.SetInt(f.number(1<<31 - 1))
	case reflect.Uint64:
		v.SetUint(uint64(f.number(1 << 62)))
	case reflect.Slice:
		if n := f.length(); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
		}
		for i := range v.Len() {
			f.fill(v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			f.fill(v.Index(i))
		}
	case reflect.Map:
		if n := f.length(); n > 0 {
			v.Set(reflect.MakeMap(v.Type()))
			for range n {
				key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
				f.fill(key)
				f.fill(value)
				if value.Kind() != reflect.Map || value.Len() > 0 { // a count of nothing is not told
					v.SetMapIndex(key, value)
				}
			}
			if v.Len() == 0 {
				v.SetZero()
			}
		}
	case reflect.Pointer:
		if f.yes() {
			v.Set(reflect.New(v.Type().Elem()))
			f.fill(v.Elem())
		}
	case reflect.Struct:
		f.fields(v)
	default:
		panic(fmt.Sprintf("a %v cannot be filled", v.Type()))
	}
}

func (f filler) fields(v reflect.Value) {
	for i := range v.NumField() {
		if field := v.Type().Field(i); field.IsExported() && unsent[v.Type().String()+"."+field.Name] == "" {
			f.fill(v.Field(i))
		}
	}
}

// onlyKnown is a usage without the values that are not known: they do not travel,
// nor does anything of one that nobody has looked at.
func onlyKnown(u messages.Usage) messages.Usage {
	if u.At.IsZero() {
		return messages.Usage{}
	}
	for metric, fields := range map[messages.Metric][]string{
		messages.HasCPU: {"UserTime", "SystemTime"}, messages.HasCPUPercent: {"CPUPercent"}, messages.HasThrottled: {"Throttled"},
		messages.HasMemory: {"Memory"}, messages.HasMemoryPeak: {"MemoryPeak"}, messages.HasSwap: {"Swap"}, messages.HasProcesses: {"Processes"},
		messages.HasTasks: {"Tasks"}, messages.HasIO: {"ReadBytes", "WriteBytes"}, messages.HasIOOps: {"ReadOps", "WriteOps"},
		messages.HasDescriptors: {"Descriptors"}, messages.HasSwitches: {"VoluntarySwitches", "InvoluntarySwitches"},
		messages.HasCPUPressure: {"CPUPressure"}, messages.HasMemoryPressure: {"MemoryPressure"}, messages.HasIOPressure: {"IOPressure"},
		messages.HasOOMKills: {"OOMKills"},
	} {
		if !u.Has(metric) {
			for _, field := range fields {
				reflect.ValueOf(&u).Elem().FieldByName(field).SetZero()
			}
		}
	}
	return u
}

// explicitZeroes are what a setting is that is really meant to be nothing.
func (f filler) explicitZeroes(c *config.Collector) {
	if f.t == nil {
		return
	}
	for _, d := range []*time.Duration{&c.RestartWindow, &c.BackoffInitial, &c.BackoffReset, &c.Warn.For, &c.ResourceLimits.MemorySoft} {
		if f.yes() {
			*d = -1
		}
	}
	for _, n := range []*int{&c.MaxRestarts, &c.Output.MaxAgeDays, &c.Output.RateLimit} {
		if f.yes() {
			*n = config.None
		}
	}
	for _, list := range []*[]string{&c.Output.Also, &c.Output.Mask} {
		if f.yes() {
			*list = []string{}
		}
	}
}

// throughWire is m as it arrives: encoded to bytes and back.
func throughWire[M proto.Message](t interface{ Fatal(...any) }, m M) M {
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	arrived := m.ProtoReflect().New().Interface().(M)
	if err := proto.Unmarshal(data, arrived); err != nil {
		t.Fatal(err)
	}
	return arrived
}

// same compares what was sent with what arrived; errors beneath by their texts.
func same(a, b any) bool { return fmt.Sprintf("%#v", plain(a)) == fmt.Sprintf("%#v", plain(b)) }

// plain is v in a form that prints what it points to.
func plain(v any) any {
	var walk func(v reflect.Value) any
	walk = func(v reflect.Value) any {
		if !v.IsValid() {
			return nil
		}
		switch x := v.Interface().(type) {
		case time.Time:
			return x.UnixNano()
		case *messages.Error:
			if x == nil {
				return nil
			}
			cause := ""
			if x.Err != nil {
				cause = fmt.Sprintf("%T %v", x.Err, walkProblems(x.Err))
				if _, ok := x.Err.(interface{ Unwrap() []error }); !ok {
					cause = x.Err.Error()
				}
			}
			return []any{x.Op, x.ID, x.Kind, x.State, x.Text, cause}
		}
		switch v.Kind() {
		case reflect.Pointer, reflect.Interface:
			if v.IsNil() {
				return nil
			}
			return []any{"to", walk(v.Elem())}
		case reflect.Struct:
			var list []any
			for i := range v.NumField() {
				list = append(list, walk(v.Field(i)))
			}
			return list
		case reflect.Slice, reflect.Array:
			list := []any{v.Kind() == reflect.Slice && v.IsNil()}
			for i := range v.Len() {
				list = append(list, walk(v.Index(i)))
			}
			return list
		case reflect.Map:
			m := map[string]any{}
			for _, key := range v.MapKeys() {
				m[fmt.Sprint(key)] = walk(v.MapIndex(key))
			}
			return m
		}
		return v.Interface()
	}
	return walk(reflect.ValueOf(v))
}

func walkProblems(err error) string {
	if list, ok := errors.AsType[config.Problems](err); ok {
		return fmt.Sprintf("%#v", []config.Problem(list))
	}
	if list, ok := errors.AsType[toml.Problems](err); ok {
		return fmt.Sprintf("%#v", []toml.Problem(list))
	}
	return err.Error()
}

func TestEveryMessageArrivesAsItWasSent(t *testing.T) {
	for _, example := range travelling {
		t.Run(reflect.TypeOf(example).Name(), func(t *testing.T) {
			full := reflect.New(reflect.TypeOf(example)).Elem()
			filler{}.fill(full)
			check := func(t interface {
				Fatal(...any)
				Fatalf(string, ...any)
			}, v any) {
				arrived, err := decode(throughWire(t, encode(v)))
				if err != nil {
					t.Fatalf("%v in %+v", err, v)
				}
				if !same(v, arrived) {
					t.Fatalf("sent\n%#v\narrived\n%#v", plain(v), plain(arrived))
				}
			}
			check(t, full.Interface()) // so that no field is forgotten
			rapid.Check(t, func(t *rapid.T) {
				v := reflect.New(reflect.TypeOf(example)).Elem()
				filler{t}.fill(v)
				check(t, v.Interface())
			})
		})
	}
}

func TestEveryEventArrivesAsItWasSent(t *testing.T) {
	for _, fact := range facts {
		t.Run(reflect.TypeOf(fact).Name(), func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				for _, f := range []filler{{}, {r}} {
					e := messages.Event{
						Seq: uint64(f.number(1 << 60)), ID: f.text(), Incarnation: uint64(f.number(9)),
						Origin: messages.Origin{By: f.text(), Correlation: f.text()},
					}
					f.fill(reflect.ValueOf(&e.At).Elem())
					v := reflect.New(reflect.TypeOf(fact)).Elem()
					f.fill(v)
					e.Fact = v.Interface().(messages.Fact)
					arrived, ok := decodeEvent(throughWire(r, encodeEvent(e)))
					if !ok || !same(e, arrived) {
						r.Fatalf("sent\n%#v\narrived\n%#v", plain(e), plain(arrived))
					}
				}
			})
		})
	}
}

// What the protocol has and no message uses would never be said.
func TestEveryFieldOfTheProtocolIsUsed(t *testing.T) {
	used := map[protoreflect.FullName]bool{}
	var look func(m protoreflect.Message)
	look = func(m protoreflect.Message) {
		m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			used[field.FullName()] = true
			switch {
			case field.IsMap():
				v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
					if field.MapValue().Kind() == protoreflect.MessageKind {
						look(v.Message())
					}
					return true
				})
			case field.IsList() && field.Kind() == protoreflect.MessageKind:
				for i := range v.List().Len() {
					look(v.List().Get(i).Message())
				}
			case field.Kind() == protoreflect.MessageKind:
				look(v.Message())
			}
			return true
		})
	}
	for _, example := range travelling {
		v := reflect.New(reflect.TypeOf(example)).Elem()
		filler{}.fill(v)
		look(encode(v.Interface()).ProtoReflect())
	}
	for _, fact := range facts {
		v := reflect.New(reflect.TypeOf(fact)).Elem()
		filler{}.fill(v)
		look(encodeEvent(messages.Event{Seq: 1, At: time.Unix(1, 0), ID: "a", Incarnation: 1,
			Origin: messages.Origin{By: "b", Correlation: "c"}, Fact: v.Interface().(messages.Fact)}).ProtoReflect())
	}
	cursor := capture.Cursor{"a": {File: 1, Offset: 1}}
	look(encodeQuery([]string{"a"}, capture.Query{Since: time.Unix(1, 0), Until: time.Unix(2, 0), Grep: regexp.MustCompile("a"), Stream: capture.Stderr,
		Run: 1, Previous: true, Last: 1, New: true, Follow: true, After: cursor}).ProtoReflect())
	for _, r := range []capture.Record{{Text: []byte("a")}, {Text: []byte{0xff}}, {Gap: &capture.Gap{Lines: 1, Bytes: 1, Reason: "a"}}} {
		r.ID, r.Time, r.Stream, r.Incarnation, r.Partial, r.Position = "a", time.Unix(1, 0), capture.Stdout, 1, true, cursor["a"]
		look((&pb.ReadLogsResponse{Begin: encodeCursor(cursor), Records: []*pb.LogRecord{encodeRecord(r, nil), encodeRecord(r, errors.New("a"))}}).ProtoReflect())
	}
	types := pb.File_proctor_v1_proctor_proto.Messages()
	for i := range types.Len() {
		for j := range types.Get(i).Fields().Len() {
			name := types.Get(i).Fields().Get(j).FullName()
			switch {
			case used[name], types.Get(i).IsMapEntry():
			case types.Get(i).Name() == "WatchEventsRequest", types.Get(i).Name() == "WatchEventsResponse": // they are no message of ours
			case name == "proctor.v1.ReloadConfigResponse.plan": // it is that of ApplyConfigResponse
			case name == "proctor.v1.Error.supervisor_ended", name == "proctor.v1.Problem.line": // of one kind of error each
			default:
				t.Errorf("%s is never set", name)
			}
		}
	}
}

func TestWhatIsNotUTF8IsToldAllTheSame(t *testing.T) {
	r := throughWire(t, encode(messages.Status{ID: "a", Reason: "\xff no", LastExit: &messages.Exit{Tail: []string{"\xc3("}}}).(*pb.GetStatusResponse))
	if r.Status.Reason != "\uFFFD no" || r.Status.LastExit.Tail[0] != "\uFFFD(" {
		t.Errorf("%q %q", r.Status.Reason, r.Status.LastExit.Tail)
	}
}

func TestWhatCannotBeATimeOrACountIsRefusedWithItsKey(t *testing.T) {
	for name, q := range map[string]proto.Message{
		"timeout_seconds":                       &pb.StopCollectorRequest{Id: "a", TimeoutSeconds: -1},
		"collectors.a.max_restarts":             &pb.StartCollectorRequest{Id: "a", Config: &pb.CollectorConfig{MaxRestarts: proto.Int32(-1)}},
		"collectors.a.backoff_max_seconds":      &pb.StartCollectorRequest{Id: "a", Config: &pb.CollectorConfig{BackoffMaxSeconds: 1e300}},
		"collectors.a.restart_window_seconds":   &pb.StartCollectorRequest{Id: "a", Config: &pb.CollectorConfig{RestartWindowSeconds: proto.Float64(-3)}},
		"config":                                &pb.ApplyConfigRequest{},
		"process_manager.max_spawns_per_second": &pb.ApplyConfigRequest{Config: &pb.Config{ProcessManager: &pb.ProcessManagerConfig{MaxSpawnsPerSecond: -1}}},
	} {
		_, err := decode(q)
		var problem *config.Problem
		if !errors.As(err, &problem) || problem.Key != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryQueryAndRecordOfLogsArrivesAsItWasSent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := filler{t}
		var ids []string
		cursor := capture.Cursor{}
		for range f.length() {
			id := rapid.StringMatching(`[a-z][a-z*?-]{0,9}`).Draw(t, "id")
			ids = append(ids, id)
			cursor[id] = capture.Position{File: uint64(f.number(1 << 62)), Offset: f.number(1 << 62)}
		}
		q := capture.Query{Stream: capture.Stream(f.number(2)), Run: uint64(f.number(1 << 62)), Previous: f.yes(), Last: int(f.number(1 << 30)), New: f.yes(), Follow: f.yes()}
		f.fill(reflect.ValueOf(&q.Since).Elem())
		f.fill(reflect.ValueOf(&q.Until).Elem())
		if f.yes() {
			q.Grep = regexp.MustCompile(`a|b\d+`)
		}
		if len(cursor) > 0 && f.yes() {
			q.After = cursor
		}
		gotIDs, got, err := decodeQuery(throughWire(t, encodeQuery(ids, q)))
		if err != nil || !slices.Equal(ids, gotIDs) || fmt.Sprintf("%+v", plainQuery(q)) != fmt.Sprintf("%+v", plainQuery(got)) {
			t.Fatalf("sent %+v %+v, arrived %+v %+v, %v", ids, q, gotIDs, got, err)
		}

		r := capture.Record{ID: f.text(), Stream: q.Stream, Incarnation: q.Run, Partial: f.yes(), Position: capture.Position{File: q.Run, Offset: f.number(1 << 62)}}
		f.fill(reflect.ValueOf(&r.Time).Elem())
		if f.yes() {
			r.Text = rapid.SliceOf(rapid.Byte()).Draw(t, "text")
		} else {
			r.Gap = &capture.Gap{Lines: uint64(f.number(9)), Bytes: uint64(f.number(9)), Reason: f.text()}
		}
		arrived, err := decodeRecord(throughWire(t, encodeRecord(r, nil)))
		if err != nil || !bytes.Equal(r.Text, arrived.Text) {
			t.Fatalf("%q became %q, %v", r.Text, arrived.Text, err)
		}
		r.Text, arrived.Text = nil, nil
		if !same(r, arrived) {
			t.Fatalf("sent %#v, arrived %#v", plain(r), plain(arrived))
		}
		_, err = decodeRecord(throughWire(t, encodeRecord(capture.Record{ID: "web"}, errors.New("disk on fire"))))
		if e, ok := errors.AsType[*messages.Error](err); !ok || e.Kind != messages.IO || e.ID != "web" || e.Err.Error() != "disk on fire" {
			t.Fatalf("%#v", err)
		}
	})
}

// plainQuery is a query as far as it travels, in a form that can be printed.
func plainQuery(q capture.Query) any {
	grep := ""
	if q.Grep != nil {
		grep = q.Grep.String()
	}
	return []any{q.Since.UnixNano(), q.Until.UnixNano(), grep, q.Stream, q.Run, q.Previous, q.Last, q.New, q.Follow, q.After}
}
