// Hugepage-refill prepares memory that huge pages can fill up again after Go has given it back.
//
//	hugepage-refill [MIB]      (default 128)
//
// It fills MIB with objects of 8 KiB, keeps the first of each 32, and calls debug.FreeOSMemory: one live page of Go per
// 256 KiB, so that every huge page of 2 MiB holds eight of them and is released for the rest.  RSS falls to about
// MIB/32.  Nothing refills it by itself where THP is set to madvise; do it from outside by process_madvise with
// MADV_COLLAPSE on the 2 MiB-aligned ranges of its heap, which is what khugepaged does with THP set to always and
// khugepaged/max_ptes_none at its default of 511.  Then RSS is MIB again, and HeapReleased still counts it as gone.
//
// Go 1.21.1 and later have it.  Go 1.20 and older put MADV_NOHUGEPAGE on what they release, and the collapse is refused
// (runtime/mem_linux.go, sysUnused); so does 1.21.0.  Go 1.12 to 1.15 keep it as LazyFree besides.  It needs no
// environment variables, and stands still: the forced collection after 2 minutes frees nothing.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   look through the live data: "OK 16 blocks", or "BAD n" with the number of blocks that are not whole
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

import "runtime/debug"

const (
	objectBytes = 8 << 10
	keepOneOf   = 32
)

var live [][]byte

// dropped is a package variable so that no stack slot keeps its blocks alive.
var dropped [][]byte

func main() {
	live, dropped = oneOf(keepOneOf, sizeMiB()*mib/objectBytes, objectBytes)
	dropped = nil
	// The second call frees what finalizers and the sweep of the first still held.
	debug.FreeOSMemory()
	debug.FreeOSMemory()
	obey(check)
}

func check() string {
	return checkBlocks(live)
}
