// Cgo is linked by the C compiler: it calls malloc from Go. It prints "READY {}" and waits until its input ends.
//
// Compiles with Go 1.12 to 1.27.
package main

/*
#include <stdlib.h>
#include <string.h>
static void *grab(size_t n) { void *p = malloc(n); memset(p, 1, n); return p; }
*/
import "C"

import (
	"bufio"
	"fmt"
	"os"
	"unsafe"
)

var (
	held []unsafe.Pointer
	live [][]byte
)

func main() {
	for i := 0; i < 64; i++ {
		held = append(held, C.grab(64<<10))
		live = append(live, make([]byte, 64<<10))
	}
	fmt.Println("READY {}")
	bufio.NewReader(os.Stdin).ReadString('\n')
}
