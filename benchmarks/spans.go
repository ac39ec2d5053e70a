// spans: a heap of as many MiB as its first argument says, with as many spans of one page as its second says; all of it
// is in use. What the spans do not take is one large object.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
)

const pageBytes = 8192 // runtime/sizeclasses.go: an object of 8 KiB has a span for itself

var (
	small [][]byte
	large []byte
)

func main() {
	total, count := argument(1)<<20, argument(2)
	small = make([][]byte, count)
	for i := range small {
		small[i] = touched(pageBytes)
	}
	large = touched(total - count*pageBytes)
	fmt.Printf("READY {\"pid\": %d}\n", os.Getpid())
	bufio.NewReader(os.Stdin).ReadString('\n')
	runtime.KeepAlive(small)
	runtime.KeepAlive(large)
}

func touched(size int) []byte {
	b := make([]byte, size)
	for i := 0; i < size; i += 4096 {
		b[i] = 1
	}
	return b
}

func argument(at int) int {
	n, err := strconv.Atoi(os.Args[at])
	if err != nil {
		panic(err)
	}
	return n
}
