package control

import (
	"bytes"
	"context"
	"iter"
	"net/http"
	"net/http/httptest"
	"testing"

	pb "github.com/proctord/proctor/actors/control/proctorv1"
	"github.com/proctord/proctor/collector/capture"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"google.golang.org/protobuf/proto"
)

// requests are all that a client can send, empty.
func requests() []proto.Message {
	return []proto.Message{
		&pb.StartCollectorRequest{}, &pb.StopCollectorRequest{}, &pb.RestartCollectorRequest{}, &pb.PauseCollectorRequest{}, &pb.ResumeCollectorRequest{}, &pb.ReloadCollectorRequest{}, &pb.SendHeartbeatRequest{},
		&pb.SignalCollectorRequest{}, &pb.RemoveCollectorRequest{}, &pb.ResetCollectorRequest{}, &pb.ShutdownRequest{}, &pb.GetStatusRequest{},
		&pb.ListCollectorsRequest{}, &pb.CheckHealthRequest{}, &pb.InspectCollectorRequest{}, &pb.GetSupervisorRequest{}, &pb.DescribeActorsRequest{},
		&pb.ApplyConfigRequest{}, &pb.ReloadConfigRequest{},
	}
}

// FuzzAnyBytesAreACommandOrAnError has whatever can come from the wire decoded.
func FuzzAnyBytesAreACommandOrAnError(f *testing.F) {
	for i := range requests() {
		f.Add(uint8(i), []byte{})
		f.Add(uint8(i), []byte("\n\x05web-1"))
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		all := requests()
		request := all[int(which)%len(all)]
		if proto.Unmarshal(data, request) != nil {
			return
		}
		command, _ := decode(request)
		if op, _ := messages.Subject(command); op == "" || command == nil {
			t.Errorf("%T became %#v", request, command)
		}
		needs(command)
	})
}

// deaf is a backend that knows nobody.
type deaf struct{}

func (deaf) Ask(_ context.Context, command any) (any, error) {
	op, id := messages.Subject(command)
	return nil, &messages.Error{Op: op, ID: id, Kind: messages.ProcessNotFound}
}

func (deaf) EventsSince(context.Context, messages.Since) (iter.Seq[messages.Event], error) {
	return func(func(messages.Event) bool) {}, nil
}

func (deaf) Logs(context.Context, []string, capture.Query) iter.Seq2[capture.Record, error] {
	return func(func(capture.Record, error) bool) {}
}

// FuzzAnyRequestIsAnswered sends whatever a client may to the handlers.
func FuzzAnyRequestIsAnswered(f *testing.F) {
	f.Add("GetStatus", "application/json", []byte(`{"id":"web-1"}`))
	f.Add("StartCollector", "application/proto", []byte("\n\x05web-1"))
	f.Add("WatchEvents", "application/connect+json", []byte("\x00\x00\x00\x00\x02{}"))
	f.Add("ReadLogs", "application/connect+json", []byte("\x00\x00\x00\x00\x1a{\"ids\":[\"w*\"],\"grep\":\"(\"}"))
	f.Add("ListCollectors", "application/grpc", []byte("\x00\x00\x00\x00\x00"))
	f.Add("ApplyConfig", "application/grpc-web", []byte("\x00\x00\x00\x00\x00"))
	server := &Server{directory: newDirectory(config.Roles{}), requests: make(places, 64), watchers: make(places, 64), readers: make(places, 64), others: make(places, 64)}
	handler := server.handler(deaf{})
	f.Fuzz(func(t *testing.T, method, kind string, body []byte) {
		q, err := http.NewRequest(http.MethodPost, "http://proctor/", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.URL.Path = "/proctor.v1.ProctorService/" + method
		q.Proto, q.ProtoMajor, q.ProtoMinor = "HTTP/2.0", 2, 0
		q.Header.Set("Content-Type", kind)
		me := newConnection(server.directory, peer{known: true})
		q = q.WithContext(context.WithValue(t.Context(), connectionKey{}, me))
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, q)
		if w.Code >= http.StatusInternalServerError && w.Code != http.StatusNotImplemented && w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s %s: %d %s", method, kind, w.Code, w.Body)
		}
	})
}
