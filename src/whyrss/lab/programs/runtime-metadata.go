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
//	check   compute the sum of a block that lived through it: "OK 1 block", or "BAD 1"
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Compiles with Go 1.12 to 1.27.
package main

import (
	"bufio"
	"fmt"
	"hash/crc32"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
)

const (
	mib        = 1 << 20
	blockBytes = 64 << 10
)

// object has no pointers, and the runtime clears no memory that is fresh from the kernel.
type object [2]uint64

const objectBytes = 16

var (
	// last keeps the compiler from putting the objects on the stack.
	last     *object
	block    = newBlock()
	checksum = crc32.ChecksumIEEE(block)
)

func main() {
	peak(argument(1, 128) * 4 * mib / objectBytes)
	fmt.Printf("READY %s\n", stats())
	obey()
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

func newBlock() []byte {
	fresh := make([]byte, blockBytes)
	for at := range fresh {
		fresh[at] = byte(at * at >> 4)
	}
	return fresh
}

func check() string {
	if crc32.ChecksumIEEE(block) != checksum {
		return "BAD 1"
	}
	return "OK 1 block"
}

func obey() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch lines.Text() {
		case "check":
			fmt.Println(check())
		case "stats":
			fmt.Printf("STATS %s\n", stats())
		default:
			fmt.Printf("UNKNOWN %q\n", lines.Text())
		}
	}
}

func argument(at, otherwise int) int {
	if len(os.Args) <= at {
		return otherwise
	}
	n, err := strconv.Atoi(os.Args[at])
	if err != nil || n < 1 {
		fmt.Fprintf(os.Stderr, "runtime-metadata: %q is no number of MiB\n", os.Args[at])
		os.Exit(2)
	}
	return n
}

func stats() string {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return fmt.Sprintf(`{"go": %q, "pid": %d, "HeapAlloc": %d, "HeapInuse": %d, "HeapIdle": %d, "HeapReleased": %d, `+
		`"HeapSys": %d, "StackInuse": %d, "Sys": %d, "NextGC": %d, "NumGC": %d}`,
		runtime.Version(), os.Getpid(), m.HeapAlloc, m.HeapInuse, m.HeapIdle, m.HeapReleased,
		m.HeapSys, m.StackInuse, m.Sys, m.NextGC, m.NumGC)
}
