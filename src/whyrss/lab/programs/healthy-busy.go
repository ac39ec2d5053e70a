// Healthy-busy is a server at moderate work: nothing is wrong with it.
//
//	healthy-busy [MIB]      (default 128)
//
// It holds records of 2 to 34 KiB, together a quarter of MIB, and serves them over HTTP on a free port of 127.0.0.1 to
// four clients of its own, some 600 requests a second in all.  A request decodes and encodes JSON and so makes some ten
// KiB of garbage; one in ten replaces its record.  It is READY after eight collections, with GOGC as it is given, and
// then goes on at that pace.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   look at every record: "OK 1820 records", or "BAD n" with the number that differ
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"io/ioutil"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"time"
)

const (
	smallestBytes = 2 << 10
	stepBytes     = 64
	steps         = 512
	clients       = 4
	pause         = 6 * time.Millisecond
	collections   = 8
	polling       = 10 * time.Millisecond
)

// record has a content that follows from its seed.
type record struct {
	seed    int
	content []byte
}

type answer struct {
	Number int
	Seed   int
	Sum    int
	Tags   map[string]string
	Sample []int
}

var (
	guard   sync.RWMutex
	records []record
)

func main() {
	records = newRecords(sizeMiB() * mib / 4)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(1, "%v", err)
	}
	http.HandleFunc("/", serveRecord)
	go http.Serve(listener, nil)
	hurry := make(chan bool)
	for i := 0; i < clients; i++ {
		go work("http://"+listener.Addr().String(), i, hurry)
	}
	awaitCollections()
	close(hurry)
	obey(check)
}

// awaitCollections counts from now: those while the records were made say nothing of the state that follows.
func awaitCollections() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	for enough := m.NumGC + collections; m.NumGC < enough; runtime.ReadMemStats(&m) {
		time.Sleep(polling)
	}
}

func newRecords(bytes int) []record {
	var made []record
	for seed := 0; bytes > 0; seed++ {
		made = append(made, newRecord(seed))
		bytes -= len(made[seed].content)
	}
	return made
}

func newRecord(seed int) record {
	return record{seed, filled(seed, smallestBytes+seed*7919%steps*stepBytes)}
}

func serveRecord(to http.ResponseWriter, request *http.Request) {
	number, err := strconv.Atoi(request.URL.Path[1:])
	if err != nil || number < 0 {
		http.NotFound(to, request)
		return
	}
	if number%10 == 0 {
		replace(number % len(records))
	}
	guard.RLock()
	found := records[number%len(records)]
	guard.RUnlock()
	json.NewEncoder(to).Encode(describe(number, found))
}

func replace(at int) {
	guard.RLock()
	seed := records[at].seed
	guard.RUnlock()
	fresh := newRecord(seed + len(records))
	guard.Lock()
	records[at] = fresh
	guard.Unlock()
}

func describe(number int, found record) answer {
	made := answer{Number: number, Seed: found.seed, Tags: map[string]string{}}
	for at := 0; at < len(found.content); at += stepBytes {
		made.Sum += int(found.content[at])
		made.Sample = append(made.Sample, int(found.content[at]))
	}
	for i := 0; i < 16; i++ {
		made.Tags[fmt.Sprintf("tag-%d", i)] = fmt.Sprintf("%x", number*i)
	}
	return made
}

// work sends requests without a pause until hurry is closed, and then at the steady pace.
func work(root string, number int, hurry chan bool) {
	for ; ; number += clients {
		get(fmt.Sprintf("%s/%d", root, number))
		select {
		case <-hurry:
			time.Sleep(pause)
		default:
		}
	}
}

func get(address string) {
	reply, err := http.Get(address)
	if err != nil {
		fail(1, "%v", err)
	}
	defer reply.Body.Close()
	var got answer
	if err := json.NewDecoder(reply.Body).Decode(&got); err != nil {
		fail(1, "%v", err)
	}
	io.Copy(ioutil.Discard, reply.Body)
}

func check() string {
	guard.RLock()
	defer guard.RUnlock()
	bad := 0
	for _, each := range records {
		if !intact(each.seed, each.content) {
			bad++
		}
	}
	return verdict(bad, len(records), "records")
}
