// Limit-goal-bug shows idle memory far above GOMEMLIMIT that the background scavenger of Go 1.19 to 1.21 ignores.
//
//	limit-goal-bug [MIB]      (default 128; run it with GOGC=off GOMEMLIMIT=(MIB/2)MiB)
//
// In these releases the scavenger's goal for the limit is the limit times (100 - 5), not times 0.95
// (golang/go issue 62449; runtime/mgcscavenge.go, gcPaceScavenger), thus never reached.  What is above the limit goes
// back only when a goroutine allocates pages, or by the other goal: 1.1 times what was in use when the marking ended,
// times the ratio of the heap's goal to the goal before.  So this program makes the other goal say "keep", and then
// allocates no more:
//
//  1. MIB of objects of 64 bytes, all alive.  Of every 16 spans of 8 KiB it keeps the first object in each of 15,
//     and nothing in the last, so that no chunk counts as dense (Go 1.21 and later leave dense chunks alone).
//  2. MIB/4 of live blocks of 1 MiB.  Two collections: what is in use is 1.2 MIB, what is marked is MIB/4.
//  3. It drops the objects and collects once.  Marked, and so the heap's goal, is still MIB/4: the ratio is 0.97.
//
// Then HeapIdle - HeapReleased is 0.94 MIB, Sys - HeapReleased is more than twice the limit, and it stays so, for with
// GOGC=off no collection is forced.  Go 1.22 and later, run the same way, give it back at 20 MiB per second or faster,
// down to 0.95 of the limit.  Go before 1.19 knows no GOMEMLIMIT and keeps it as scavenger-stuck does.
//
// Growing beyond the limit costs dozens of collections: READY comes after 1 second for 128, after 8 for 1024.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   look through the live data: "OK", or "BAD"
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Neither allocates.  Compiles with Go 1.12 to 1.27, together with common.go.
package main

import (
	"bufio"
	"io"
	"io/ioutil"
	"os"
	"runtime"
	"strconv"
)

const (
	speckBytes    = 64
	spanBytes     = 8 << 10
	specksPerSpan = spanBytes / speckBytes
	looseOneOf    = 16
)

var live [][]byte

type speck [speckBytes]byte

// Package variables, so that no stack slot keeps specks alive.
var specks, pins []*speck

// What an answer needs, made before the last collection.
var (
	figures runtime.MemStats
	line    = make([]byte, 0, 1024)
)

func main() {
	size := sizeMiB() * mib
	scatter(size)
	for i := 0; i < size/4/mib; i++ {
		live = append(live, block(i, mib))
	}
	runtime.GC()
	runtime.GC()
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 4096), 4096)
	// Once for nothing: the stack grows now, and not later.
	sayStats("READY ", ioutil.Discard)
	pins = nil
	runtime.GC()
	sayStats("READY ", os.Stdout)
	answer(lines)
}

// scatter leaves one live object per span of 8 KiB.
func scatter(size int) {
	specks = make([]*speck, size/speckBytes)
	for i := range specks {
		specks[i] = new(speck)
		specks[i][0] = 1
	}
	pins = make([]*speck, 0, len(specks)/specksPerSpan)
	for at := 0; at < len(specks); at += specksPerSpan {
		if at/specksPerSpan%looseOneOf != 0 {
			pins = append(pins, specks[at])
		}
	}
	specks = nil
	runtime.GC()
}

// answer is obey without allocations.
func answer(lines *bufio.Scanner) {
	for lines.Scan() {
		switch string(lines.Bytes()) {
		case "check":
			os.Stdout.Write(check())
		case "stats":
			sayStats("STATS ", os.Stdout)
		default:
			os.Stdout.Write(unknown)
		}
	}
}

var (
	ok      = []byte("OK\n")
	bad     = []byte("BAD\n")
	unknown = []byte("UNKNOWN\n")
)

func check() []byte {
	for number, content := range live {
		if !whole(number, content) {
			return bad
		}
	}
	return ok
}

func sayStats(word string, to io.Writer) {
	runtime.ReadMemStats(&figures)
	line = append(line[:0], word...)
	line = append(line, `{"go": "`...)
	line = append(line, runtime.Version()...)
	line = append(line, '"')
	field("pid", uint64(os.Getpid()))
	field("HeapAlloc", figures.HeapAlloc)
	field("HeapInuse", figures.HeapInuse)
	field("HeapIdle", figures.HeapIdle)
	field("HeapReleased", figures.HeapReleased)
	field("HeapSys", figures.HeapSys)
	field("StackInuse", figures.StackInuse)
	field("Sys", figures.Sys)
	field("NextGC", figures.NextGC)
	field("NumGC", uint64(figures.NumGC))
	line = append(line, "}\n"...)
	to.Write(line)
}

func field(name string, value uint64) {
	line = append(line, `, "`...)
	line = append(line, name...)
	line = append(line, `": `...)
	line = strconv.AppendUint(line, value, 10)
}
