package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/token"
)

const (
	envAgentKey       = "SAFECONDUCT_AGENT_KEY"
	envEnrolmentToken = "SAFECONDUCT_ENROLMENT_TOKEN"
)

func newToken() *cobra.Command {
	c := &cobra.Command{
		Use:   "token",
		Short: "Be an agent: enroll, get tokens, look into them",
		Long: `The agent's side of passports. An agent enrolls once, which makes its key file; from then on the file
is all it needs: it says where the agent is known, and as whom. Tokens live for minutes and are bound
to the key: each request that shows one also has a proof that only the key can make.

Programs do the same by the Go package client, or by any OAuth library that has private_key_jwt and
DPoP. Tokens are read from files or standard input, never from the command line, where others could
see them.`,
		Example: `  $ safeconduct token enroll --key bot.key --enrolment-token-file bot.enrolment
  $ safeconduct token get --key bot.key --scope read-orders | safeconduct token show`,
	}
	c.AddCommand(newTokenEnroll(), newTokenRotate(), newTokenGet(), newTokenShow(), newTokenVerify(), newTokenIntrospect(), newTokenRevoke())
	return c
}

// An identity says which agent speaks.
type identity struct{ key, issuer, agent string }

// identityFlags adds to c the flags of every command by which an agent speaks.
func identityFlags(c *cobra.Command) *identity {
	n := &identity{}
	c.Flags().StringVar(&n.key, "key", "", "the agent's key `FILE`, made by `safeconduct token enroll` (default $"+envAgentKey+")")
	c.Flags().StringVar(&n.issuer, "issuer", "", "`URL` of the authorization server, if the key file does not say it")
	c.Flags().StringVar(&n.agent, "agent", "", "the agent's `ID`, if the key file does not say it")
	_ = c.MarkFlagFilename("key")
	return n
}

func (n *identity) file() string {
	if n.key != "" {
		return n.key
	}
	return os.Getenv(envAgentKey)
}

// open returns the agent.
func (n *identity) open() (*client.Agent, error) {
	file := n.file()
	if file == "" {
		return nil, usageError{hinted(errors.New("no key file is given"), "name it with --key or %s; `safeconduct token enroll` makes one", envAgentKey)}
	}
	if (n.issuer == "") != (n.agent == "") {
		return nil, usageError{hinted(errors.New("--issuer and --agent go together"), "leave both out for a key file that `safeconduct token enroll` has made")}
	}
	if n.agent == "" {
		a, err := client.LoadAgent(file)
		return a, agentHint(err)
	}
	key, err := client.LoadKey(file)
	if err != nil {
		return nil, err
	}
	return client.NewAgent(n.issuer, n.agent, key)
}

// issuerFlag adds --issuer, which names the authorization server exactly.
func issuerFlag(c *cobra.Command) *string {
	return c.Flags().String("issuer", "", "`URL` of the authorization server (default $"+envURL+", else "+defaultURL+")")
}

func issuerOf(flag string) string {
	for _, s := range []string{flag, os.Getenv(envURL)} {
		if s != "" {
			return strings.TrimRight(s, "/")
		}
	}
	return defaultURL
}

// agentHint adds to an error of an agent's what to do about it.
func agentHint(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return hinted(err, "does the service run there?")
	}
	var e *client.Error
	if errors.As(err, &e) && e.Hint != "" {
		return hinted(err, "%s", e.Hint)
	}
	return err
}

// readToken reads a token from the file that args name, or from standard input.
func readToken(c *cobra.Command, args []string) (string, error) {
	name := "-"
	if len(args) > 0 {
		name = args[0]
	}
	return readSecret(c, name, "token", token.MaxToken)
}

// readSecret reads one line from a file, or from standard input for "-". Its errors do not quote it.
func readSecret(c *cobra.Command, name, what string, most int64) (string, error) {
	in := c.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil && strings.Count(name, ".") >= 2 && strings.HasPrefix(name, "eyJ") {
			return "", usageError{hinted(fmt.Errorf("that is a %s, not the name of a file", what), "others can see command lines: give it on standard input, or in a file")}
		} else if err != nil {
			return "", fmt.Errorf("reading the %s: %w", what, err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, most+3))
	if err != nil {
		return "", fmt.Errorf("reading the %s: %w", what, err)
	}
	s := strings.TrimSpace(string(b))
	if s == "" || int64(len(s)) > most || strings.ContainsAny(s, " \t\r\n") {
		return "", hinted(fmt.Errorf("%s holds no %s", name, what), "it is one line of at most %d characters", most)
	}
	return s, nil
}
