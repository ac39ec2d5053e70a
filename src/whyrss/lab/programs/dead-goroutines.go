// Dead-goroutines shows what a burst of goroutines leaves behind when all of them have ended.
//
//	dead-goroutines [MIB]      (default 128)
//
// So many goroutines live at one time that their descriptors (the runtime's type g, 384 to 480 bytes by release)
// are about half of MIB; then all end, and collections follow until their stacks are given back.  The descriptors
// stay: the runtime keeps every g that it ever made, to use it again, and counts it in HeapAlloc.  So in every
// release of Go.  At the peak the stacks (2 KiB each) are about 2.4 times MIB: where Go frees by MADV_FREE (1.12
// to 1.15) they stay in RSS as LazyFree; run it there with GODEBUG=madvdontneed=1 to see the descriptors alone.
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
	"sync"
)

const (
	mib             = 1 << 20
	descriptorBytes = 416
	blockBytes      = 64 << 10
	smallStackBytes = 2 * mib
	patience        = 10
)

var (
	block    = newBlock()
	checksum = crc32.ChecksumIEEE(block)
)

func main() {
	burst(argument(1, 128) * mib / 2 / descriptorBytes)
	collect()
	fmt.Printf("READY %s\n", stats())
	obey()
}

// burst starts them all before it lets the first one end: an ended goroutine's descriptor would be used again.
func burst(goroutines int) {
	gate := make(chan bool)
	var ended sync.WaitGroup
	ended.Add(goroutines)
	for i := 0; i < goroutines; i++ {
		go func() {
			<-gate
			ended.Done()
		}()
	}
	close(gate)
	ended.Wait()
}

// collect goes on until the stacks are gone: a collection frees those of goroutines that ended before it, and the
// spans of the stacks only thereafter.
func collect() {
	for i := 0; i < patience; i++ {
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		if m.StackInuse < smallStackBytes && i > 0 {
			return
		}
	}
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
		fmt.Fprintf(os.Stderr, "dead-goroutines: %q is no number of MiB\n", os.Args[at])
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
