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
// Compiles with Go 1.12 to 1.27.
package main

import (
	"bufio"
	"fmt"
	"io"
	"io/ioutil"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
)

const (
	mib       = 1 << 20
	pageBytes = 64 << 10
	requests  = 200
)

var site [][]byte

func main() {
	site = newSite(argument(1, 128) * mib / 16 / pageBytes)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	http.HandleFunc("/", servePage)
	go http.Serve(listener, nil)
	visit("http://" + listener.Addr().String())
	fmt.Printf("READY %s\n", stats())
	obey()
}

func fail(err error) {
	fmt.Fprintf(os.Stderr, "healthy-idle: %v\n", err)
	os.Exit(1)
}

func newSite(pages int) [][]byte {
	made := make([][]byte, pages)
	for number := range made {
		made[number] = make([]byte, pageBytes)
		for at := range made[number] {
			made[number][at] = byte(number + at>>8)
		}
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
			fail(err)
		}
		io.Copy(ioutil.Discard, answer.Body)
		answer.Body.Close()
	}
}

func check() string {
	bad := 0
	for number, page := range site {
		if !whole(number, page) {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Sprintf("BAD %d", bad)
	}
	return fmt.Sprintf("OK %d pages", len(site))
}

func whole(number int, page []byte) bool {
	for at, is := range page {
		if is != byte(number+at>>8) {
			return false
		}
	}
	return true
}

func obey() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch lines.Text() {
		case "check":
			fmt.Println(check())
		case "stats":
			fmt.Printf("STATS %s\n", stats())
		default:
			fmt.Printf("UNKNOWN %q\n", lines.Text())
		}
	}
}

func argument(at, otherwise int) int {
	if len(os.Args) <= at {
		return otherwise
	}
	n, err := strconv.Atoi(os.Args[at])
	if err != nil || n < 1 {
		fmt.Fprintf(os.Stderr, "healthy-idle: %q is no number of MiB\n", os.Args[at])
		os.Exit(2)
	}
	return n
}

func stats() string {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return fmt.Sprintf(`{"go": %q, "pid": %d, "HeapAlloc": %d, "HeapInuse": %d, "HeapIdle": %d, "HeapReleased": %d, `+
		`"HeapSys": %d, "StackInuse": %d, "Sys": %d, "NextGC": %d, "NumGC": %d}`,
		runtime.Version(), os.Getpid(), m.HeapAlloc, m.HeapInuse, m.HeapIdle, m.HeapReleased,
		m.HeapSys, m.StackInuse, m.Sys, m.NextGC, m.NumGC)
}
