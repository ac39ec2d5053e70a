package main

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// A node is a type, whether it came from source or from DWARF. name is that of a structure of package runtime, or
// empty; members are those of any structure; element is that of an array.
type node struct {
	name    string
	size    int64
	members []member
	element *node
	broken  bool // a member's type, or one within it, could not be resolved
}

const unknown = -1

type member struct {
	name   string
	offset int64
	node   *node
}

// A layout is what both kinds of reading give: types by name, variables by name, and constants as they are printed.
type layout struct {
	types     map[string]*node
	variables map[string]*node
	constants []string
}

func (l *layout) print() error {
	out := bufio.NewWriter(os.Stdout)
	names := append(slices.Clone(wholeStructs), "g", "m", "p", "moduledata")
	var broken []string
	for _, name := range names {
		broken = append(broken, l.printStruct(out, name, l.types[name])...)
	}
	for _, name := range variables {
		broken = append(broken, l.printStruct(out, name, l.variables[name])...)
	}
	if len(broken) > 0 {
		return fmt.Errorf("sizes within %s are not known", strings.Join(broken, ", "))
	}
	if len(l.constants) > 0 {
		fmt.Fprintln(out, "const 0", strings.Join(l.constants, " "))
	}
	return out.Flush()
}

// printStruct returns the name if the structure's layout is not to be trusted.
func (l *layout) printStruct(out *bufio.Writer, name string, n *node) []string {
	if n == nil {
		return nil
	}
	if n.element != nil {
		n = n.element
	}
	if n.broken || n.size == unknown {
		return []string{name}
	}
	var fields []string
	strides := map[string]int64{}
	l.flatten(n, "", 0, &fields, strides)
	if part, ok := partStructs[name]; ok {
		fields = slices.DeleteFunc(fields, func(field string) bool {
			return !slices.Contains(part, field[:strings.IndexByte(field, '=')])
		})
	}
	fmt.Fprintln(out, name, n.size, strings.Join(fields, " "))
	for _, field := range slices.Sorted(maps.Keys(strides)) {
		if _, ok := partStructs[name]; !ok {
			fmt.Fprintf(out, "%s.%s %d\n", name, field, strides[field])
		}
	}
	return nil
}

// flatten writes the fields of n; those of a structure without a name stand for it, with its field's name before
// theirs, and so do those of the first element of an array of such, whose size goes into strides.
func (l *layout) flatten(n *node, prefix string, base int64, fields *[]string, strides map[string]int64) {
	for _, m := range n.members {
		if m.name == "_" || m.name == "pad" || m.name == "" {
			continue
		}
		name, offset := prefix+m.name, base+m.offset
		text := fmt.Sprintf("%s=%d:%d", name, offset, m.node.size)
		inner := m.node
		if inner.element != nil {
			inner = inner.element
		}
		if inner.name != "" && l.printed(inner.name) {
			text += ":" + inner.name
		}
		*fields = append(*fields, text)
		if inner.name == "" && len(inner.members) > 0 {
			l.flatten(inner, name+".", offset, fields, strides)
			if m.node.element != nil {
				strides[name] = inner.size
			}
		}
	}
}

func (l *layout) printed(name string) bool {
	if l.types[name] == nil || len(l.types[name].members) == 0 {
		return false
	}
	_, part := partStructs[name]
	return part || slices.Contains(wholeStructs, name)
}
