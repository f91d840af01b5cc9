package forward

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/proctord/proctor/collector/capture"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
)

// exportTime is how long a receiver may take for a batch.
const exportTime = 10 * time.Second

// scope is who says that something was logged.
const scope = "github.com/proctord/proctor"

// OTLP sends records as OpenTelemetry log records, each collector as a service of
// its own: to "otlp+http://HOST:PORT", "otlp+https://HOST:PORT" or
// "otlp+grpc://HOST:PORT" (in clear text); or, as "otlp", to where OpenTelemetry's
// standard variables say (OTEL_EXPORTER_OTLP_ENDPOINT, …).
func OTLP(address string) (*Forwarder, error) {
	exporter, err := exporterOf(address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	return newForwarder(&otlp{exporter: exporter, services: map[string]log.Logger{}}), nil
}

func exporterOf(address string) (sdklog.Exporter, error) {
	ctx := context.Background() //nolint:forbidigo // making one connects to nobody
	scheme, host, _ := strings.Cut(strings.TrimPrefix(address, "otlp+"), "://")
	switch {
	case scheme == "grpc", scheme == "otlp" && strings.HasPrefix(protocol(), "grpc"):
		options := []otlploggrpc.Option{otlploggrpc.WithRetry(otlploggrpc.RetryConfig{})} // the forwarder tries again
		if host != "" {
			options = append(options, otlploggrpc.WithEndpoint(host), otlploggrpc.WithInsecure())
		}
		return otlploggrpc.New(ctx, options...)
	default:
		options := []otlploghttp.Option{otlploghttp.WithRetry(otlploghttp.RetryConfig{})}
		if host != "" {
			endpoint, path, _ := strings.Cut(host, "/")
			options = append(options, otlploghttp.WithEndpoint(endpoint))
			if path != "" {
				options = append(options, otlploghttp.WithURLPath("/"+path))
			}
			if scheme == "http" {
				options = append(options, otlploghttp.WithInsecure())
			}
		}
		return otlploghttp.New(ctx, options...)
	}
}

func protocol() string {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if value := os.Getenv(name); value != "" {
			return value
		}
	}
	return ""
}

// otlp gathers a batch from the loggers of services, each of which knows what its
// records come from, and exports it.
type otlp struct {
	exporter sdklog.Exporter
	services map[string]log.Logger // by id
	gathered []sdklog.Record
}

func (o *otlp) send(batch []capture.Record) (done, lost int, err error) {
	o.gathered = o.gathered[:0]
	ctx, cancel := context.WithTimeout(context.Background(), exportTime) //nolint:forbidigo // nobody waits for the goroutine of a forwarder
	defer cancel()
	for _, r := range batch {
		o.service(r.ID).Emit(ctx, logRecord(r))
	}
	if err := o.exporter.Export(ctx, o.gathered); err != nil {
		return 0, 0, err
	}
	return len(batch), 0, nil
}

func (o *otlp) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience) //nolint:forbidigo // nobody waits for the goroutine of a forwarder
	defer cancel()
	_ = o.exporter.Shutdown(ctx)
}

func (o *otlp) service(id string) log.Logger {
	l := o.services[id]
	if l == nil {
		from := resource.NewSchemaless(attribute.String("service.name", id))
		l = sdklog.NewLoggerProvider(sdklog.WithResource(from), sdklog.WithProcessor(gatherer{o})).Logger(scope)
		o.services[id] = l
	}
	return l
}

func logRecord(r capture.Record) (l log.Record) {
	l.SetTimestamp(r.Time)
	l.SetObservedTimestamp(r.Time)
	l.SetSeverity(log.SeverityInfo) // whatever the stream
	l.AddAttributes(attribute.Int64("proctor.incarnation", int64(r.Incarnation)))
	if r.Stream != 0 {
		l.AddAttributes(attribute.String("log.iostream", r.Stream.String()))
	}
	switch {
	case r.Gap != nil:
		l.SetSeverity(log.SeverityWarn)
		l.AddAttributes(attribute.Int64("proctor.lost_lines", int64(r.Gap.Lines)))
		l.SetBody(attribute.StringValue(text(r)))
	case utf8.Valid(r.Text):
		l.SetBody(attribute.StringValue(string(r.Text)))
	default:
		l.SetBody(attribute.ByteSliceValue(r.Text))
	}
	return l
}

// A gatherer is the processor of all services.
type gatherer struct{ o *otlp }

func (g gatherer) OnEmit(_ context.Context, r *sdklog.Record) error {
	g.o.gathered = append(g.o.gathered, r.Clone())
	return nil
}

func (gatherer) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }
func (gatherer) Shutdown(context.Context) error                         { return nil }
func (gatherer) ForceFlush(context.Context) error                       { return nil }
