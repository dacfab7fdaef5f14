package gateway

import "os"

// heapRoom is how much is allocated, roughly, between two runs of the collector while little is alive.
const heapRoom = 32 << 20

// newHeapRoom returns memory that is to be kept while the gateway serves, and never written to: of the machine's memory it takes
// nothing, and to the collector it is alive.
//
// The collector waits until as much was allocated as is alive (GOGC=100), or 4 MB. A gateway keeps little and throws away much with
// each request, so that it would run dozens of times a second, in the way of calls that are under way. A higher GOGC would help as
// well, but would multiply what a gateway takes that has much alive, such as thousands of streams; this adds to it. Whoever
// has set GOGC or GOMEMLIMIT has decided that himself.
func newHeapRoom() []byte {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	return make([]byte, heapRoom)
}
