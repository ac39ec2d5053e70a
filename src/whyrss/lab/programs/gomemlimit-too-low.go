// Gomemlimit-too-low shows a collector that runs without end, because GOMEMLIMIT is below what is alive.
//
//	gomemlimit-too-low [MIB]      (default 128; run it with GOMEMLIMIT=(MIB/2)MiB)
//
// It allocates MIB of live blocks of 1 MiB.  With a limit below that the goal of the heap is what is already there, so
// every allocation makes a collection due (runtime/mgcpacer.go, memoryLimitHeapGoal): a goroutine that allocates a
// block of 64 KiB every 25 ms causes one each time.  It is cheap only since there are no pointers to follow: all of it
// takes about a tenth of a CPU.  READY comes after at least 50 collections, and they go on: NumGC rises by
// dozens per second, and the heap does not get smaller.
//
// Go 1.19 and later have it; older ones know no GOMEMLIMIT, and are READY just as well after 2 seconds.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   look through the live data: "OK 16 blocks", or "BAD n" with the number of blocks that are not whole
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

import (
	"runtime"
	"time"
)

const (
	blockBytes  = 64 << 10
	collections = 50
	pause       = 25 * time.Millisecond
	patience    = 2 * time.Second
)

var live [][]byte

// passing is a package variable so that the blocks are on the heap; only the last is alive.
var passing []byte

func main() {
	for i := 0; i < sizeMiB(); i++ {
		live = append(live, block(i, mib))
	}
	go allocate()
	var m runtime.MemStats
	for started := time.Now(); m.NumGC < collections && time.Since(started) < patience; runtime.ReadMemStats(&m) {
		time.Sleep(pause)
	}
	obey(check)
}

func allocate() {
	for i := 0; ; i++ {
		passing = block(i, blockBytes)
		time.Sleep(pause)
	}
}

func check() string {
	return checkBlocks(live)
}
