package edge

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxEvent bounds the data of one event.
const maxEvent = 16 << 20

// An event is one server-sent event (WHATWG HTML, section 9.2.6).
type event struct {
	name string
	data []byte // valid until the next event
}

// events reads server-sent events.
type events struct {
	r    *bufio.Reader
	data []byte
	line []byte
}

func newEvents(r io.Reader) *events { return &events{r: bufio.NewReaderSize(r, 64<<10)} }

// next returns the next event that has data. io.EOF: there is none, or not the whole of it.
func (e *events) next() (event, error) {
	var ev event
	e.data = e.data[:0]
	some := false
	for {
		line, err := e.readLine()
		if err != nil {
			return event{}, err
		}
		if len(line) == 0 {
			if some {
				ev.data = e.data
				return ev, nil
			}
			ev.name = ""
			continue
		}
		field, value, _ := bytes.Cut(line, []byte{':'})
		value = bytes.TrimPrefix(value, []byte{' '})
		switch string(field) {
		case "event":
			ev.name = string(value)
		case "data":
			if some {
				e.data = append(e.data, '\n')
			}
			if some = true; len(e.data)+len(value) > maxEvent {
				return event{}, errEventSize
			}
			e.data = append(e.data, value...)
		}
	}
}

var errEventSize = errors.New("an event of the feed is too large")

// readLine returns the next line without its end, which is LF, CR LF or, as the standard has it, CR alone; that last one
// JSON never holds and our control plane never writes, so that it is refused.
func (e *events) readLine() ([]byte, error) {
	e.line = e.line[:0]
	for {
		part, err := e.r.ReadSlice('\n')
		if len(e.line)+len(part) > maxEvent+64 {
			return nil, errEventSize
		}
		e.line = append(e.line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
	line := bytes.TrimSuffix(e.line[:len(e.line)-1], []byte{'\r'})
	if bytes.IndexByte(line, '\r') >= 0 {
		return nil, fmt.Errorf("a line of the feed has a carriage return in it")
	}
	return line, nil
}
