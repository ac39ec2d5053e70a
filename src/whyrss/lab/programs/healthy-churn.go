// Healthy-churn is a program that replaces its data all the time: nothing is wrong with it.
//
//	healthy-churn [MIB]      (default 128)
//
// It holds a ring of about half of MIB: maps of 8 to 135 entries, lists of small nodes, and slices of 16 bytes to
// 64 KiB, and replaces the oldest item by a new one of another size, over and over.  It is READY when the ring has been
// replaced twice and eight collections have run, with GOGC as it is given; then it goes on at a pace that
// replaces the ring in about ten seconds.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   look at every item: "OK 4096 items", or "BAD n" with the number that differ
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

import (
	"fmt"
	"runtime"
	"sync"
	"time"
)

const (
	itemsPerMiB  = 64
	collections  = 8
	turnMillis   = 10000
	tickMillis   = 10
	ticksForTurn = turnMillis / tickMillis
)

// node is an element of a list; all of an item have its seed.
type node struct {
	next *node
	seed int
}

// item is one of a map, a list and a slice; which, and how large it is, follows from its seed.
type item struct {
	seed   int
	byName map[string]int
	list   *node
	bytes  []byte
}

var (
	guard sync.Mutex
	ring  []*item
	seed  int
)

func main() {
	ring = make([]*item, sizeMiB()/2*itemsPerMiB)
	settle()
	go churn()
	obey(check)
}

func settle() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	for begin := m.NumGC; seed < 3*len(ring) || m.NumGC < begin+collections; runtime.ReadMemStats(&m) {
		replace(len(ring) / 4)
	}
}

func churn() {
	for range time.Tick(tickMillis * time.Millisecond) {
		replace((len(ring) + ticksForTurn - 1) / ticksForTurn)
	}
}

func replace(items int) {
	for i := 0; i < items; i++ {
		fresh := newItem(seed)
		guard.Lock()
		ring[seed%len(ring)] = fresh
		seed++
		guard.Unlock()
	}
}

// newItem makes sizes that are spread by multiplication with a large prime number.
func newItem(seed int) *item {
	made := &item{seed: seed}
	size := int(uint32(seed*2654435761) >> 16)
	switch seed % 4 {
	case 0:
		made.byName = newMap(seed, 8+size%128)
	case 1:
		for i := 0; i < size%512; i++ {
			made.list = &node{made.list, seed}
		}
	default:
		made.bytes = filled(seed, 16+size)
	}
	return made
}

func newMap(seed, entries int) map[string]int {
	made := map[string]int{}
	for i := 0; i < entries; i++ {
		made[fmt.Sprintf("%d-%d", seed, i)] = seed
	}
	return made
}

func check() string {
	guard.Lock()
	defer guard.Unlock()
	bad := 0
	for _, each := range ring {
		if !each.whole() {
			bad++
		}
	}
	return verdict(bad, len(ring), "items")
}

func (each *item) whole() bool {
	for _, is := range each.byName {
		if is != each.seed {
			return false
		}
	}
	for at := each.list; at != nil; at = at.next {
		if at.seed != each.seed {
			return false
		}
	}
	return intact(each.seed, each.bytes)
}
