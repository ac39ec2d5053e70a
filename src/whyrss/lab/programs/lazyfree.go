// Lazyfree shows memory that Go has given back and the kernel still counts as resident.
//
//	lazyfree [MIB_TO_DROP [MIB_TO_KEEP]]      (default 200 and 8)
//
// It allocates MIB_TO_DROP in blocks of 1 MiB, with live blocks of 64 KiB strewn among them, drops the first, and
// calls debug.FreeOSMemory.  Built by Go 1.12 to 1.15 (or by a later one and run with GODEBUG=madvdontneed=0) the
// freed memory stays in RSS as LazyFree, for the runtime frees it with MADV_FREE, while HeapReleased counts it as
// gone; built by Go 1.16 and later it leaves RSS at once, by MADV_DONTNEED.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   compute the checksums of the live blocks anew: "OK 128 blocks", or "BAD n" with the number that differ
//	stats   "STATS {json}", the same figures as in READY, read now
//	again   allocate, drop and free once more: "DONE"
//
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

import (
	"hash/crc32"
	"runtime/debug"
)

const (
	liveBlockBytes = 64 << 10
	pageBytes      = 4 << 10
)

type liveBlock struct {
	content  []byte
	checksum uint32
}

var live []liveBlock

// dropped is a package variable so that no stack slot keeps its blocks alive.
var dropped [][]byte

func main() {
	dropMiB := argument(1, 200, 0)
	keepBlocks := argument(2, 8, 0) * mib / liveBlockBytes
	allocate(dropMiB, keepBlocks)
	drop()
	obey(check, command{"again", func() string {
		allocate(dropMiB, 0)
		drop()
		return "DONE"
	}})
}

// allocate fills dropped with dropMiB blocks of 1 MiB, and strews keepBlocks live blocks evenly among them.
func allocate(dropMiB, keepBlocks int) {
	for i := 0; i < dropMiB; i++ {
		dropped = append(dropped, touched(mib))
		for len(live) < keepBlocks && len(live)*dropMiB < (i+1)*keepBlocks {
			live = append(live, newLiveBlock(len(live)))
		}
	}
	for len(live) < keepBlocks {
		live = append(live, newLiveBlock(len(live)))
	}
}

func touched(size int) []byte {
	block := make([]byte, size)
	for at := 0; at < size; at += pageBytes {
		block[at] = 1
	}
	return block
}

func newLiveBlock(number int) liveBlock {
	content := make([]byte, liveBlockBytes)
	state := uint64(number)*0x9e3779b97f4a7c15 + 1
	for i := range content {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		content[i] = byte(state >> 32)
	}
	return liveBlock{content, crc32.ChecksumIEEE(content)}
}

func drop() {
	dropped = nil
	// The second call frees what finalizers and the sweep of the first still held.
	debug.FreeOSMemory()
	debug.FreeOSMemory()
}

func check() string {
	bad := 0
	for _, block := range live {
		if crc32.ChecksumIEEE(block.content) != block.checksum {
			bad++
		}
	}
	return verdict(bad, len(live), "blocks")
}
