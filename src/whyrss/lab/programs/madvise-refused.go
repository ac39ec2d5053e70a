// Madvise-refused shows memory that Go gives back in vain, because a seccomp filter refuses madvise.
//
//	madvise-refused [MIB]      (default 128)
//
// It puts a filter on all of its threads that answers madvise(2) with EPERM, which is what the profile of a container
// runtime answers for a call that it does not list; a kernel without CONFIG_ADVISE_SYSCALLS answers ENOSYS, and Go
// treats all errors alike.  Then it allocates MIB in blocks of 1 MiB with a live block of 64 KiB after every eighth,
// drops the first, and calls debug.FreeOSMemory.  HeapReleased counts MIB; RSS keeps all of it, with LazyFree 0.
//
// Go 1.20 and older have it.  Go 1.21 and later see that madvise fails and map new memory over the range instead, so
// RSS falls (runtime/mem_linux.go, sysUnusedOS).  It needs no environment variables, and stands still for good.
// Runs on amd64 and arm64; where the filter cannot be set it ends with exit status 3.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   look through the live data: "OK 16 blocks", or "BAD n" with the number of blocks that are not whole
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"syscall"
	"unsafe"
)

var live [][]byte

// dropped is a package variable so that no stack slot keeps its blocks alive.
var dropped [][]byte

// linux/prctl.h, linux/seccomp.h, linux/filter.h, linux/audit.h
const (
	prSetNoNewPrivs      = 38
	seccompSetModeFilter = 1
	seccompFilterTSync   = 1
	seccompRetErrno      = 0x00050000
	seccompRetAllow      = 0x7fff0000
	seccompDataNumber    = 0
	seccompDataArch      = 4
	bpfLoadWord          = 0x20
	bpfJumpIfEqual       = 0x15
	bpfReturn            = 0x06
)

type abi struct {
	auditArch, seccomp, madvise uint32
}

var abis = map[string]abi{
	"amd64": {0xc000003e, 317, 28},
	"arm64": {0xc00000b7, 277, 233},
}

func main() {
	if err := refuseMadvise(); err != nil {
		fail(3, "%v", err)
	}
	live, dropped = spike(sizeMiB())
	dropped = nil
	debug.FreeOSMemory()
	debug.FreeOSMemory()
	obey(check)
}

// refuseMadvise filters this thread and, by TSYNC, all others; new ones inherit the filter.
func refuseMadvise() error {
	numbers, known := abis[runtime.GOARCH]
	if !known {
		return fmt.Errorf("no system call numbers for %s", runtime.GOARCH)
	}
	// no_new_privs belongs to the thread, and the filter must be set by the thread that has it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetNoNewPrivs, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("prctl(PR_SET_NO_NEW_PRIVS): %v", errno)
	}
	filter := []syscall.SockFilter{
		{Code: bpfLoadWord, K: seccompDataArch},
		{Code: bpfJumpIfEqual, K: numbers.auditArch, Jf: 3},
		{Code: bpfLoadWord, K: seccompDataNumber},
		{Code: bpfJumpIfEqual, K: numbers.madvise, Jf: 1},
		{Code: bpfReturn, K: seccompRetErrno | uint32(syscall.EPERM)},
		{Code: bpfReturn, K: seccompRetAllow},
	}
	program := syscall.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	stray, _, errno := syscall.RawSyscall(uintptr(numbers.seccomp), seccompSetModeFilter, seccompFilterTSync,
		uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("seccomp(SECCOMP_SET_MODE_FILTER): %v", errno)
	}
	if stray != 0 {
		return fmt.Errorf("seccomp: thread %d could not be filtered", stray)
	}
	return nil
}

func check() string {
	return checkBlocks(live)
}
