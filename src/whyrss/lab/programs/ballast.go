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
// Compiles with Go 1.12 to 1.27.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
)

const (
	mib       = 1 << 20
	pageBytes = 4 << 10
)

var (
	ballast      []byte
	writtenBytes int
)

func main() {
	sizeMiB := argument(1, 128)
	ballast = make([]byte, 4*sizeMiB*mib)
	if resident() {
		writtenBytes = sizeMiB * mib
	}
	for at := 0; at < writtenBytes; at += pageBytes {
		ballast[at] = 1
	}
	runtime.GC()
	fmt.Printf("READY %s\n", stats())
	obey()
}

func resident() bool {
	if len(os.Args) <= 2 {
		return false
	}
	if os.Args[2] != "resident" {
		fmt.Fprintf(os.Stderr, "ballast: %q is not \"resident\"\n", os.Args[2])
		os.Exit(2)
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
	if bad > 0 {
		return fmt.Sprintf("BAD %d", bad)
	}
	return fmt.Sprintf("OK %d bytes", len(ballast))
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
		fmt.Fprintf(os.Stderr, "ballast: %q is no number of MiB\n", os.Args[at])
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
