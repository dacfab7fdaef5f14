package grpcguard

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// Presented returns the passport that the call of a server's ctx presents, as client.Door.Presented does: in the
// metadata authorization ("DPoP TOKEN" or "Bearer TOKEN") and dpop, and by the certificate of the connection. A DPoP
// proof is for the method POST, which gRPC's requests have in HTTP/2, and for the URL of the Door followed by the full
// method, https://api.example.com/shop.Orders/Pay.
func Presented(ctx context.Context, d *client.Door, method string) (*authz.Presented, error) {
	base := strings.TrimRight(d.URL, "/")
	if base == "" {
		return nil, errors.New("the door has no URL by which it is reached")
	}
	p := &authz.Presented{Method: http.MethodPost, URL: base + method, Audience: d.Audience}
	if p.Audience == "" {
		p.Audience = base
	}
	if from, ok := peer.FromContext(ctx); ok {
		if tls, ok := from.AuthInfo.(credentials.TLSInfo); ok && len(tls.State.PeerCertificates) > 0 {
			sum := sha256.Sum256(tls.State.PeerCertificates[0].Raw)
			p.Certificate = base64.RawURLEncoding.EncodeToString(sum[:])
		}
	}
	md, _ := metadata.FromIncomingContext(ctx)
	if err := d.Complete(ctx, p, md.Get("authorization"), md.Get("dpop")); err != nil {
		return nil, err
	}
	return p, nil
}

// Passport is a credentials.PerRPCCredentials that shows an agent's passport: each call carries it, with a DPoP
// proof for this one call, as Presented reads it. It is sent over TLS only, unless Plain says otherwise.
type Passport struct {
	Tokens *client.Tokens
	// URL is the server's, as its Door has it.
	URL string
	// Plain lets the passport go over a connection without TLS: on loopback, and nowhere else, since it can be read on
	// the way. A proof keeps who reads it from using it for other calls.
	Plain bool
}

// GetRequestMetadata returns the metadata of one call.
func (p *Passport) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	info, ok := credentials.RequestInfoFromContext(ctx)
	if !ok {
		return nil, errors.New("the call has no method")
	}
	t, err := p.Tokens.Token(ctx)
	if err != nil {
		return nil, Status(err).Err()
	}
	proof, err := t.Proof(http.MethodPost, strings.TrimRight(p.URL, "/")+info.Method, "")
	if err != nil {
		return nil, Status(err).Err()
	}
	return map[string]string{"authorization": t.Type + " " + t.Value, "dpop": proof}, nil
}

// RequireTransportSecurity reports whether only TLS will do.
func (p *Passport) RequireTransportSecurity() bool { return !p.Plain }

var _ credentials.PerRPCCredentials = (*Passport)(nil)
