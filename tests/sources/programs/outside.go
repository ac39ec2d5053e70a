// Outside holds memory of every kind that is not Go's: malloc's arenas, chunks of their own, threads' stacks.
//
// Five threads of C take 8000 blocks of 900 bytes each; the main thread takes ten chunks of 3 MiB and 2 bytes, and
// three of 1 MiB aligned to 64 KiB. It prints "READY {}" and waits for the end of its standard input.
//
// Compiles with Go 1.15 to 1.27, with cgo.
package main

// #cgo LDFLAGS: -lpthread
// #include <pthread.h>
// #include <stdlib.h>
// #include <string.h>
// #include <unistd.h>
//
// static pthread_barrier_t filled;
//
// static void *take(void *unused) {
//     for (int i = 0; i < 8000; i++) {
//         memset(malloc(900), 1, 900);
//     }
//     pthread_barrier_wait(&filled);
//     for (;;) pause();
//     return unused;
// }
//
// static void fill(void) {
//     pthread_barrier_init(&filled, 0, 6);
//     for (int i = 0; i < 5; i++) {
//         pthread_t thread;
//         pthread_create(&thread, 0, take, 0);
//     }
//     for (int i = 0; i < 10; i++) {
//         size_t size = (3 << 20) + 2;
//         memset(malloc(size), 1, size);
//     }
//     for (int i = 0; i < 3; i++) {
//         void *block = 0;
//         if (posix_memalign(&block, 65536, 1 << 20) == 0) memset(block, 1, 1 << 20);
//     }
//     pthread_barrier_wait(&filled);
// }
import "C"

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"os"
)

func main() {
	C.fill()
	rand.Read(make([]byte, 16))
	fmt.Println("READY {}")
	bufio.NewReader(os.Stdin).ReadString(0)
}
