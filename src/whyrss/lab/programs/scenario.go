// Scenario shows the runtime's own figures after each phase of a memory scenario.
//
//	scenario PHASES_JSON
//
// PHASES_JSON is a list of objects {"do": ..., and what that phase needs: "bytes", "size", "keep", "touch",
// "share_num", "share_den", "pattern", "limit", "for_s", "count", "stack"}.  The program prints one line, waits for
// one line on its standard input, and goes on, so that whoever started it can look at it while it stands still:
//
//	READY {json}       before the first phase
//	SAMPLE {json}      within a phase that takes time
//	PRESSURE {limit}   the kernel is to take memory now: that is the starter's part
//	PHASE {json}       at the end of a phase
//
// The json has every integer field of runtime.MemStats, "phase" (0 = before the first) and "t_s" since the start.
// It ends when its standard input does.
//
// An object is make([]byte, size).  The objects that an allocate phase keeps hang on one holder of 8 bytes an object,
// allocated before them; it is dropped when the last of them is.  Lines are built in one buffer and figures read into
// one MemStats, so that reporting leaves no garbage.  Everything that holds memory is a package variable, and what
// works on it is not inlined, so that no dead stack slot keeps an object alive.
//
// Compiles with Go 1.12 to 1.27.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"time"
	"unsafe"
)

const (
	pageBytes = 4 << 10

	// Go 1.19 and later start with a duty of a thousandth: after 1 to 2 ms of work the scavenger sleeps for seconds
	// (runtime/mgcscavenge.go, startingScavSleepRatio, minScavWorkTime).
	scavengePoll    = 100 * time.Millisecond
	scavengeQuiet   = 5 * time.Second
	scavengeLongest = 120 * time.Second

	// Samples within a wait: so many, and no denser than this.
	samplesPerWait = 60
	sampleDensest  = 250 * time.Millisecond

	// deep uses about so much stack a call, and as much is in use below it while it is parked.
	frameBytes = 304
	baseBytes  = 400

	// What the last goroutines need from their last statement to their end.
	settle = 20 * time.Millisecond
)

type phase struct {
	Do       string
	Bytes    int
	Size     int
	Keep     bool
	Touch    bool
	ShareNum uint64 `json:"share_num"`
	ShareDen uint64 `json:"share_den"`
	Pattern  string
	Limit    int
	ForS     float64 `json:"for_s"`
	Count    int
	Stack    int
}

// holder keeps the objects of one allocate phase, all of the same size, in order of allocation; nil where freed.
type holder struct {
	objects []unsafe.Pointer
	size    int
	live    int
}

var (
	phases  []phase
	holders []holder
	sink    []byte
	number  int // of the phase that runs

	parked sync.WaitGroup
	ended  sync.WaitGroup
	gate   chan struct{}

	start = time.Now()
	stats runtime.MemStats
	line  = make([]byte, 0, 2048)
	input [1]byte
)

func main() {
	if len(os.Args) != 2 {
		fail("needs the phases as one argument")
	}
	if err := json.Unmarshal([]byte(os.Args[1]), &phases); err != nil {
		fail(err.Error())
	}
	holders = make([]holder, 0, len(phases))
	gate = make(chan struct{})
	report("READY ")
	for i := range phases {
		number = i + 1
		run(&phases[i])
		report("PHASE ")
	}
	next()
}

func fail(why string) {
	fmt.Fprintf(os.Stderr, "scenario: %s\n", why)
	os.Exit(2)
}

//go:noinline
func run(p *phase) {
	switch p.Do {
	case "allocate":
		allocate(p)
	case "free":
		free(p)
	case "touch":
		touchAll()
	case "gc":
		runtime.GC()
	case "free-os-memory":
		debug.FreeOSMemory()
	case "scavenge":
		scavenge()
	case "wait":
		wait(time.Duration(p.ForS * float64(time.Second)))
	case "pressure":
		pressure(p.Limit)
	case "goroutines":
		park(p)
	case "exit":
		exit()
	default:
		fail("unknown phase " + strconv.Quote(p.Do))
	}
}

//go:noinline
func allocate(p *phase) {
	n := p.Bytes / p.Size
	if !p.Keep {
		for i := 0; i < n; i++ {
			sink = make([]byte, p.Size)
			if p.Touch {
				touch(unsafe.Pointer(&sink[0]), p.Size)
			}
		}
		sink = nil
		return
	}
	holders = append(holders, holder{make([]unsafe.Pointer, n), p.Size, n})
	objects := holders[len(holders)-1].objects
	for i := range objects {
		objects[i] = object(p)
	}
}

//go:noinline
func object(p *phase) unsafe.Pointer {
	content := make([]byte, p.Size)
	if p.Touch {
		touch(unsafe.Pointer(&content[0]), p.Size)
	}
	return unsafe.Pointer(&content[0])
}

func touch(object unsafe.Pointer, size int) {
	for at := 0; at < size; at += pageBytes {
		*(*byte)(unsafe.Pointer(uintptr(object) + uintptr(at))) = 1
	}
}

//go:noinline
func touchAll() {
	for i := range holders {
		for _, object := range holders[i].objects {
			if object != nil {
				touch(object, holders[i].size)
			}
		}
	}
}

// free drops a share of all live objects, counted in order of allocation.
//
//go:noinline
func free(p *phase) {
	live := 0
	for i := range holders {
		live += holders[i].live
	}
	drop := 0 // floor(live * share)
	count := share{p.ShareNum, p.ShareDen, 0}
	for i := 0; i < live; i++ {
		if count.next() {
			drop++
		}
	}
	at, each := 0, share{p.ShareNum, p.ShareDen, 0}
	for i := range holders {
		h := &holders[i]
		for j := range h.objects {
			if h.objects[j] == nil {
				continue
			}
			goes := each.next()
			switch p.Pattern {
			case "oldest":
				goes = at < drop
			case "newest":
				goes = at >= live-drop
			}
			if goes {
				h.objects[j] = nil
				h.live--
			}
			at++
		}
		if h.live == 0 {
			h.objects = nil
		}
	}
}

// share tells, call by call, whether floor((i+1)*num/den) > floor(i*num/den) for i = 0, 1, 2 ..., in integers.
type share struct {
	num, den, rest uint64
}

func (s *share) next() bool {
	s.rest += s.num
	if s.rest < s.den {
		return false
	}
	s.rest -= s.den
	return true
}

// scavenge waits until HeapReleased has stood still.
func scavenge() {
	begun, moved := time.Now(), time.Now()
	runtime.ReadMemStats(&stats)
	released := stats.HeapReleased
	for polls := 1; time.Since(moved) < scavengeQuiet && time.Since(begun) < scavengeLongest; polls++ {
		time.Sleep(scavengePoll)
		runtime.ReadMemStats(&stats)
		if stats.HeapReleased != released {
			released, moved = stats.HeapReleased, time.Now()
		}
		if polls%5 == 0 {
			report("SAMPLE ")
		}
	}
}

func wait(length time.Duration) {
	end := time.Now().Add(length)
	every := length / samplesPerWait
	if every < sampleDensest {
		every = sampleDensest
	}
	for time.Until(end) > every {
		time.Sleep(every)
		report("SAMPLE ")
	}
	time.Sleep(time.Until(end))
}

func pressure(limit int) {
	line = append(line[:0], "PRESSURE "...)
	line = strconv.AppendInt(line, int64(limit), 10)
	send()
}

func park(p *phase) {
	parked.Add(p.Count)
	ended.Add(p.Count)
	for i := 0; i < p.Count; i++ {
		go stand(depth(p.Stack), gate)
	}
	parked.Wait()
	time.Sleep(settle)
}

// depth is how many calls of deep leave a stack of that size six tenths full: more than half, or it would not have
// grown so far; clear of the end, where the runtime keeps a guard of 928 bytes (runtime/stack.go).
func depth(stackBytes int) int {
	calls := (stackBytes*6/10 - baseBytes) / frameBytes
	if stackBytes <= 2<<10 || calls < 0 {
		return 0
	}
	return calls
}

func stand(calls int, gate chan struct{}) {
	if calls == 0 {
		parked.Done()
		<-gate
	} else {
		deep(calls-1, gate)
	}
	ended.Done()
}

//go:noinline
func deep(calls int, gate chan struct{}) byte {
	var pad [256]byte
	pad[calls&255] = byte(calls)
	if calls == 0 {
		parked.Done()
		<-gate
	} else {
		pad[0] += deep(calls-1, gate)
	}
	return pad[calls&127]
}

func exit() {
	close(gate)
	ended.Wait()
	time.Sleep(settle)
	gate = make(chan struct{})
}

// report prints the figures of this moment and waits for the line that lets the program go on.
func report(word string) {
	runtime.ReadMemStats(&stats)
	line = append(append(line[:0], word...), `{"phase": `...)
	line = strconv.AppendInt(line, int64(number), 10)
	line = append(line, `, "t_s": `...)
	line = strconv.AppendFloat(line, time.Since(start).Seconds(), 'f', 3, 64)
	figures()
	line = append(line, '}')
	send()
}

func figures() {
	figure("Alloc", stats.Alloc)
	figure("TotalAlloc", stats.TotalAlloc)
	figure("Sys", stats.Sys)
	figure("Lookups", stats.Lookups)
	figure("Mallocs", stats.Mallocs)
	figure("Frees", stats.Frees)
	figure("HeapAlloc", stats.HeapAlloc)
	figure("HeapSys", stats.HeapSys)
	figure("HeapIdle", stats.HeapIdle)
	figure("HeapInuse", stats.HeapInuse)
	figure("HeapReleased", stats.HeapReleased)
	figure("HeapObjects", stats.HeapObjects)
	figure("StackInuse", stats.StackInuse)
	figure("StackSys", stats.StackSys)
	figure("MSpanInuse", stats.MSpanInuse)
	figure("MSpanSys", stats.MSpanSys)
	figure("MCacheInuse", stats.MCacheInuse)
	figure("MCacheSys", stats.MCacheSys)
	figure("BuckHashSys", stats.BuckHashSys)
	figure("GCSys", stats.GCSys)
	figure("OtherSys", stats.OtherSys)
	figure("NextGC", stats.NextGC)
	figure("LastGC", stats.LastGC)
	figure("PauseTotalNs", stats.PauseTotalNs)
	figure("NumGC", uint64(stats.NumGC))
	figure("NumForcedGC", uint64(stats.NumForcedGC))
}

func figure(name string, value uint64) {
	line = append(line, `, "`...)
	line = append(line, name...)
	line = append(line, `": `...)
	line = strconv.AppendUint(line, value, 10)
}

func send() {
	line = append(line, '\n')
	os.Stdout.Write(line)
	next()
}

func next() {
	for {
		n, err := os.Stdin.Read(input[:])
		if err != nil || n == 0 {
			os.Exit(0)
		}
		if input[0] == '\n' {
			return
		}
	}
}
