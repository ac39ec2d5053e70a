// Hostile is a small Go program that is hard to look at, in the way that its argument names.
//
//	hostile liar             writes what it is told to into its own memory, then stops for good
//	hostile space GIB VMAS   reserves GIB GiB that cannot be touched, and makes that many mappings of one page
//	hostile churn            maps, touches and unmaps memory until it is killed
//	hostile forks            starts itself again and again, the copies end at once
//	hostile ends MS          ends by itself that many milliseconds after READY
//	hostile quiet            does nothing
//
// It prints "READY {}".  A liar obeys the line "ADDRESS=HEX ADDRESS=HEX ...": all is written at once, without any
// call of the runtime's after it, and the process stops itself by SIGSTOP.
//
// Compiles with Go 1.12 to 1.27, also for 32 bits and as a plugin or a library.
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

const page = 4096

var kept [][]byte

func main() {
	debug.SetGCPercent(-1)
	for i := 0; i < 24<<10; i++ {
		kept = append(kept, make([]byte, 1<<10))
	}
	for at := range kept {
		kept[at][0] = 1
	}
	mode := os.Args[1]
	switch mode {
	case "space":
		space(number(2), number(3))
	case "churn":
		go churn()
		go churn()
	case "forks":
		go forks()
	}
	fmt.Println("READY {}")
	switch mode {
	case "liar":
		lie()
	case "ends":
		time.Sleep(time.Duration(number(2)) * time.Millisecond)
	case "child":
	default:
		bufio.NewReader(os.Stdin).ReadString('\n')
	}
}

func number(at int) int {
	value, err := strconv.Atoi(os.Args[at])
	must(err)
	return value
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func lie() {
	line, err := bufio.NewReaderSize(os.Stdin, 8<<20).ReadString('\n')
	must(err)
	var targets []uintptr
	var lies [][]byte
	for _, word := range strings.Fields(line) {
		at := strings.Index(word, "=")
		target, err := strconv.ParseUint(word[:at], 0, 64)
		must(err)
		bytes, err := hex.DecodeString(word[at+1:])
		must(err)
		targets = append(targets, uintptr(target))
		lies = append(lies, bytes)
	}
	pid := uintptr(os.Getpid())
	runtime.LockOSThread()
	for number, target := range targets {
		for at, value := range lies[number] {
			*(*byte)(unsafe.Pointer(target + uintptr(at))) = value
		}
	}
	for {
		syscall.RawSyscall(syscall.SYS_KILL, pid, uintptr(syscall.SIGSTOP), 0)
	}
}

// space touches every third of its small mappings; neighbours differ in their rights, so that none are merged.
func space(gib, vmas int) {
	if gib > 0 {
		anonymous(gib<<30, syscall.PROT_NONE)
	}
	area := anonymous(vmas*page, syscall.PROT_READ|syscall.PROT_WRITE)
	for at := 0; at < vmas; at++ {
		if at%3 == 0 {
			area[at*page] = 1
		}
		if at%2 == 0 {
			must(syscall.Mprotect(area[at*page:(at+1)*page], syscall.PROT_READ))
		}
	}
}

func anonymous(size, rights int) []byte {
	flags := syscall.MAP_PRIVATE | syscall.MAP_ANON | 0x4000 // MAP_NORESERVE
	area, err := syscall.Mmap(-1, 0, size, rights, flags)
	must(err)
	return area
}

func churn() {
	for round := 1; ; round++ {
		area := anonymous(page<<uint(round%10), syscall.PROT_READ|syscall.PROT_WRITE)
		for at := 0; at < len(area); at += page {
			area[at] = 1
		}
		must(syscall.Munmap(area))
	}
}

func forks() {
	for {
		attributes := os.ProcAttr{Files: []*os.File{nil, nil, nil}}
		child, err := os.StartProcess("/proc/self/exe", []string{"hostile", "child"}, &attributes)
		must(err)
		_, err = child.Wait()
		must(err)
	}
}
