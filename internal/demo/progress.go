package demo

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// A Bar shows on a terminal that something is getting on.
type Bar struct{ bar *progressbar.ProgressBar }

// NewBar returns a bar of n steps, which is cleared when they are done.
func NewBar(w io.Writer, n int, what, unit string) *Bar {
	return &Bar{progressbar.NewOptions(n,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetWidth(30),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionSetItsString(unit),
		progressbar.OptionThrottle(65*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)}
}

// Step is one step. A terminal that cannot be written to is no reason to stop.
func (b *Bar) Step() { b.Add(1) }

// Add is n steps.
func (b *Bar) Add(n int) { _ = b.bar.Add(n) }

// Close ends the bar, also before its last step.
func (b *Bar) Close() { _ = b.bar.Finish() }
