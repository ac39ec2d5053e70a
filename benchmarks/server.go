// server: an HTTP server with its profiling endpoints that held as many MiB as its argument says, dropped them and
// gave them back. Linked with C as `go build` does where there is a compiler: about 60 VMAs.
package main

import (
	_ "expvar"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime/debug"
	"strconv"
)

var hold [][]byte

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	mib, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	for i := 0; i < mib; i++ {
		b := make([]byte, 1<<20)
		for j := 0; j < len(b); j += 4096 {
			b[j] = 1
		}
		hold = append(hold, b)
	}
	hold = nil
	debug.FreeOSMemory()
	fmt.Printf("READY {\"pid\": %d}\n", os.Getpid())
	http.Serve(listener, nil)
}
