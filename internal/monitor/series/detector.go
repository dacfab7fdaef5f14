package series

import (
	"math"
	"time"
)

// A Detector watches one metric and says of each number how unusual it is, as it comes.
//
// It looks at the metric in four ways: the number itself, how many octaves it is from zero, how far it is
// from its recent average, and how far from what is usual at this hour of the day (UTC), in terms of how
// much that hour varies. Each is looked at as it is and smoothed, so that a spike, a shift and a rhythm
// that is missed are all seen. For each it keeps the range of what there was, and what counts is by how
// much of its width a number leaves that range. A new extreme calibrates itself: of n exchangeable numbers
// it is the last with a chance of 2/n only, whatever their distribution (records: M. N. Chandler, "The
// Distribution and Frequency of Record Values", Journal of the Royal Statistical Society B 14, 1952), so
// that no series needs a threshold of its own. An anomaly goes on for a while, and is to be told once:
// what was said is subtracted from what is said next, half after 40 numbers.
//
// Rates and half-lives are in numbers, not in time: numbers may come irregularly. It takes 328 bytes and
// says nothing of the first 60 numbers. The zero Detector has seen nothing. To ask without learning, ask
// a copy.
type Detector struct {
	n, seasons uint32 // how many numbers there were; of how many the hour was known
	level      float32
	spread     float32 // average distance from level
	told       float32 // what was said, as far as it still counts
	smooth     [extents - views]float32
	extent     [extents]extent
	hour       [24]float32
	hourSpread [24]float32
	hourly     [24]uint8 // how many numbers there were in each hour, 255 at most
}

const (
	views   = 4
	extents = 9 // each view as it is and smoothed, the season smoothed twice
)

// A Tuning has the parameters of a Detector, the same for every series. How they were chosen is in
// docs/monitoring.md. Rates are in 0..1.
type Tuning struct {
	Fast, Slow float64 // rates of smoothing; the slow one for the season only
	Level      float64 // rate of the average
	Season     float64 // rate of what is usual in an hour
	Spread     float64 // share of the spread over all hours that is added to that of each
	Leak       float64 // rate at which ranges narrow
	Grow       float64 // by how many widths one number can widen a range on one side
	Fade       float64 // what is left of what was said at the next number
	Warm       uint32  // of how many numbers nothing is said
}

// DefaultTuning returns the parameters that Add uses.
func DefaultTuning() Tuning {
	return Tuning{Fast: 0.25, Slow: 0.02, Level: 0.01, Season: 0.02, Spread: 0.2, Leak: 2e-5, Grow: 2, Fade: 0.9828, Warm: 60}
}

// DetectorAlarm is the score from which on a number is worth a person's look, about where NAB's standard
// profile has its best threshold. How often it is reached in vain is in docs/monitoring.md: some times in
// a thousand numbers at first, when much is new, and ever more seldom.
const DetectorAlarm = 0.45

// spreadRate is the rate of a Detector's spread.
const spreadRate = 0.002

// Add takes in x, which came at a time, and returns how unusual it is: 0, if it is not or is no number,
// to less than 1. What is beyond 1e18 counts as 1e18.
func (d *Detector) Add(at time.Time, x float64) float64 {
	t := DefaultTuning()
	return d.AddTuned(&t, at, x)
}

// AddTuned does what Add does, with other parameters. A Detector must be given the same ones always.
func (d *Detector) AddTuned(t *Tuning, at time.Time, x float64) float64 {
	if x != x {
		return 0
	}
	x = clamp(x)
	if d.n < math.MaxInt32 {
		d.n++
	}
	first := 1 / float64(d.n) // averages start as plain ones
	d.level = toward(d.level, x, max(t.Level, first))
	off := x - float64(d.level)
	d.spread = toward(d.spread, math.Abs(off), max(spreadRate, first))

	fresh, warm := d.n == 1, d.n >= t.Warm
	fine := least(float64(d.level))
	now := d.look(t, 0, x, max(t.Fast, first), fine, fresh, warm)
	now += d.look(t, 1, octaves(x), max(t.Fast, first), leastShare, fresh, warm)
	now += d.look(t, 2, off, t.Fast, fine, fresh, warm)
	now += d.season(t, hourOf(at), x)

	said := max(0, now-float64(d.told))
	d.told = float32(max(now, float64(float64(d.told)*t.Fade)))
	return said / (said + 0.2)
}

// look takes in what one view sees, as it is and smoothed, and returns by how much it is new. Ranges count
// as fine wide at least.
func (d *Detector) look(t *Tuning, view int, x, rate, fine float64, fresh, warm bool) float64 {
	d.smooth[view] = toward(d.smooth[view], x, rate)
	a := d.extent[view].add(t, x, fine, fresh)
	b := d.extent[views+view].add(t, float64(d.smooth[view]), fine, fresh)
	if !warm {
		return 0
	}
	return a + b
}

// season takes in x as one of an hour.
func (d *Detector) season(t *Tuning, h int, x float64) float64 {
	var now float64
	off := x - float64(d.hour[h])
	if d.hourly[h] >= 2 {
		if d.seasons < math.MaxInt32 {
			d.seasons++
		}
		r := 0.0
		if off != 0 {
			spread := float64(d.hourSpread[h]) + float64(t.Spread*float64(d.spread))
			r = clamp(off / max(spread, least(float64(d.hour[h])), math.SmallestNonzeroFloat32))
		}
		fresh, warm := d.seasons == 1, d.seasons >= t.Warm
		now = d.look(t, 3, r, t.Fast, leastSpread, fresh, warm)
		d.smooth[4] = toward(d.smooth[4], r, t.Slow)
		if e := d.extent[8].add(t, float64(d.smooth[4]), leastSpread, fresh); warm {
			now += e
		}
	}
	if d.hourly[h] < math.MaxUint8 {
		d.hourly[h]++
	}
	rate := max(t.Season, 1/float64(d.hourly[h]))
	d.hour[h] = toward(d.hour[h], x, rate)
	d.hourSpread[h] = toward(d.hourSpread[h], math.Abs(off), rate)
	return now
}

// An extent is the range of what there was.
type extent struct{ low, high float32 }

// add takes in x and returns 0 if it lies within the range, and otherwise something between 0 and 1 that
// grows with how far it lies outside, in widths of the range: 1 from a whole one on.
func (e *extent) add(t *Tuning, x, fine float64, fresh bool) float64 {
	if fresh {
		e.low, e.high = float32(x), float32(x)
		return 0
	}
	low, high := float64(e.low), float64(e.high)
	x = float64(float32(x)) // as it is kept, or rounding would make extremes
	var by float64
	switch {
	case x > high:
		by = x - high
	case x < low:
		by = low - x
	default:
		e.low = float32(low + float64(t.Leak*(x-low)))
		e.high = float32(high - float64(t.Leak*(high-x)))
		return 0
	}
	width := max(high-low, fine)
	share := 1.0
	step := by
	if width > 0 {
		share = min(1, by/width)
		step = min(by, float64(t.Grow*width))
	}
	if x > high {
		e.high = float32(high + step)
	} else {
		e.low = float32(low - step)
	}
	root := math.Sqrt(share)
	return float64(root * math.Sqrt(root)) // the power of three quarters
}

// What is finer than a ten-thousandth of the metric's average, or than a tenth of its spread, is rounding.
const (
	leastShare  = 1e-4
	leastSpread = 0.1
)

// least is the least width that counts beside numbers as large as x.
func least(x float64) float64 { return float64(math.Abs(x) * leastShare) }

// toward moves the average a toward x.
func toward(a float32, x, rate float64) float32 {
	return float32(float64(a) + float64(rate*(x-float64(a))))
}

// octaves is the logarithm of 1+|x| to the base of 2, straight between powers of two, with the sign of x.
func octaves(x float64) float64 {
	fraction, exponent := math.Frexp(1 + math.Abs(x))
	return math.Copysign(float64(exponent-1)+(2*fraction-1), x)
}

// hourOf returns the hour of the day in UTC.
func hourOf(at time.Time) int {
	s := at.Unix() % 86_400
	if s < 0 {
		s += 86_400
	}
	return int(s / 3600)
}
