package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/token"
)

// clockSkew is how far the clock of an issuer may be ahead of ours.
const clockSkew = 30 * time.Second

func newTokenVerify() *cobra.Command {
	c := &cobra.Command{
		Use:   "verify [FILE]",
		Short: "Verify a token by its issuer's keys",
		Long: `Verify a token as a resource server does: it is an access token (RFC 9068), its issuer is the one that
is expected, one of the issuer's keys has signed it, it is of now, and it is for the --audience. The
keys are asked for at the issuer's, or read from a file with --jwks, and then nobody is asked.

What only the request shows, that its sender has the key that the token is bound to, is not verified;
nor whether the token was revoked or what it carries was taken back: see ` + "`safeconduct token introspect`" + `.
The exit status is 0 if the token is valid, 3 if it is not, and 1 if that cannot be told.`,
		Example: `  $ safeconduct token verify t --issuer https://pdp.example.com --audience https://shop.example.com
  valid
  agent      orders-7
  issuer     https://pdp.example.com
  ...
  $ safeconduct token verify t --issuer https://pdp.example.com --audience https://other.example.com
  not valid: it is for https://shop.example.com, not for https://other.example.com`,
		Args: cobra.MaximumNArgs(1),
	}
	asJSON, issuer := jsonFlag(c), issuerFlag(c)
	f := c.Flags()
	audience := f.String("audience", "", "`URL` of the resource server that the token must be for (default: not looked at)")
	jwks := f.String("jwks", "", "`FILE` with the issuer's keys, a JWK set; nobody is asked")
	_ = c.MarkFlagFilename("jwks", "json")
	c.RunE = func(c *cobra.Command, args []string) error {
		text, err := readToken(c, args)
		if err != nil {
			return err
		}
		want := issuerOf(*issuer)
		keys, err := keySet(c, want, *jwks)
		if err != nil {
			return err
		}
		j, reason := verifyToken(text, keys, want, *audience, time.Now())
		if reason == nil {
			if *audience == "" {
				fmt.Fprintln(c.ErrOrStderr(), "for whom it is was not looked at: give --audience")
			}
			if !*asJSON {
				fmt.Fprintln(c.OutOrStdout(), "valid")
			}
			return printJWS(c, j, true, *asJSON)
		}
		if *asJSON {
			shown := shownToken{Reason: reason.Error(), Payload: []byte("null")}
			if j != nil {
				shown.Header, shown.Payload = shownHeader{j.Algorithm, j.Type, j.KeyID}, j.Payload
			}
			err = writeJSON(c.OutOrStdout(), shown)
		} else {
			_, err = fmt.Fprintf(c.OutOrStdout(), "not valid: %s\n", clip(reason.Error(), 500))
		}
		return errors.Join(err, exitRefused)
	}
	return c
}

// keySet returns the keys of an issuer, from the file if one is given.
func keySet(c *cobra.Command, issuer, file string) ([]*token.Key, error) {
	var doc []byte
	if file != "" {
		var err error
		if doc, err = readBounded(file); err != nil {
			return nil, fmt.Errorf("reading the keys: %w", err)
		}
	} else {
		m, err := client.Discover(c.Context(), issuer, nil)
		if err == nil {
			doc, err = m.KeySet(c.Context(), nil)
		}
		if err != nil {
			return nil, agentHint(err)
		}
		file = m.JWKSURI
	}
	keys, err := token.ParseKeySet(doc)
	if err != nil {
		return nil, hinted(fmt.Errorf("reading the keys of %s: %w", file, err), `a JWK set looks like {"keys": [...]}`)
	}
	return keys, nil
}

// verifyToken returns what was signed, as far as it can be read, and why the token is not valid, nil if
// it is.
func verifyToken(text string, keys []*token.Key, issuer, audience string, now time.Time) (*token.JWS, error) {
	j, err := token.Parse(text)
	if err != nil {
		return nil, err
	}
	if !j.Is(token.PassportType) {
		return j, fmt.Errorf("it is no access token: its type is %q", j.Type)
	}
	if err := verifySignature(j, keys); err != nil {
		return j, err
	}
	p, err := token.ParsePassport(j.Payload)
	switch {
	case err != nil:
		return j, err
	case p.Issuer != issuer:
		return j, fmt.Errorf("its issuer is %s, not %s", p.Issuer, issuer)
	case !now.Before(p.Expires):
		return j, fmt.Errorf("it expired at %s", when(p.Expires))
	case now.Before(p.IssuedAt.Add(-clockSkew)) || now.Before(p.NotBefore.Add(-clockSkew)):
		return j, fmt.Errorf("it is not valid before %s", when(p.IssuedAt))
	case audience != "" && !slices.Contains(p.Audience, audience):
		return j, fmt.Errorf("it is for %v, not for %s", p.Audience, audience)
	}
	return j, nil
}

func verifySignature(j *token.JWS, keys []*token.Key) error {
	if j.KeyID == "" {
		return errors.New("it does not name the key that signed it")
	}
	for _, k := range keys {
		if k.ID == j.KeyID || k.Name == j.KeyID {
			return j.Verify(k)
		}
	}
	return fmt.Errorf("the issuer has no key %s", j.KeyID)
}
