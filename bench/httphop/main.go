// Command httphop measures what the HTTP gateway adds to a request, with the decision in its process: the time of a
// request directly and through the gateway, by turns over one connection each; then how many requests a second pass, and
// what one costs of processor time and memory.
//
//	go run ./bench/httphop
//
// It builds and starts the service with the organisation of bench/fixture, and starts itself as the server behind the
// gateway and as the gateway, which reads a document, is fed by the service, and writes every decision to its journal before
// the request passes. All run on this machine and share its processors. The agent shows no token (authorization: none).
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/bench/fixture"
	"github.com/safeconduct/safeconduct/bench/wire"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/httpproxy"
)

const token = "bench-admin-0123456789abcdef0123456789"

func main() {
	role := flag.String("role", "", "server or gateway: what the command starts itself as")
	config := flag.String("config", "", "the gateway's document, for the gateway")
	requests := flag.Int("requests", 5000, "one after the other, on each side")
	duration := flag.Duration("duration", 3*time.Second, "how long the rate is measured")
	conns := flag.Int("conns", 16, "connections, for the rate")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch *role {
	case "server":
		err = server(ctx)
	case "gateway":
		err = runGateway(ctx, *config)
	default:
		err = run(ctx, *requests, *duration, *conns)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "httphop:", err)
		os.Exit(1)
	}
}

// answer is what the server behind the gateway says: 1 KiB of JSON.
var answer = []byte(`{"order":"order-7","pad":"` + strings.Repeat("x", 996) + `"}`)

func server(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	s := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header()["Content-Type"] = []string{"application/json"}
		_, _ = w.Write(answer)
	})}
	go untilInputEnds(func() { s.Close() })
	context.AfterFunc(ctx, func() { s.Close() })
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// untilInputEnds answers every line with how much was allocated since the process began, and calls end at last.
func untilInputEnds(end func()) {
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Println(m.Mallocs, m.TotalAlloc, m.HeapSys)
	}
	end()
}

func runGateway(ctx context.Context, config string) error {
	doc, err := httpproxy.Load(config)
	if err != nil {
		return err
	}
	g, p, err := doc.Open(ctx, gateway.Options{Version: "bench", Listening: func(a net.Addr) { fmt.Println(a) }})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go untilInputEnds(stop)
	ended := make(chan error, 2)
	go func() { ended <- p.Run(ctx) }()
	go func() { ended <- g.Run(ctx) }()
	err = g.Serve(ctx, p)
	stop()
	for range 2 {
		if e := <-ended; e != nil && !errors.Is(e, context.Canceled) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// A process is one that was started here.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
}

func start(ctx context.Context, env []string, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, name, args...)}
	p.cmd.Stderr, p.cmd.Env = os.Stderr, append(os.Environ(), env...)
	if filepath.Base(name) == "safeconduct" {
		p.cmd.Stderr = nil
	}
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.in, p.lines = in, bufio.NewScanner(out)
	return p, p.cmd.Start()
}

// line returns the next line that the process writes.
func (p *process) line() (string, error) {
	if !p.lines.Scan() {
		return "", fmt.Errorf("%s ended: %w", filepath.Base(p.cmd.Path), cmpErr(p.cmd.Wait(), p.lines.Err()))
	}
	return p.lines.Text(), nil
}

func cmpErr(errs ...error) error {
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return io.EOF
}

func (p *process) end() {
	p.in.Close()
	_ = p.cmd.Process.Signal(os.Interrupt)
	_ = p.cmd.Wait() // it was told to
}

// memory is what a process has allocated.
type memory struct{ mallocs, bytes, heap int64 }

func (p *process) memory() (m memory, err error) {
	if _, err := io.WriteString(p.in, "\n"); err != nil {
		return m, err
	}
	line, err := p.line()
	if err == nil {
		_, err = fmt.Sscan(line, &m.mallocs, &m.bytes, &m.heap)
	}
	return m, err
}

// A house is everything that was started.
type house struct {
	dir            string
	server         string
	gateway        string
	gatewayProcess *process
	all            []*process
}

func (h *house) end() {
	for _, p := range slices.Backward(h.all) {
		p.end()
	}
	os.RemoveAll(h.dir)
}

// build starts service, server and gateway.
func build(ctx context.Context) (h *house, err error) {
	h = &house{}
	defer func() {
		if err != nil {
			h.end()
		}
	}()
	if h.dir, err = os.MkdirTemp("", "httphop"); err != nil {
		return h, err
	}
	binary := filepath.Join(h.dir, "safeconduct")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/safeconduct").CombinedOutput(); err != nil {
		return h, fmt.Errorf("building: %w: %s", err, out)
	}
	service, err := h.service(ctx, binary)
	if err != nil {
		return h, err
	}
	self, err := os.Executable()
	if err != nil {
		return h, err
	}
	up, err := start(ctx, nil, self, "-role", "server")
	if err != nil {
		return h, err
	}
	h.all = append(h.all, up)
	if h.server, err = up.line(); err != nil {
		return h, err
	}
	document := fmt.Sprintf(`
listen: 127.0.0.1:0
public_url: http://127.0.0.1:1
service: {url: %q, token_file: edge.token}
decide: local
journal: journal
authorization: {type: none, subject: {type: agent, id: support-0}}
upstreams: {shop: {url: "http://%s"}}
routes:
  - {match: "GET /orders/{order}", action: view_order, resource: {type: Order, id: "{order}"}, context: {confidence: {value: 0.9}}}
  - {match: "POST /orders/{order}", action: view_order, resource: {type: Order, id: "{order}"}, arguments: {reason: "body:/reason"}, context: {confidence: {value: 0.9}}}
`, service, h.server)
	file := filepath.Join(h.dir, "http.yaml")
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		return h, err
	}
	if h.gatewayProcess, err = start(ctx, nil, self, "-role", "gateway", "-config", file); err != nil {
		return h, err
	}
	h.all = append(h.all, h.gatewayProcess)
	h.gateway, err = h.gatewayProcess.line()
	return h, err
}

// service starts the service and returns its URL.
func (h *house) service(ctx context.Context, binary string) (string, error) {
	for name, text := range map[string][]byte{
		"organisation.cedarschema": []byte(fixture.Schema), "organisation.cedar": []byte(fixture.Policies),
		"catalog.json": fixture.Catalog(), "agents.json": fixture.AgentsDocument(),
		"safeconduct.yaml": []byte("organisation: {catalog: catalog.json, schema: organisation.cedarschema, policies: [organisation.cedar], agents: agents.json}\n"),
	} {
		if err := os.WriteFile(filepath.Join(h.dir, name), text, 0o600); err != nil {
			return "", err
		}
	}
	env := []string{"SAFECONDUCT_ADMIN_TOKEN=" + token}
	p, err := start(ctx, env, binary, "serve", "--config", filepath.Join(h.dir, "safeconduct.yaml"), "--data", filepath.Join(h.dir, "data"), "--listen", "127.0.0.1:0", "--json")
	if err != nil {
		return "", err
	}
	h.all = append(h.all, p)
	var said struct {
		URL string `json:"url"`
	}
	text := ""
	for said.URL == "" {
		line, err := p.line()
		if err != nil {
			return "", err
		}
		if text += line; json.Unmarshal([]byte(text), &said) != nil {
			continue
		}
	}
	go func() { // what it says later is not needed
		for p.lines.Scan() {
		}
	}()
	c := exec.CommandContext(ctx, binary, "caller", "create", "httphop", "--role", "edge", "--why", "bench")
	c.Env = append(os.Environ(), append(env, "SAFECONDUCT_URL="+said.URL)...)
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("making a caller: %w", err)
	}
	return said.URL, os.WriteFile(filepath.Join(h.dir, "edge.token"), out, 0o600)
}

func run(ctx context.Context, requests int, duration time.Duration, conns int) error {
	h, err := build(ctx)
	if err != nil {
		return err
	}
	defer h.end()
	get := func(host string) []byte { return []byte("GET /orders/order-7 HTTP/1.1\r\nHost: " + host + "\r\n\r\n") }
	body := `{"reason": "the customer asks", "pad": "` + strings.Repeat("x", 400) + `"}`
	post := func(host string) []byte {
		return []byte("POST /orders/order-7 HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	}
	if err := ready(ctx, h.gateway, get(h.gateway)); err != nil {
		return err
	}
	for _, c := range []struct {
		name string
		text func(string) []byte
	}{{"GET", get}, {"POST, argument from the body", post}} {
		if err := latency(h, c.name, c.text, requests); err != nil {
			return err
		}
	}
	return rate(h, get(h.gateway), duration, conns)
}

// ready waits until the gateway passes a request on: it has to be fed first.
func ready(ctx context.Context, addr string, text []byte) error {
	for end := time.Now().Add(15 * time.Second); ; {
		c, err := wire.Dial(addr)
		if err != nil {
			return err
		}
		status, body, err := c.Do(text)
		answer := string(body)
		c.Close()
		if err == nil && status == 200 {
			return nil
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("the gateway does not pass the request on: %d %s %w", status, answer, cmpErr(err))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// latency measures one request after the other, directly and through the gateway by turns.
func latency(h *house, name string, text func(string) []byte, n int) error {
	var times [2][]time.Duration
	var sides [2]*wire.Conn
	for i, addr := range []string{h.server, h.gateway} {
		c, err := wire.Dial(addr)
		if err != nil {
			return err
		}
		defer c.Close()
		sides[i] = c
	}
	bytes := [2][]byte{text(h.server), text(h.gateway)}
	for i := range n + n/10 {
		for side, c := range sides {
			began := time.Now()
			status, _, err := c.Do(bytes[side])
			took := time.Since(began)
			if err != nil || status != 200 {
				return fmt.Errorf("%s: status %d, %w", name, status, cmpErr(err))
			}
			if i >= n/10 { // the first are not measured
				times[side] = append(times[side], took)
			}
		}
	}
	for i := range times {
		slices.Sort(times[i])
	}
	at := func(side int, q float64) time.Duration { return times[side][int(q*float64(n-1))] }
	fmt.Printf("%s, one connection, %d requests\n", name, n)
	for _, q := range []float64{0.50, 0.99} {
		d, g := at(0, q), at(1, q)
		fmt.Printf("  p%.0f  direct %v, through the gateway %v: added %v (%.1f times)\n", q*100, d.Round(time.Microsecond), g.Round(time.Microsecond), (g - d).Round(time.Microsecond), float64(g)/float64(d))
	}
	return nil
}

// rate measures how many requests a second pass the gateway over several connections, and what they cost.
func rate(h *house, text []byte, duration time.Duration, conns int) error {
	pid := strconv.Itoa(h.gatewayProcess.cmd.Process.Pid)
	before, err := h.gatewayProcess.memory()
	if err != nil {
		return err
	}
	cpu, err := wire.ProcessorTime(pid)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	counts, errs := make([]int, conns), make([]error, conns)
	began := time.Now()
	for i := range conns {
		wg.Go(func() {
			c, err := wire.Dial(h.gateway)
			if err != nil {
				errs[i] = err
				return
			}
			defer c.Close()
			for time.Since(began) < duration {
				status, _, err := c.Do(text)
				if err != nil || status != 200 {
					errs[i] = fmt.Errorf("status %d, %w", status, cmpErr(err))
					return
				}
				counts[i]++
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	after, err := h.gatewayProcess.memory()
	if err != nil {
		return err
	}
	used, err := wire.ProcessorTime(pid)
	if err != nil {
		return err
	}
	n := 0
	for _, c := range counts {
		n += c
	}
	fmt.Printf("GET, %d connections, %v\n", conns, took.Round(time.Millisecond))
	fmt.Printf("  %.0f requests/s; of the gateway: %.1f µs processor time, %d allocations and %d bytes a request; heap %d MiB\n",
		float64(n)/took.Seconds(), float64((used-cpu).Microseconds())/float64(n), (after.mallocs-before.mallocs)/int64(n), (after.bytes-before.bytes)/int64(n), after.heap>>20)
	return nil
}
