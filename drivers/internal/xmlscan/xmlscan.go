// Package xmlscan reads a small XML document of a peer into a tree, within
// limits, and fast enough for each PUBLISH to bring one.
//
// [Read] takes what presence documents are written in: elements, attributes,
// name spaces, character references, the five entities of XML itself, CDATA;
// comments and processing instructions are passed over. A document type is
// refused, so that there is no entity to expand and nothing to fetch. Whatever
// needs tables (names outside ASCII, other encodings) is left to encoding/xml.
// That reader is also the measure of this one: they agree on every document,
// on what is refused too, which a fuzz target holds.
package xmlscan

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits is how much is read.
type Limits struct{ Bytes, Depth, Elements int }

// What one element may have, and how many name spaces may be declared around it.
const (
	maxAttributes   = 64
	maxDeclarations = 128
)

// Node is one element. Names are resolved to name spaces; a prefix that is not
// declared stands for itself. All strings share one copy of the document.
type Node struct {
	Space, Local string
	Attrs        []Attr // without the declarations of name spaces
	Text         string // its own character data, trimmed
	First, Next  *Node  // its first child; its next sibling
	last         *Node
}

// Attr is one attribute.
type Attr struct{ Space, Local, Value string }

// Attr is the value of the attribute that has this name and no name space.
func (n *Node) Attr(local string) string {
	for i := range n.Attrs {
		if a := &n.Attrs[i]; a.Local == local && a.Space == "" {
			return a.Value
		}
	}
	return ""
}

// Find is the first child of that name, in whatever name space; or nil.
func (n *Node) Find(local string) *Node {
	for c := n.First; c != nil; c = c.Next {
		if c.Local == local {
			return c
		}
	}
	return nil
}

// Child is the text of the first child of that name.
func (n *Node) Child(local string) string {
	if c := n.Find(local); c != nil {
		return c.Text
	}
	return ""
}

func (n *Node) add(c *Node) {
	if n.last == nil {
		n.First = c
	} else {
		n.last.Next = c
	}
	n.last = c
}

// Read reads one document.
func Read(body []byte, lim Limits) (*Node, error) {
	if len(body) > lim.Bytes {
		return nil, fmt.Errorf("%d bytes, at most %d", len(body), lim.Bytes)
	}
	root, err := scan(string(body), lim)
	if errors.Is(err, errElsewhere) {
		return readSlow(body, lim)
	}
	return root, err
}

// errElsewhere is a document that encoding/xml has to read.
var errElsewhere = errors.New("not read here")

var (
	errCut  = errors.New("the document is cut off")
	errName = errors.New("a name is missing or wrong")
	errChar = errors.New("a character that XML can't hold")
	errAttr = errors.New("an attribute without = or quotes")

	// What this package refuses and encoding/xml alone would take.
	errAttrs  = fmt.Errorf("an element with more than %d attributes", maxAttributes)
	errSpaces = fmt.Errorf("more than %d declarations of name spaces", maxDeclarations)
	errRoots  = errors.New("more than one root element")
	errType   = errors.New("a document type is not taken")
	errEmpty  = errors.New("empty document")
)

type scanner struct {
	src      string
	at       int
	lim      Limits
	root     *Node
	elements int
	room     []Node // for elements to come
	attrs    []Attr // of all elements so far
	open     []frame
	spaces   []binding
	opens    [8]frame
	binds    [12]binding
}

// frame is an element that is open.
type frame struct {
	node   *Node
	name   string // as written
	spaces int    // how many declarations are in force around it
	more   []byte // its text, where that came in pieces
}

// binding is one declaration of a name space.
type binding struct{ prefix, uri string }

func scan(src string, lim Limits) (*Node, error) {
	s := &scanner{src: src, lim: lim}
	s.open, s.spaces = s.opens[:0], s.binds[:0]
	s.attrs = make([]Attr, 0, min(strings.Count(src, "="), 64))
	for s.at < len(src) {
		if err := s.token(); err != nil {
			return nil, err
		}
	}
	switch {
	case len(s.open) > 0:
		return nil, errCut
	case s.root == nil:
		return nil, errEmpty
	}
	return s.root, nil
}

func (s *scanner) token() error {
	if s.src[s.at] != '<' {
		return s.keep(s.text(content))
	}
	s.at++
	if s.at == len(s.src) {
		return errCut
	}
	switch s.src[s.at] {
	case '/':
		s.at++
		return s.end()
	case '?':
		s.at++
		return s.instruction()
	case '!':
		s.at++
		return s.declaration()
	}
	return s.start()
}

// declaration is what begins with <!.
func (s *scanner) declaration() error {
	rest := s.src[s.at:]
	if strings.HasPrefix(rest, "[CDATA[") {
		s.at += len("[CDATA[")
		return s.keep(s.text(cdata))
	}
	if !strings.HasPrefix(rest, "--") {
		return errType
	}
	i := strings.Index(rest[2:], "--")
	if i < 0 || !strings.HasPrefix(rest[2+i+2:], ">") {
		return errors.New("a comment without end, or with -- in it")
	}
	s.at += 2 + i + 3
	return nil
}

// instruction passes over <?…?>; the one named xml tells version and encoding.
func (s *scanner) instruction() error {
	target, err := s.name()
	if err != nil {
		return err
	}
	s.space()
	said, _, ok := strings.Cut(s.src[s.at:], "?>")
	if !ok {
		return errCut
	}
	s.at += len(said) + len("?>")
	if target != "xml" {
		return nil
	}
	if v := pseudo(said, "version="); v != "" && v != "1.0" {
		return fmt.Errorf("version %.20q of XML is not taken", v)
	}
	switch strings.ToLower(pseudo(said, "encoding=")) {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return nil
	}
	return errElsewhere
}

// pseudo is the value of a pseudo-attribute, found as encoding/xml finds it.
func pseudo(said, param string) string {
	for i := strings.Index(said, param); i >= 0; i = strings.Index(said, param) {
		said = said[i+len(param):]
		if said == "" {
			return ""
		}
		if q := said[0]; q == '"' || q == '\'' {
			value, _, ok := strings.Cut(said[1:], string(q))
			if !ok {
				return ""
			}
			return value
		}
		said = said[1:]
	}
	return ""
}

func (s *scanner) start() error {
	if s.elements++; s.elements > s.lim.Elements {
		return fmt.Errorf("more than %d elements", s.lim.Elements)
	}
	if len(s.open) >= s.lim.Depth {
		return fmt.Errorf("nested deeper than %d", s.lim.Depth)
	}
	name, err := s.name()
	if err != nil {
		return err
	}
	n := s.node()
	around, first := len(s.spaces), len(s.attrs)
	empty, err := s.attributes()
	if err != nil {
		return err
	}
	if n.Space, n.Local, err = split(name); err != nil {
		return err
	}
	if n.Space != "" || n.Local != "xmlns" {
		n.Space = s.resolve(n.Space)
	}
	if len(s.attrs) > first {
		n.Attrs = s.attrs[first:len(s.attrs):len(s.attrs)]
		for i := range n.Attrs { // after all, for a name space may be declared behind its use
			if a := &n.Attrs[i]; a.Space != "" {
				a.Space = s.resolve(a.Space)
			}
		}
	}
	switch {
	case len(s.open) > 0:
		s.open[len(s.open)-1].node.add(n)
	case s.root != nil:
		return errRoots
	default:
		s.root = n
	}
	if empty {
		s.spaces = s.spaces[:around]
		return nil
	}
	s.open = append(s.open, frame{node: n, name: name, spaces: around})
	return nil
}

// node is room for one element more. Half of the < that are to come may be
// elements, and a document of nothing else must not cost more than it is worth.
func (s *scanner) node() *Node {
	if len(s.room) == 0 {
		s.room = make([]Node, min(1+strings.Count(s.src[s.at:], "<")/2, 64))
	}
	n := &s.room[0]
	s.room = s.room[1:]
	return n
}

// attributes reads up to the end of a start tag; empty: <…/>.
func (s *scanner) attributes() (empty bool, err error) {
	for count := 0; ; count++ {
		s.space()
		rest := s.src[s.at:]
		switch {
		case strings.HasPrefix(rest, ">"):
			s.at++
			return false, nil
		case strings.HasPrefix(rest, "/>"):
			s.at += 2
			return true, nil
		case rest == "":
			return false, errCut
		case count == maxAttributes:
			return false, errAttrs
		}
		if err := s.attribute(); err != nil {
			return false, err
		}
	}
}

func (s *scanner) attribute() error {
	name, err := s.name()
	if err != nil {
		return err
	}
	var a Attr
	if a.Space, a.Local, err = split(name); err != nil {
		return err
	}
	if s.space(); s.at == len(s.src) || s.src[s.at] != '=' {
		return errAttr
	}
	s.at++
	if s.space(); s.at == len(s.src) || s.src[s.at] != '"' && s.src[s.at] != '\'' {
		return errAttr
	}
	s.at++
	if a.Value, err = s.text(s.src[s.at-1]); err != nil {
		return err
	}
	prefix := a.Local
	switch {
	case a.Space == "" && a.Local == "xmlns":
		prefix = ""
	case a.Space != "xmlns":
		s.attrs = append(s.attrs, a)
		return nil
	}
	if len(s.spaces) == maxDeclarations {
		return errSpaces
	}
	s.spaces = append(s.spaces, binding{prefix, a.Value})
	return nil
}

func (s *scanner) end() error {
	name, err := s.name()
	if err != nil {
		return err
	}
	s.space()
	if s.at == len(s.src) || s.src[s.at] != '>' {
		return errors.New("an end tag without >")
	}
	s.at++
	if len(s.open) == 0 {
		return fmt.Errorf("</%.40s> ends nothing", name)
	}
	f := &s.open[len(s.open)-1]
	if f.name != name {
		return fmt.Errorf("<%.40s> ended by </%.40s>", f.name, name)
	}
	if f.more != nil {
		f.node.Text = string(f.more)
	}
	f.node.Text = strings.TrimSpace(f.node.Text)
	s.spaces = s.spaces[:f.spaces]
	s.open = s.open[:len(s.open)-1]
	return nil
}

// keep adds to the text of the element that is open. Text is trimmed in the end,
// so that what is blank and stands first need not be kept.
func (s *scanner) keep(text string, err error) error {
	if err != nil || len(s.open) == 0 {
		return err
	}
	f := &s.open[len(s.open)-1]
	switch {
	case f.more != nil:
		f.more = append(f.more, text...)
	case f.node.Text != "":
		f.more = append([]byte(f.node.Text), text...)
	case strings.TrimSpace(text) != "":
		f.node.Text = text
	}
	return nil
}

// resolve is the name space that a prefix stands for.
func (s *scanner) resolve(prefix string) string {
	switch prefix {
	case "xmlns":
		return prefix
	case "xml":
		return "http://www.w3.org/XML/1998/namespace"
	}
	for i := len(s.spaces) - 1; i >= 0; i-- {
		if s.spaces[i].prefix == prefix {
			return s.spaces[i].uri
		}
	}
	return prefix
}

// split parts a name from its prefix. A colon at an end is part of the name.
func split(name string) (prefix, local string, err error) {
	i := strings.IndexByte(name, ':')
	switch {
	case i < 0:
		return "", name, nil
	case strings.IndexByte(name[i+1:], ':') >= 0:
		return "", "", errName
	case i == 0 || i == len(name)-1:
		return "", name, nil
	}
	return name[:i], name[i+1:], nil
}

func (s *scanner) space() {
	for s.at < len(s.src) && class[s.src[s.at]]&blank != 0 {
		s.at++
	}
}

// name reads a name, which something must follow.
func (s *scanner) name() (string, error) {
	from := s.at
	for s.at < len(s.src) && class[s.src[s.at]]&inName != 0 {
		s.at++
	}
	switch {
	case s.at == len(s.src):
		return "", errCut
	case s.src[s.at] >= utf8.RuneSelf:
		return "", errElsewhere
	case s.at == from || class[s.src[from]]&beginsName == 0:
		return "", errName
	}
	return s.src[from:s.at], nil
}
