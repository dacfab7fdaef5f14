package extauthz

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/route"
)

// A Document is the configuration of `safeconduct gateway envoy`.
type Document struct {
	gateway.Common `yaml:",inline"`
	route.Rules    `yaml:",inline"`
	Envoy          Envoy `yaml:"envoy"`
}

// Check adds which credentials of the document's routes there are not, or cannot be used here: a proof of possession is
// for the URL of the request as it is sent (RFC 9449 section 4.2), and that only Envoy knows.
func (d *Document) Check(ps *gateway.Problems) {
	one := func(path, name string) {
		c, there := d.Credentials[name]
		switch {
		case name == "":
		case !there:
			ps.Add(path+".upstream", "is wrong: there is no credential %.64q", name)
		case c.Agent != "":
			ps.Add(path+".upstream", "is wrong: tokens of the credential %.64q (agent) are shown with proofs for the server's URL, which is not known behind Envoy; use the HTTP gateway for it", name)
		}
	}
	for i := range d.Routes {
		one("routes["+strconv.Itoa(i)+"]", d.Routes[i].Upstream)
	}
	for i := range d.OpenAPI {
		one("openapi["+strconv.Itoa(i)+"]", d.OpenAPI[i].Upstream)
	}
}

// Envoy is how Envoy reaches this service.
type Envoy struct {
	// Listen is where gRPC is served: HOST:PORT, or unix:PATH. The document's own listen is for the pages of health and
	// metadata.
	Listen string `yaml:"listen"`
	// ClientCA is a PEM file of the authorities whose client certificates are accepted. With it, nobody else comes.
	ClientCA string `yaml:"client_ca"`
	// Insecure serves without client certificates on an address that others can reach. Whoever does can say what was
	// seen, and see who has which tokens accepted.
	Insecure bool `yaml:"insecure"`
	// Body says that Envoy is configured to send bodies (with_request_body). Needed if a route maps from the body.
	Body bool `yaml:"body"`
}

// Bounds of what Envoy sends.
const (
	maxMessage = 32 << 20 // bytes
	maxHeader  = 256 << 10
	streams    = 4096 // at once, of one connection
)

// Check returns why e cannot be used with a table, nil if it can.
func (e *Envoy) Check(t *route.Table) error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, authz.Errorf(authz.ErrInvalid, format, args...)) }
	if e.Listen == "" {
		fail("envoy.listen is missing: HOST:PORT, or unix:PATH")
	} else if !strings.HasPrefix(e.Listen, "unix:") {
		host, _, err := net.SplitHostPort(e.Listen)
		ip := net.ParseIP(host)
		switch {
		case err != nil:
			fail("envoy.listen is no address: %w", err)
		case e.ClientCA == "" && !e.Insecure && host != "localhost" && (ip == nil || !ip.IsLoopback()):
			fail("envoy.listen is an address that others can reach: demand certificates (envoy.client_ca), or say envoy.insecure: true")
		}
	}
	for _, r := range t.Routes() {
		switch {
		case r.NeedsBody && !e.Body:
			fail("%s maps from the body: have Envoy send it (with_request_body), and say envoy.body: true", r.Origin)
		case r.DryRun != nil && r.DryRun.Header == "":
			fail("%s: behind Envoy an act is tried by a header", r.Origin)
		}
	}
	return errors.Join(errs...)
}

// Open listens, with TLS if there is a certificate.
func (e *Envoy) Open(cert, key, clientCA string) (net.Listener, grpc.ServerOption, error) {
	network, address := "tcp", e.Listen
	if path, ok := strings.CutPrefix(e.Listen, "unix:"); ok {
		network, address = "unix", path
		if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
			if err := os.Remove(path); err != nil { // of a process that was killed
				return nil, nil, fmt.Errorf("removing the old socket: %w", err)
			}
		}
	}
	var creds grpc.ServerOption = grpc.EmptyServerOption{}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, nil, authz.Errorf(authz.ErrInvalid, "loading the certificate: %w", err)
		}
		config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
		if clientCA != "" {
			text, err := os.ReadFile(clientCA)
			if err != nil {
				return nil, nil, authz.Errorf(authz.ErrInvalid, "reading envoy.client_ca: %w", err)
			}
			config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
			if !config.ClientCAs.AppendCertsFromPEM(text) {
				return nil, nil, authz.Errorf(authz.ErrInvalid, "envoy.client_ca has no certificate")
			}
		}
		creds = grpc.Creds(credentials.NewTLS(config))
	} else if clientCA != "" {
		return nil, nil, authz.Errorf(authz.ErrInvalid, "envoy.client_ca needs tls.cert and tls.key")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, nil, authz.Errorf(authz.ErrUnavailable, "listening on %s: %w", e.Listen, err)
	}
	if network == "unix" {
		if err := os.Chmod(address, 0o660); err != nil {
			return nil, nil, errors.Join(fmt.Errorf("restricting the socket: %w", err), l.Close())
		}
	}
	return l, creds, nil
}

// Serve answers Envoy on l until ctx ends, and then what is under way, no longer than some seconds.
func (s *Server) Serve(ctx context.Context, l net.Listener, creds grpc.ServerOption) error {
	g := grpc.NewServer(creds,
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.MaxConcurrentStreams(streams),
		grpc.ConnectionTimeout(10*time.Second),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
	)
	authv3.RegisterAuthorizationServer(g, s)
	alive := health.NewServer()
	alive.SetServingStatus(authv3.Authorization_ServiceDesc.ServiceName, grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(g, alive)
	ended := make(chan error, 1)
	go func() { ended <- g.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving Envoy: %w", err)
	case <-ctx.Done():
	}
	alive.Shutdown()
	force := time.AfterFunc(10*time.Second, g.Stop)
	defer force.Stop()
	g.GracefulStop()
	if err := <-ended; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serving Envoy: %w", err)
	}
	return nil
}
