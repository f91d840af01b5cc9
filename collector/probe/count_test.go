package probe_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/proctord/proctor/collector/probe"
)

func TestACounterIsReadFromAPageOfMetrics(t *testing.T) {
	pages := map[string]string{
		"/good": "# TYPE packets_total counter\npackets_total{if=\"a\"} 3\npackets_total{if=\"b\"} 4.5\n" +
			"# TYPE took histogram\ntook_bucket{le=\"+Inf\"} 7\ntook_sum 1\ntook_count 7\nplain 2\n",
		"/bad": "packets_total{ 3\n",
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, ok := pages[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write([]byte(page))
	}))
	defer server.Close()
	for metric, want := range map[string]float64{"packets_total": 7.5, "took": 7, "plain": 2} {
		if got, err := probe.Count(t.Context(), server.URL+"/good", metric); err != nil || got != want {
			t.Errorf("%s: %v, %v", metric, got, err)
		}
	}
	for path, want := range map[string]string{"/good": "has no metric nothing", "/bad": "text format parsing error", "/nowhere": "answers 404 Not Found"} {
		if _, err := probe.Count(t.Context(), server.URL+path, "nothing"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
