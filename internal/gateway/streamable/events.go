package streamable

import (
	"bytes"
	"errors"
	"strconv"
	"time"
)

// An eventReader reads a server's stream of events (HTML, server-sent events) as its bytes come, and hands the data of
// each to a scanner. Nothing of the stream's own text goes on to the client.
type eventReader struct {
	msg    *scanner
	lastID string        // of the last event that had one
	retry  time.Duration // as the server last said, 0 if it did not
	events int           // that carried a message

	line  lineState
	field []byte // name, or the value of a field other than data
	name  string
	lf    bool // a CR was read: an LF right after it belongs to it
	data  bool // the event has a line of data
	other bool // the event is of another type
	begun bool // not the first bytes of the stream
}

type lineState uint8

const (
	lineStart lineState = iota
	inName
	afterColon
	inData
	inValue
	inComment
)

const maxField = 1024

var errEvent = errors.New("the server's stream has a field that is too long")

// Write reads the next bytes of the stream.
func (e *eventReader) Write(p []byte) (int, error) {
	total := len(p)
	if !e.begun {
		e.begun = true
		p = bytes.TrimPrefix(p, []byte("\xef\xbb\xbf"))
	}
	for len(p) > 0 {
		if e.lf {
			e.lf = false
			if p[0] == '\n' {
				p = p[1:]
				continue
			}
		}
		n := bytes.IndexAny(p[:min(len(p), 64)], "\r\n")
		if e.line == inData { // the long ones
			n = lineEnd(p)
		}
		piece, ended := p, false
		switch {
		case n >= 0:
			piece, ended = p[:n], true
		case e.line != inData && len(p) > 64:
			piece = p[:64]
		}
		rest, err := e.piece(piece)
		if err != nil {
			return 0, err
		}
		if len(rest) > 0 { // the line turned out to be data
			p = p[len(piece)-len(rest):]
			continue
		}
		p = p[len(piece):]
		if ended {
			e.lf = p[0] == '\r'
			p = p[1:]
			if err := e.ended(); err != nil {
				return 0, err
			}
			if e.msg.answered {
				return total, nil
			}
		}
	}
	return total, nil
}

func lineEnd(p []byte) int {
	n := bytes.IndexByte(p, '\n')
	if n >= 0 {
		p = p[:n]
	}
	if c := bytes.IndexByte(p, '\r'); c >= 0 {
		return c
	}
	return n
}

// piece reads a piece of a line, and returns what of it is data and was not read.
func (e *eventReader) piece(b []byte) ([]byte, error) {
	for len(b) > 0 {
		switch e.line {
		case lineStart, inName:
			if e.line == lineStart {
				e.line, e.field = inName, e.field[:0]
			}
			c := bytes.IndexByte(b, ':')
			if c < 0 {
				return nil, e.keep(b)
			}
			if err := e.keep(b[:c]); err != nil {
				return nil, err
			}
			e.name, e.field, b = string(e.field), e.field[:0], b[c+1:]
			e.line = afterColon
			if e.name == "" {
				e.line = inComment
			}
		case afterColon:
			if b[0] == ' ' {
				b = b[1:]
			}
			e.line = inValue
			if e.name == "data" {
				e.line = inData
				if err := e.newData(); err != nil {
					return nil, err
				}
				return b, nil
			}
		case inData:
			if !e.other {
				if _, err := e.msg.Write(b); err != nil {
					return nil, err
				}
			}
			return nil, nil
		case inValue:
			return nil, e.keep(b)
		case inComment:
			return nil, nil
		}
	}
	return nil, nil
}

// newData begins a line of data: lines are joined by a line break.
func (e *eventReader) newData() error {
	if e.data && !e.other {
		if _, err := e.msg.Write([]byte{'\n'}); err != nil {
			return err
		}
	}
	e.data = true
	return nil
}

func (e *eventReader) keep(b []byte) error {
	if len(e.field)+len(b) > maxField {
		return errEvent
	}
	e.field = append(e.field, b...)
	return nil
}

// ended is called at the end of a line.
func (e *eventReader) ended() error {
	line := e.line
	e.line = lineStart
	switch line {
	case lineStart: // an empty line: the event is whole
		defer func() { e.data, e.other = false, false }()
		if !e.data || e.other || !e.msg.started {
			e.msg.reset()
			return nil
		}
		e.events++
		if err := e.msg.end(); err != nil {
			return err
		}
		e.msg.reset()
		return nil
	case afterColon:
		if e.name == "data" {
			return e.newData()
		}
		e.field = e.field[:0]
	case inName:
		e.name, e.field = string(e.field), e.field[:0]
		if e.name == "data" {
			return e.newData()
		}
	case inData, inComment:
		return nil
	}
	switch value := string(e.field); e.name {
	case "event":
		e.other = value != "" && value != "message"
	case "id":
		if !bytes.ContainsRune(e.field, 0) {
			e.lastID = value
		}
	case "retry":
		if ms, err := strconv.ParseUint(value, 10, 31); err == nil {
			e.retry = time.Duration(ms) * time.Millisecond
		}
	}
	return nil
}
