// Profiling-buckets shows what the memory profile costs when it sees very many different stacks.
//
//	profiling-buckets [MIB]      (default 128)
//
// With runtime.MemProfileRate at 1 it allocates a small object at the end of each of very many different paths through
// two functions that call each other.  The runtime keeps a bucket for each stack that it has seen, outside the
// heap and for good, until these (BuckHashSys) have grown by a quarter of MIB.  Then the rate is as before, and the
// objects are collected.  So in every release of Go; a program with one deep recursion or generated code does the
// same at a high rate, and Go 1.23 keeps up to 128 frames of a stack in place of 32.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   count the records of the memory profile: "OK 98307 records", or "BAD n" with the number that are missing
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

import (
	"runtime"
	"runtime/debug"
)

// levels is below 32, which all releases record, with what main and the runtime add; 2 to its power are the paths.
const (
	levels      = 24
	pathsAtOnce = 4096
)

var (
	paths uint
	// last keeps the compiler from putting the objects on the stack.
	last *[2]uint64
)

func main() {
	rate := runtime.MemProfileRate
	runtime.MemProfileRate = 1
	fill(uint64(sizeMiB()) * mib / 4)
	runtime.MemProfileRate = rate
	last = nil
	debug.FreeOSMemory()
	debug.FreeOSMemory()
	obey(check)
}

func fill(bytes uint64) {
	for begin := bucketBytes(); bucketBytes() < begin+bytes; {
		for i := 0; i < pathsAtOnce; i++ {
			left(paths, levels)
			paths++
		}
	}
}

func bucketBytes() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.BuckHashSys
}

// left and right allocate at the end of the path, whose lowest bit tells where it goes next.
//
//go:noinline
func left(path uint, level int) {
	switch {
	case level == 0:
		last = new([2]uint64)
	case path&1 == 0:
		left(path>>1, level-1)
	default:
		right(path>>1, level-1)
	}
}

//go:noinline
func right(path uint, level int) {
	switch {
	case level == 0:
		last = new([2]uint64)
	case path&1 == 0:
		left(path>>1, level-1)
	default:
		right(path>>1, level-1)
	}
}

func check() string {
	records, _ := runtime.MemProfile(nil, true)
	return verdict(int(paths)-records, records, "records")
}
