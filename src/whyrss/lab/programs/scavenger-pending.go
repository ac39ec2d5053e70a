// Scavenger-pending shows idle memory that the scavenger is about to give back and has not yet: a moment, held still.
//
//	scavenger-pending [MIB]      (default 128)
//
// It allocates MIB in blocks of 1 MiB with a live block of 64 KiB after every eighth, collects, drops the first, and
// collects again.  Then HeapIdle - HeapReleased is MIB, and the scavenger's goal is about 1.1 times the live heap, far
// below it: its work is due, at 1 % of a CPU.  In Go 1.21 and later it first waits for one or two further collections,
// as the 4 MiB chunks were dense in the last (runtime/mgcscavenge.go, shouldScavenge), thus for 2 to 4 minutes in an
// idle process; Go 1.15 to 1.20 are through within seconds.
//
// To hold that moment in every release the program has one P, and waits for its standard input with a raw system call
// that keeps the P: no other goroutine runs, so neither the scavenger nor the forced collection.  The answers come from
// functions without a stack check, which is where a goroutine would yield.  A busy program whose scavenger gets no time
// looks the same.  All releases have it; it needs no environment variables, and stands still for good.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   look through the live data: "OK", or "BAD"
//	stats   "STATS {json}", the figures of READY, for nothing has run since
//
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

var live [][]byte

// dropped is a package variable so that no stack slot keeps its blocks alive.
var dropped [][]byte

// What the loop without a stack check needs, made before it starts.
var (
	answer  []byte
	ok      = []byte("OK\n")
	bad     = []byte("BAD\n")
	unknown = []byte("UNKNOWN\n")
	input   [1]byte
)

func main() {
	runtime.GOMAXPROCS(1)
	live, dropped = spike(sizeMiB())
	runtime.GC()
	dropped = nil
	runtime.GC()
	figures := stats()
	answer = []byte("STATS " + figures + "\n")
	os.Stdout.WriteString("READY " + figures + "\n")
	answerRaw()
}

// answerRaw knows the commands by their first letter.
//
//go:nosplit
func answerRaw() {
	command, length := byte(0), 0
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, 0, uintptr(unsafe.Pointer(&input[0])), 1)
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 || n != 1 {
			return
		}
		if input[0] != '\n' {
			if length == 0 {
				command = input[0]
			}
			length++
			continue
		}
		length = 0
		switch {
		case command == 's':
			say(answer)
		case command != 'c':
			say(unknown)
		case allWhole():
			say(ok)
		default:
			say(bad)
		}
	}
}

//go:nosplit
func say(line []byte) {
	for len(line) > 0 {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, 1, uintptr(unsafe.Pointer(&line[0])), uintptr(len(line)))
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 {
			return
		}
		line = line[n:]
	}
}

//go:nosplit
func allWhole() bool {
	for number, content := range live {
		if !whole(number, content) {
			return false
		}
	}
	return true
}
