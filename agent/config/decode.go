package config

import (
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

type decoder struct {
	file   string
	faults Faults
	at     map[string]*token.Token // where each path stands
	bad    map[string]bool         // paths whose values could not be read
	checks []check
}

type check struct {
	path  string
	rules Checker
}

// into decodes the tree below node into the struct that ptr points to.
func (d *decoder) into(node ast.Node, ptr any) {
	d.at[""] = start(node)
	d.structure(node, reflect.ValueOf(ptr).Elem(), "")
}

// visitDefaults checks a struct that the file says nothing about.
func (d *decoder) visitDefaults(ptr any) { d.register(reflect.ValueOf(ptr).Elem(), "") }

func (d *decoder) register(v reflect.Value, path string) {
	if c, ok := v.Addr().Interface().(Checker); ok {
		d.checks = append(d.checks, check{path, c})
	}
}

func (d *decoder) structure(node ast.Node, v reflect.Value, path string) {
	pairs, ok := mapping(node)
	if !ok {
		d.bad[path] = true
		d.fault(node.GetToken(), "%s: want keys and values", describe(path))
		return
	}
	fields := map[string]reflect.Value{}
	var names []string
	collect(v, fields, &names)
	seen := map[string]bool{}
	for _, pair := range pairs {
		key := pair.Key.GetToken()
		name := key.Value
		field, known := fields[name]
		switch {
		case seen[name]:
			d.fault(key, "%s appears twice", describe(join(path, name)))
			continue
		case !known:
			d.fault(key, "unknown key %q%s", name, suggest(name, names))
			continue
		}
		seen[name] = true
		d.value(pair.Value, field, join(path, name), key)
	}
	d.register(v, path)
	eachInline(v, func(in reflect.Value) { d.register(in, path) })
}

// value decodes one value; key is where it stands when it is empty.
func (d *decoder) value(node ast.Node, v reflect.Value, path string, key *token.Token) {
	node = resolve(node)
	d.at[path] = key
	if node == nil || node.Type() == ast.NullType {
		return // an empty section keeps its defaults
	}
	d.at[path] = start(node)
	switch {
	case isLeaf(v.Type()):
		d.leaf(node, v, path)
	case v.Kind() == reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.value(node, v.Elem(), path, key)
	case v.Kind() == reflect.Struct:
		d.structure(node, v, path)
	case v.Kind() == reflect.Slice:
		d.list(node, v, path)
	default:
		d.leaf(node, v, path)
	}
}

func (d *decoder) list(node ast.Node, v reflect.Value, path string) {
	seq, ok := node.(*ast.SequenceNode)
	if !ok {
		d.bad[path] = true
		d.fault(start(node), "%s: want a list", describe(path))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values)))
	for i, item := range seq.Values {
		d.value(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i), start(item))
	}
}

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

// isLeaf reports whether a type is decoded from one scalar.
func isLeaf(t reflect.Type) bool {
	return t == reflect.TypeFor[time.Duration]() || t == reflect.TypeFor[time.Time]() || reflect.PointerTo(t).Implements(textUnmarshaler)
}

func (d *decoder) leaf(node ast.Node, v reflect.Value, path string) {
	if fault := readLeaf(node, v); fault != "" {
		d.bad[path] = true
		d.fault(start(node), "%s: %s", describe(path), fault)
	}
}

func readLeaf(node ast.Node, v reflect.Value) (fault string) {
	text, quoted, ok := scalar(node)
	if !ok {
		return "want " + wanted(v.Type())
	}
	text, err := expand(text)
	if err != nil {
		return err.Error()
	}
	if err := set(v, text, quoted); err != nil {
		return fmt.Sprintf("%v; want %s", err, wanted(v.Type()))
	}
	return ""
}

// set puts one scalar into v. Text is taken as it stands, so that 0123 stays a
// number to dial; everything else is read as YAML reads it.
func set(v reflect.Value, text string, quoted bool) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		dur, err := time.ParseDuration(text)
		if err != nil || dur < 0 {
			return fmt.Errorf("%q is not a duration", text)
		}
		v.SetInt(int64(dur))
		return nil
	case v.Kind() == reflect.String:
		v.SetString(text)
		return nil
	case quoted:
		return fmt.Errorf("%q is text", text)
	}
	if err := yaml.Unmarshal([]byte(text), v.Addr().Interface()); err != nil {
		return fmt.Errorf("%q does not fit", text)
	}
	return nil
}

func wanted(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "a duration such as 30s, 5m or 1h"
	case t == reflect.TypeFor[netip.Prefix]():
		return "a network such as 10.0.0.0/8"
	case t == reflect.TypeFor[netip.Addr]():
		return "an address such as 10.1.1.2"
	case reflect.PointerTo(t).Implements(textUnmarshaler):
		return article(strings.ToLower(t.Name()))
	}
	switch t.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number"
	}
	return article(t.Kind().String())
}

func article(noun string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// expand replaces ${NAME}.
func expand(text string) (string, error) {
	var missing []string
	out := variable.ReplaceAllStringFunc(text, func(m string) string {
		value, ok := os.LookupEnv(m[2 : len(m)-1])
		if !ok {
			missing = append(missing, m)
		}
		return value
	})
	if len(missing) > 0 {
		return "", errors.New(strings.Join(missing, ", ") + " is not set in the environment")
	}
	return out, nil
}

// suggest names the nearest key, or all of them where there are few.
func suggest(name string, known []string) string {
	if len(known) == 0 {
		return "; this version has nothing to configure here"
	}
	best, least := "", 3
	for _, k := range known {
		if n := distance(name, k); n < least {
			best, least = k, n
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	slices.Sort(known)
	return "; known here: " + strings.Join(known, ", ")
}

// distance is the number of letters to change, add or drop between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost++
			}
			diag = row[j+1]
			row[j+1] = min(cost, row[j]+1, diag+1)
		}
	}
	return row[len(b)]
}

func describe(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}
