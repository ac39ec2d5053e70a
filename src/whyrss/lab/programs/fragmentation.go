// Fragmentation shows spans that one small object each keeps from being given back.
//
//	fragmentation [MIB]      (default 128)
//
// It fills MIB of 8 KiB spans with objects of 64 bytes, 128 in each, keeps the first of every 128, and collects the
// others: HeapInuse stays at MIB, HeapAlloc falls to a 128th of it, and neither a collection nor
// debug.FreeOSMemory can give back what lies between.  So in every release of Go.  No collection runs while it
// fills them, so that no slot is taken twice, and nothing else large is ever allocated.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   look at every object that was kept: "OK 16384 objects", or "BAD n" with the number that differ
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

import "runtime/debug"

const (
	objectBytes = 64
	spanBytes   = 8 << 10
	objectsSpan = spanBytes / objectBytes
)

// object has no pointers, and the runtime has a size class of just its size.
type object [objectBytes / 8]uint64

var kept []*object

// last keeps the compiler from putting objects on the stack.
var last *object

func main() {
	fill(sizeMiB())
	obey(check)
}

func fill(mibs int) {
	percent := debug.SetGCPercent(-1)
	kept = make([]*object, 0, mibs*mib/spanBytes)
	for len(kept) < cap(kept) {
		kept = append(kept, newObject(len(kept)))
		for i := 1; i < objectsSpan; i++ {
			last = newObject(i)
		}
	}
	last = nil
	debug.SetGCPercent(percent)
	debug.FreeOSMemory()
	debug.FreeOSMemory()
}

func newObject(number int) *object {
	fresh := new(object)
	for i := range fresh {
		fresh[i] = uint64(number) + 1
	}
	return fresh
}

func check() string {
	bad := 0
	for number, each := range kept {
		if each[0] != uint64(number)+1 || each[len(each)-1] != uint64(number)+1 {
			bad++
		}
	}
	return verdict(bad, len(kept), "objects")
}
