package main

import (
	"debug/dwarf"
	"debug/elf"
	"strings"
)

// printDWARF reads the types and variables of package runtime from an executable's DWARF.
func printDWARF(path string) error {
	file, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	data, err := file.DWARF()
	if err != nil {
		return err
	}
	r := &reading{data: data, nodes: map[dwarf.Type]*node{}}
	l := &layout{types: map[string]*node{}, variables: map[string]*node{}}
	if err := r.collect(l); err != nil {
		return err
	}
	return l.print()
}

type reading struct {
	data  *dwarf.Data
	nodes map[dwarf.Type]*node
}

func (r *reading) collect(l *layout) error {
	entries := r.data.Reader()
	for {
		entry, err := entries.Next()
		if err != nil || entry == nil {
			return err
		}
		name, _ := entry.Val(dwarf.AttrName).(string)
		name, ok := strings.CutPrefix(name, "runtime.")
		switch entry.Tag {
		case dwarf.TagCompileUnit:
			continue
		case dwarf.TagStructType, dwarf.TagTypedef:
			if ok {
				err = r.add(l.types, name, entry.Offset)
			}
		case dwarf.TagVariable:
			if at, has := entry.Val(dwarf.AttrType).(dwarf.Offset); ok && has {
				err = r.add(l.variables, name, at)
			}
		}
		if err != nil {
			return err
		}
		entries.SkipChildren()
	}
}

func (r *reading) add(to map[string]*node, name string, at dwarf.Offset) error {
	found, err := r.data.Type(at)
	if err == nil {
		to[name] = r.node(found)
	}
	return err
}

func (r *reading) node(t dwarf.Type) *node {
	if known := r.nodes[t]; known != nil {
		return known
	}
	n := &node{size: t.Size()}
	r.nodes[t] = n
	switch t := t.(type) {
	case *dwarf.TypedefType:
		inner := *r.node(t.Type)
		inner.name = shortName(t.Name)
		*n = inner
	case *dwarf.StructType:
		n.name = shortName(t.StructName)
		for _, field := range t.Field {
			n.members = append(n.members, member{field.Name, field.ByteOffset, r.node(field.Type)})
		}
	case *dwarf.ArrayType:
		n.element = r.node(t.Type)
	}
	return n
}

// shortName is "mspan" of "runtime.mspan", and nothing for a structure that has no name of its own.
func shortName(name string) string {
	if strings.HasPrefix(name, "struct {") {
		return ""
	}
	return strings.TrimPrefix(name, "runtime.")
}
