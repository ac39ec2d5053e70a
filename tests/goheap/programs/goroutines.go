// Goroutines makes goroutines that wait in many ways, and tells what its own runtime says of them.
//
//	goroutines
//
// It prints "READY {}", then obeys lines, each with one line of answer:
//
//	leak N      N more goroutines wait for ever in main.leaked, made by main.leak
//	burst N     N goroutines begin and end, all at once
//	gc          a collection
//	count       runtime.NumGoroutine()
//	traces      the stacks of all goroutines, as runtime/pprof writes them, a JSON string
//	profile     the same by debug=1, which counts those that are alike
//
// Compiles with Go 1.12 to 1.27.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"time"
)

var (
	forever = make(chan bool)
	locked  sync.Mutex
	both    sync.RWMutex
	group   sync.WaitGroup
	cond    = sync.NewCond(&sync.Mutex{})
	reader  *os.File
	writer  *os.File
)

func main() {
	locked.Lock()
	both.Lock()
	group.Add(1)
	reader, writer, _ = os.Pipe()
	makeMany()
	(&server{}).start()
	finalize()
	settle()
	fmt.Println("READY {}")
	obey()
}

func makeMany() {
	for i := 0; i < 7; i++ {
		go receiving()
	}
	for i := 0; i < 3; i++ {
		go sending()
	}
	go selecting()
	go selecting()
	go sleeping()
	go locking()
	go lockingBoth()
	go waiting()
	go conditional()
	go reading()
	go empty()
	go nothing()
	go pinned()
	go func() {
		<-forever
	}()
	for i := 0; i < 4; i++ {
		go withArguments(i, forever)
	}
}

func receiving() { <-forever }
func sending()   { forever2 := make(chan bool); forever2 <- true }
func selecting() {
	select {
	case <-forever:
	case <-make(chan int):
	}
}
func sleeping()    { time.Sleep(time.Hour) }
func locking()     { locked.Lock() }
func lockingBoth() { both.RLock() }
func waiting()     { group.Wait() }
func conditional() { cond.L.Lock(); cond.Wait() }
func reading()     { reader.Read(make([]byte, 1)) }
func empty()       { select {} }
func nothing()     { var none chan int; <-none }
func pinned()      { runtime.LockOSThread(); <-forever }

//go:noinline
func withArguments(i int, c chan bool) { <-c }

type server struct{ next *server }

func (s *server) start() {
	go s.serve()
	go newServer().serve()
}

func newServer() *server { return &server{} }

//go:noinline
func (s *server) serve() { <-forever }

// finalize leaves the runtime's goroutine for finalizers in one of the program's.
func finalize() {
	began := make(chan bool)
	func() {
		runtime.SetFinalizer(&server{&server{}}, func(*server) {
			began <- true
			<-forever
		})
	}()
	runtime.GC()
	<-began
}

func leak(count int) {
	for i := 0; i < count; i++ {
		go leaked()
	}
}

func leaked() { <-forever }

func burst(count int) {
	var began, ended sync.WaitGroup
	began.Add(count)
	ended.Add(count)
	for i := 0; i < count; i++ {
		go func() {
			began.Done()
			began.Wait()
			ended.Done()
		}()
	}
	ended.Wait()
}

func obey() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		count := 0
		if len(words) > 1 {
			count, _ = strconv.Atoi(words[1])
		}
		switch words[0] {
		case "leak":
			leak(count)
			settle()
			fmt.Println("DONE")
		case "burst":
			before := runtime.NumGoroutine()
			burst(count)
			for runtime.NumGoroutine() > before {
				settle()
			}
			fmt.Println("DONE")
		case "gc":
			runtime.GC()
			fmt.Println("DONE")
		case "count":
			fmt.Println(runtime.NumGoroutine())
		case "traces":
			fmt.Println(written(2))
		case "profile":
			fmt.Println(written(1))
		}
	}
}

// settle gives goroutines that were just made the time to begin to wait.
func settle() {
	for i := 0; i < 100; i++ {
		runtime.Gosched()
	}
	time.Sleep(50 * time.Millisecond)
}

func written(debug int) string {
	var text bytes.Buffer
	pprof.Lookup("goroutine").WriteTo(&text, debug)
	quoted, _ := json.Marshal(text.String())
	return string(quoted)
}
