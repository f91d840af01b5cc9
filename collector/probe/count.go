package probe

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// countWithin is how long a page of metrics may take, and maxPage how large it may
// be, in bytes.
const (
	countWithin = 5 * time.Second
	maxPage     = 16 << 20
)

// Count reads a counter, or whatever has a value, on a page of Prometheus metrics:
// its series taken together. It blocks for some seconds at most.
func Count(ctx context.Context, url, metric string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, countWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s answers %s", url, response.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(io.LimitReader(response.Body, maxPage))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", url, err)
	}
	family := families[metric]
	if family == nil {
		return 0, fmt.Errorf("%s has no metric %s", url, metric)
	}
	sum := 0.0
	for _, m := range family.GetMetric() {
		sum += value(m)
	}
	return sum, nil
}

func value(m *dto.Metric) float64 {
	switch {
	case m.Histogram != nil:
		return float64(m.Histogram.GetSampleCount())
	case m.Summary != nil:
		return float64(m.Summary.GetSampleCount())
	}
	return m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
}
