package pidf

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The bounds of what is read. A document of the largest rated branch is far below.
const (
	MaxBytes    = 256 << 10
	MaxDepth    = 32
	maxElements = 4096
)

// node is one element. Names are resolved to name spaces.
type node struct {
	space, local string
	attrs        []xml.Attr
	children     []*node
	chars        strings.Builder
}

// readTree reads one document into memory. encoding/xml expands no entity but the
// five of XML itself; a document type is refused, for there is no honest use of it.
func readTree(body []byte) (*node, error) {
	if len(body) > MaxBytes {
		return nil, fmt.Errorf("%d bytes, at most %d", len(body), MaxBytes)
	}
	dec := xml.NewDecoder(bytes.NewReader(body))
	dec.CharsetReader = charset
	var root *node
	var path []*node
	for count := 0; ; {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		switch tok := tok.(type) {
		case xml.Directive:
			return nil, errors.New("a document type is not taken")
		case xml.StartElement:
			if count++; count > maxElements {
				return nil, fmt.Errorf("more than %d elements", maxElements)
			}
			if len(path) >= MaxDepth {
				return nil, fmt.Errorf("nested deeper than %d", MaxDepth)
			}
			n := &node{space: tok.Name.Space, local: tok.Name.Local, attrs: slices.Clone(tok.Attr)}
			switch {
			case len(path) > 0:
				up := path[len(path)-1]
				up.children = append(up.children, n)
			case root != nil:
				return nil, errors.New("more than one root element")
			default:
				root = n
			}
			path = append(path, n)
		case xml.EndElement:
			path = path[:len(path)-1]
		case xml.CharData:
			if len(path) > 0 {
				path[len(path)-1].chars.Write(tok)
			}
		}
	}
	if root == nil {
		return nil, errors.New("empty document")
	}
	return root, nil
}

// charset reads the two other encodings met in the field.
func charset(label string, input io.Reader) (io.Reader, error) {
	switch strings.ToLower(label) {
	case "utf-8", "utf8", "us-ascii", "ascii":
		return input, nil
	case "iso-8859-1", "latin1":
		b, err := io.ReadAll(io.LimitReader(input, MaxBytes))
		if err != nil {
			return nil, err
		}
		out := make([]rune, len(b))
		for i, c := range b {
			out[i] = rune(c)
		}
		return strings.NewReader(string(out)), nil
	}
	return nil, fmt.Errorf("encoding %q is not taken", label)
}

// text is the element's own character data, trimmed.
func (n *node) text() string { return strings.TrimSpace(n.chars.String()) }

func (n *node) attr(local string) string {
	for _, a := range n.attrs {
		if a.Name.Local == local && a.Name.Space == "" {
			return a.Value
		}
	}
	return ""
}

func (n *node) find(local string) *node {
	for _, c := range n.children {
		if c.local == local {
			return c
		}
	}
	return nil
}

// child is the text of the first child of that name.
func (n *node) child(local string) string {
	if c := n.find(local); c != nil {
		return c.text()
	}
	return ""
}

// understood reports whether an extension may be used: not when a child that we
// don't know says that it must be understood (RFC 3863 §4.2.3).
func (n *node) understood() bool {
	for _, c := range n.children {
		if known(c.space) {
			continue
		}
		for _, a := range c.attrs {
			if a.Name.Space == nsPIDF && a.Name.Local == "mustUnderstand" && (a.Value == "true" || a.Value == "1") {
				return false
			}
		}
	}
	return true
}

func known(space string) bool {
	switch space {
	case nsModel, nsCisco, nsCaps, nsOldCaps, nsCIPID, nsTimed:
		return true
	}
	return isPIDF(space) || isRPID(space)
}
