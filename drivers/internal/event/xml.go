package event

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"pilotlight/drivers/internal/pidf"
)

const xmlDeclaration = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

// markup appends XML to b. Names are ours; values and text are anybody's.
type markup struct{ b []byte }

func (m *markup) raw(s string) { m.b = append(m.b, s...) }

func (m *markup) text(s string) { m.b = pidf.AppendText(m.b, s) }

// attr writes an attribute.
func (m *markup) attr(name, value string) {
	m.b = append(m.b, ' ')
	m.b = append(m.b, name...)
	m.b = append(m.b, '=', '"')
	m.text(value)
	m.b = append(m.b, '"')
}

// option writes an attribute that has something to say.
func (m *markup) option(name, value string) {
	if value != "" {
		m.attr(name, value)
	}
}

func (m *markup) number(name string, n uint64) {
	m.b = append(m.b, ' ')
	m.b = append(m.b, name...)
	m.b = append(m.b, '=', '"')
	m.b = strconv.AppendUint(m.b, n, 10)
	m.b = append(m.b, '"')
}

// walk reads a document within the limits of this package: start is told each
// element with its path of local names, end the text that an element ends with,
// trimmed. The root is one element of that name, in one of the name spaces.
func walk(b []byte, root string, spaces []string, start func(path []string, e xml.StartElement) error, end func(path []string, text string)) error {
	if len(b) > maxDocument {
		return fmt.Errorf("%d octets are too many", len(b))
	}
	d := xml.NewDecoder(bytes.NewReader(b))
	d.CharsetReader = charset
	w := walker{root: root, spaces: spaces, start: start, end: end}
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = w.token(tok)
		}
		if err != nil {
			return err
		}
	}
	if !w.rooted {
		return errors.New("no document")
	}
	return nil
}

type walker struct {
	root   string
	spaces []string
	start  func(path []string, e xml.StartElement) error
	end    func(path []string, text string)
	rooted bool
	path   []string
	text   []byte
}

func (w *walker) token(tok xml.Token) error {
	switch tok := tok.(type) {
	case xml.Directive:
		return errors.New("document type declarations are refused")
	case xml.StartElement:
		if len(w.path) >= maxDepth {
			return errors.New("nested too deeply")
		}
		if len(w.path) == 0 {
			if err := w.checkRoot(tok.Name); err != nil {
				return err
			}
		}
		w.path = append(w.path, tok.Name.Local)
		w.text = w.text[:0]
		return w.start(w.path, tok)
	case xml.CharData:
		w.text = append(w.text, tok...) // bounded by the document
	case xml.EndElement:
		w.end(w.path, strings.TrimSpace(string(w.text)))
		w.path = w.path[:len(w.path)-1]
		w.text = w.text[:0]
	}
	return nil
}

func (w *walker) checkRoot(name xml.Name) error {
	if w.rooted || name.Local != w.root {
		return fmt.Errorf("root element %.40q", name.Local)
	}
	for _, s := range w.spaces {
		if s == name.Space {
			w.rooted = true
			return nil
		}
	}
	return fmt.Errorf("root element in name space %.60q", name.Space)
}
