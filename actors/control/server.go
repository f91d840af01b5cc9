package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"
	"connectrpc.com/otelconnect"
	"github.com/google/uuid"
	"github.com/proctord/proctor/actors"
	pb "github.com/proctord/proctor/actors/control/proctorv1"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

// The bounds of what callers can make a server hold.
const (
	maxConnections = 512              // more: the one that has asked nothing for the longest is closed
	maxRequests    = 256              // that are being answered; more are refused
	maxWatchers    = 512              // of events; more are refused
	maxReaders     = 256              // of logs; more are refused
	maxOthers      = 64               // for metrics, health, reflection; more are refused
	maxHeader      = 64 << 10         // bytes
	headerTime     = 10 * time.Second // from the first byte to the last of a header
	bodyTime       = 30 * time.Second // from there to the last of the request
	writeTime      = 30 * time.Second // for an answer to be taken
	idleTime       = 2 * time.Minute
	healthTime     = 2 * time.Second // for the supervisor's actor to say that it is well
)

// A Server lets others command a supervisor. Its methods may be called from any
// goroutine.
type Server struct {
	settings  config.Control
	path      string // of the socket
	directory directory
	certs     *certificates // nil without TCP
	local     net.Listener
	remote    net.Listener // nil without
	metrics   net.Listener // nil without
	release   func()

	requests places
	watchers places
	readers  places
	others   places

	patience atomic.Int64 // writeTime, in nanoseconds

	closing sync.Once
	servers []*http.Server
	serving sync.WaitGroup
	feeding sync.Once
	events  feed          // for all who follow
	fed     chan struct{} // closed when nothing fills it any more; nil: nobody has followed
	stop    context.CancelFunc
	stopped context.Context
}

// Open opens the endpoints that c, which must be valid, asks for: a socket or pipe
// always, TCP if it says so. Nobody is answered before Serve. The error says which
// one could not be opened, why, and what to do; nothing is left open then.
func Open(c config.Control) (_ *Server, err error) {
	address := c.Socket
	if address == "" {
		address = DefaultAddress()
	}
	path, isPath, err := socketPath(address)
	if err == nil && !isPath {
		err = fmt.Errorf("a supervisor cannot be commanded at %s alone: name a socket, and the host and port in control.listen", address)
	}
	if err != nil {
		return nil, refused(err)
	}
	s := &Server{
		settings: c, path: path, directory: newDirectory(c.Roles), release: func() {},
		requests: make(places, maxRequests), watchers: make(places, maxWatchers), readers: make(places, maxReaders), others: make(places, maxOthers),
	}
	s.patience.Store(int64(writeTime))
	s.stopped, s.stop = context.WithCancel(context.Background()) //nolint:forbidigo // it lives until Close
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	if s.local, s.release, err = listenLocal(path, c); err != nil {
		s.release = func() {}
		return nil, refused(err)
	}
	if c.Listen != "" {
		if s.certs, err = newCertificates(c); err != nil {
			return nil, refused(err)
		}
		if s.remote, err = net.Listen("tcp", c.Listen); err != nil {
			return nil, refused(fmt.Errorf("control.listen: %w", err))
		}
	}
	if c.MetricsListen != "" {
		if s.metrics, err = net.Listen("tcp", c.MetricsListen); err != nil {
			return nil, refused(fmt.Errorf("control.metrics_listen: %w", err))
		}
	}
	return s, nil
}

func refused(err error) error {
	return &messages.Error{Op: "open the control endpoint", Kind: messages.IO, Err: err}
}

// Address is where the server can be reached on this host: the path of its socket.
func (s *Server) Address() string { return s.path }

// Listen is the TCP address that commands come through, nil if there is none.
func (s *Server) Listen() net.Addr { return addressOf(s.remote) }

// MetricsListen is the TCP address of the metrics, nil if there is none.
func (s *Server) MetricsListen() net.Addr { return addressOf(s.metrics) }

func addressOf(l net.Listener) net.Addr {
	if l == nil {
		return nil
	}
	return l.Addr()
}

// Serve has what comes in carried out by b, and returns at once. It is called once.
func (s *Server) Serve(b actors.Backend) {
	commands := s.handler(b)
	s.serve(s.local, commands, func(srv *http.Server, l net.Listener) error { return srv.Serve(l) })
	if s.remote != nil {
		s.serve(s.remote, commands, func(srv *http.Server, l net.Listener) error {
			srv.TLSConfig = s.certs.config()
			return srv.ServeTLS(l, "", "")
		})
	}
	if s.metrics != nil {
		s.serve(s.metrics, metricsHandler(b), func(srv *http.Server, l net.Listener) error { return srv.Serve(l) })
	}
}

func (s *Server) serve(l net.Listener, h http.Handler, run func(*http.Server, net.Listener) error) {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	idle := newIdle(maxConnections)
	srv := &http.Server{
		Handler: h, Protocols: &protocols, MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: headerTime, IdleTimeout: idleTime,
		HTTP2:       &http.HTTP2Config{MaxConcurrentStreams: 128, WriteByteTimeout: writeTime, SendPingTimeout: time.Minute},
		ErrorLog:    log.New(io.Discard, "", 0), // what callers do wrong is theirs to hear of
		ConnState:   idle.changed,
		BaseContext: func(net.Listener) context.Context { return s.stopped },
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			ctx = idle.withBusy(ctx, conn)
			if l != s.local {
				return ctx
			}
			p, err := peerOf(conn)
			if err != nil {
				p = peer{}
			}
			return context.WithValue(ctx, connectionKey{}, newConnection(s.directory, p))
		},
	}
	s.servers = append(s.servers, srv)
	s.serving.Go(func() { _ = run(srv, l) }) // it ends when it is closed
}

// Close waits for a while until what is being answered is, then closes all, and
// removes the socket. It may be called more than once.
func (s *Server) Close() error {
	s.closing.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second) //nolint:forbidigo // closing has no caller to wait for
		defer cancel()
		var all sync.WaitGroup
		for _, srv := range s.servers {
			all.Go(func() {
				if srv.Shutdown(ctx) != nil {
					_ = srv.Close()
				}
			})
		}
		all.Wait()
		s.stop()
		for _, l := range []net.Listener{s.local, s.remote, s.metrics} {
			if l != nil {
				_ = l.Close()
			}
		}
		s.serving.Wait()
		s.feeding.Do(func() {}) // from here on nobody begins
		if s.fed != nil {
			<-s.fed
		}
		s.release()
	})
	return nil
}

// handler is everything that is served to those who have a role.
func (s *Server) handler(b actors.Backend) http.Handler {
	options := []connect.HandlerOption{
		connect.WithReadMaxBytes(maxMessage),
		connect.WithCompressMinBytes(math.MaxInt32), // over a socket of this host it only costs time
		connect.WithRecover(func(_ context.Context, spec connect.Spec, _ http.Header, fault any) error {
			return wireError(&messages.Error{Op: spec.Procedure, Kind: messages.Internal, Text: fmt.Sprintf("a defect of Proctor: %v", fault)})
		}),
	}
	if traced() {
		if tracing, err := otelconnect.NewInterceptor(otelconnect.WithoutMetrics(), otelconnect.WithoutServerPeerAttributes()); err == nil {
			options = append(options, connect.WithInterceptors(tracing))
		}
	}
	mux := http.NewServeMux()
	mux.Handle(pb.NewProctorServiceHandler(&service{server: s, backend: b}, options...))
	mux.Handle(grpchealth.NewHandler(checker{b}, options...))
	reflector := grpcreflect.NewStaticReflector(pb.ProctorServiceName, grpchealth.HealthV1ServiceName)
	mux.Handle(grpcreflect.NewHandlerV1(reflector, options...))
	mux.Handle(grpcreflect.NewHandlerV1Alpha(reflector, options...))
	mux.Handle("/", metricsHandler(b))
	return s.admit(b, mux)
}

// feedOf is the feed of events, which begins with the first who follows.
func (s *Server) feedOf(b actors.Backend) *feed {
	s.feeding.Do(func() {
		s.fed = make(chan struct{})
		go func() {
			defer close(s.fed)
			s.events.follow(s.stopped, b)
		}()
	})
	return &s.events
}

type callerKey struct{}

// admit lets in who has a role at all, and keeps what they send within bounds.
func (s *Server) admit(b actors.Backend, next http.Handler) http.Handler {
	rejections := connect.NewErrorWriter()
	reject := func(w http.ResponseWriter, r *http.Request, status int, err *messages.Error) {
		if rejections.IsSupported(r) {
			_ = rejections.Write(w, r, wireError(err))
			return
		}
		http.Error(w, err.Error(), status)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := s.callerOf(r)
		correlation := correlationOf(r.Header.Get(CorrelationHeader))
		w.Header().Set(CorrelationHeader, correlation)
		ctx := messages.WithOrigin(r.Context(), messages.Origin{By: who.name, Correlation: correlation})
		ctx = context.WithValue(ctx, callerKey{}, who)
		rc := http.NewResponseController(w)
		ctx = context.WithValue(ctx, controllerKey{}, rc)
		_ = rc.SetReadDeadline(time.Now().Add(bodyTime))
		_ = rc.SetWriteDeadline(time.Time{})
		if who.role == nobody {
			denied := denial(who, viewer, short(r.URL.Path), "")
			record(ctx, b, denied)
			reject(w, r, http.StatusForbidden, denied)
			return
		}
		if !strings.HasPrefix(r.URL.Path, servicePath) { // there it is counted when the request is there in full
			if !s.others.take() {
				reject(w, r, http.StatusTooManyRequests, tooMuch(r.URL.Path))
				return
			}
			defer s.others.free()
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// servicePath is where the protocol's service is.
const servicePath = "/" + pb.ProctorServiceName + "/"

// places are how many may be answered at a time.
type places chan struct{}

func (p places) take() bool {
	select {
	case p <- struct{}{}:
		return true
	default:
		return false
	}
}

func (p places) free() { <-p }

func tooMuch(op string) *messages.Error {
	return &messages.Error{Op: op, Kind: messages.Timeout, Text: "too much is asked at once; ask again later"}
}

type controllerKey struct{}

// received says that the request is there in full: from now on the caller may
// take his time, and nobody takes his connection away.
func received(ctx context.Context) {
	if busy, ok := ctx.Value(busyKey{}).(func()); ok {
		busy()
	}
	if rc, ok := ctx.Value(controllerKey{}).(*http.ResponseController); ok {
		_ = rc.SetReadDeadline(time.Time{})
	}
}

// answering says that what is written from now on has to be taken in time.
func (s *Server) answering(ctx context.Context) {
	if rc, ok := ctx.Value(controllerKey{}).(*http.ResponseController); ok {
		_ = rc.SetWriteDeadline(time.Now().Add(time.Duration(s.patience.Load())))
	}
}

// quiet says that nothing is being written, for now: else a stream would be ended
// in which nothing happens for a while.
func quiet(ctx context.Context) {
	if rc, ok := ctx.Value(controllerKey{}).(*http.ResponseController); ok {
		_ = rc.SetWriteDeadline(time.Time{})
	}
}

// correlationOf is the caller's name for a request, if it is one that can stand in
// a log, else a name that is made up.
func correlationOf(given string) string {
	if given == "" || len(given) > maxCorrelation {
		return uuid.NewString()
	}
	for _, c := range []byte(given) {
		if c <= ' ' || c > '~' {
			return uuid.NewString()
		}
	}
	return given
}

func denial(who caller, needed role, op, id string) *messages.Error {
	text := fmt.Sprintf("%s is %s and this needs %s; an administrator can say so in [control.roles]", who.name, who.role, needed)
	if who.role == nobody {
		text = fmt.Sprintf("%s has no role; an administrator can give one in [control.roles]", who.name)
	}
	return &messages.Error{Op: op, ID: id, Kind: messages.PermissionDenied, Text: text}
}

// record has all subscribers told of a denial.
func record(ctx context.Context, b actors.Backend, err *messages.Error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthTime)
	defer cancel()
	_, _ = b.Ask(ctx, messages.RecordDenial{Op: err.Op, ID: err.ID, Err: err})
}

// checker has health answered by the supervisor's actor.
type checker struct{ backend actors.Backend }

func (c checker) Check(ctx context.Context, q *grpchealth.CheckRequest) (*grpchealth.CheckResponse, error) {
	if q.Service != "" && q.Service != pb.ProctorServiceName {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("there is no service %s", text(q.Service)))
	}
	if _, err := wellness(ctx, c.backend); err != nil {
		return &grpchealth.CheckResponse{Status: grpchealth.StatusNotServing}, nil
	}
	return &grpchealth.CheckResponse{Status: grpchealth.StatusServing}, nil
}

// wellness is what the supervisor says of itself, if it does within its time.
func wellness(ctx context.Context, b actors.Backend) (messages.SupervisorInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	return actors.Commands{Backend: b}.Info(ctx)
}

// codes are the codes that RPC has for kinds of errors.
var codes = [messages.NumKinds]connect.Code{
	messages.Internal:             connect.CodeInternal,
	messages.ProcessNotFound:      connect.CodeNotFound,
	messages.AlreadyRunning:       connect.CodeAlreadyExists,
	messages.SpawnFailed:          connect.CodeAborted,
	messages.TerminateFailed:      connect.CodeAborted,
	messages.InvalidState:         connect.CodeFailedPrecondition,
	messages.InvalidConfig:        connect.CodeInvalidArgument,
	messages.PlatformNotSupported: connect.CodeUnimplemented,
	messages.Timeout:              connect.CodeDeadlineExceeded,
	messages.PermissionDenied:     connect.CodePermissionDenied,
	messages.IO:                   connect.CodeInternal,
}

// wireError is an error as it travels.
func wireError(err error) error {
	var e *messages.Error
	if !errors.As(err, &e) {
		e = &messages.Error{Kind: messages.Internal, Err: err}
	}
	code := connect.CodeInternal
	if int(e.Kind) < len(codes) {
		code = codes[e.Kind]
	}
	if errors.Is(err, actors.ErrNoSupervisor) {
		code = connect.CodeUnavailable
	}
	w := connect.NewError(code, errors.New(text(e.Error())))
	if detail, err := connect.NewErrorDetail(encodeError(e)); err == nil {
		w.AddDetail(detail)
	}
	return w
}
