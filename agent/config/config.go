// Package config decodes one YAML file strictly into whatever struct cmd
// composes of the rooms' own sections, and finds every fault at once: unknown
// and doubled keys, values of the wrong kind, and what the sections themselves
// object to. Each fault names file, line and column, what is wrong and what
// would be right.
//
// It walks the syntax tree beside the struct instead of leaving it to a
// decoder, which would stop at the first fault. ${NAME} in a value is replaced
// by the environment variable; one that is not set is a fault.
//
// A section that has rules of its own implements [Checker].
package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Report takes one fault. The path names a value below the section that
// reports, such as "phones[2].address"; "" is the section itself.
type Report = func(path, format string, args ...any)

// A Checker is a section with rules of its own. It is called once all values
// are decoded.
type Checker interface{ Check(Report) }

// A Fault is one thing wrong with a file.
type Fault struct {
	File      string
	Line, Col int
	Msg       string
}

// Error is FILE:LINE:COL: what is wrong.
func (f Fault) Error() string { return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Col, f.Msg) }

// Faults is all that is wrong, in the order of the file.
type Faults []Fault

// Error has a line for each fault.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// maxFile bounds the size of a configuration.
const maxFile = 4 << 20

// Load reads file into the struct that into points to, which holds the
// defaults. The error is of type Faults where the file itself is at fault.
func Load(file string, into any) error {
	st, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if st.Size() > maxFile {
		return fmt.Errorf("configuration: %s is larger than %d bytes", file, maxFile)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	return Decode(file, text, into)
}

// Decode is Load of a text; name stands for the file in faults.
func Decode(name string, text []byte, into any) error {
	d := &decoder{file: name, at: map[string]*token.Token{}, bad: map[string]bool{}}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	root, err := parser.ParseBytes(text, 0)
	if err != nil {
		d.yamlFault(err)
		return d.faults
	}
	d.root(root, into)
	d.check()
	if len(d.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(d.faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	return d.faults
}

// yamlFault turns the parser's error into a fault.
func (d *decoder) yamlFault(err error) {
	var ye yaml.Error
	if errors.As(err, &ye) && ye.GetToken() != nil {
		d.fault(ye.GetToken(), "%s", ye.GetMessage())
		return
	}
	d.faults = append(d.faults, Fault{d.file, 1, 1, err.Error()})
}

func (d *decoder) fault(at *token.Token, format string, args ...any) {
	f := Fault{File: d.file, Line: 1, Col: 1, Msg: fmt.Sprintf(format, args...)}
	if at != nil && at.Position != nil {
		f.Line, f.Col = at.Position.Line, at.Position.Column
	}
	d.faults = append(d.faults, f)
}

func (d *decoder) root(file *ast.File, into any) {
	switch len(file.Docs) {
	case 0:
		return
	case 1:
	default:
		d.fault(file.Docs[1].GetToken(), "a second document: one file holds one configuration")
		return
	}
	body := file.Docs[0].Body
	if body == nil {
		d.visitDefaults(into)
		return
	}
	d.into(body, into)
}

// check runs the rules of all sections that were decoded.
func (d *decoder) check() {
	for _, c := range d.checks {
		c.rules.Check(func(path, format string, args ...any) {
			if at := join(c.path, path); !d.unread(at) {
				d.fault(d.locate(at), format, args...)
			}
		})
	}
}

// unread reports whether a value at path, in it or around it could not be read:
// what a rule says of it then is about a default.
func (d *decoder) unread(path string) bool {
	for bad := range d.bad {
		if strings.HasPrefix(bad, path) || strings.HasPrefix(path, bad) {
			return true
		}
	}
	return false
}

// locate finds where a path stands, or else what it is part of.
func (d *decoder) locate(path string) *token.Token {
	for {
		if t := d.at[path]; t != nil {
			return t
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return d.at[""]
		}
		path = path[:i]
	}
}

func join(a, b string) string {
	switch {
	case a == "":
		return b
	case b == "", strings.HasPrefix(b, "["):
		return a + b
	}
	return a + "." + b
}
