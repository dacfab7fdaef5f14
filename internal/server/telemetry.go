package server

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// traced puts a span around every request that h answers, if an endpoint is configured; otherwise
// h itself is returned and nothing is paid. Spans hold the route and the status, never a body, a
// token, or who asked.
func traced(ctx context.Context, c Telemetry, version string, h http.Handler) (http.Handler, func() error, error) {
	if c.Endpoint == "" {
		return h, func() error { return nil }, nil
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(c.Endpoint))
	if err != nil {
		return nil, nil, fmt.Errorf("preparing traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.Sample))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "safeconduct"),
			attribute.String("service.version", version),
		)),
	)
	h = otelhttp.NewHandler(h, "safeconduct",
		otelhttp.WithTracerProvider(provider),
		otelhttp.WithPropagators(propagation.TraceContext{}),
		otelhttp.WithFilter(func(r *http.Request) bool {
			return r.URL.Path != "/healthz" && r.URL.Path != "/readyz" && r.URL.Path != "/metrics"
		}),
	)
	return h, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			return fmt.Errorf("sending the last traces: %w", err)
		}
		return nil
	}, nil
}
