package notify

import (
	"context"
	"time"
)

// Run sends what is to be sent until ctx ends. Several processes may run at once: each delivery is claimed
// by one. Start it when the log has been read to its end; before, it sends again what others have sent.
func (n *Notifier) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.wake:
		case <-timer.C:
		}
		timer.Reset(poll)
	}
}

const poll = 2 * time.Second
const maxEvaluation = time.Minute

func loopbackHost(h string) bool { return false }

func (c Callback) check() error { return checkSecrets(c.Secrets) }
