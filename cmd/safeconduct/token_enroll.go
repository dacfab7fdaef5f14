package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// An enrolledKey is what enroll and rotate print as JSON.
type enrolledKey struct {
	Agent     string    `json:"agent"`
	Issuer    string    `json:"issuer"`
	KeyID     string    `json:"kid"`
	File      string    `json:"file"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

func printKey(c *cobra.Command, a *client.Agent, file, verb string, asJSON bool) error {
	if asJSON {
		return writeJSON(c.OutOrStdout(), enrolledKey{a.ID(), a.Issuer(), a.KeyID(), file, a.Expires()})
	}
	until := ""
	if !a.Expires().IsZero() {
		until = " until " + when(a.Expires())
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), "%s %s at %s\nkey %s%s, in %s\n", verb, clip(a.ID(), 200), a.Issuer(), a.KeyID(), until, file)
	return err
}

func newTokenEnroll() *cobra.Command {
	c := &cobra.Command{
		Use:   "enroll --key FILE",
		Short: "Make a key pair and register it as this agent's",
		Long: `Make a key pair, save the private key in a new file that only you can read, and register the public
key with the enrolment token that an administrator made by ` + "`safeconduct agent enroll`" + `. The private key
never leaves the file, and the server sees the token only after it has said that it is the one meant.

The token is read from --enrolment-token-file, - for standard input, or SAFECONDUCT_ENROLMENT_TOKEN.
The file is in PKCS#8, with three lines before the key that say who the agent is, where, and until when
the key lives. A file that a failed enrolment left behind is used again.`,
		Example: `  $ safeconduct token enroll --issuer https://pdp.example.com --key orders-7.key \
        --enrolment-token-file orders-7.enrolment
  enrolled orders-7 at https://pdp.example.com
  key 6u2t0kW2ygQ5cS5DkOq4uF1zvTQpJx0tq3o8wVdYhZI until 2027-02-25 07:00:00Z, in orders-7.key`,
		Args: cobra.NoArgs,
	}
	asJSON, issuer := jsonFlag(c), issuerFlag(c)
	f := c.Flags()
	key := f.String("key", "", "key `FILE` to make (default $"+envAgentKey+")")
	tokenFile := f.String("enrolment-token-file", "", "`FILE` that holds the enrolment token; - is standard input (default: the token in $"+envEnrolmentToken+")")
	algorithm := f.String("algorithm", "EdDSA", "of the key: EdDSA or ES256")
	_ = c.MarkFlagFilename("key")
	_ = c.MarkFlagFilename("enrolment-token-file")
	_ = c.RegisterFlagCompletionFunc("algorithm", cobra.FixedCompletions([]string{"EdDSA", "ES256"}, cobra.ShellCompDirectiveNoFileComp))
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *algorithm != "EdDSA" && *algorithm != "ES256" {
			return usageError{hinted(fmt.Errorf("--algorithm %q is unknown", *algorithm), "it is EdDSA or ES256")}
		}
		file := (&identity{key: *key}).file()
		if file == "" {
			return usageError{hinted(errors.New("no key file is given"), "name the file to make with --key or %s", envAgentKey)}
		}
		secret := os.Getenv(envEnrolmentToken)
		if *tokenFile != "" {
			var err error
			if secret, err = readSecret(c, *tokenFile, "enrolment token", 4096); err != nil {
				return err
			}
		}
		if secret == "" {
			return usageError{hinted(errors.New("no enrolment token is given"), "an administrator makes one by `safeconduct agent enroll`; give it with --enrolment-token-file or %s", envEnrolmentToken)}
		}
		a, err := client.Enrol(c.Context(), client.Enrolment{Issuer: issuerOf(*issuer), Token: secret, File: file, Algorithm: *algorithm})
		if errors.Is(err, authz.ErrConflict) {
			return hinted(err, "an agent has a key there: name another file, or replace the key by `safeconduct token rotate`")
		} else if err != nil {
			return agentHint(err)
		}
		return printKey(c, a, file, "enrolled", *asJSON)
	}
	return c
}

func newTokenRotate() *cobra.Command {
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Replace the agent's key by a new one",
		Long: `Make a new key, register it, and put it into the key file. The old key says who asks, the new one
proves that it is there; the server accepts both for a while, so that nothing under way is lost, and
then the old one expires.

Nothing is lost if the command is cut off, either: what it left beside the file is used the next time.
Agents that use the Go package client can do this by themselves (Agent.RotateBefore).`,
		Example: `  $ safeconduct token rotate --key orders-7.key
  rotated orders-7 at https://pdp.example.com
  key 0jWzXkVsE7mPZ2vKmO1rJ3tq9n5u8yBcD4fGhLaQwTs until 2027-02-25 07:00:00Z, in orders-7.key`,
		Args: cobra.NoArgs,
	}
	asJSON, who := jsonFlag(c), identityFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if who.agent != "" {
			return usageError{hinted(errors.New("only a key file that says whose it is can be rotated"), "such a file is made by `safeconduct token enroll`")}
		}
		a, err := who.open()
		if err != nil {
			return err
		}
		if err := a.Rotate(c.Context(), nil); err != nil {
			return agentHint(err)
		}
		return printKey(c, a, who.file(), "rotated", *asJSON)
	}
	return c
}
