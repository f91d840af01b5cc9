//go:build unix

package control_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/proctord/proctor/actors/control"
	"github.com/proctord/proctor/config"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
)

func TestCommandsAreTracedWhereAnExporterIsConfigured(t *testing.T) {
	const export = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
	spans := make(chan string, 64)
	mux := http.NewServeMux()
	mux.Handle(export, connect.NewUnaryHandlerSimple(export, func(_ context.Context, q *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
		for _, resource := range q.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				for _, span := range scope.Spans {
					spans <- span.Name
				}
			}
		}
		return &collector.ExportTraceServiceResponse{}, nil
	}))
	receiver := httptest.NewUnstartedServer(mux)
	receiver.Config.Protocols = new(http.Protocols)
	receiver.Config.Protocols.SetUnencryptedHTTP2(true)
	receiver.Start()
	defer receiver.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.URL)

	stop, err := control.StartTracing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, _, client := serve(t, config.Control{})
	if err := client.Reset(t.Context(), "web-1"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := stop(ctx); err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case name := <-spans:
			if strings.HasSuffix(name, "ProctorService/ResetCollector") {
				return
			}
		default:
			t.Fatal("there is no trace of the command")
		}
	}
}
