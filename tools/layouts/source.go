package main

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// printSource reads GOROOT/src/runtime as the compiler of that release would see it, function bodies aside.
func printSource(goroot, arch, release string, changes []string) error {
	experiments := defaultExperiments(goroot, arch)
	for _, change := range changes {
		experiments[strings.TrimLeft(change, "+-")] = !strings.HasPrefix(change, "-")
	}
	c := newChecker(goroot, arch, release, experiments)
	runtime, err := c.Import("runtime")
	if err != nil {
		return err
	}
	l := &layout{types: map[string]*node{}, variables: map[string]*node{}}
	scope := runtime.Scope()
	for _, name := range scope.Names() {
		switch object := scope.Lookup(name).(type) {
		case *types.TypeName:
			if _, alias := object.Type().(*types.Named); alias {
				l.types[name] = c.node(object.Type())
			}
		case *types.Var:
			l.variables[name] = c.node(object.Type())
		}
	}
	for _, name := range constants {
		if object, ok := scope.Lookup(name).(*types.Const); ok && object.Val().Kind().String() == "Int" {
			l.constants = append(l.constants, name+"="+object.Val().ExactString())
		}
	}
	if err := l.print(); err != nil {
		return fmt.Errorf("%s: %w: %v", goroot, err, c.problems)
	}
	return nil
}

// checker type-checks packages of one GOROOT; it is the importer of its own packages.
type checker struct {
	context  build.Context
	config   types.Config
	files    *token.FileSet
	packages map[string]*types.Package
	nodes    map[types.Type]*node
	problems []error
}

func newChecker(goroot, arch, release string, experiments map[string]bool) *checker {
	c := &checker{files: token.NewFileSet(), packages: map[string]*types.Package{}, nodes: map[types.Type]*node{}}
	c.context = build.Default
	c.context.GOROOT, c.context.GOOS, c.context.GOARCH, c.context.Compiler = goroot, "linux", arch, "gc"
	c.context.CgoEnabled = false
	c.context.BuildTags, c.context.ToolTags, c.context.ReleaseTags = nil, nil, releaseTags(release)
	for name, on := range experiments {
		if on {
			c.context.ToolTags = append(c.context.ToolTags, "goexperiment."+name)
		}
	}
	c.config = types.Config{
		IgnoreFuncBodies: true, FakeImportC: true, Importer: c, Sizes: types.SizesFor("gc", arch),
		Error: func(err error) { c.problems = append(c.problems, err) },
	}
	return c
}

func releaseTags(release string) []string {
	minor, _ := strconv.Atoi(strings.Split(release, ".")[1])
	var tags []string
	for i := 1; i <= minor; i++ {
		tags = append(tags, fmt.Sprint("go1.", i))
	}
	return tags
}

// Import checks the package at that path of GOROOT/src. Errors of its source are kept in problems: what matters is
// whether the sizes are known.
func (c *checker) Import(path string) (*types.Package, error) {
	if path == "unsafe" {
		return types.Unsafe, nil
	}
	if known := c.packages[path]; known != nil {
		return known, nil
	}
	folder := filepath.Join(c.context.GOROOT, "src", filepath.FromSlash(path))
	found, err := c.context.ImportDir(folder, 0)
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	for _, name := range found.GoFiles {
		file, err := parser.ParseFile(c.files, filepath.Join(folder, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	checked, _ := c.config.Check(path, c.files, files, nil)
	c.packages[path] = checked
	return checked, nil
}

func (c *checker) node(t types.Type) *node {
	if known := c.nodes[t]; known != nil {
		return known
	}
	n := &node{}
	c.nodes[t] = n
	if named, ok := types.Unalias(t).(*types.Named); ok {
		if named.TypeParams().Len() > named.TypeArgs().Len() {
			return n
		}
		if pkg := named.Obj().Pkg(); pkg != nil && pkg.Path() == "runtime" {
			n.name = named.Obj().Name()
		} else {
			n.name = named.String()
		}
	}
	switch under := t.Underlying().(type) {
	case *types.Struct:
		c.addMembers(n, under)
	case *types.Array:
		n.element = c.node(under.Elem())
	case *types.Basic:
		if under.Kind() == types.Invalid || under.Info()&types.IsUntyped != 0 {
			n.size = unknown
			return n
		}
	}
	n.size = c.config.Sizes.Sizeof(t)
	if n.element != nil && n.element.size == unknown || n.size < 0 {
		n.size = unknown
	}
	return n
}

func (c *checker) addMembers(n *node, structure *types.Struct) {
	var fields []*types.Var
	for i := range structure.NumFields() {
		fields = append(fields, structure.Field(i))
	}
	offsets := c.config.Sizes.Offsetsof(fields)
	for i, field := range fields {
		inner := c.node(field.Type())
		n.members = append(n.members, member{field.Name(), offsets[i], inner})
		n.broken = n.broken || inner.size == unknown || inner.broken
	}
}

// defaultExperiments reads which of GOEXPERIMENT's settings are on in a release: internal/buildcfg/exp.go, where
// they are the literal `baseline` (Go 1.17 and later; before, none was on). Its conditions are about the
// architecture: one is taken to hold where a function of the file names that architecture.
func defaultExperiments(goroot, arch string) map[string]bool {
	on := map[string]bool{}
	path := filepath.Join(goroot, "src", "internal", "buildcfg", "exp.go")
	text, err := os.ReadFile(path)
	if err != nil {
		return on
	}
	file, err := parser.ParseFile(token.NewFileSet(), path, text, 0)
	if err != nil {
		return on
	}
	named := namesInFunction(file, strconv.Quote(arch))
	ast.Inspect(file, func(found ast.Node) bool {
		literal, ok := found.(*ast.CompositeLit)
		if !ok {
			return true
		}
		if selector, ok := literal.Type.(*ast.SelectorExpr); !ok || selector.Sel.Name != "Flags" {
			return true
		}
		for _, element := range literal.Elts {
			if pair, ok := element.(*ast.KeyValueExpr); ok {
				value, plain := pair.Value.(*ast.Ident)
				on[strings.ToLower(pair.Key.(*ast.Ident).Name)] = plain && value.Name == "true" || named
			}
		}
		return true
	})
	return on
}

func namesInFunction(file *ast.File, quoted string) bool {
	named := false
	for _, declaration := range file.Decls {
		if function, ok := declaration.(*ast.FuncDecl); ok {
			ast.Inspect(function, func(found ast.Node) bool {
				literal, ok := found.(*ast.BasicLit)
				named = named || ok && literal.Value == quoted
				return true
			})
		}
	}
	return named
}
