package house

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	module   = "pilotlight"
	root     = "../.."
	maxLines = 500
	maxFunc  = 80
)

// mayImport says, for each room, which rooms it may look into.
var mayImport = map[string][]string{
	"agent":     {"agent"},
	"drivers":   {"agent", "drivers"},
	"board":     {"agent", "board"},
	"cmd":       {"agent", "drivers", "board", "cmd"},
	"testbench": {"testbench"}, // it speaks to the product over wires only
}

// exceptions to mayImport, each with its reason.
var exceptions = map[string][]string{
	"cmd/pilotlight": {"testbench/branch"}, // demo runs the simulated branch in process
}

func TestRoomsLookOnlyWhereTheyMay(t *testing.T) {
	for _, p := range packages(t) {
		room, _, _ := strings.Cut(p.name, "/")
		for _, imp := range p.inside {
			to, _, _ := strings.Cut(imp, "/")
			if !slices.Contains(mayImport[room], to) && !slices.Contains(exceptions[p.name], imp) {
				t.Errorf("%s may not import %s", p.name, imp)
			}
			if p.name == "agent" {
				t.Errorf("agent imports nothing of ours, and not %s", imp)
			}
			if strings.HasPrefix(p.name, "drivers/") && isDriver(imp) && driverOf(p.name) != driverOf(imp) {
				t.Errorf("driver %s may not import driver %s: what they share is in drivers/internal", p.name, imp)
			}
		}
	}
}

func isDriver(pkg string) bool {
	return strings.HasPrefix(pkg, "drivers/") && !strings.HasPrefix(pkg, "drivers/internal")
}

func driverOf(pkg string) string { return strings.Split(pkg, "/")[1] }

// The heart speaks no protocol: what it may import from outside is short.
func TestTheHeartStaysPure(t *testing.T) {
	small := []string{"go.etcd.io/bbolt", "github.com/goccy/go-yaml", "golang.org/x/sys", "golang.org/x/crypto", "google.golang.org/protobuf", "go.uber.org/goleak"}
	for _, p := range packages(t) {
		if !strings.HasPrefix(p.name, "agent") {
			continue
		}
		for _, imp := range p.outside {
			allowed := slices.ContainsFunc(small, func(s string) bool { return imp == s || strings.HasPrefix(imp, s+"/") })
			if p.name == "agent/presence" || !allowed {
				t.Errorf("%s may not import %s", p.name, imp)
			}
		}
		for _, imp := range p.std {
			if imp == "net/http" || imp == "net" && p.name != "agent/schedule" && p.name != "agent/access" {
				t.Errorf("%s imports %s: the heart opens no socket", p.name, imp)
			}
		}
	}
}

func TestFilesStayShort(t *testing.T) {
	for _, file := range goFiles(t) {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(text, []byte("\n")); n > maxLines {
			t.Errorf("%s has %d lines, more than %d: is it still one thing?", file, n, maxLines)
		}
	}
}

// A function that does not fit a screen does more than one thing.
func TestFunctionsFitAScreen(t *testing.T) {
	for _, file := range goFiles(t) {
		if strings.HasSuffix(file, "_test.go") {
			continue // a table may be long
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				if n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line; n > maxFunc {
					t.Errorf("%s: %s has %d lines, more than %d", fset.Position(fn.Pos()), fn.Name.Name, n, maxFunc)
				}
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range packages(t) {
		if p.doc == "" {
			t.Errorf("%s has no package comment", p.name)
		}
	}
}

func TestEveryDriverHasAReadme(t *testing.T) {
	dirs, err := filepath.Glob(root + "/drivers/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		st, err := os.Stat(dir)
		if err != nil || !st.IsDir() || filepath.Base(dir) == "internal" {
			continue
		}
		text, err := os.ReadFile(dir + "/README.md")
		if err != nil {
			t.Errorf("%s: %v", dir, err)
			continue
		}
		for _, want := range []string{"speak", "onfiguration", "know"} {
			if !bytes.Contains(text, []byte(want)) {
				t.Errorf("%s/README.md says nothing of what it %ss", dir, want)
			}
		}
	}
}

// Every module linked into the product stands in deps.txt with a reason.
func TestDependenciesAreChosen(t *testing.T) {
	text, err := os.ReadFile("deps.txt")
	if err != nil {
		t.Fatal(err)
	}
	chosen := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		mod, why, _ := strings.Cut(line, " ")
		if strings.TrimSpace(why) == "" {
			t.Errorf("deps.txt: %s has no reason", mod)
		}
		chosen[mod] = false
	}
	out := run(t, "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./cmd/pilotlight")
	for mod := range strings.Lines(string(out)) {
		mod = strings.TrimSpace(mod)
		if mod == "" || mod == module {
			continue
		}
		if _, ok := chosen[mod]; !ok {
			t.Errorf("%s is linked into the product and not in testbench/house/deps.txt", mod)
		}
		chosen[mod] = true
	}
	for mod, used := range chosen {
		if !used {
			t.Errorf("deps.txt: %s is not linked any more", mod)
		}
	}
}

// In CI no test may skip itself.
func TestNoTestSkips(t *testing.T) {
	for _, file := range goFiles(t) {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && (sel.Sel.Name == "Skip" || sel.Sel.Name == "Skipf" || sel.Sel.Name == "SkipNow") {
				if id, ok := sel.X.(*ast.Ident); ok && (id.Name == "t" || id.Name == "b" || id.Name == "tb") {
					t.Errorf("%s: %s.%s: print what could not run instead", fset.Position(n.Pos()), id.Name, sel.Sel.Name)
				}
			}
			return true
		})
	}
}

type pkg struct {
	name                 string // without the module
	doc                  string
	inside, outside, std []string
}

// packages lists all packages with what they and their tests import.
func packages(t *testing.T) []pkg {
	t.Helper()
	out := run(t, "go", "list", "-json=ImportPath,Doc,Imports,TestImports,XTestImports,GoFiles", "./...")
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath, Doc                             string
			Imports, TestImports, XTestImports, GoFiles []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		is := pkg{name: strings.TrimPrefix(p.ImportPath, module+"/"), doc: p.Doc}
		if len(p.GoFiles) == 0 {
			is.doc = "tests only"
		}
		for _, imp := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if rest, ok := strings.CutPrefix(imp, module+"/"); ok {
				is.inside = append(is.inside, rest)
			}
		}
		for _, imp := range p.Imports { // what tests use from outside is free
			switch first, _, _ := strings.Cut(imp, "/"); {
			case first == module:
			case strings.Contains(first, "."):
				is.outside = append(is.outside, imp)
			default:
				is.std = append(is.std, imp)
			}
		}
		all = append(all, is)
	}
}

func goFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && d.Name() == ".git" {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, ".go") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		sc := bufio.NewScanner(&stderr)
		sc.Scan()
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, sc.Text())
	}
	return out
}
