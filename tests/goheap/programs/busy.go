// Busy allocates and drops memory on all its processors until its input ends. It prints "READY {}" first.
//
// Compiles with Go 1.12 to 1.27.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
)

var held [256][]byte

func churn(number int) {
	for i := number; ; i++ {
		held[i%len(held)] = make([]byte, 16<<(uint(i)%12))
	}
}

func main() {
	for number := 0; number < runtime.GOMAXPROCS(0); number++ {
		go churn(number)
	}
	fmt.Println("READY {}")
	bufio.NewReader(os.Stdin).ReadString('\n')
}
