// No-gomemlimit shows a heap that is allowed to outgrow its container, since nobody told Go of the container's limit.
//
//	no-gomemlimit [MIB]      (default 128; run it in a memory cgroup with a limit of about 0.9 MIB)
//
// It allocates MIB/2 of live blocks of 64 KiB and collects.  By GOGC=100 the next collection is due at MIB, above the
// cgroup's limit, and no GOMEMLIMIT makes it come earlier.  It never grows there by itself: its peak is about MIB/2 and
// 10 MiB, so it can be started in the cgroup.
//
// All releases have it; those before 1.19 know no GOMEMLIMIT.  Run it without GOGC and GOMEMLIMIT.  It stands still:
// the forced collection after 2 minutes frees nothing.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   look through the live data: "OK 16 blocks", or "BAD n" with the number of blocks that are not whole
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

import "runtime"

const blockBytes = 64 << 10

var live [][]byte

func main() {
	for i := 0; i < sizeMiB()*mib/2/blockBytes; i++ {
		live = append(live, block(i, blockBytes))
	}
	runtime.GC()
	obey(check)
}

func check() string {
	return checkBlocks(live)
}
