package grpcguard_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/client/grpcguard"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// tokens returns a source of tokens of a server that checks nothing.
func tokens(t *testing.T) *client.Tokens {
	t.Helper()
	const issuer = "https://as.example.com"
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a, err := client.NewAgent(issuer, "bot", key)
	if err != nil {
		t.Fatal(err)
	}
	a.HTTP = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		text := `{"access_token":"passport","token_type":"DPoP","expires_in":300}`
		if r.Method == "GET" {
			text = `{"issuer":"` + issuer + `","token_endpoint":"` + issuer + `/oauth2/token"}`
		}
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text))}, nil
	})}
	return a.Tokens(client.TokenRequest{})
}

// pair returns a certificate for 127.0.0.1.
func pair(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// An agent shows its passport over TLS, the server reads it with the proof and the certificate, and nothing else counts.
func TestPresented(t *testing.T) {
	door := &client.Door{URL: "https://bank.example.com", Proofs: new(client.Proofs)}
	j, e := &judge{}, &echo{}
	g := guardOf(j, false)
	var seen *authz.Presented
	var meta metadata.MD
	g.Question = func(ctx context.Context, c *grpcguard.Call) (client.Question, error) {
		var err error
		meta = c.Metadata
		seen, err = grpcguard.Presented(ctx, door, c.Method)
		return client.Question{Presented: seen, Requests: []authz.Request{{Action: authz.Action{Name: "say"}}}}, err
	}
	server, agent := pair(t), pair(t)
	s := grpc.NewServer(grpc.UnaryInterceptor(g.UnaryServer), grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequestClientCert})))
	s.RegisterService(&service, e)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if err := s.Serve(l); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(s.Stop)
	roots := x509.NewCertPool()
	roots.AddCert(server.Leaf)
	dial := func(cert []tls.Certificate, more ...grpc.DialOption) *grpc.ClientConn {
		t.Helper()
		cc, err := grpc.NewClient(l.Addr().String(), append(more, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, Certificates: cert})))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cc.Close() })
		return cc
	}
	call := func(ctx context.Context, cc *grpc.ClientConn) error {
		return cc.Invoke(ctx, "/test.Echo/Say", msg(t, nil), new(structpb.Struct))
	}
	cc := dial([]tls.Certificate{agent}, grpc.WithPerRPCCredentials(&grpcguard.Passport{Tokens: tokens(t), URL: "https://bank.example.com"}))
	for range 2 { // each with a proof of its own
		if err := call(t.Context(), cc); err != nil {
			t.Fatal(err)
		}
	}
	want := authz.Presented{Token: "passport", Proof: seen.Proof, Method: "POST", URL: "https://bank.example.com/test.Echo/Say", Audience: "https://bank.example.com", Certificate: seen.Certificate, Shown: seen.Shown}
	if *seen != want || seen.Shown.IsZero() || seen.Proof == "" || len(seen.Certificate) != 43 {
		t.Errorf("presented %+v, want %+v", *seen, want)
	}
	plain := dial(nil)
	for name, pairs := range map[string][]string{
		"nothing":       nil,
		"overheard":     {"authorization", meta.Get("authorization")[0], "dpop", meta.Get("dpop")[0]},
		"without proof": {"authorization", meta.Get("authorization")[0]},
		"two tokens":    {"authorization", "Bearer a", "authorization", "Bearer b"},
	} {
		before := fmt.Sprint(len(j.asked))
		if err := call(metadata.AppendToOutgoingContext(t.Context(), pairs...), plain); status.Code(err) != codes.Unauthenticated || fmt.Sprint(len(j.asked)) != before {
			t.Errorf("%s: %v", name, err)
		}
	}
	if (&grpcguard.Passport{}).RequireTransportSecurity() != true {
		t.Error("a passport goes over a plain connection")
	}
}

// Proofs that come with passports that nobody has judged are given back, whatever else goes wrong.
func TestStrangersFillNoProofs(t *testing.T) {
	tok, err := tokens(t).Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	door := &client.Door{URL: "https://bank.example.com", Proofs: &client.Proofs{Max: 2}}
	wrong := authz.Errorf(authz.ErrInvalid, "no amount")
	g := &grpcguard.Guard{Enforcer: new(client.Enforcer), Question: func(ctx context.Context, c *grpcguard.Call) (client.Question, error) {
		p, err := grpcguard.Presented(ctx, door, c.Method)
		if err == nil {
			err = wrong
		}
		return client.Question{Presented: p, Requests: []authz.Request{{Action: authz.Action{Name: "pay"}}}}, err
	}}
	call := func() codes.Code {
		proof, err := tok.Proof("POST", "https://bank.example.com/a/b", "")
		if err != nil {
			t.Fatal(err)
		}
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "DPoP "+tok.Value, "dpop", proof))
		_, err = g.UnaryServer(ctx, nil, &grpc.UnaryServerInfo{FullMethod: "/a/b"}, nil)
		return status.Code(err)
	}
	for range 3 {
		if got := call(); got != codes.InvalidArgument {
			t.Errorf("a bad body: %v", got)
		}
	}
	wrong = nil
	for range 3 {
		if got := call(); got != codes.Unavailable { // nobody decides
			t.Errorf("an outage: %v", got)
		}
	}
	if _, err := door.Presented(request(t, tok)); err != nil {
		t.Errorf("after them: %v", err)
	}
}

// request presents a passport over HTTP.
func request(t *testing.T, tok *client.Token) *http.Request {
	t.Helper()
	proof, err := tok.Proof("GET", "https://bank.example.com/", "")
	if err != nil {
		t.Fatal(err)
	}
	return &http.Request{Method: "GET", URL: &url.URL{Path: "/"}, Header: http.Header{"Authorization": {"DPoP " + tok.Value}, "Dpop": {proof}}}
}
