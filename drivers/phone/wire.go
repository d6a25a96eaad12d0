package phone

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"
)

// What a page may cost. A 7841's largest page holds some ninety elements, all
// of them direct children of the root.
const (
	maxBody     = 128 << 10
	maxElements = 1024
	maxDepth    = 8
	maxText     = 4 << 10 // bytes of one element that are read
	maxValue    = 200     // characters of them that are kept: less than the heart's 1,024 bytes
)

// Page is what one XML page of a phone says: the name of its root and the text
// of its direct children, each as one clean line (see clip). Names that nobody
// here knows survive.
type Page struct {
	Root   string
	Fields map[string]string
}

// Why a body is not a page. Each is a whole sentence's worth for a log line.
var (
	errEmpty    = errors.New("an empty page")
	errHalf     = errors.New("half a page: it ends before its root element does")
	errTooLong  = fmt.Errorf("more than %d kB", maxBody>>10)
	errDTD      = errors.New("a document type declaration, which no phone sends: refused unread")
	errTooDeep  = fmt.Errorf("elements nested more than %d deep", maxDepth)
	errTooMany  = fmt.Errorf("more than %d elements", maxElements)
	errNotXML   = errors.New("not XML")
	errMismatch = errors.New("not XML: an end tag without its start")
)

// ParsePage reads a page. The content type only helps where the bytes are not
// UTF-8 and the prolog does not say what they are. A page whose root element is
// not closed is an error, whatever was read until there: half a list of call
// servers would be a lie.
func ParsePage(body []byte, contentType string) (Page, error) {
	if len(body) > maxBody {
		return Page{}, errTooLong
	}
	text := decode(body, contentType)
	if strings.TrimSpace(text) == "" {
		return Page{}, errEmpty
	}
	r := pageReader{dec: xml.NewDecoder(strings.NewReader(text))}
	// Not strict: real pages carry URLs with a bare ampersand. Entities other
	// than XML's five stay as they are written, since no table is given.
	r.dec.Strict = false
	r.dec.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil } // decoded above
	return r.read()
}

type pageReader struct {
	dec      *xml.Decoder
	page     Page
	open     []string // the elements that are open, outermost first
	text     strings.Builder
	elements int
}

// read keeps its own stack over raw tokens: a decoder that is not strict would
// close what is still open by itself, and half a page would pass.
func (r *pageReader) read() (Page, error) {
	for {
		token, err := r.dec.RawToken()
		switch {
		case errors.Is(err, io.EOF):
			return Page{}, r.atEnd()
		case err != nil:
			return Page{}, r.broken(err)
		}
		done, err := r.take(token)
		switch {
		case err != nil:
			return Page{}, err
		case done:
			return r.page, nil
		}
	}
}

func (r *pageReader) atEnd() error {
	if r.page.Root == "" {
		return errNotXML
	}
	return errHalf
}

// broken tells a page that was cut inside a tag from one that is no XML.
func (r *pageReader) broken(err error) error {
	if s, ok := errors.AsType[*xml.SyntaxError](err); ok && s.Msg == "unexpected EOF" {
		return r.atEnd()
	}
	return errNotXML
}

func (r *pageReader) take(token xml.Token) (done bool, err error) {
	switch t := token.(type) {
	case xml.Directive:
		return false, errDTD
	case xml.StartElement:
		return false, r.start(name(t.Name))
	case xml.EndElement:
		return r.end(name(t.Name))
	case xml.CharData:
		switch {
		case len(r.open) == 0 && len(bytes.TrimSpace(t)) > 0:
			return false, errNotXML
		case len(r.open) == 2:
			r.text.Write(t[:min(len(t), maxText-r.text.Len())])
		}
	}
	return false, nil
}

func (r *pageReader) start(name string) error {
	if r.elements++; r.elements > maxElements {
		return errTooMany
	}
	if len(r.open) == maxDepth {
		return errTooDeep
	}
	switch len(r.open) {
	case 0:
		r.page = Page{Root: name, Fields: map[string]string{}}
	case 1:
		r.text.Reset()
	}
	r.open = append(r.open, name)
	return nil
}

func (r *pageReader) end(name string) (done bool, err error) {
	last := len(r.open) - 1
	if last < 0 || r.open[last] != name {
		return false, errMismatch
	}
	r.open = r.open[:last]
	if last == 1 {
		if _, twice := r.page.Fields[name]; !twice {
			r.page.Fields[name] = clip(r.text.String(), maxValue)
		}
	}
	return last == 0, nil
}

// name is the element's name as written; phones use no namespaces.
func name(n xml.Name) string {
	if n.Space != "" {
		return n.Space + ":" + n.Local
	}
	return n.Local
}

var prologCharset = regexp.MustCompile(`^\s*<\?xml[^>]{0,200}\bencoding\s*=\s*["']([A-Za-z0-9._:-]{1,40})["']`)

// decode makes UTF-8 of a body. Prolog and header contradict each other on real
// phones (a 7940 says iso-8859-1 inside and utf-8 outside), so the bytes have
// the first word: what is valid UTF-8 is UTF-8, unless a charset of escapes is
// named. Then the prolog, then the header. What is left over is replaced.
func decode(body []byte, contentType string) string {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	var named []string
	if m := prologCharset.FindSubmatch(body); m != nil {
		named = append(named, string(m[1]))
	}
	if _, params, err := mime.ParseMediaType(contentType); err == nil && params["charset"] != "" {
		named = append(named, params["charset"])
	}
	escapes := len(named) > 0 && strings.HasPrefix(strings.ToLower(named[0]), "iso-2022")
	if !utf8.Valid(body) || escapes {
		for _, label := range named {
			if text, ok := decodeAs(body, label); ok {
				return legal(text)
			}
		}
	}
	return legal(strings.ToValidUTF8(string(body), "\uFFFD"))
}

// decodeAs decodes by a charset that is not UTF-8 itself, nor UTF-16, which the
// prolog could not have been read in.
func decodeAs(body []byte, label string) (string, bool) {
	l := strings.ToLower(label)
	if strings.HasPrefix(l, "utf") || strings.HasPrefix(l, "unicode") {
		return "", false
	}
	enc, err := htmlindex.Get(l)
	if err != nil || enc == nil {
		return "", false
	}
	text, err := enc.NewDecoder().Bytes(body)
	if err != nil || len(text) > 4*maxBody {
		return "", false
	}
	return string(text), true
}

// legal replaces what XML 1.0 §2.2 allows in no document, so that one stray
// control character in a label does not cost the whole page.
func legal(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t', r == '\n', r == '\r', r >= 0x20 && r <= 0xD7FF, r >= 0xE000 && r <= 0xFFFD, r >= 0x10000:
			return r
		}
		return '\uFFFD'
	}, s)
}
