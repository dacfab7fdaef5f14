// Safeconduct decides whether AI agents may act, and keeps a record that nobody can rewrite.
//
// The binary is both the service (serve, demo) and the command line over its administration API.
// Results go to standard output and nothing else does; what is said beside them goes to standard
// error. Exit status: 0 done (decide: allowed), 1 something went wrong, 2 the command line was not
// understood, 3 the question was answered, and the answer is a refusal.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	c, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	if strings.HasPrefix(err.Error(), "required flag") { // cobra's, and of no type
		err = usageError{hinted(err, "see `%s --help`", c.CommandPath())}
	}
	var quiet exit
	if errors.As(err, &quiet) {
		return int(quiet)
	}
	fmt.Fprintf(stderr, "safeconduct: %v\n", err)
	if h := hint(err); h != "" {
		fmt.Fprintf(stderr, "Hint: %s\n", h)
	}
	var u usageError
	if errors.As(err, &u) {
		return 2
	}
	return 1
}

// An exit ends the program with a status, when all has been said.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

const exitRefused exit = 3

// A usageError is a command line that was not understood.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "safeconduct",
		Short: "Decide whether AI agents may act, and keep a record that nobody can rewrite",
		Long: `Safeconduct is a policy decision point for AI agents. Enforcement points ask it, over the AuthZEN
API, whether an agent may do something now; it judges the act by Cedar policies over live facts,
records the answer durably, and then gives it.

One binary is the service (serve, demo) and the command line over its administration API. The
commands that talk to a service find it by --server or SAFECONDUCT_URL, and show the token in
--token-file or SAFECONDUCT_ADMIN_TOKEN. Results go to standard output, in the form of tables or,
with --json, of JSON.`,
		Example: `  safeconduct demo                  # watch it decide about recorded agents
  safeconduct serve                 # start a service of your own
  safeconduct decide --help         # ask it`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
	}
	root.PersistentFlags().SortFlags = false
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{hinted(err, "see `%s --help`", c.CommandPath())}
	})
	root.AddGroup(
		&cobra.Group{ID: "service", Title: "The service:"},
		&cobra.Group{ID: "enforce", Title: "Enforce:"},
		&cobra.Group{ID: "ask", Title: "Ask and understand:"},
		&cobra.Group{ID: "agent", Title: "Be an agent:"},
		&cobra.Group{ID: "declare", Title: "Declare:"},
		&cobra.Group{ID: "prove", Title: "Prove:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("service", newServe(), newDemo(), newStatus(), newKeys(), newBackup(), newOpenAPI(), newVersion())
	add("enforce", newGateway(), newSecret(), newInit())
	add("ask", newDecide(), newExplain(), newOutcome(), newFinding(), newMonitor(), newApprovals(), newDelivery(), newEnforcement())
	add("agent", newToken())
	add("declare", newPolicy(), newCatalog(), newAgent(), newAlert(), newIndicator(), newStop(), newCaller(), newPerson())
	add("prove", newAudit())
	root.InitDefaultCompletionCmd()
	each(root, func(c *cobra.Command) {
		c.SuggestionsMinimumDistance = 2
		if c.HasSubCommands() && !c.Runnable() {
			c.Args, c.RunE = cobra.ArbitraryArgs, needCommand
		} else if c.Args != nil {
			c.Args = usageArgs(c.Args)
		}
	})
	return root
}

// needCommand answers a command that only has subcommands.
func needCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	msg := fmt.Sprintf("unknown command %q for %q", args[0], c.CommandPath())
	if s := c.SuggestionsFor(args[0]); len(s) > 0 {
		return usageError{hinted(errors.New(msg), "did you mean `%s %s`?", c.CommandPath(), s[0])}
	}
	return usageError{hinted(errors.New(msg), "see `%s --help`", c.CommandPath())}
}

func usageArgs(f cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := f(c, args); err != nil {
			return usageError{hinted(err, "usage: %s", strings.TrimSpace(c.UseLine()))}
		}
		return nil
	}
}

func each(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		each(sub, f)
	}
}

// hinted returns err with one sentence that says what to do next.
func hinted(err error, format string, args ...any) error {
	return &hintError{err, fmt.Sprintf(format, args...)}
}

type hintError struct {
	error
	hint string
}

func (e *hintError) Unwrap() error { return e.error }

// hint returns what to do about err, "" if nobody knows.
func hint(err error) string {
	var h *hintError
	if errors.As(err, &h) {
		return h.hint
	}
	var own interface{ Hint() string } // of packages that know themselves what to do
	if errors.As(err, &own) {
		return own.Hint()
	}
	return ""
}
