// Scavenger-stuck shows idle memory that the scavenger will never give back, for it has no goal.
//
//	scavenger-stuck [MIB]      (default 128; run it with GOGC=off)
//
// It allocates MIB in blocks of 1 MiB with a live block of 64 KiB after every eighth, drops the first, and collects
// once.  HeapIdle - HeapReleased is MIB and stays so.  The scavenger keeps 1.1 times what was in use when the marking
// ended, times the ratio of the heap's goal to the goal before (runtime/mgcscavenge.go, gcPaceScavenger).  What it
// counts as in use is from before the sweep, with the garbage in it, and only a later collection would count anew; but
// with GOGC=off none comes, not even the one that is forced every 2 minutes, and both goals are infinite.  In Go 1.12
// the free memory would be scavenged after 5 minutes.
//
// All releases have it, with GOGC=off in the environment.  It stands still for good.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   look through the live data: "OK 16 blocks", or "BAD n" with the number of blocks that are not whole
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

import "runtime"

var live [][]byte

// dropped is a package variable so that no stack slot keeps its blocks alive.
var dropped [][]byte

func main() {
	live, dropped = spike(sizeMiB())
	dropped = nil
	runtime.GC()
	obey(check)
}

func check() string {
	return checkBlocks(live)
}
