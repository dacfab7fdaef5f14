package gateway_test

import (
	"testing"

	"github.com/safeconduct/safeconduct/internal/gateway"
)

func TestHeapRoom(t *testing.T) {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOGC", "")
			t.Setenv("GOMEMLIMIT", "")
			if gateway.HeapRoom() == 0 {
				t.Error("there is no room, though nobody has set anything")
			}
			t.Setenv(name, "100")
			if n := gateway.HeapRoom(); n != 0 {
				t.Errorf("with %s set there is room of %d bytes, want none", name, n)
			}
		})
	}
}
