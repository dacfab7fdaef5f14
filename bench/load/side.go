package main

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/bench/fixture"
	"github.com/safeconduct/safeconduct/bench/wire"
)

// A side is one of the two services, and what was measured of it.
type side struct {
	name     string
	addr     string
	pid      string
	requests [][]byte // whole HTTP requests
	effect   func([]byte) (string, error)

	took   []time.Duration // of every answer, over all turns
	rates  []float64       // of every turn
	count  int64
	wall   time.Duration
	cpuUse time.Duration
}

func newSide(name, at, path, token string, mix []fixture.Case, body func([]byte) []byte, effect func([]byte) (string, error)) (*side, error) {
	raw, pid, _ := strings.Cut(at, ",")
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || pid == "" {
		return nil, fmt.Errorf("%q is not URL,PID", at)
	}
	s := &side{name: name, addr: u.Host, pid: pid, effect: effect}
	auth := ""
	if token != "" {
		auth = "Authorization: Bearer " + token + "\r\n"
	}
	for _, c := range mix {
		b := body(c.Body)
		s.requests = append(s.requests, fmt.Appendf(nil,
			"POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s",
			path, u.Host, auth, len(b), b))
	}
	return s, nil
}

func same(b []byte) []byte { return b }

func opaBody(b []byte) []byte { return slices.Concat([]byte(`{"input":`), b, []byte("}")) }

func opaEffect(b []byte) (string, error) {
	var a struct{ Result struct{ Decision string } }
	err := json.Unmarshal(b, &a)
	return a.Result.Decision, err
}

func authzenEffect(b []byte) (string, error) {
	var a struct {
		Decision bool
		Context  struct{ Code string }
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return "", err
	}
	switch {
	case a.Decision:
		return "allow", nil
	case a.Context.Code == "approval_required":
		return "require_approval", nil
	}
	return "deny", nil
}

// check asks every case once and compares.
func (s *side) check(mix []fixture.Case) error {
	c, err := wire.Dial(s.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	wrong := map[string]string{}
	for i, req := range s.requests {
		status, body, err := c.Do(req)
		if err != nil {
			return err
		}
		got, err := s.effect(body)
		if status != 200 || err != nil || got != mix[i].Effect {
			wrong[mix[i].Name] = fmt.Sprintf("%s: want %s, got %q: status %d, %s\nfor %s",
				mix[i].Name, mix[i].Effect, got, status, body, mix[i].Body)
		}
	}
	if len(wrong) > 0 {
		var all []string
		for _, w := range wrong {
			all = append(all, w)
		}
		slices.Sort(all)
		return fmt.Errorf("%d kinds of request are answered wrongly:\n%s", len(wrong), strings.Join(all, "\n"))
	}
	return nil
}

// turn measures once and keeps what was found.
func (s *side) turn(conns int, d time.Duration) error {
	before, err := wire.ProcessorTime(s.pid)
	if err != nil {
		return err
	}
	start := time.Now()
	took, err := s.measure(conns, d)
	if err != nil {
		return err
	}
	wall := time.Since(start)
	after, err := wire.ProcessorTime(s.pid)
	if err != nil {
		return err
	}
	s.took = append(s.took, took...)
	s.rates = append(s.rates, float64(len(took))/wall.Seconds())
	s.count += int64(len(took))
	s.wall += wall
	s.cpuUse += after - before
	fmt.Fprintf(os.Stderr, "%-12s %8.0f/s  %6.1f µs CPU\n", s.name, float64(len(took))/wall.Seconds(),
		float64((after-before).Microseconds())/float64(len(took)))
	return nil
}

// measure asks from conns connections for so long and returns how long each answer took.
func (s *side) measure(conns int, d time.Duration) ([]time.Duration, error) {
	var (
		wg    sync.WaitGroup
		next  atomic.Int64
		each  = make([][]time.Duration, conns)
		errs  = make([]error, conns)
		until = time.Now().Add(d)
	)
	for i := range conns {
		wg.Go(func() {
			c, err := wire.Dial(s.addr)
			if err != nil {
				errs[i] = err
				return
			}
			defer c.Close()
			took := make([]time.Duration, 0, 1<<16)
			for {
				start := time.Now()
				if start.After(until) {
					break
				}
				status, body, err := c.Do(s.requests[int(next.Add(1))%len(s.requests)])
				if err == nil && status != 200 {
					err = fmt.Errorf("status %d: %s", status, body)
				}
				if err != nil {
					errs[i] = err
					return
				}
				took = append(took, time.Since(start))
			}
			each[i] = took
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return slices.Concat(each...), nil
}

func (s *side) rate() float64 { return float64(s.count) / s.wall.Seconds() }

func (s *side) medianRate() float64 {
	r := slices.Sorted(slices.Values(s.rates))
	if len(r) == 0 {
		return math.NaN()
	}
	return (r[(len(r)-1)/2] + r[len(r)/2]) / 2
}

// cpu is in microseconds an answer.
func (s *side) cpu() float64 { return float64(s.cpuUse.Microseconds()) / float64(s.count) }

func (s *side) quantile(q float64) time.Duration {
	slices.Sort(s.took)
	if len(s.took) == 0 {
		return 0
	}
	return s.took[min(len(s.took)-1, int(q*float64(len(s.took))))]
}
