package gateway

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Server is a server behind the gateway, as the door last saw it.
type Server struct {
	Name  string
	OK    bool      // it last answered, or nobody has asked it yet
	Since time.Time // since when; zero if nobody has asked it yet
}

// Watch has health pages and metrics tell of the servers behind the gateway what f returns. A door calls it once, before
// Serve; f is called for every look.
func (g *Gateway) Watch(f func() []Server) { g.servers.Store(&f) }

func (g *Gateway) watched() []Server {
	if f := g.servers.Load(); f != nil {
		return (*f)()
	}
	return nil
}

// down returns the servers that do not answer, by name.
func (g *Gateway) down() []downServer {
	var out []downServer
	for _, s := range g.watched() {
		if !s.OK {
			out = append(out, downServer{Name: clip(s.Name, 200), Since: s.Since.UTC().Truncate(time.Second)})
		}
	}
	slices.SortFunc(out, func(a, b downServer) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// downServer is a server that does not answer, as it is shown.
type downServer struct {
	Name  string    `json:"name"`
	Since time.Time `json:"since"`
}

// A serverUp tells Prometheus which servers answer.
type serverUp struct {
	g    *Gateway
	desc *prometheus.Desc
}

func newServerUp(g *Gateway) *serverUp {
	return &serverUp{g, prometheus.NewDesc("safeconduct_gateway_server_up", "1 if the server behind the gateway last answered, or was not asked yet.", []string{"server"}, nil)}
}

// Describe implements prometheus.Collector.
func (c *serverUp) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c *serverUp) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.g.watched() {
		up := 0.0
		if s.OK {
			up = 1
		}
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, up, s.Name)
	}
}
