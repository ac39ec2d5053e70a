// Served prints what a Go program serves of its heap: "vars" as /debug/vars, "text" as /debug/pprof/heap?debug=1.
//
// Compiles with Go 1.12 to 1.27.
package main

import (
	"expvar"
	"net/http/httptest"
	"os"
	"runtime"
	"runtime/pprof"
)

var hold [][]byte

func main() {
	for i := 0; i < 4000; i++ {
		object := make([]byte, 1+i*29%40000)
		if i%3 != 0 {
			hold = append(hold, object)
		}
	}
	runtime.GC()
	if os.Args[1] == "text" {
		pprof.Lookup("heap").WriteTo(os.Stdout, 1)
		return
	}
	answer := httptest.NewRecorder()
	expvar.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/debug/vars", nil))
	os.Stdout.Write(answer.Body.Bytes())
}
