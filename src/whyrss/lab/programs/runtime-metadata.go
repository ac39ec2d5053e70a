// Runtime-metadata shows the runtime's own books, which a large heap leaves behind when it is gone.
//
//	runtime-metadata [MIB]      (default 128)
//
// It allocates 4 times MIB of small objects without a collection, drops them all, and gives the heap back.  The
// descriptor of each span (160 bytes for 8 KiB), the bits that mark its objects, the tables that lead from an address to
// its span, and (Go 1.21 and earlier) the bitmap of the pointers stay: the runtime uses them again but never frees
// them.  So in every release of Go.  The objects themselves are never written, hence never resident: what RSS is
// more than that of an empty program are the books.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   look through a block that lived through it: "OK 1 block", or "BAD 1"
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

import "runtime/debug"

// object has no pointers, and the runtime clears no memory that is fresh from the kernel.
type object [2]uint64

const objectBytes = 16

var (
	// last keeps the compiler from putting the objects on the stack.
	last    *object
	witness = filled(0, 64<<10)
)

func main() {
	peak(sizeMiB() * 4 * mib / objectBytes)
	obey(check)
}

func peak(objects int) {
	percent := debug.SetGCPercent(-1)
	for i := 0; i < objects; i++ {
		last = new(object)
	}
	last = nil
	debug.SetGCPercent(percent)
	debug.FreeOSMemory()
	debug.FreeOSMemory()
}

func check() string {
	if !intact(0, witness) {
		return "BAD 1"
	}
	return "OK 1 block"
}
