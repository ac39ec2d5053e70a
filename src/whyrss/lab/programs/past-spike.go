// Past-spike shows what a spike leaves that is long over and given back: a small process with large figures.
//
//	past-spike [MIB]      (default 128)
//
// It allocates MIB in blocks of 1 MiB with a live block of 64 KiB after every eighth, drops the first, and calls
// debug.FreeOSMemory.  RSS is small; VmHWM, HeapSys, HeapReleased and Sys tell of the spike for the rest of its life.
//
// All releases have it; run Go 1.12 to 1.15 with GODEBUG=madvdontneed=1, else the memory stays in RSS as LazyFree.  It
// stands still for good.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   look through the live data: "OK 16 blocks", or "BAD n" with the number of blocks that are not whole
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

import "runtime/debug"

var live [][]byte

// dropped is a package variable so that no stack slot keeps its blocks alive.
var dropped [][]byte

func main() {
	live, dropped = spike(sizeMiB())
	dropped = nil
	debug.FreeOSMemory()
	debug.FreeOSMemory()
	obey(check)
}

func check() string {
	return checkBlocks(live)
}
