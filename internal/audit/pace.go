package audit

import "time"

// A pace makes the next batch of the callers that were just told the outcome of the last one, and of
// those who came meanwhile: most of them are back soon. Without it the first to be back would have a
// batch to himself, and the work of a commit hardly depends on how much is in it.
type pace struct {
	callers int           // of the last batch, and who waited when it was done
	took    time.Duration // its commit
	ended   time.Time
	timer   *time.Timer
}

// maxGather bounds how long a batch is held open, however slow commits are.
const maxGather = time.Millisecond

func (p *pace) note(b *batch, took time.Duration) {
	p.callers, p.took, p.ended = b.callers+b.behind, took, time.Now()
}

// gather waits until as many callers as are about have joined the oldest batch, at most for as long
// as a commit takes. Who is alone does not wait, nor does the first after a pause.
func (p *pace) gather(q *queue) {
	limit := min(p.took, maxGather)
	if p.callers < 2 || limit <= 0 || time.Since(p.ended) > 10*p.took || !q.hold(p.callers) {
		return
	}
	if p.timer == nil {
		p.timer = time.NewTimer(limit)
	} else {
		p.timer.Reset(limit)
	}
	select {
	case <-q.ready:
		p.timer.Stop()
	case <-p.timer.C:
		q.release()
	}
}
