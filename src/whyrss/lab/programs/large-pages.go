// Large-pages prepares free memory in holes that are smaller than a page of the kernel's.
//
//	large-pages [MIB]      (default 128)
//
// It fills MIB with objects of 8 KiB, one page of Go each, keeps one of them in each page of the kernel's, and calls
// debug.FreeOSMemory.  With pages of 64 KiB that is one of eight: none of what lies between them can be given back, and
// RSS stays at MIB, while HeapIdle less HeapReleased is 7/8 of it.  With pages of 4 KiB, where it keeps one of eight
// too, everything between them is given back, and RSS falls to MIB/8.
//
// All releases have it on a kernel with pages of 16 KiB or more (runtime/mgcscavenge.go: physPageSize); the processor is
// mostly arm64, ppc64le or loong64.  It needs no environment variables, and stands still.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   look through the live data: "OK 16 blocks", or "BAD n" with the number of blocks that are not whole
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

import (
	"os"
	"runtime/debug"
)

const (
	objectBytes = 8 << 10
	largePage   = 64 << 10
)

var live [][]byte

// dropped is a package variable so that no stack slot keeps its blocks alive.
var dropped [][]byte

func main() {
	live, dropped = oneOf(keepOneOf(), sizeMiB()*mib/objectBytes, objectBytes)
	dropped = nil
	// The second call frees what finalizers and the sweep of the first still held.
	debug.FreeOSMemory()
	debug.FreeOSMemory()
	obey(check)
}

// keepOneOf is how many pages of Go there are in one of the kernel's.
func keepOneOf() int {
	if pageBytes := os.Getpagesize(); pageBytes > objectBytes {
		return pageBytes / objectBytes
	}
	return largePage / objectBytes
}

func check() string {
	return checkBlocks(live)
}
