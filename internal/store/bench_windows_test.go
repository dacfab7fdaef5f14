package store_test

import "time"

func processCPU() time.Duration { return 0 }
