// Goroutine-leak shows goroutines that wait for ever, each with its stack.
//
//	goroutine-leak [MIB]      (default 128)
//
// The function serve starts handleRequest 256 times for each MIB; each waits for an answer on a channel that nobody
// else knows, on a stack of 4 KiB: StackInuse is MIB, and the descriptors of the goroutines, their channels
// and places in the queues, which lie on the heap, are another sixth of it.  Two collections follow, so that the
// runtime marks them as waiting for longer than a collection.  So in every release of Go.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   count the goroutines that wait: "OK 32768 goroutines", or "BAD n" with the number that are gone
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

import (
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// requestBytes makes a stack outgrow its first 2 KiB, and keeps it well below the 4 KiB that follow.
const (
	requestBytes  = 800
	stacksPerMiB  = 256
	settlingMilli = 50
)

var (
	started sync.WaitGroup
	before  int
	leaked  int
)

func main() {
	before = runtime.NumGoroutine()
	leaked = sizeMiB() * stacksPerMiB
	serve(leaked)
	obey(check)
}

// serve allows no collection before all wait: one on the way would make the later stacks begin larger.
func serve(requests int) {
	percent := debug.SetGCPercent(-1)
	started.Add(requests)
	for number := 0; number < requests; number++ {
		go handleRequest(number, make(chan byte))
	}
	started.Wait()
	time.Sleep(settlingMilli * time.Millisecond)
	debug.SetGCPercent(percent)
	runtime.GC()
	runtime.GC()
}

//go:noinline
func handleRequest(number int, answer chan byte) byte {
	var request [requestBytes]byte
	for at := range request {
		request[at] = byte(number + at)
	}
	started.Done()
	return <-answer + request[number%requestBytes]
}

func check() string {
	gone := before + leaked - runtime.NumGoroutine()
	return verdict(gone, leaked, "goroutines")
}
