package control

import (
	"context"
	"os"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/trace"
)

// traced reports whether commands are to be traced: OpenTelemetry's own variables
// say where to.
func traced() bool {
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// StartTracing sends traces of commands to where OpenTelemetry's standard variables
// say (OTEL_EXPORTER_OTLP_ENDPOINT), from before Serve on, and does nothing
// without them. Stop sends what there still is.
func StartTracing(ctx context.Context) (stop func(context.Context) error, err error) {
	if !traced() {
		return func(context.Context) error { return nil }, nil
	}
	exporter, err := otlptracegrpc.New(ctx)
	if err != nil {
		return nil, err
	}
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter))
	otel.SetTracerProvider(provider)
	return provider.Shutdown, nil
}
