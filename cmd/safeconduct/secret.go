package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/secret"
)

// secretFlags say which file of secrets is meant.
type secretFlags struct{ config, file, key *string }

func addSecretFlags(c *cobra.Command) secretFlags {
	f := secretFlags{
		config: c.Flags().String("config", "", "`FILE` of a gateway: the file of secrets that it names"),
		file:   c.Flags().String("file", "", "`FILE` of the secrets"),
		key:    c.Flags().String("key", "", "`FILE` of the key to them (or SAFECONDUCT_SECRETS_KEY, the key itself); FILE.key by default"),
	}
	return f
}

// paths returns the file of secrets and that of the key.
func (f secretFlags) paths() (file, key string, err error) {
	switch {
	case *f.config != "" && (*f.file != "" || *f.key != ""):
		return "", "", usageError{errors.New("--config names the files: leave --file and --key out")}
	case *f.config != "":
		return gateway.SecretsOf(*f.config)
	case *f.file != "":
		file, key = *f.file, *f.file+".key"
	default:
		file, key = secret.DefaultFile(), secret.DefaultKey()
	}
	if *f.key != "" {
		key = *f.key
	}
	return file, key, nil
}

func newSecret() *cobra.Command {
	c := &cobra.Command{
		Use:   "secret",
		Short: "Keep the secrets that gateways show to the servers behind them",
		Long: `Keep secrets: keys of other people's servers, secrets of OAuth clients. A gateway's configuration names
them as secret:NAME, and the gateway puts them into requests on their way out; agents never see them.

They stand in one file, each value sealed under a key in another file (or in SAFECONDUCT_SECRETS_KEY).
No command prints a value. Without --config and --file the file is the user's own.`,
		Example: `  $ safeconduct secret put github < token
  $ safeconduct secret list`,
	}
	c.AddCommand(newSecretPut(), newSecretList(), newSecretRemove())
	return c
}
