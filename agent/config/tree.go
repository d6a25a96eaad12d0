package config

import (
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// mapping gives the pairs of a mapping, in either of the parser's two forms.
func mapping(node ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := resolve(node).(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// resolve looks through tags and anchors. Aliases are not followed: a
// configuration needs none, and they make documents that explode.
func resolve(node ast.Node) ast.Node {
	for {
		switch n := node.(type) {
		case *ast.TagNode:
			node = n.Value
		case *ast.AnchorNode:
			node = n.Value
		default:
			return node
		}
	}
}

// scalar gives the text of a scalar, and whether it was quoted.
func scalar(node ast.Node) (text string, quoted, ok bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, n.Token.Type == token.DoubleQuoteType || n.Token.Type == token.SingleQuoteType, true
	case *ast.LiteralNode:
		return n.Value.Value, true, true
	case *ast.MappingValueNode:
		return colonned(n)
	case *ast.MappingNode:
		if len(n.Values) == 1 {
			return colonned(n.Values[0])
		}
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return node.GetToken().Value, false, true
	}
	return "", false, false
}

// colonned mends what the parser does to a plain scalar with a colon in a flow
// collection: in [udp:127.0.0.1:5060] it takes udp for a key, though no blank
// follows (YAML 1.2 §7.3.3).
func colonned(pair *ast.MappingValueNode) (text string, quoted, ok bool) {
	value, quoted, ok := scalar(pair.Value)
	at, colon := pair.Value.GetToken().Position, pair.Start.Position
	if !ok || quoted || at == nil || colon == nil || at.Line != colon.Line || at.Column != colon.Column+1 {
		return "", false, false
	}
	return pair.Key.GetToken().Value + ":" + value, false, true
}

// start is where a node begins for the reader: the first key of a mapping, not its colon.
func start(node ast.Node) *token.Token {
	if pairs, ok := mapping(node); ok && len(pairs) > 0 {
		return pairs[0].Key.GetToken()
	}
	return node.GetToken()
}

// collect gathers the fields of a struct by their YAML names, inlined ones included.
func collect(v reflect.Value, fields map[string]reflect.Value, names *[]string) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case !f.IsExported() || name == "-":
		case strings.Contains(opts, "inline"):
			collect(v.Field(i), fields, names)
		default:
			if name == "" {
				name = strings.ToLower(f.Name)
			}
			fields[name] = v.Field(i)
			*names = append(*names, name)
		}
	}
}

// eachInline visits the inlined structs of v, whose rules are about v's own keys.
func eachInline(v reflect.Value, visit func(reflect.Value)) {
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && strings.Contains(f.Tag.Get("yaml"), ",inline") {
			visit(v.Field(i))
			eachInline(v.Field(i), visit)
		}
	}
}
