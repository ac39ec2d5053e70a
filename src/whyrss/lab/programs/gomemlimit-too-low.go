// Gomemlimit-too-low shows a collector that runs without end, because GOMEMLIMIT is below what is alive.
//
//	gomemlimit-too-low [MIB]      (default 128; run it with GOMEMLIMIT=(MIB/2)MiB)
//
// It allocates MIB of live blocks of 1 MiB.  With a limit below that the goal of the heap is what is already there, so
// every allocation makes a collection due (runtime/mgcpacer.go, memoryLimitHeapGoal): a goroutine that allocates a
// block of 64 KiB every 25 ms causes one each time.  It is cheap only since there are no pointers to follow: all of it
// takes about a tenth of a CPU.  READY comes after at least 50 collections, and they go on: NumGC rises by
// dozens per second, and the heap does not get smaller.
//
// Go 1.19 and later have it; older ones know no GOMEMLIMIT, and are READY just as well after 2 seconds.
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
	"strconv"
	"time"
)

const (
	mib         = 1 << 20
	markEvery   = 512
	blockBytes  = 64 << 10
	collections = 50
	pause       = 25 * time.Millisecond
	patience    = 2 * time.Second
)

var live [][]byte

// passing is a package variable so that the blocks are on the heap; only the last is alive.
var passing []byte

func main() {
	for i := 0; i < sizeMiB(); i++ {
		live = append(live, block(i, mib))
	}
	go allocate()
	var m runtime.MemStats
	for started := time.Now(); m.NumGC < collections && time.Since(started) < patience; runtime.ReadMemStats(&m) {
		time.Sleep(pause)
	}
	fmt.Printf("READY %s\n", stats())
	obey()
}

func allocate() {
	for i := 0; ; i++ {
		passing = block(i, blockBytes)
		time.Sleep(pause)
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
		fmt.Fprintf(os.Stderr, "gomemlimit-too-low: %q is no number of MiB\n", os.Args[1])
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
