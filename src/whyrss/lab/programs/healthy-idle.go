// Healthy-idle is a server that has served some requests and waits for the next: nothing is wrong with it.
//
//	healthy-idle [MIB]      (default 128)
//
// It holds a site of a sixteenth of MIB in pages of 64 KiB, serves 200 of them over HTTP on a free port of
// 127.0.0.1, and then only waits.  After READY nothing goes on but the runtime's own collection every two minutes.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   look at every page of the site: "OK 128 pages", or "BAD n" with the number that differ
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

import (
	"fmt"
	"io"
	"io/ioutil"
	"net"
	"net/http"
	"strconv"
)

const (
	pageBytes = 64 << 10
	requests  = 200
)

var site [][]byte

func main() {
	site = newSite(sizeMiB() * mib / 16 / pageBytes)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(1, "%v", err)
	}
	http.HandleFunc("/", servePage)
	go http.Serve(listener, nil)
	visit("http://" + listener.Addr().String())
	obey(check)
}

func newSite(pages int) [][]byte {
	made := make([][]byte, pages)
	for number := range made {
		made[number] = filled(number, pageBytes)
	}
	return made
}

func servePage(answer http.ResponseWriter, request *http.Request) {
	number, err := strconv.Atoi(request.URL.Path[1:])
	if err != nil || number < 0 || number >= len(site) {
		http.NotFound(answer, request)
		return
	}
	answer.Write(site[number])
}

func visit(root string) {
	for i := 0; i < requests; i++ {
		answer, err := http.Get(fmt.Sprintf("%s/%d", root, i%len(site)))
		if err != nil {
			fail(1, "%v", err)
		}
		io.Copy(ioutil.Discard, answer.Body)
		answer.Body.Close()
	}
}

func check() string {
	bad := 0
	for number, page := range site {
		if !intact(number, page) {
			bad++
		}
	}
	return verdict(bad, len(site), "pages")
}
