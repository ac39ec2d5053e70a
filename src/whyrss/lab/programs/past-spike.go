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
	mib       = 1 << 20
	markEvery = 512
	liveBytes = 64 << 10
)

var live [][]byte

// dropped is a package variable so that no stack slot keeps its blocks alive.
var dropped [][]byte

func main() {
	spike(sizeMiB())
	dropped = nil
	debug.FreeOSMemory()
	debug.FreeOSMemory()
	fmt.Printf("READY %s\n", stats())
	obey()
}

func spike(mibs int) {
	for i := 0; i < mibs; i++ {
		dropped = append(dropped, block(i, mib))
		if i%8 == 0 {
			live = append(live, block(len(live), liveBytes))
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
		fmt.Fprintf(os.Stderr, "past-spike: %q is no number of MiB\n", os.Args[1])
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
