package forward

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/proctord/proctor/collector/capture"
	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/protobuf/proto"
)

// An otlpReceiver is a collector of OpenTelemetry as its protocol has it, over HTTP
// and over gRPC, on the official messages.
type otlpReceiver struct {
	address string
	server  *http.Server

	mu     sync.Mutex
	refuse int // so many requests
	got    []string
}

func (o *otlpReceiver) take(q *collectorlogs.ExportLogsServiceRequest) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refuse > 0 {
		o.refuse--
		return false
	}
	for _, from := range q.ResourceLogs {
		service := ""
		for _, a := range from.Resource.Attributes {
			if a.Key == "service.name" {
				service = a.Value.GetStringValue()
			}
		}
		for _, scoped := range from.ScopeLogs {
			for _, r := range scoped.LogRecords {
				attributes := map[string]string{}
				for _, a := range r.Attributes {
					attributes[a.Key] = fmt.Sprint(a.Value.GetStringValue(), a.Value.GetIntValue())
				}
				body := r.Body.GetStringValue()
				if b := r.Body.GetBytesValue(); b != nil {
					body = fmt.Sprintf("%q", b)
				}
				o.got = append(o.got, fmt.Sprintf("%s %s %d %s %v", service, r.SeverityNumber, r.TimeUnixNano, body, attributes))
			}
		}
	}
	return true
}

func (o *otlpReceiver) records() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.got...)
}

func receive(t *testing.T, address string) *otlpReceiver {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	o := &otlpReceiver{address: l.Addr().String()}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/logs", func(w http.ResponseWriter, r *http.Request) {
		var q collectorlogs.ExportLogsServiceRequest
		body, err := io.ReadAll(r.Body)
		if err != nil || proto.Unmarshal(body, &q) != nil || r.Header.Get("Content-Type") != "application/x-protobuf" {
			w.WriteHeader(http.StatusBadRequest)
		} else if !o.take(&q) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	const export = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
	mux.Handle(export, connect.NewUnaryHandler(export, func(_ context.Context, q *connect.Request[collectorlogs.ExportLogsServiceRequest]) (*connect.Response[collectorlogs.ExportLogsServiceResponse], error) {
		if !o.take(q.Msg) {
			return nil, connect.NewError(connect.CodeUnavailable, io.EOF)
		}
		return connect.NewResponse(&collectorlogs.ExportLogsServiceResponse{}), nil
	}))
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	o.server = &http.Server{Handler: mux, Protocols: &protocols}
	go func() { _ = o.server.Serve(l) }()
	t.Cleanup(func() { _ = o.server.Close() })
	return o
}

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no " + what)
		}
	}
}

func TestARecordBecomesAnOpenTelemetryLogRecord(t *testing.T) {
	for _, scheme := range []string{"otlp+http", "otlp+grpc"} {
		t.Run(scheme, func(t *testing.T) {
			o := receive(t, "127.0.0.1:0")
			f, err := Of(scheme+"://"+o.address, nil)
			if err != nil {
				t.Fatal(err)
			}
			f.Forward(record)
			other := record
			other.ID, other.Text = "db", []byte("\xff\x00")
			f.Forward(other)
			f.Forward(capture.Record{ID: "db", Time: record.Time, Gap: &capture.Gap{Lines: 3, Bytes: 9, Reason: "too much"}})
			await(t, "records", func() bool { return len(o.records()) == 3 })
			got := strings.Join(o.records(), "\n")
			for _, want := range []string{
				`web-1 SEVERITY_NUMBER_INFO 1767323045000006000 it "burns" ] map[log.iostream:stderr0 proctor.incarnation:7]`,
				`db SEVERITY_NUMBER_INFO 1767323045000006000 "\xff\x00" map[log.iostream:stderr0 proctor.incarnation:7]`,
				`db SEVERITY_NUMBER_WARN 1767323045000006000 3 lines are missing here (9 bytes): too much map[proctor.incarnation:0 proctor.lost_lines:3]`,
			} {
				if !strings.Contains(got, want) {
					t.Errorf("there is no\n%s\nin\n%s", want, got)
				}
			}
			f.Close()
		})
	}
}

// It refuses, is gone, and comes back at the same address: everything arrives once.
func TestAnOpenTelemetryReceiverMayComeBack(t *testing.T) {
	for _, scheme := range []string{"otlp+http", "otlp+grpc"} {
		t.Run(scheme, func(t *testing.T) {
			o := receive(t, "127.0.0.1:0")
			o.mu.Lock()
			o.refuse = 2
			o.mu.Unlock()
			f, err := Of(scheme+"://"+o.address, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			f.Forward(record)
			await(t, "record after two refusals", func() bool { return len(o.records()) == 1 })
			_ = o.server.Shutdown(t.Context()) // not before it has answered
			for range 1000 {
				f.Forward(record)
			}
			again := receive(t, o.address)
			await(t, "records after it came back", func() bool { return len(again.records()) >= 1000 })
			if n := len(again.records()); n != 1000 || f.Missed() != 0 {
				t.Errorf("%d records, %d missed", n, f.Missed())
			}
		})
	}
}
