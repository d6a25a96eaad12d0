package xmlscan

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// readSlow reads a document by encoding/xml.
func readSlow(body []byte, lim Limits) (*Node, error) {
	dec := xml.NewDecoder(bytes.NewReader(body))
	dec.CharsetReader = (&charsets{limit: int64(lim.Bytes)}).reader
	var root *Node
	var path []*Node
	var texts [][]byte
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
			return nil, errType
		case xml.StartElement:
			if count++; count > lim.Elements {
				return nil, fmt.Errorf("more than %d elements", lim.Elements)
			}
			if len(path) >= lim.Depth {
				return nil, fmt.Errorf("nested deeper than %d", lim.Depth)
			}
			n, err := element(tok)
			switch {
			case err != nil:
				return nil, err
			case len(path) > 0:
				path[len(path)-1].add(n)
			case root != nil:
				return nil, errRoots
			default:
				root = n
			}
			path, texts = append(path, n), append(texts, nil)
		case xml.EndElement:
			last := len(path) - 1
			path[last].Text = strings.TrimSpace(string(texts[last]))
			path, texts = path[:last], texts[:last]
		case xml.CharData:
			if len(path) > 0 {
				texts[len(path)-1] = append(texts[len(path)-1], tok...)
			}
		}
	}
	if root == nil {
		return nil, errEmpty
	}
	return root, nil
}

func element(tok xml.StartElement) (*Node, error) {
	if len(tok.Attr) > maxAttributes {
		return nil, errAttrs
	}
	n := &Node{Space: tok.Name.Space, Local: tok.Name.Local}
	for _, a := range tok.Attr {
		if a.Name.Space != "xmlns" && (a.Name.Space != "" || a.Name.Local != "xmlns") {
			n.Attrs = append(n.Attrs, Attr{a.Name.Space, a.Name.Local, a.Value})
		}
	}
	return n, nil
}

// charsets reads the two other encodings met in the field; Latin-1 once only, for
// each time may double what there is to read.
type charsets struct {
	limit int64
	latin bool
}

func (c *charsets) reader(label string, input io.Reader) (io.Reader, error) {
	switch strings.ToLower(label) {
	case "utf-8", "utf8", "us-ascii", "ascii":
		return input, nil
	case "iso-8859-1", "latin1":
		if c.latin {
			return nil, errors.New("an encoding twice")
		}
		c.latin = true
		b, err := io.ReadAll(io.LimitReader(input, c.limit))
		if err != nil {
			return nil, err
		}
		out := make([]rune, len(b))
		for i, c := range b {
			out[i] = rune(c)
		}
		return strings.NewReader(string(out)), nil
	}
	return nil, fmt.Errorf("encoding %.40q is not taken", label)
}
