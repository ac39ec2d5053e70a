// Ballast shows a large block that is there only to make collections rare.
//
//	ballast [MIB [resident]]      (default 128)
//
// It allocates one []byte of 4 times MIB.  Nobody writes to it, so it is in HeapAlloc, and doubles the size at which
// the next collection begins, but not in RSS: the good case.  With the word resident the first quarter of it is
// written to once, as a curious loop, a copy or huge pages would do it, and MIB are resident for good.  So in every
// release of Go; from 1.19 on GOMEMLIMIT does what a ballast is for.  Up to Go 1.19 the runtime's bitmap of it costs a
// 32nd of its size all the same, and in 1.20 and 1.21 a 64th.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   look at the ballast: "OK 536870912 bytes", or "BAD n" with the number of pages that differ
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

import (
	"os"
	"runtime"
)

const pageBytes = 4 << 10

var (
	ballast      []byte
	writtenBytes int
)

func main() {
	size := sizeMiB() * mib
	ballast = make([]byte, 4*size)
	if resident() {
		writtenBytes = size
	}
	for at := 0; at < writtenBytes; at += pageBytes {
		ballast[at] = 1
	}
	runtime.GC()
	obey(check)
}

func resident() bool {
	if len(os.Args) <= 2 {
		return false
	}
	if os.Args[2] != "resident" {
		fail(2, "%q is not \"resident\"", os.Args[2])
	}
	return true
}

// check only reads, and a page that was never written stays out of RSS when it is read.
func check() string {
	bad := 0
	for at := 0; at < len(ballast); at += pageBytes {
		if (ballast[at] == 1) != (at < writtenBytes) {
			bad++
		}
	}
	return verdict(bad, len(ballast), "bytes")
}
