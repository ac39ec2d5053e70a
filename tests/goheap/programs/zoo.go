// Zoo makes pages of every kind, keeps them still, and tells its own runtime.MemStats about them.
//
//	zoo [MIB]      (default 48)
//
// It keeps small objects with and without pointers, a map, large objects, one that was never touched, objects with
// finalizers, goroutines on stacks of several sizes and the stacks of others that ended.  It gives free memory back,
// then frees some more, so that some pages are released and some only free.  zoo.py adds memory of malloc, by cgo.
// It prints "READY {MemStats}", then obeys lines:
//
//	stats   "STATS {MemStats}", read now
//	check   "CHECK SUM": a checksum of all that it keeps; the same as long as nobody wrote to it
//	churn   allocates, maps and unmaps memory in two goroutines until the next "calm": "DONE"
//	calm    "DONE"
//
// Compiles with Go 1.12 to 1.27.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
)

const (
	mib            = 1 << 20
	untouchedBytes = 16 * mib
	goroutines     = 200
)

type node struct {
	next  *node
	value uint64
	more  [4]uint64
}

// exhibit is about one MiB.
type exhibit struct {
	nodes *node
	small [][]byte
	large []byte
	names map[int]string
}

var (
	kept      []*exhibit
	untouched []byte
	forever   = make(chan bool)
	churning  int32
	workers   sync.WaitGroup
	sinks     [2][]byte
)

func main() {
	count := argument(1, 48)
	for i := 0; i < count; i++ {
		kept = append(kept, newExhibit(i))
	}
	untouched = make([]byte, untouchedBytes)
	occupyStacks()
	drop(3)
	debug.FreeOSMemory()
	drop(4)
	runtime.GC()
	// The linker switches the memory profile off in a program that never asks for it (runtime.disableMemoryProfiling).
	runtime.MemProfile(nil, false)
	tell("READY")
	obey()
}

func newExhibit(seed int) *exhibit {
	e := &exhibit{names: map[int]string{}}
	for i := 0; i < 6000; i++ {
		e.nodes = &node{next: e.nodes, value: uint64(seed * i)}
	}
	for size, n := 0, 0; n < 300000; n += size {
		size = 16 << uint((seed+len(e.small))%8)
		e.small = append(e.small, filled(size, seed))
	}
	e.large = filled(300000+seed%7*8192, seed)
	for i := 0; i < 500; i++ {
		e.names[i] = strconv.Itoa(seed * i)
	}
	runtime.SetFinalizer(e, func(*exhibit) {})
	return e
}

func filled(size, seed int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i + seed)
	}
	return b
}

// drop forgets every nth exhibit, and every other of the small objects of the rest.
func drop(nth int) {
	left := kept[:0]
	for i, e := range kept {
		if i%nth == 0 {
			continue
		}
		for j := 0; j < len(e.small); j += 2 {
			e.small[j] = nil
		}
		left = append(left, e)
	}
	for i := len(left); i < len(kept); i++ {
		kept[i] = nil
	}
	kept = left
}

// occupyStacks leaves goroutines waiting on stacks of 2 to 64 KiB, and the free stacks of as many that ended.
func occupyStacks() {
	var ready sync.WaitGroup
	ready.Add(2 * goroutines)
	for i := 0; i < goroutines; i++ {
		go descend(i%6*8, func() { ready.Done(); <-forever })
		go descend(i%9*16, ready.Done)
	}
	ready.Wait()
}

func descend(depth int, last func()) byte {
	var frame [512]byte
	frame[depth%512] = 1
	if depth == 0 {
		last()
		return frame[0]
	}
	return descend(depth-1, last) + frame[depth%512]
}

func obey() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch lines.Text() {
		case "stats":
			tell("STATS")
		case "check":
			fmt.Printf("CHECK %016x\n", checksum())
		case "churn":
			churn()
			fmt.Println("DONE")
		case "calm":
			atomic.StoreInt32(&churning, 0)
			workers.Wait()
			fmt.Println("DONE")
		default:
			fmt.Printf("UNKNOWN %q\n", lines.Text())
		}
	}
}

// checksum reads all that is kept but the untouched object, which it would touch.
func checksum() uint64 {
	sum := uint64(len(kept))
	for _, e := range kept {
		for n := e.nodes; n != nil; n = n.next {
			sum = sum*31 + n.value
		}
		for _, b := range append(e.small, e.large) {
			for _, c := range b {
				sum = sum*31 + uint64(c)
			}
		}
		for i := 0; i < len(e.names); i++ {
			for _, c := range e.names[i] {
				sum = sum*31 + uint64(c)
			}
		}
	}
	return sum
}

func churn() {
	atomic.StoreInt32(&churning, 1)
	for w := 0; w < len(sinks); w++ {
		workers.Add(1)
		go func(w int) {
			defer workers.Done()
			for i := 0; atomic.LoadInt32(&churning) == 1; i++ {
				sinks[w] = make([]byte, 16<<uint(i%12))
				if i%1000 == 0 {
					mapAndUnmap()
				}
			}
		}(w)
	}
}

func mapAndUnmap() {
	b, err := syscall.Mmap(-1, 0, mib, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		fmt.Fprintln(os.Stderr, "zoo: mmap:", err)
		os.Exit(1)
	}
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	syscall.Munmap(b)
}

func tell(word string) {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	text, err := json.Marshal(&stats)
	if err != nil {
		fmt.Fprintln(os.Stderr, "zoo:", err)
		os.Exit(1)
	}
	fmt.Printf("%s %s\n", word, text)
}

func argument(at, otherwise int) int {
	if len(os.Args) <= at {
		return otherwise
	}
	n, err := strconv.Atoi(os.Args[at])
	if err != nil || n < 0 {
		fmt.Fprintf(os.Stderr, "zoo: %q is no number\n", os.Args[at])
		os.Exit(2)
	}
	return n
}
