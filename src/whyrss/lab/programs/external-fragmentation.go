// External-fragmentation shows free memory in holes that are too small for what the program allocates.
//
//	external-fragmentation [MIB]      (default 128)
//
// It allocates MIB of live blocks of 128 KiB and collects; then, up to 55 % of the way to NextGC, so that no collection
// starts meanwhile, blocks of 8 KiB (one page of Go), of which it keeps one of nine; collects, which leaves 0.49 MIB in
// holes of 64 KiB; and allocates MIB/8 more in blocks of 128 KiB, which fit into no hole, so that the heap grows.
//
// The holes stay idle and resident: the scavenger keeps 1.1 times what was in use when the marking ended (the garbage
// still counted) times the ratio of the heap's goal to the goal before, here 1.06; that is 1.8 MIB, and more than there
// is (runtime/mgcscavenge.go, gcPaceScavenger).
//
// All releases have it, with GOGC=100 and without GOMEMLIMIT.  (Go 1.12 scavenges when the heap grows, up to MIB/8 of
// the holes.)  It stands still until the collection that is forced 2 minutes after the last one.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   look through the live data: "OK 16 blocks", or "BAD n" with the number of blocks that are not whole
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

import "runtime"

const (
	largeBytes = 128 << 10
	pageBytes  = 8 << 10
	keepOneOf  = 9
)

var live [][]byte

// passing is a package variable so that the blocks are on the heap; only the last is alive.
var passing []byte

func main() {
	size := sizeMiB() * mib
	// Made at once, for the old arrays of a growing slice leave holes of their own.
	live = make([][]byte, 0, 2*size/largeBytes+size/pageBytes/keepOneOf)
	enlarge(size)
	runtime.GC()
	perforate()
	runtime.GC()
	enlarge(size / 8)
	obey(check)
}

func enlarge(size int) {
	for i := 0; i < size/largeBytes; i++ {
		live = append(live, block(len(live), largeBytes))
	}
}

// perforate takes blocks of one size, since pages of one size are handed out in the order of their addresses.
func perforate() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	runway := int(m.NextGC) - int(m.HeapAlloc)
	for i := 0; i < runway*55/100/pageBytes; i++ {
		if i%keepOneOf == 0 {
			live = append(live, block(len(live), pageBytes))
		} else {
			passing = block(i, pageBytes)
		}
	}
	passing = nil
}

func check() string {
	return checkBlocks(live)
}
