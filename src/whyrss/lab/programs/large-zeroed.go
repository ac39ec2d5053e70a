// Large-zeroed shows large objects with pointers that are resident although nobody wrote to them.
//
//	large-zeroed [MIB]      (default 128)
//
// It makes slices of pointers of 16 MiB each, together MIB (8 MiB each below 64 MIB), and never writes to them.
// Memory fresh from the kernel is zero, so no page need be touched; Go 1.24.0 to 1.24.5 clear it all the same
// (golang/go issue 72991), and MIB are resident.  Earlier releases, and 1.24.6 and later, leave it alone: HeapAlloc is
// MIB there too, and RSS is not.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   look for a pointer that is not nil: "OK 8 objects", or "BAD n" with the number of objects that have one
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
	mib          = 1 << 20
	pointerBytes = 8
)

var objects [][]*int

func main() {
	sizeMiB := argument(1, 128)
	objectMiB := 16
	if sizeMiB < 64 {
		objectMiB = 8
	}
	objects = make([][]*int, sizeMiB/objectMiB)
	for i := range objects {
		objects[i] = make([]*int, objectMiB*mib/pointerBytes)
	}
	fmt.Printf("READY %s\n", stats())
	obey()
}

// check only reads, and a page that was never written stays out of RSS when it is read.
func check() string {
	bad := 0
	for _, object := range objects {
		if !empty(object) {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Sprintf("BAD %d", bad)
	}
	return fmt.Sprintf("OK %d objects", len(objects))
}

func empty(object []*int) bool {
	for _, pointer := range object {
		if pointer != nil {
			return false
		}
	}
	return true
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
		fmt.Fprintf(os.Stderr, "large-zeroed: %q is no number of MiB\n", os.Args[at])
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
