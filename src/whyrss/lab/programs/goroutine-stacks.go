// Goroutine-stacks shows goroutines with deep stacks: memory that is neither heap objects nor free.
//
//	goroutine-stacks [MIB]      (default 128)
//
// It parks goroutines deep in a recursion, each on a stack of 256 KiB (1 MiB from 256 MIB on) that is used to nine
// tenths, so that no collection can halve it: StackInuse is MIB.  They come from three places in the program
// (startParsers, startRenderers, startWalkers), and each starts when the one before has parked, so that it grows
// through the stacks that the other left.  So in every release of Go.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   have every goroutine look at its deepest frame: "OK 512 goroutines", or "BAD n" with the number that differ
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

import "runtime/debug"

const frameBytes = 4 << 10

var (
	count  int
	parked = make(chan bool)
	pings  = make(chan bool)
	pongs  = make(chan bool)
)

func main() {
	size := sizeMiB() * mib
	stackBytes := 256 << 10
	if size >= 256*mib {
		stackBytes = mib
	}
	levels := stackBytes / frameBytes * 9 / 10
	count = size / stackBytes
	startParsers(count/4, levels)
	startRenderers(count/4, levels)
	startWalkers(count-count/4*2, levels)
	debug.FreeOSMemory()
	debug.FreeOSMemory()
	obey(check)
}

func startParsers(number, levels int) {
	for i := 0; i < number; i++ {
		go descend(levels)
		<-parked
	}
}

func startRenderers(number, levels int) {
	for i := 0; i < number; i++ {
		go descend(levels)
		<-parked
	}
}

func startWalkers(number, levels int) {
	for i := 0; i < number; i++ {
		go descend(levels)
		<-parked
	}
}

// descend parks below that many frames of frameBytes, and answers pings there.
//
//go:noinline
func descend(levels int) bool {
	var frame [frameBytes]byte
	for at := range frame {
		frame[at] = byte(levels + at)
	}
	if levels > 1 {
		return descend(levels-1) && unchanged(&frame, levels)
	}
	parked <- true
	for range pings {
		pongs <- unchanged(&frame, levels)
	}
	return true
}

func unchanged(frame *[frameBytes]byte, levels int) bool {
	for at, is := range frame {
		if is != byte(levels+at) {
			return false
		}
	}
	return true
}

// check relies on a channel's receivers being served in the order in which they came: each is asked once.
func check() string {
	bad := 0
	for i := 0; i < count; i++ {
		pings <- true
		if !<-pongs {
			bad++
		}
	}
	return verdict(bad, count, "goroutines")
}
