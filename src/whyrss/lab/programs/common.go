// Common has what the programs of this folder share: their size, their answers, and blocks that can be looked through.
//
// Each of them is compiled together with this file, as in "go build ballast.go common.go"; only scenario.go, which
// speaks otherwise, is compiled alone.
//
// Compiles with Go 1.12 to 1.27.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

const (
	mib       = 1 << 20
	markEvery = 512
)

// sizeMiB is the first argument, or 128 where there is none.
func sizeMiB() int {
	return argument(1, 128, 1)
}

// argument is the one at that place, or what it is otherwise; one below the least ends the program.
func argument(at, otherwise, least int) int {
	if len(os.Args) <= at {
		return otherwise
	}
	n, err := strconv.Atoi(os.Args[at])
	if err != nil || n < least {
		fail(2, "%q is no number of MiB", os.Args[at])
	}
	return n
}

// fail ends the program with that exit status, and says why under the name by which it was started.
func fail(status int, why string, values ...interface{}) {
	name := os.Args[0][strings.LastIndex(os.Args[0], "/")+1:]
	fmt.Fprintf(os.Stderr, "%s: %s\n", name, fmt.Sprintf(why, values...))
	os.Exit(status)
}

// command is a line that a program obeys besides check and stats.
type command struct {
	line   string
	answer func() string
}

// obey prints READY, and answers the lines of standard input until that ends.
func obey(check func() string, others ...command) {
	fmt.Printf("READY %s\n", stats())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch lines.Text() {
		case "check":
			fmt.Println(check())
		case "stats":
			fmt.Printf("STATS %s\n", stats())
		default:
			fmt.Println(answerOf(others, lines.Text()))
		}
	}
}

func answerOf(others []command, line string) string {
	for _, each := range others {
		if each.line == line {
			return each.answer()
		}
	}
	return fmt.Sprintf("UNKNOWN %q", line)
}

func stats() string {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return fmt.Sprintf(`{"go": %q, "pid": %d, "HeapAlloc": %d, "HeapInuse": %d, "HeapIdle": %d, "HeapReleased": %d, `+
		`"HeapSys": %d, "StackInuse": %d, "Sys": %d, "NextGC": %d, "NumGC": %d}`,
		runtime.Version(), os.Getpid(), m.HeapAlloc, m.HeapInuse, m.HeapIdle, m.HeapReleased,
		m.HeapSys, m.StackInuse, m.Sys, m.NextGC, m.NumGC)
}

// verdict is the answer to check: of so many things so many are not what they were.
func verdict(bad, count int, things string) string {
	if bad > 0 {
		return fmt.Sprintf("BAD %d", bad)
	}
	return fmt.Sprintf("OK %d %s", count, things)
}

// block is resident as a whole: all of its pages are written, by marks that whole finds again.
func block(number, size int) []byte {
	content := make([]byte, size)
	for at := 0; at < size; at += markEvery {
		content[at] = byte(number + at/markEvery)
	}
	return content
}

// whole has no stack check, for scavenger-pending calls it where nothing may yield.
//
//go:nosplit
func whole(number int, content []byte) bool {
	for at := 0; at < len(content); at += markEvery {
		if content[at] != byte(number+at/markEvery) {
			return false
		}
	}
	return true
}

// checkBlocks looks through blocks whose numbers are their places.
func checkBlocks(blocks [][]byte) string {
	bad := 0
	for number, content := range blocks {
		if !whole(number, content) {
			bad++
		}
	}
	return verdict(bad, len(blocks), "blocks")
}

// filled differs from block in that each of its bytes is written; intact is to it what whole is to a block.
func filled(number, size int) []byte {
	content := make([]byte, size)
	for at := range content {
		content[at] = byte(number + at>>6)
	}
	return content
}

func intact(number int, content []byte) bool {
	for at, is := range content {
		if is != byte(number+at>>6) {
			return false
		}
	}
	return true
}

// spike allocates so many blocks of 1 MiB to be dropped, and after every eighth a block of 64 KiB that lives on.
func spike(mibs int) (live, passing [][]byte) {
	for i := 0; i < mibs; i++ {
		passing = append(passing, block(i, mib))
		if i%8 == 0 {
			live = append(live, block(len(live), 64<<10))
		}
	}
	return live, passing
}

// oneOf allocates blocks of one size, of which the first of every so many lives on, and the others are to be dropped.
func oneOf(every, blocks, size int) (live, passing [][]byte) {
	live = make([][]byte, 0, blocks/every+1)
	passing = make([][]byte, 0, blocks)
	for i := 0; i < blocks; i++ {
		if i%every == 0 {
			live = append(live, block(len(live), size))
		} else {
			passing = append(passing, block(i, size))
		}
	}
	return live, passing
}
