package grpcguard

import (
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/safeconduct/safeconduct/client"
)

// size returns how many bytes a message has on the wire, 0 if that is not known.
func size(v any) int64 {
	m, ok := v.(proto.Message)
	if !ok || m == nil || !m.ProtoReflect().IsValid() {
		return 0
	}
	return int64(proto.Size(m))
}

// shape returns a message as it may be seen: a new one, in which everything was read that Shape returned. Fields have
// two names, in the .proto file and in JSON, and what is to be hidden is hidden by either.
func shape(p *client.Permit, v any) (any, error) {
	m, ok := v.(proto.Message)
	if !ok || m == nil {
		_, err := p.Shape(json.RawMessage("!")) // notes that it was not met
		return nil, errors.Join(err, errors.New("the message is no proto.Message, and cannot be changed"))
	}
	for _, names := range []bool{true, false} {
		text, err := protojson.MarshalOptions{UseProtoNames: names}.Marshal(m)
		if err != nil {
			_, noted := p.Shape(json.RawMessage("!"))
			return nil, errors.Join(fmt.Errorf("the message cannot be written as JSON: %w", err), noted)
		}
		if text, err = p.Shape(text); err != nil {
			return nil, err
		}
		seen := m.ProtoReflect().New().Interface()
		if err := protojson.Unmarshal(text, seen); err != nil {
			_, noted := p.Shape(json.RawMessage("!"))
			return nil, errors.Join(fmt.Errorf("what may be seen of the message does not fit its type: %w", err), noted)
		}
		m = seen
	}
	return m, nil
}

// replace makes dst, which the caller of a client gave, what may be seen; with an error it becomes empty.
func replace(dst, shown any, err error) error {
	to, ok := dst.(proto.Message)
	if !ok {
		return errors.Join(err, withheld(errors.New("the message is no proto.Message")))
	}
	proto.Reset(to)
	if err != nil {
		return err
	}
	proto.Merge(to, shown.(proto.Message))
	return nil
}
