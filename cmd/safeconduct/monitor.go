package main

import "github.com/spf13/cobra"

func newMonitor() *cobra.Command {
	c := &cobra.Command{
		Use:   "monitor",
		Short: "Conclude again what the monitors concluded",
		Long: `Conclude again what the monitors concluded from the log, by the rules that held or by others.

Findings and trust are a function of the log and of the rules in it (the section conduct of the catalog):
whoever has the log comes to the same, and can ask what other rules would have come to.`,
		Example: `  $ safeconduct monitor replay --data ~/.local/state/safeconduct --catalog draft.yaml`,
	}
	c.AddCommand(newMonitorReplay())
	return c
}
