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
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

import "runtime/debug"

const nodeBytes = 64

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
	share := sizeMiB() * mib / (len(blockSizes) + 1)
	nodes = newNodes(share / nodeBytes)
	for _, size := range blockSizes {
		blocks = append(blocks, newBlocks(share/size, size))
	}
	debug.FreeOSMemory()
	debug.FreeOSMemory()
	obey(check)
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
		made[number] = filled(number, size)
	}
	return made
}

func check() string {
	count, bad := checkNodes()
	for _, ofSize := range blocks {
		count += len(ofSize)
		for number, block := range ofSize {
			if !intact(number, block) {
				bad++
			}
		}
	}
	return verdict(bad, count, "objects")
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
