package grpcguard

import (
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Domain is that of the ErrorInfo of refusals.
const Domain = "safeconduct"

// detailed returns a status with details. Its reason is the code as ErrorInfo wants it: upper case, at most 63 bytes.
func detailed(c codes.Code, code, text string, about map[string]string, wait time.Duration) *status.Status {
	reason := strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(code))
	for name, value := range about {
		if value == "" {
			delete(about, name)
		}
	}
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: reason[:min(len(reason), 63)], Domain: Domain, Metadata: about}}
	if wait > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
	}
	plain := status.New(c, strings.ToValidUTF8(text, "?"))
	s, err := plain.WithDetails(details...)
	if err != nil { // a text that is no UTF-8: the code says enough
		return plain
	}
	return s
}
