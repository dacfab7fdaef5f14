// Command mcphop measures what the MCP gateway over HTTP adds to a call, and what it holds: latency and rate of tool
// calls, directly and through the gateway by turns, the memory of idle sessions, and that of large results.
//
//	go run ./bench/mcphop
//
// It starts itself twice, as a server and as a gateway before it, and is the client. The server answers at once. The
// gateway reads, judges and checks every message as always; but who calls is told by the token's text, and whoever asks
// is allowed at once, so that neither the verification of tokens nor the decision is in the figures. To have them in,
// measure a gateway that runs:
//
//	mcphop -role server </dev/zero &   # says where; name that as the only upstream of mcp.yaml: http://ADDRESS/mcp
//	safeconduct gateway mcp --config mcp.yaml &
//	mcphop -server ADDRESS -gateway ADDRESS,PID
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
	"github.com/safeconduct/safeconduct/internal/gateway/streamable"
)

func main() {
	role := flag.String("role", "", "server or gateway: what the command starts itself as")
	to := flag.String("to", "", "URL of the server, for the gateway")
	var o options
	flag.StringVar(&o.profile, "profile", "", "write the gateway's processor profile into this file")
	flag.StringVar(&o.server, "server", "", "ADDRESS of a server that runs: one that the command was started as with -role server")
	flag.StringVar(&o.gateway, "gateway", "", "ADDRESS,PID of a gateway that runs before it, in place of one of its own")
	flag.IntVar(&o.calls, "calls", 4000, "calls one after the other, for latency, on each side")
	flag.IntVar(&o.conns, "conns", 16, "connections, for the rate")
	flag.DurationVar(&o.duration, "duration", 3*time.Second, "of a turn, for the rate")
	flag.IntVar(&o.sessions, "sessions", 10000, "idle sessions")
	flag.IntVar(&o.streams, "streams", 0, "of these sessions, so many have an open stream")
	flag.IntVar(&o.large, "large", 8, "results of 10 MB at once")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch *role {
	case "server":
		err = serve(ctx, http.HandlerFunc(server))
	case "gateway":
		err = runGateway(ctx, *to, o.profile)
	default:
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mcphop:", err)
		os.Exit(1)
	}
}

// serve listens, says where, and serves until standard input ends.
func serve(ctx context.Context, h http.Handler) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	ctx, stop := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	context.AfterFunc(ctx, func() { _ = s.Close() })
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// allow allows everything at once.
type allow struct{}

func (allow) Answer(_ context.Context, q *client.Question) ([]*client.Answer, error) {
	out := make([]*client.Answer, len(q.Requests))
	for i := range out {
		out[i] = &client.Answer{Decision: authz.Decision{Effect: authz.Allow}, ID: "e1"}
	}
	return out, nil
}

func (allow) Outcome(context.Context, string, client.Outcome) error { return nil }

func runGateway(ctx context.Context, to, profile string) error {
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	door, err := streamable.New(streamable.Config{
		Verify: func(r *http.Request) (*gateway.Who, error) {
			name := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
			return &gateway.Who{Subject: authz.Entity{Ref: authz.Ref{Type: authz.AgentType, ID: name}}, Key: name}, nil
		},
		Apply:     func(context.Context, string, *gateway.Who, *http.Request) error { return nil },
		Upstreams: []streamable.Upstream{{Name: "one", URL: to}}, MaxPerCaller: 100000, Logger: log,
	})
	if err != nil {
		return err
	}
	defer door.Close()
	gate, err := mcp.NewGate(mcp.Config{
		Gateway:  &gateway.Gateway{Enforcer: &client.Enforcer{Guard: &client.Guard{Decider: allow{}}, Outcome: allow{}.Outcome}, Logger: log},
		Resource: "http://bench/mcp", Server: door.Server, Fetch: door.Fetch, Logger: log,
	})
	if err != nil {
		return err
	}
	defer gate.Wait()
	return serve(ctx, door.Serve(gate))
}

// A process is one that this command has started.
type process struct {
	cmd  *exec.Cmd
	in   io.Closer
	addr string
	id   string // of the process, if this command has not started it
}

func start(ctx context.Context, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(ctx, self, args...)}
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	p.addr = strings.TrimSpace(line)
	return p, err
}

// running is a process that somebody else has started.
func running(text string) *process {
	addr, pid, _ := strings.Cut(text, ",")
	return &process{addr: addr, id: pid}
}

func (p *process) pid() string {
	if p.cmd == nil {
		return p.id
	}
	return fmt.Sprint(p.cmd.Process.Pid)
}

func (p *process) stop() {
	if p.cmd == nil {
		return
	}
	_ = p.in.Close()
	_ = p.cmd.Wait()
}

// memory returns how much memory of the machine a process has now, and had at most, in bytes. See proc(5).
func (p *process) memory() (now, most int64) {
	b, err := os.ReadFile("/proc/" + p.pid() + "/status")
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(b)) {
		var kb int64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kb); err == nil {
			now = kb << 10
		}
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kb); err == nil {
			most = kb << 10
		}
	}
	return now, most
}

// clean has the kernel begin to count the most memory anew.
func (p *process) clean() {
	_ = os.WriteFile("/proc/"+p.pid()+"/clear_refs", []byte("5"), 0)
}
