// Library keeps 16 MiB of heap, all touched, from its first Answer on: as a C library or as a plugin.
//
// Compiles with Go 1.12 to 1.27.
package main

import "C"

const pageBytes = 4096

var kept [][]byte

//export Answer
func Answer() int {
	for i := 0; i < 16; i++ {
		piece := make([]byte, 1<<20)
		for at := 0; at < len(piece); at += pageBytes {
			piece[at] = 1
		}
		kept = append(kept, piece)
	}
	return 42
}

func main() {}
