package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway/secret"
)

func newSecretPut() *cobra.Command {
	c := &cobra.Command{
		Use:   "put NAME",
		Short: "Put a secret there, or another value in its place",
		Long: `Put a secret there, or another value in its place. The value is read from standard input, and is never an
argument: arguments end in histories, and everybody on the machine can see them. One line break at its
end is left out.

The first time, the key is made. Keep a copy of the key apart from the file: without it the secrets are
lost, and with it and the file they are open. Gateways that run take the new value up within seconds.`,
		Example: `  $ safeconduct secret put github < token
  github is in /home/anna/.config/safeconduct/secrets`,
		Args: cobra.ExactArgs(1),
	}
	f, asJSON := addSecretFlags(c), jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		file, key, err := f.paths()
		if err != nil {
			return err
		}
		if !secret.ValidName(args[0]) {
			return usageError{fmt.Errorf("%.80q is no name of a secret: letters, digits, - _ and ., at most %d, the first a letter or digit", args[0], secret.MaxName)}
		}
		value, err := io.ReadAll(io.LimitReader(c.InOrStdin(), secret.MaxValue+3))
		if err != nil {
			return fmt.Errorf("reading the secret: %w", err)
		}
		text, cut := strings.CutSuffix(string(value), "\n")
		if cut {
			text = strings.TrimSuffix(text, "\r")
		}
		s, err := secret.Open(file, key, true)
		if err != nil {
			return secretHint(err)
		}
		if err := s.Put(args[0], text, time.Now()); err != nil {
			return secretHint(err)
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), map[string]string{"name": args[0], "file": file})
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s is in %s\n", args[0], file)
		return err
	}
	return c
}

// secretHint says what to do about an error.
func secretHint(err error) error {
	switch {
	case errors.Is(err, authz.ErrNotFound) && strings.Contains(err.Error(), "no key"):
		return hinted(err, "there are secrets already: name the file of the key that sealed them by --key")
	case strings.Contains(err.Error(), "sealed with the key"):
		return hinted(err, "name the file of the right key by --key; if it is lost, so are the secrets: begin with another --file")
	}
	return err
}
