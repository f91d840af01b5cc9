package control

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"connectrpc.com/connect"
	"github.com/proctord/proctor/actors"
	pb "github.com/proctord/proctor/actors/control/proctorv1"
	"github.com/proctord/proctor/messages"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// A Client is a supervisor that runs elsewhere. Its methods may be called from any
// goroutine. A connection that breaks is made again.
type Client struct {
	actors.Commands

	address string
	patient time.Duration
	http    *http.Transport
	rpc     pb.ProctorServiceClient
}

// An Option changes how a client works.
type Option func(*Client, *http.Transport)

// WithTLS is how the client proves who it is, and knows who the supervisor is: it
// is needed for a https address.
func WithTLS(c *tls.Config) Option {
	return func(_ *Client, t *http.Transport) { t.TLSClientConfig = c }
}

// WithPatience is for how long events that break off are tried to be had again.
// Without it: 30 s.
func WithPatience(d time.Duration) Option {
	return func(c *Client, _ *http.Transport) { c.patient = d }
}

// Dial connects to the supervisor at address: the path of a socket or unix:///PATH,
// the name of a pipe or npipe:NAME, or https://HOST:PORT. It returns when there is
// a connection. The error is a *messages.Error: its cause is actors.ErrNoSupervisor
// if nobody listens there, its kind PermissionDenied if this user may not connect,
// and Timeout if ctx was done before. Whether its own user may do anything is said
// by the answers to commands.
func Dial(ctx context.Context, address string, options ...Option) (*Client, error) {
	path, local, err := socketPath(address)
	if err != nil {
		return nil, &messages.Error{Op: "connect", Kind: messages.InvalidConfig, Err: err}
	}
	var protocols http.Protocols
	c := &Client{address: address, patient: 30 * time.Second}
	c.http = &http.Transport{
		Protocols: &protocols, DisableCompression: true, IdleConnTimeout: idleTime / 2,
		HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
	base := "http://proctor"
	if local {
		protocols.SetUnencryptedHTTP2(true)
		c.http.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := dialLocal(ctx, path)
			return conn, c.unreachable(err)
		}
	} else {
		protocols.SetHTTP2(true)
		base = strings.TrimSuffix(address, "/")
		var d net.Dialer
		c.http.DialContext = func(ctx context.Context, network, host string) (net.Conn, error) {
			conn, err := d.DialContext(ctx, network, host)
			return conn, c.unreachable(err)
		}
	}
	for _, option := range options {
		option(c, c.http)
	}
	c.Commands = actors.Commands{Backend: c}
	c.rpc = pb.NewProctorServiceClient(&http.Client{Transport: c.http}, base, connect.WithReadMaxBytes(maxReply), connect.WithSendMaxBytes(maxMessage))
	if local {
		conn, err := c.http.DialContext(ctx, "", "")
		if err != nil {
			return nil, c.fault(ctx, "connect", "", err)
		}
		return c, conn.Close()
	}
	if _, err := c.Info(ctx); err != nil && !errors.Is(err, messages.PermissionDenied) {
		c.http.CloseIdleConnections()
		return nil, err
	}
	return c, nil
}

// Close lets go of the connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// unreachable is why there is no connection.
func (c *Client) unreachable(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		return &messages.Error{Op: "connect", Kind: messages.PermissionDenied, Text: "this user may not command the supervisor at " + c.address, Err: err}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTSOCK):
		return &messages.Error{Op: "connect", Kind: messages.Internal, Text: "nobody is commanded at " + c.address + "; start one with proctor run, or name another place with --socket", Err: absent{err}}
	}
	return err
}

// absent is the cause of an error about a supervisor that is not there.
type absent struct{ error }

func (a absent) Unwrap() []error { return []error{actors.ErrNoSupervisor, a.error} }

// Ask brings one command of package messages to the supervisor: see actors.Backend.
func (c *Client) Ask(ctx context.Context, command any) (any, error) {
	op, id := messages.Subject(command)
	request := encode(command)
	if request == nil {
		return nil, &messages.Error{Op: op, ID: id, Kind: messages.Internal, Text: fmt.Sprintf("a %T cannot be sent to another program", command)}
	}
	ctx, info := connect.NewClientContext(ctx)
	if correlation := messages.OriginOf(ctx).Correlation; correlation != "" {
		info.RequestHeader().Set(CorrelationHeader, correlation)
	}
	response, err := c.call(ctx, request)
	if broken(ctx, err) && !messages.Changes(command) {
		response, err = c.call(ctx, request) // a question may be asked twice
	}
	if err != nil {
		return nil, c.fault(ctx, op, id, err)
	}
	reply, err := decode(response)
	if err != nil {
		return nil, &messages.Error{Op: op, ID: id, Kind: messages.Internal, Text: "the answer cannot be", Err: err}
	}
	return reply, nil
}

func (c *Client) call(ctx context.Context, request proto.Message) (proto.Message, error) {
	switch q := request.(type) {
	case *pb.StartCollectorRequest:
		return c.rpc.StartCollector(ctx, q)
	case *pb.StopCollectorRequest:
		return c.rpc.StopCollector(ctx, q)
	case *pb.RestartCollectorRequest:
		return c.rpc.RestartCollector(ctx, q)
	case *pb.PauseCollectorRequest:
		return c.rpc.PauseCollector(ctx, q)
	case *pb.ResumeCollectorRequest:
		return c.rpc.ResumeCollector(ctx, q)
	case *pb.SignalCollectorRequest:
		return c.rpc.SignalCollector(ctx, q)
	case *pb.ReloadCollectorRequest:
		return c.rpc.ReloadCollector(ctx, q)
	case *pb.LimitCollectorRequest:
		return c.rpc.LimitCollector(ctx, q)
	case *pb.SendHeartbeatRequest:
		return c.rpc.SendHeartbeat(ctx, q)
	case *pb.RemoveCollectorRequest:
		return c.rpc.RemoveCollector(ctx, q)
	case *pb.ResetCollectorRequest:
		return c.rpc.ResetCollector(ctx, q)
	case *pb.ShutdownRequest:
		return c.rpc.Shutdown(ctx, q)
	case *pb.GetStatusRequest:
		return c.rpc.GetStatus(ctx, q)
	case *pb.ListCollectorsRequest:
		return c.rpc.ListCollectors(ctx, q)
	case *pb.CheckHealthRequest:
		return c.rpc.CheckHealth(ctx, q)
	case *pb.GetUsageRequest:
		return c.rpc.GetUsage(ctx, q)
	case *pb.InspectCollectorRequest:
		return c.rpc.InspectCollector(ctx, q)
	case *pb.GetSupervisorRequest:
		return c.rpc.GetSupervisor(ctx, q)
	case *pb.GetGraphRequest:
		return c.rpc.GetGraph(ctx, q)
	case *pb.DescribeActorsRequest:
		return c.rpc.DescribeActors(ctx, q)
	case *pb.GetRunsRequest:
		return c.rpc.GetRuns(ctx, q)
	case *pb.ListCrashesRequest:
		return c.rpc.ListCrashes(ctx, q)
	case *pb.GetCrashRequest:
		return c.rpc.GetCrash(ctx, q)
	case *pb.ApplyConfigRequest:
		return c.rpc.ApplyConfig(ctx, q)
	case *pb.ReloadConfigRequest:
		return c.rpc.ReloadConfig(ctx, q)
	}
	return nil, fmt.Errorf("a %T is not a request", request)
}

// kinds are what codes mean that come without a reason of the supervisor's own.
var kinds = map[connect.Code]messages.Kind{
	connect.CodeCanceled:          messages.Timeout,
	connect.CodeDeadlineExceeded:  messages.Timeout,
	connect.CodeInvalidArgument:   messages.InvalidConfig,
	connect.CodePermissionDenied:  messages.PermissionDenied,
	connect.CodeUnauthenticated:   messages.PermissionDenied,
	connect.CodeUnimplemented:     messages.PlatformNotSupported,
	connect.CodeUnavailable:       messages.IO,
	connect.CodeResourceExhausted: messages.IO,
}

// broken reports whether there is no answer because the connection broke.
func broken(ctx context.Context, err error) bool {
	var wire *connect.Error
	if err == nil || ctx.Err() != nil || !errors.As(err, &wire) || len(wire.Details()) > 0 {
		return false
	}
	return wire.Code() == connect.CodeCanceled || wire.Code() == connect.CodeUnavailable
}

// fault is why a command has no answer.
func (c *Client) fault(ctx context.Context, op, id string, err error) error {
	var unreachable *messages.Error
	if errors.As(err, &unreachable) {
		return &messages.Error{Op: op, ID: id, Kind: unreachable.Kind, Text: unreachable.Text, Err: unreachable.Err}
	}
	if ctx.Err() != nil {
		return &messages.Error{Op: op, ID: id, Kind: messages.Timeout, Text: "nobody waits for the answer any more; what was begun goes on", Err: ctx.Err()}
	}
	var wire *connect.Error
	if !errors.As(err, &wire) {
		return &messages.Error{Op: op, ID: id, Kind: messages.IO, Err: err}
	}
	for _, detail := range wire.Details() {
		if value, err := detail.Value(); err == nil {
			if told, ok := value.(*pb.Error); ok {
				return decodeError(told)
			}
		}
	}
	if broken(ctx, err) && !errors.Is(err, actors.ErrNoSupervisor) {
		return &messages.Error{Op: op, ID: id, Kind: messages.IO, Text: "the connection broke before there was an answer; whether it was carried out is not known", Err: err}
	}
	kind, ok := kinds[wire.Code()]
	if !ok {
		kind = messages.Internal
	}
	return &messages.Error{Op: op, ID: id, Kind: kind, Err: wire}
}

// EventsSince is what happens, as in actors.Backend. If the connection breaks, it
// goes on where it was as soon as there is one again; what has been dropped
// meanwhile, or what the end of that life of the supervisor was, has a
// messages.Lost in its place, with the number zero where nobody knows how many
// events that is. It ends when the supervisor does, and when there is no
// connection for as long as [WithPatience] says.
func (c *Client) EventsSince(ctx context.Context, since messages.Since) (iter.Seq[messages.Event], error) {
	request := &pb.WatchEventsRequest{SinceSequence: since.Seq}
	if !since.Time.IsZero() {
		request.SinceTime = timestamppb.New(since.Time)
	}
	stream, instance, err := c.watch(ctx, request)
	if err != nil {
		return nil, c.fault(ctx, "events", "", err)
	}
	return func(yield func(messages.Event) bool) {
		last := uint64(0)
		for {
			request.Instance = instance
			for stream.Receive() {
				for _, w := range stream.Msg().Events {
					e, ok := decodeEvent(w)
					if last = w.Sequence; ctx.Err() != nil || ok && !yield(e) {
						_ = stream.Close()
						return
					}
				}
			}
			err := stream.Err()
			_ = stream.Close()
			if err == nil || ctx.Err() != nil {
				return
			}
			if last > 0 {
				request.SinceSequence, request.SinceTime = last+1, nil
			}
			if stream, instance, err = c.watchAgain(ctx, request); err != nil {
				return
			}
			if instance != request.Instance {
				if last = 0; !yield(messages.Event{At: time.Now(), Fact: messages.Lost{}}) {
					_ = stream.Close()
					return
				}
			}
		}
	}, nil
}

// watch begins to watch events; it returns when that is so.
func (c *Client) watch(ctx context.Context, q *pb.WatchEventsRequest) (*connect.ServerStreamForClient[pb.WatchEventsResponse], string, error) {
	stream, err := c.rpc.WatchEvents(ctx, q)
	if err != nil {
		return nil, "", err
	}
	if !stream.Receive() {
		err := stream.Err()
		_ = stream.Close()
		if err == nil {
			err = actors.ErrNoSupervisor
		}
		return nil, "", err
	}
	return stream, stream.Msg().Instance, nil
}

// watchAgain tries for as long as the client is patient.
func (c *Client) watchAgain(ctx context.Context, q *pb.WatchEventsRequest) (*connect.ServerStreamForClient[pb.WatchEventsResponse], string, error) {
	deadline := time.Now().Add(c.patient)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		stream, instance, err := c.watch(ctx, q)
		if err == nil || time.Now().Add(pause).After(deadline) || connect.CodeOf(err) == connect.CodePermissionDenied {
			return stream, instance, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, "", ctx.Err()
		}
	}
}
