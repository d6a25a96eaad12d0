package main

import (
	"encoding"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

const configurationPage = "../../docs/configuration.md"

// docs/configuration.md is what the structs say, field by field.
func TestConfigurationPage(t *testing.T) {
	defaults := defaultConfig()
	p := page{t: t, comments: map[string]string{}, parsed: map[string]bool{}}
	p.printf("# Configuration\n\n" +
		"One YAML file. Unknown keys are errors; `pilotlight check --config FILE` names every fault with its place.\n" +
		"`${NAME}` in a value is replaced by the environment variable. Secrets stand in files of their own, named by\n" +
		"`*_file` relative to this file. A file with `branch: {id: …}` alone runs.\n\n" +
		"This page is made from the code (`make docs`); a test holds it true.\n")
	p.section("", reflect.ValueOf(defaults))
	want := p.b.String()
	if *update {
		if err := os.WriteFile(configurationPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(configurationPage)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(got), want); d != "" {
		t.Errorf("docs/configuration.md is not what the code says (make docs):\n%s", d)
	}
}

// page writes Markdown from structs and their comments.
type page struct {
	t        *testing.T
	b        strings.Builder
	comments map[string]string // package.Type.Field
	parsed   map[string]bool
}

func (p *page) printf(format string, args ...any) { fmt.Fprintf(&p.b, format, args...) }

// section writes the keys of one struct, then those of the structs in it.
func (p *page) section(path string, v reflect.Value) {
	type below struct {
		path string
		v    reflect.Value
		doc  string
	}
	var rows, subs []below
	p.fields(v, func(f reflect.StructField, fv reflect.Value, name, doc string) {
		at := strings.TrimPrefix(path+"."+name, ".")
		if inner, list, ok := structure(fv); ok {
			if list {
				at += "[]"
			}
			subs = append(subs, below{at, inner, doc})
			return
		}
		rows = append(rows, below{name, fv, doc})
	})
	if len(rows) > 0 {
		if path != "" {
			p.printf("\n")
		}
		p.printf("\n| key | kind | default | what |\n| --- | --- | --- | --- |\n")
		for _, r := range rows {
			p.printf("| `%s` | %s | %s | %s |\n", r.path, kind(r.v.Type()), shown(r.v), r.doc)
		}
	}
	for _, s := range subs {
		p.printf("\n## `%s`\n\n%s", s.path, s.doc)
		if s.v.NumField() == 0 {
			p.printf("\n")
			continue
		}
		p.section(s.path, s.v)
	}
}

// fields visits the keys of a struct, those of inlined structs too.
func (p *page) fields(v reflect.Value, visit func(f reflect.StructField, fv reflect.Value, name, doc string)) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case strings.Contains(opts, "inline"):
			p.fields(v.Field(i), visit)
		default:
			visit(f, v.Field(i), name, p.comment(v.Type(), f.Name))
		}
	}
}

// structure looks through pointers and lists for a struct that has keys of its own.
func structure(v reflect.Value) (inner reflect.Value, list, ok bool) {
	t := v.Type()
	if t.Kind() == reflect.Slice {
		t, list = t.Elem(), true
		v = reflect.Zero(t)
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
		v = reflect.Zero(t)
	}
	leaf := reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
	return v, list, t.Kind() == reflect.Struct && !leaf
}

func kind(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case t.Kind() == reflect.Pointer:
		return kind(t.Elem())
	case t.Kind() == reflect.Slice:
		return "list of " + kind(t.Elem()) + "s"
	case t.Name() == "Prefix":
		return "network"
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	}
	return "number"
}

func shown(v reflect.Value) string {
	if v.Kind() == reflect.Pointer || v.IsZero() {
		return ""
	}
	if v.Kind() == reflect.Slice {
		var items []string
		for i := range v.Len() {
			items = append(items, fmt.Sprintf("`%v`", v.Index(i)))
		}
		return strings.Join(items, ", ")
	}
	return fmt.Sprintf("`%v`", v)
}

// comment is what stands above a field in its source.
func (p *page) comment(t reflect.Type, field string) string {
	p.t.Helper()
	p.parse(t.PkgPath())
	doc, ok := p.comments[t.PkgPath()+"."+t.Name()+"."+field]
	if !ok || doc == "" {
		p.t.Errorf("%s.%s.%s has no comment for the configuration's page", t.PkgPath(), t.Name(), field)
	}
	return doc
}

func (p *page) parse(pkg string) {
	if p.parsed[pkg] {
		return
	}
	p.parsed[pkg] = true
	dir := "."
	if rest, ok := strings.CutPrefix(pkg, "pilotlight/"); ok {
		dir = filepath.Join("../..", rest)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			p.t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if st, ok := spec.Type.(*ast.StructType); ok {
				for _, f := range st.Fields.List {
					doc := f.Doc.Text()
					if doc == "" {
						doc = f.Comment.Text()
					}
					doc = strings.ReplaceAll(strings.Join(strings.Fields(doc), " "), "|", "\\|")
					for _, name := range f.Names {
						p.comments[pkg+"."+spec.Name.Name+"."+name.Name] = doc
					}
				}
			}
			return true
		})
	}
}
