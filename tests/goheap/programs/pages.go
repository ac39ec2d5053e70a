// Pages holds every kind of page of the Go heap, and tells runtime.MemStats about them.
//
//	pages [MIB]      (default 64)
//
// It keeps MIB of small objects with and without pointers and of large ones, runs goroutines with stacks of several
// sizes, lets others end, drops half of the objects, gives the free memory back, then drops some more.  It serves
// /debug/pprof/heap?debug=1 on a free port of 127.0.0.1, prints "READY {json}" with the port, then obeys lines:
//
//	stats   "STATS {json}": runtime.MemStats, read now
//	gc      a collection: "DONE"
//	churn   allocates in two goroutines until the next "calm": "DONE"
//	calm    "DONE"
//
// Compiles with Go 1.12 to 1.27.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
)

type node struct {
	next *node
	more [6]uintptr
}

type kept struct {
	nodes *node
	small [][]byte
	large [][]byte
}

var (
	all     []*kept
	churns  int32
	workers sync.WaitGroup
	sink    [2][]byte
)

func main() {
	mib := argument(1, 64)
	for i := 0; i < mib; i++ {
		all = append(all, oneMiB(i))
	}
	stacks(200)
	drop(3)
	debug.FreeOSMemory()
	drop(2)
	runtime.GC()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, "pages:", err)
		os.Exit(1)
	}
	go http.Serve(listener, nil)
	fmt.Printf("READY {\"port\": %d}\n", listener.Addr().(*net.TCPAddr).Port)
	obey()
}

// oneMiB is a third each of small objects with pointers, small ones without, and a large one.
func oneMiB(seed int) *kept {
	k := &kept{}
	const third = 1 << 20 / 3
	for n := 0; n < third; n += 64 {
		k.nodes = &node{next: k.nodes}
	}
	for n := 0; n < third; {
		size := 16 << uint((seed+len(k.small))%7)
		k.small = append(k.small, make([]byte, size))
		n += size
	}
	k.large = append(k.large, make([]byte, third+seed%5*8192))
	for i := range k.large[0] {
		k.large[0][i] = byte(i)
	}
	return k
}

// drop forgets every nth of what is kept, and half of the small objects of the others.
func drop(nth int) {
	for i, k := range all {
		if k == nil {
			continue
		}
		if i%nth == 0 {
			all[i] = nil
			continue
		}
		for j := 0; j < len(k.small); j += 2 {
			k.small[j] = nil
		}
	}
}

// stacks leaves `count` goroutines waiting on stacks of 2 to 64 KiB, and as many that ended.
func stacks(count int) {
	var ready sync.WaitGroup
	forever := make(chan bool)
	for i := 0; i < count; i++ {
		ready.Add(2)
		go func(depth int) { deep(depth, func() { ready.Done(); <-forever }) }(i % 6 * 8)
		go func(depth int) { deep(depth, func() { ready.Done() }) }(i % 9 * 16)
	}
	ready.Wait()
}

func deep(depth int, last func()) byte {
	var frame [512]byte
	frame[depth%512] = 1
	if depth == 0 {
		last()
		return frame[0]
	}
	return deep(depth-1, last) + frame[depth%512]
}

func obey() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch lines.Text() {
		case "stats":
			tell()
		case "gc":
			runtime.GC()
			fmt.Println("DONE")
		case "churn":
			churn()
			fmt.Println("DONE")
		case "calm":
			atomic.StoreInt32(&churns, 0)
			workers.Wait()
			fmt.Println("DONE")
		default:
			fmt.Printf("UNKNOWN %q\n", lines.Text())
		}
	}
}

func churn() {
	atomic.StoreInt32(&churns, 1)
	for w := 0; w < 2; w++ {
		workers.Add(1)
		go func(w int) {
			defer workers.Done()
			for i := 0; atomic.LoadInt32(&churns) == 1; i++ {
				sink[w] = make([]byte, 16<<uint(i%12))
			}
		}(w)
	}
}

func tell() {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	text, err := json.Marshal(&stats)
	if err != nil {
		fmt.Fprintln(os.Stderr, "pages:", err)
		os.Exit(1)
	}
	fmt.Printf("STATS %s\n", text)
}

func argument(at, otherwise int) int {
	if len(os.Args) <= at {
		return otherwise
	}
	n, err := strconv.Atoi(os.Args[at])
	if err != nil || n < 0 {
		fmt.Fprintf(os.Stderr, "pages: %q is no number\n", os.Args[at])
		os.Exit(2)
	}
	return n
}
