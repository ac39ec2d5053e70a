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
	mib        = 1 << 20
	markEvery  = 512
	blockBytes = 64 << 10
)

var live [][]byte

func main() {
	for i := 0; i < sizeMiB()*mib/2/blockBytes; i++ {
		live = append(live, block(i, blockBytes))
	}
	runtime.GC()
	fmt.Printf("READY %s\n", stats())
	obey()
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
		fmt.Fprintf(os.Stderr, "no-gomemlimit: %q is no number of MiB\n", os.Args[1])
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
