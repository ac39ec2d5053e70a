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
// Compiles with Go 1.12 to 1.27.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
)

const (
	mib         = 1 << 20
	markEvery   = 512
	objectBytes = 8 << 10
	keepOneOf   = 32
)

var live [][]byte

// dropped is a package variable so that no stack slot keeps its blocks alive.
var dropped [][]byte

func main() {
	fill(sizeMiB() * mib / objectBytes)
	dropped = nil
	// The second call frees what finalizers and the sweep of the first still held.
	debug.FreeOSMemory()
	debug.FreeOSMemory()
	fmt.Printf("READY %s\n", stats())
	obey()
}

func fill(objects int) {
	live = make([][]byte, 0, objects/keepOneOf+1)
	dropped = make([][]byte, 0, objects)
	for i := 0; i < objects; i++ {
		if i%keepOneOf == 0 {
			live = append(live, block(len(live), objectBytes))
		} else {
			dropped = append(dropped, block(i, objectBytes))
		}
	}
}

// obey answers the lines of standard input until that ends.
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

func sizeMiB() int {
	if len(os.Args) < 2 {
		return 128
	}
	n, err := strconv.Atoi(os.Args[1])
	if err != nil || n < 1 {
		fmt.Fprintf(os.Stderr, "hugepage-refill: %q is no number of MiB\n", os.Args[1])
		os.Exit(2)
	}
	return n
}

// block is resident as a whole: all of its pages are written, by marks that check finds again.
func block(number, size int) []byte {
	content := make([]byte, size)
	for at := 0; at < size; at += markEvery {
		content[at] = byte(number + at/markEvery)
	}
	return content
}

func check() string {
	bad := 0
	for number, content := range live {
		for at := 0; at < len(content); at += markEvery {
			if content[at] != byte(number+at/markEvery) {
				bad++
				break
			}
		}
	}
	if bad > 0 {
		return fmt.Sprintf("BAD %d", bad)
	}
	return fmt.Sprintf("OK %d blocks", len(live))
}

func stats() string {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return fmt.Sprintf(`{"go": %q, "pid": %d, "HeapAlloc": %d, "HeapInuse": %d, "HeapIdle": %d, "HeapReleased": %d, `+
		`"HeapSys": %d, "StackInuse": %d, "Sys": %d, "NextGC": %d, "NumGC": %d}`,
		runtime.Version(), os.Getpid(), m.HeapAlloc, m.HeapInuse, m.HeapIdle, m.HeapReleased,
		m.HeapSys, m.StackInuse, m.Sys, m.NextGC, m.NumGC)
}
