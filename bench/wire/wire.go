// Package wire is what the load generators share: HTTP connections that stay open and cost little, and
// the processor time of what is measured.
package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// A Conn is one connection that stays open. It speaks just enough HTTP/1.1 to read an answer with a
// length or in chunks, so that the generator leaves the machine to what it measures.
type Conn struct {
	c    net.Conn
	r    *bufio.Reader
	body []byte
}

// Dial connects to host:port.
func Dial(addr string) (*Conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &Conn{c: c, r: bufio.NewReaderSize(c, 32<<10)}, nil
}

// Close closes the connection.
func (c *Conn) Close() { c.c.Close() }

// Do sends a whole request and returns status and body of the answer; the body is good until the
// next call.
func (c *Conn) Do(request []byte) (status int, body []byte, err error) {
	if _, err := c.c.Write(request); err != nil {
		return 0, nil, err
	}
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	if len(line) < 12 {
		return 0, nil, fmt.Errorf("malformed status line %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, nil, fmt.Errorf("malformed status line %q", line)
	}
	length, chunked := -1, false
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return 0, nil, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case len(name) == 14 && bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, nil, fmt.Errorf("malformed length %q", value)
			}
		case len(name) == 17 && bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		}
	}
	c.body = c.body[:0]
	switch {
	case chunked:
		err = c.chunks()
	case length >= 0:
		err = c.take(length)
	default:
		err = fmt.Errorf("an answer of unknown length")
	}
	return status, c.body, err
}

func (c *Conn) take(n int) error {
	at := len(c.body)
	c.body = append(c.body, make([]byte, n)...)
	_, err := io.ReadFull(c.r, c.body[at:])
	return err
}

func (c *Conn) chunks() error {
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 31)
		if err != nil {
			return fmt.Errorf("malformed chunk %q", line)
		}
		if n > 0 {
			if err := c.take(int(n)); err != nil {
				return err
			}
		}
		if _, err := c.r.ReadSlice('\n'); err != nil { // the end of the chunk, or of the trailer
			return err
		}
		if n == 0 {
			return nil
		}
	}
}

// ProcessorTime returns the processor time, user and system, that a process has used. See proc(5); the
// kernel counts in hundredths of a second.
func ProcessorTime(pid string) (time.Duration, error) {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, err
	}
	// The name of the command, in parentheses, may hold anything.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 13 {
		return 0, fmt.Errorf("cannot read /proc/%s/stat", pid)
	}
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("cannot read /proc/%s/stat", pid)
	}
	return time.Duration(user+system) * 10 * time.Millisecond, nil
}
