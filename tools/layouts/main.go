// Layouts prints where the Go runtime's structures keep their fields, from the runtime's source or from the DWARF
// of a program. tools/gen_layouts.py runs it; its output is read by whyrss/goheap/layout.py.
//
//	layouts source GOROOT ARCH RELEASE [EXPERIMENT...]   RELEASE is 1.24.11; "+x" and "-x" change the defaults
//	layouts dwarf EXECUTABLE
//
// A line is a structure: its name, its size, then FIELD=OFFSET:WIDTH or FIELD=OFFSET:WIDTH:STRUCTURE, in bytes.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "layouts:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) >= 4 && args[0] == "source":
		return printSource(args[1], args[2], args[3], args[4:])
	case len(args) == 2 && args[0] == "dwarf":
		return printDWARF(args[1])
	}
	return fmt.Errorf("usage: layouts source GOROOT ARCH RELEASE [EXPERIMENT...] | layouts dwarf EXECUTABLE")
}
