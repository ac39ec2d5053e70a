// Locked shows memory that Go gives back in vain, because the process has locked all of its memory.
//
//	locked [MIB]      (default 128)
//
// It calls mlockall(MCL_CURRENT|MCL_FUTURE), allocates MIB in blocks of 1 MiB with a live block of 64 KiB after every
// eighth, drops the first, and calls debug.FreeOSMemory.  HeapReleased counts MIB and more, RSS keeps all of it, and
// VmLck is as large: madvise answers EINVAL on locked memory.  Go 1.20 and older ignore that; Go 1.21 and later map new
// memory over the range, which MCL_FUTURE makes resident at once (runtime/mem_linux.go, sysUnusedOS).
//
// All releases have it.  It needs no environment variables, but RLIMIT_MEMLOCK above MIB or CAP_IPC_LOCK; without them
// it ends with exit status 3.  It stands still for good.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   look through the live data: "OK 16 blocks", or "BAD n" with the number of blocks that are not whole
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

import (
	"runtime/debug"
	"syscall"
)

var live [][]byte

// dropped is a package variable so that no stack slot keeps its blocks alive.
var dropped [][]byte

func main() {
	if err := syscall.Mlockall(syscall.MCL_CURRENT | syscall.MCL_FUTURE); err != nil {
		fail(3, "mlockall: %v", err)
	}
	live, dropped = spike(sizeMiB())
	dropped = nil
	debug.FreeOSMemory()
	debug.FreeOSMemory()
	obey(check)
}

func check() string {
	return checkBlocks(live)
}
