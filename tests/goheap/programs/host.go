// Host loads the plugin that its argument names, calls its Answer, and waits.
//
// Compiles with Go 1.12 to 1.27.
package main

import (
	"bufio"
	"fmt"
	"os"
	"plugin"
)

func main() {
	opened, err := plugin.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	answer, err := opened.Lookup("Answer")
	if err != nil {
		panic(err)
	}
	fmt.Println("READY", answer.(func() int)())
	bufio.NewReader(os.Stdin).ReadString('\n')
}
