package mcp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// A child is a server that is a process of ours, and speaks on standard input and output.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader

	mu    sync.Mutex // guards in
	ended chan struct{}
	err   error // how it ended, once ended is closed
}

// termTime is how long a server may take to end after it was told to, before it is killed.
const termTime = 2 * time.Second

// Start starts a server: cmd, whose standard input and output are taken for the Link. Its standard error is left as
// it is set.
func Start(cmd *exec.Cmd) (Link, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("making the server's standard input: %w", err)
	}
	r, w, err := os.Pipe() // unlike StdoutPipe, it may be read after the process has ended
	if err != nil {
		return nil, fmt.Errorf("making the server's standard output: %w", err)
	}
	cmd.Stdout = w
	alone(cmd)
	err = cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("starting the server: %w", err)
	}
	c := &child{cmd: cmd, in: in, out: bufio.NewReaderSize(r, 64<<10), ended: make(chan struct{})}
	go func() {
		c.err = cmd.Wait()
		close(c.ended)
	}()
	return c, nil
}

// Send writes one line.
func (c *child) Send(frame []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.in.Write(append(frame, '\n'))
	return err
}

// Receive reads one line.
func (c *child) Receive(max int) ([]byte, error) {
	line, err := readLine(c.out, max)
	if errors.Is(err, os.ErrClosed) {
		err = io.EOF
	}
	return line, err
}

// Close closes the server's standard input, which ends it (MCP, stdio, Shutdown); tells it to end if it does not; and kills
// it, with what it has started.
func (c *child) Close(ctx context.Context) error {
	go func() { // a Send that hangs must not keep us
		c.mu.Lock()
		defer c.mu.Unlock()
		c.in.Close()
	}()
	select {
	case <-c.ended:
		kill(c.cmd) // what it has left behind
		return c.err
	case <-ctx.Done():
	}
	terminate(c.cmd)
	timer := time.NewTimer(termTime)
	defer timer.Stop()
	select {
	case <-c.ended:
	case <-timer.C:
	}
	kill(c.cmd)
	<-c.ended
	return c.err
}
