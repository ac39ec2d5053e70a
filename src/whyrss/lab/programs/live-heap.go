// Live-heap shows a heap that is large because the program uses it: no cause but its own data.
//
//	live-heap [MIB]      (default 128)
//
// It allocates MIB of objects that stay reachable: a quarter as a list of nodes with pointers (64 bytes each), and a
// quarter each in blocks of 512 bytes, 8 KiB and 256 KiB.  All fill their size classes wholly, nothing is dropped on
// the way, and the heap is collected at the end: HeapAlloc is what the last collection found alive, and HeapInuse
// is hardly more.  So in every release of Go.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   look at every object: "OK 594048 objects", or "BAD n" with the number that differ
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Compiles with Go 1.12 to 1.27.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
)

const (
	mib       = 1 << 20
	nodeBytes = 64
)

// node fills the size class of 64 bytes.
type node struct {
	next *node
	body [nodeBytes/8 - 1]uint64
}

var (
	blockSizes = []int{512, 8 << 10, 256 << 10}
	nodes      *node
	blocks     [][][]byte
)

func main() {
	sizeMiB := argument(1, 128)
	share := sizeMiB * mib / (len(blockSizes) + 1)
	nodes = newNodes(share / nodeBytes)
	for _, size := range blockSizes {
		blocks = append(blocks, newBlocks(share/size, size))
	}
	debug.FreeOSMemory()
	debug.FreeOSMemory()
	fmt.Printf("READY %s\n", stats())
	obey()
}

// newNodes is a list whose first node has the highest number.
func newNodes(count int) *node {
	var first *node
	for number := 1; number <= count; number++ {
		first = &node{next: first}
		for i := range first.body {
			first.body[i] = uint64(number)
		}
	}
	return first
}

func newBlocks(count, size int) [][]byte {
	made := make([][]byte, count)
	for number := range made {
		made[number] = make([]byte, size)
		for at := range made[number] {
			made[number][at] = byte(number + at>>8)
		}
	}
	return made
}

func check() string {
	count, bad := checkNodes()
	for _, ofSize := range blocks {
		count += len(ofSize)
		for number, block := range ofSize {
			if !whole(number, block) {
				bad++
			}
		}
	}
	if bad > 0 {
		return fmt.Sprintf("BAD %d", bad)
	}
	return fmt.Sprintf("OK %d objects", count)
}

func checkNodes() (count, bad int) {
	for each := nodes; each != nil; each = each.next {
		count++
		if each.next != nil && each.body[0] != each.next.body[0]+1 || each.body[0] != each.body[len(each.body)-1] {
			bad++
		}
	}
	return count, bad
}

func whole(number int, block []byte) bool {
	for at, is := range block {
		if is != byte(number+at>>8) {
			return false
		}
	}
	return true
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
		fmt.Fprintf(os.Stderr, "live-heap: %q is no number of MiB\n", os.Args[at])
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
