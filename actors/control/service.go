package control

import (
	"context"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/proctord/proctor/actors"
	pb "github.com/proctord/proctor/actors/control/proctorv1"
	"github.com/proctord/proctor/messages"
	"google.golang.org/protobuf/proto"
)

// service is the protocol's service: each call is one command and its answer.
type service struct {
	server  *Server
	backend actors.Backend
}

// maxID is the length of the longest id that is passed on, in bytes: that of the
// longest one that there can be, and some to say how another one begins.
const maxID = 128

// short is what somebody sent as a name, as errors and events repeat it: those are
// kept, and must not grow with what is sent.
func short(name string) string {
	if len(name) <= maxID {
		return name
	}
	return text(name[:maxID]) + "…"
}

// answer has a request carried out.
func answer[R proto.Message](ctx context.Context, s *service, request proto.Message) (R, error) {
	received(ctx)
	defer s.server.answering(ctx)
	var none R
	if !s.server.requests.take() {
		return none, tooBusy(request)
	}
	defer s.server.requests.free()
	reply, err := s.ask(ctx, request)
	if err != nil {
		return none, wireError(err)
	}
	w, ok := encode(reply).(R)
	if !ok {
		return none, wireError(&messages.Error{Kind: messages.Internal, Text: fmt.Sprintf("the answer was a %T", reply)})
	}
	return w, nil
}

func tooBusy(request proto.Message) error {
	return wireError(tooMuch(string(request.ProtoReflect().Descriptor().Name())))
}

func (s *service) ask(ctx context.Context, request proto.Message) (any, error) {
	command, err := decode(request)
	op, id := messages.Subject(command)
	who, _ := ctx.Value(callerKey{}).(caller)
	length := len(id)
	id = short(id)
	if needed := needs(command); who.role < needed {
		denied := denial(who, needed, op, id)
		record(ctx, s.backend, denied)
		return nil, denied
	}
	if length > maxID {
		return nil, &messages.Error{Op: op, ID: id, Kind: messages.InvalidConfig,
			Text: fmt.Sprintf("the id has %d bytes; it is 1 to 64 of a-z A-Z 0-9 . _ -, and starts with a letter or a digit", length)}
	}
	if err != nil {
		return nil, &messages.Error{Op: op, ID: id, Kind: messages.InvalidConfig, Err: err}
	}
	return s.backend.Ask(ctx, command)
}

func (s *service) StartCollector(ctx context.Context, q *pb.StartCollectorRequest) (*pb.StartCollectorResponse, error) {
	return answer[*pb.StartCollectorResponse](ctx, s, q)
}

func (s *service) StopCollector(ctx context.Context, q *pb.StopCollectorRequest) (*pb.StopCollectorResponse, error) {
	return answer[*pb.StopCollectorResponse](ctx, s, q)
}

func (s *service) RestartCollector(ctx context.Context, q *pb.RestartCollectorRequest) (*pb.RestartCollectorResponse, error) {
	return answer[*pb.RestartCollectorResponse](ctx, s, q)
}

func (s *service) PauseCollector(ctx context.Context, q *pb.PauseCollectorRequest) (*pb.PauseCollectorResponse, error) {
	return answer[*pb.PauseCollectorResponse](ctx, s, q)
}

func (s *service) ResumeCollector(ctx context.Context, q *pb.ResumeCollectorRequest) (*pb.ResumeCollectorResponse, error) {
	return answer[*pb.ResumeCollectorResponse](ctx, s, q)
}

func (s *service) SignalCollector(ctx context.Context, q *pb.SignalCollectorRequest) (*pb.SignalCollectorResponse, error) {
	return answer[*pb.SignalCollectorResponse](ctx, s, q)
}

func (s *service) ReloadCollector(ctx context.Context, q *pb.ReloadCollectorRequest) (*pb.ReloadCollectorResponse, error) {
	return answer[*pb.ReloadCollectorResponse](ctx, s, q)
}

func (s *service) LimitCollector(ctx context.Context, q *pb.LimitCollectorRequest) (*pb.LimitCollectorResponse, error) {
	return answer[*pb.LimitCollectorResponse](ctx, s, q)
}

func (s *service) SendHeartbeat(ctx context.Context, q *pb.SendHeartbeatRequest) (*pb.SendHeartbeatResponse, error) {
	return answer[*pb.SendHeartbeatResponse](ctx, s, q)
}

func (s *service) RemoveCollector(ctx context.Context, q *pb.RemoveCollectorRequest) (*pb.RemoveCollectorResponse, error) {
	return answer[*pb.RemoveCollectorResponse](ctx, s, q)
}

func (s *service) ResetCollector(ctx context.Context, q *pb.ResetCollectorRequest) (*pb.ResetCollectorResponse, error) {
	return answer[*pb.ResetCollectorResponse](ctx, s, q)
}

func (s *service) Shutdown(ctx context.Context, q *pb.ShutdownRequest) (*pb.ShutdownResponse, error) {
	return answer[*pb.ShutdownResponse](ctx, s, q)
}

func (s *service) GetStatus(ctx context.Context, q *pb.GetStatusRequest) (*pb.GetStatusResponse, error) {
	return answer[*pb.GetStatusResponse](ctx, s, q)
}

func (s *service) ListCollectors(ctx context.Context, q *pb.ListCollectorsRequest) (*pb.ListCollectorsResponse, error) {
	return answer[*pb.ListCollectorsResponse](ctx, s, q)
}

func (s *service) CheckHealth(ctx context.Context, q *pb.CheckHealthRequest) (*pb.CheckHealthResponse, error) {
	return answer[*pb.CheckHealthResponse](ctx, s, q)
}

func (s *service) InspectCollector(ctx context.Context, q *pb.InspectCollectorRequest) (*pb.InspectCollectorResponse, error) {
	return answer[*pb.InspectCollectorResponse](ctx, s, q)
}

func (s *service) GetGraph(ctx context.Context, q *pb.GetGraphRequest) (*pb.GetGraphResponse, error) {
	return answer[*pb.GetGraphResponse](ctx, s, q)
}

func (s *service) GetUsage(ctx context.Context, q *pb.GetUsageRequest) (*pb.GetUsageResponse, error) {
	return answer[*pb.GetUsageResponse](ctx, s, q)
}

func (s *service) GetSupervisor(ctx context.Context, q *pb.GetSupervisorRequest) (*pb.GetSupervisorResponse, error) {
	return answer[*pb.GetSupervisorResponse](ctx, s, q)
}

func (s *service) DescribeActors(ctx context.Context, q *pb.DescribeActorsRequest) (*pb.DescribeActorsResponse, error) {
	return answer[*pb.DescribeActorsResponse](ctx, s, q)
}

func (s *service) GetRuns(ctx context.Context, q *pb.GetRunsRequest) (*pb.GetRunsResponse, error) {
	return answer[*pb.GetRunsResponse](ctx, s, q)
}

func (s *service) ListCrashes(ctx context.Context, q *pb.ListCrashesRequest) (*pb.ListCrashesResponse, error) {
	return answer[*pb.ListCrashesResponse](ctx, s, q)
}

func (s *service) GetCrash(ctx context.Context, q *pb.GetCrashRequest) (*pb.GetCrashResponse, error) {
	return answer[*pb.GetCrashResponse](ctx, s, q)
}

func (s *service) ApplyConfig(ctx context.Context, q *pb.ApplyConfigRequest) (*pb.ApplyConfigResponse, error) {
	return answer[*pb.ApplyConfigResponse](ctx, s, q)
}

func (s *service) ReloadConfig(ctx context.Context, q *pb.ReloadConfigRequest) (*pb.ReloadConfigResponse, error) {
	r, err := answer[*pb.ApplyConfigResponse](ctx, s, q)
	if err != nil {
		return nil, err
	}
	return &pb.ReloadConfigResponse{Plan: r.Plan}, nil
}

// The events that are sent as one message: as many as are there, after a pause in
// which more may come.
const (
	maxBatch = 512
	gather   = 250 * time.Millisecond
)

// WatchEvents sends events until the caller goes away, takes too long to read, or
// the supervisor has ended. What he is too slow for is dropped, and he is told.
func (s *service) WatchEvents(ctx context.Context, q *pb.WatchEventsRequest, stream *connect.ServerStream[pb.WatchEventsResponse]) error {
	received(ctx)
	if !s.server.watchers.take() {
		return tooBusy(q)
	}
	defer s.server.watchers.free()
	info, err := wellness(ctx, s.backend)
	if err != nil {
		return wireError(err)
	}
	since := messages.Since{Seq: q.SinceSequence, Time: decodeTime(q.SinceTime)}
	if q.Instance != "" && q.Instance != info.Instance {
		since = messages.Since{Seq: 1}
	}
	feed := s.server.feedOf(s.backend)
	place, missed, err := feed.place(ctx, since, info.LastEvent)
	if err != nil {
		return wireError(&messages.Error{Op: "events", Kind: messages.Timeout, Err: err})
	}
	raw := true
	if call, ok := connect.CallInfoForHandlerContext(ctx); ok {
		raw = !strings.Contains(call.RequestHeader().Get("Content-Type"), "json")
	}
	s.server.answering(ctx)
	if err := stream.Send(&pb.WatchEventsResponse{Instance: info.Instance}); err != nil {
		return err
	}
	quiet(ctx)
	pause := time.NewTimer(gather)
	defer pause.Stop()
	for {
		batch, after, dropped, more := feed.next(place, maxBatch)
		missed += dropped
		switch {
		case len(batch) == 0 && more == nil:
			return nil
		case len(batch) == 0:
			select {
			case <-more:
			case <-ctx.Done():
				return wireError(&messages.Error{Op: "events", Kind: messages.Timeout, Err: ctx.Err()})
			}
			continue
		}
		s.server.answering(ctx)
		if err := stream.Send(response(info.Instance, batch, missed, raw)); err != nil {
			return err
		}
		quiet(ctx)
		place, missed = after, 0
		if len(batch) == maxBatch {
			continue
		}
		// More is coming, perhaps: together it costs less.
		pause.Reset(gather)
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}
}
