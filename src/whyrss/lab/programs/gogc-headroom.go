// Gogc-headroom shows garbage that the collector has not come to yet, because GOGC lets the heap grow so far.
//
//	gogc-headroom [MIB]      (default 128; run it with GOGC=400)
//
// It allocates MIB/2 of live blocks of 1 KiB, collects, and lets MIB of garbage in blocks of 1 KiB follow, but no more
// than 55 % of the way to NextGC, as a collection starts at 60 % (Go 1.18) or 70 % at the earliest
// (runtime/mgcpacer.go).  So no collection runs: HeapAlloc is 1.5 MIB, of which MIB are garbage.  With GOGC=100 the
// same holds with 0.27 MIB of garbage.
//
// All releases have it.  GOGC=400 in the environment; it stands still until the collection that is forced 2 minutes
// after the last one.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   look through the live data: "OK 16 blocks", or "BAD n" with the number of blocks that are not whole
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

import "runtime"

const blockBytes = 1 << 10

var live [][]byte

// garbage is a package variable so that the blocks are on the heap; only the last is alive.
var garbage []byte

func main() {
	size := sizeMiB() * mib
	for i := 0; i < size/2/blockBytes; i++ {
		live = append(live, block(i, blockBytes))
	}
	runtime.GC()
	blocks := smaller(size, runway()*55/100) / blockBytes
	for i := 0; i < blocks; i++ {
		garbage = block(i, blockBytes)
	}
	garbage = nil
	obey(check)
}

// runway is what can be allocated until the goal of the next collection; without a goal (GOGC=off) it has no end.
func runway() int {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.NextGC > 1<<62 {
		return 1 << 40
	}
	return int(m.NextGC) - int(m.HeapAlloc)
}

func smaller(a, b int) int {
	if a < b {
		return a
	}
	return b
}

func check() string {
	return checkBlocks(live)
}
