package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/safeconduct/safeconduct/bench/wire"
)

type options struct {
	calls, conns, sessions, streams, large int
	duration                               time.Duration
	profile, server, gateway               string
}

const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"}}`

// call is a tools/call of 2026-07-28.
func call(addr, tool string) []byte {
	body := `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"` + tool + `","arguments":{"path":"/srv/reports/2026/q3.txt","limit":100},` + meta + `}}`
	return post(addr, body, "MCP-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call", "Mcp-Name: "+tool)
}

func post(addr, body string, headers ...string) []byte {
	return fmt.Appendf(nil, "POST /mcp HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer bench\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n%s\r\nContent-Length: %d\r\n\r\n%s",
		addr, strings.Join(append(headers, "X-Bench: 1"), "\r\n"), len(body), body)
}

func run(ctx context.Context, o options) error {
	server, gw := running(o.server), running(o.gateway)
	if o.server == "" {
		var err error
		if server, err = start(ctx, "-role", "server"); err != nil {
			return fmt.Errorf("starting the server: %w", err)
		}
		defer server.stop()
	}
	if o.gateway == "" {
		var err error
		if gw, err = start(ctx, "-role", "gateway", "-to", "http://"+server.addr+"/mcp", "-profile", o.profile); err != nil {
			return fmt.Errorf("starting the gateway: %w", err)
		}
		defer gw.stop()
	}
	if err := latency(o, server, gw); err != nil {
		return fmt.Errorf("latency: %w", err)
	}
	if err := rate(o, server, gw); err != nil {
		return fmt.Errorf("rate: %w", err)
	}
	if o.large > 0 {
		if err := large(o, gw); err != nil {
			return fmt.Errorf("large results: %w", err)
		}
	}
	if o.sessions > 0 {
		if err := idle(o, gw); err != nil {
			return fmt.Errorf("idle sessions: %w", err)
		}
	}
	return nil
}

// latency makes calls one after the other, on one connection, directly and through the gateway by turns of a hundred.
func latency(o options, server, gw *process) error {
	var took [2][]time.Duration
	var conns [2]*wire.Conn
	var requests [2][]byte
	for i, p := range []*process{server, gw} {
		c, err := wire.Dial(p.addr)
		if err != nil {
			return err
		}
		defer c.Close()
		conns[i], requests[i] = c, call(p.addr, "small")
		for range 300 { // warm
			if err := good(c.Do(requests[i])); err != nil {
				return err
			}
		}
	}
	for len(took[0]) < o.calls {
		for i := range conns {
			for range 100 {
				began := time.Now()
				if err := good(conns[i].Do(requests[i])); err != nil {
					return err
				}
				took[i] = append(took[i], time.Since(began))
			}
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "one connection, calls one after the other\tp50\tp90\tp99\t")
	var at [2][3]time.Duration
	for i, name := range []string{"direct", "through the gateway"} {
		slices.Sort(took[i])
		for k, q := range []int{50, 90, 99} {
			at[i][k] = took[i][len(took[i])*q/100]
		}
		fmt.Fprintf(w, "%s\t%v\t%v\t%v\t\n", name, micro(at[i][0]), micro(at[i][1]), micro(at[i][2]))
	}
	fmt.Fprintf(w, "added\t%v\t%v\t%v\t\n", micro(at[1][0]-at[0][0]), micro(at[1][1]-at[0][1]), micro(at[1][2]-at[0][2]))
	return w.Flush()
}

func micro(d time.Duration) time.Duration { return d.Round(time.Microsecond) }

// good returns what is wrong with the answer to a call.
func good(status int, body []byte, err error) error {
	if err != nil {
		return err
	}
	if status != 200 || !strings.Contains(string(body), `"result":`) {
		return fmt.Errorf("status %d: %.300s", status, body)
	}
	return nil
}

// rate makes as many calls as it can, directly and through the gateway by turns.
func rate(o options, server, gw *process) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\n%d connections, %v\tcalls/s\tp50\tp99\tgateway's processor time a call\t\n", o.conns, o.duration)
	var per [2]float64
	for i, p := range []*process{server, gw} {
		before, err := wire.ProcessorTime(gw.pid())
		if err != nil {
			return err
		}
		took, err := load(o, p)
		if err != nil {
			return err
		}
		after, err := wire.ProcessorTime(gw.pid())
		if err != nil {
			return err
		}
		if len(took) == 0 {
			return fmt.Errorf("no call ended within %v", o.duration)
		}
		per[i] = float64(len(took)) / o.duration.Seconds()
		slices.Sort(took)
		spent := ""
		if i == 1 {
			spent = micro((after - before) / time.Duration(len(took))).String()
		}
		fmt.Fprintf(w, "%s\t%.0f\t%v\t%v\t%s\t\n", []string{"direct", "through the gateway"}[i], per[i], micro(took[len(took)/2]), micro(took[len(took)*99/100]), spent)
	}
	fmt.Fprintf(w, "ratio\t%.2f\t\t\t\t\n", per[1]/per[0])
	return w.Flush()
}

func load(o options, p *process) ([]time.Duration, error) {
	var mu sync.Mutex
	var all []time.Duration
	var failed error
	var group sync.WaitGroup
	until := time.Now().Add(o.duration)
	for range o.conns {
		group.Go(func() {
			c, err := wire.Dial(p.addr)
			var mine []time.Duration
			if err == nil {
				defer c.Close()
				request := call(p.addr, "small")
				for now := time.Now(); err == nil && now.Before(until); {
					err = good(c.Do(request))
					end := time.Now()
					mine, now = append(mine, end.Sub(now)), end
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all, failed = append(all, mine...), errors.Join(failed, err)
		})
	}
	group.Wait()
	return all, failed
}

// large has results of 10 MB come through at once, by a client that reads them slowly enough for them to pile up.
func large(o options, gw *process) error {
	gw.clean()
	before, _ := gw.memory()
	var group sync.WaitGroup
	var total atomic.Int64
	errs := make([]error, o.large)
	began := time.Now()
	for i := range o.large {
		group.Go(func() {
			c, err := net.Dial("tcp", gw.addr)
			if err != nil {
				errs[i] = err
				return
			}
			defer c.Close()
			if _, errs[i] = c.Write(call(gw.addr, "large")); errs[i] != nil {
				return
			}
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				errs[i] = err
				return
			}
			defer resp.Body.Close()
			time.Sleep(300 * time.Millisecond) // the server would be ready long before
			n, err := io.Copy(io.Discard, resp.Body)
			total.Add(n)
			errs[i] = err
		})
	}
	group.Wait()
	_, most := gw.memory()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Printf("\n%d results of 10 MB at once: %d MB in %v; the gateway's memory was %d MB before, and %d MB at most\n",
		o.large, total.Load()>>20, time.Since(began).Round(time.Millisecond), before>>20, most>>20)
	return nil
}

// idle opens sessions of 2025-11-25, each with one call, and leaves them alone.
func idle(o options, gw *process) error {
	before, _ := gw.memory()
	c, err := wire.Dial(gw.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	hello := post(gw.addr, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"roots":{},"sampling":{}},"clientInfo":{"name":"bench","version":"1"}}}`)
	var streams []net.Conn
	defer func() {
		for _, s := range streams {
			_ = s.Close()
		}
	}()
	client := &http.Client{}
	defer client.CloseIdleConnections()
	began := time.Now()
	for i := range o.sessions {
		q, err := http.NewRequest(http.MethodPost, "http://"+gw.addr+"/mcp", strings.NewReader(string(hello[strings.Index(string(hello), "\r\n\r\n")+4:])))
		if err != nil {
			return err
		}
		q.Header.Set("Authorization", "Bearer bench")
		q.Header.Set("Content-Type", "application/json")
		q.Header.Set("Accept", "application/json, text/event-stream")
		resp, err := client.Do(q)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		id := resp.Header.Get("Mcp-Session-Id")
		if id == "" {
			return fmt.Errorf("session %d was refused: %s", i, resp.Status)
		}
		body := `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"small","arguments":{}}}`
		if err := good(c.Do(post(gw.addr, body, "Mcp-Session-Id: "+id, "MCP-Protocol-Version: 2025-11-25"))); err != nil {
			return err
		}
		if i < o.streams {
			s, err := net.Dial("tcp", gw.addr)
			if err != nil {
				return err
			}
			streams = append(streams, s)
			if _, err := fmt.Fprintf(s, "GET /mcp HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer bench\r\nAccept: text/event-stream\r\nMcp-Session-Id: %s\r\n\r\n", gw.addr, id); err != nil {
				return err
			}
			resp, err := http.ReadResponse(bufio.NewReader(s), nil)
			if err != nil || resp.StatusCode != http.StatusOK {
				return fmt.Errorf("opening stream %d: %v", i, err)
			}
		}
	}
	after, _ := gw.memory()
	fmt.Printf("\n%d idle sessions, each with a session of the server's, %d with an open stream, opened in %v: the gateway's memory was %d MB before, and is %d MB\n",
		o.sessions, o.streams, time.Since(began).Round(time.Millisecond), before>>20, after>>20)
	return nil
}
