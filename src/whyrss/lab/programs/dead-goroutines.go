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
//	check   look through a block that lived through it: "OK 1 block", or "BAD 1"
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

import (
	"runtime"
	"runtime/debug"
	"sync"
)

const (
	descriptorBytes = 416
	smallStackBytes = 2 * mib
	patience        = 10
)

var witness = filled(0, 64<<10)

func main() {
	burst(sizeMiB() * mib / 2 / descriptorBytes)
	collect()
	obey(check)
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

func check() string {
	if !intact(0, witness) {
		return "BAD 1"
	}
	return "OK 1 block"
}
