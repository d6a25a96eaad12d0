package phone

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"
)

// What a page may cost. A 7841's largest page holds some ninety elements, all
// of them direct children of the root; the status page of multiplatform firmware
// is a dump of 10 to 70 kB. Sixteen pages that are read at once are to cost less than
// 16 MB, whatever is in them.
const (
	maxBody     = 128 << 10
	maxStatus   = 256 << 10
	maxElements = 1024
	maxDumped   = 4 << 10 // elements of a status page
	maxDepth    = 8
	maxRun      = 8 << 10 // bytes from one tag to the next: what a tag may have of attributes
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
	errTooLong  = tooLong(maxBody)
	errDTD      = errors.New("a document type declaration, which no phone sends: refused unread")
	errTooDeep  = fmt.Errorf("elements nested more than %d deep", maxDepth)
	errLongRun  = fmt.Errorf("more than %d kB from one tag to the next", maxRun>>10)
	errTooMany  = errors.New("more elements than a page has")
	errNotXML   = errors.New("not XML")
	errMismatch = errors.New("not XML: an end tag without its start")
)

// tooLong is a body of more bytes than that.
type tooLong int

func (n tooLong) Error() string { return fmt.Sprintf("more than %d kB", int(n)>>10) }

// ParsePage reads a page. The content type only helps where the bytes are not
// UTF-8 and the prolog does not say what they are.
func ParsePage(body []byte, contentType string) (Page, error) {
	root, err := parseTree(body, contentType, maxBody, maxElements, nil)
	if err != nil {
		return Page{}, err
	}
	page := Page{Root: root.name, Fields: make(map[string]string, len(root.children))}
	for _, c := range root.children {
		if _, twice := page.Fields[c.name]; !twice {
			page.Fields[c.name] = c.value()
		}
	}
	return page, nil
}

// element is one element of a page.
type element struct {
	name     string
	attrs    []xml.Attr
	text     []byte // its own, not its children's; at most maxText
	children []element
}

// value is the element's text as one clean line.
func (e element) value() string { return clip(string(e.text), maxValue) }

// attr is an attribute's value, or "".
func (e element) attr(local string) string {
	for _, a := range e.attrs {
		if a.Name.Local == local {
			return clip(a.Value, maxValue)
		}
	}
	return ""
}

// child is the value of the first child of that name. Phones write null and N/A
// where they have nothing to say.
func (e element) child(names ...string) string {
	for _, n := range names {
		for _, c := range e.children {
			if c.name == n {
				if v := worded(c.value()); v != "" {
					return v
				}
			}
		}
	}
	return ""
}

// parseTree reads a whole document. One whose root element is not closed is an
// error, whatever was read until there: half a list of call servers would be a lie.
// With each, the root's children go there and are not kept.
func parseTree(body []byte, contentType string, most, elements int, each func(element)) (element, error) {
	if len(body) > most {
		return element{}, tooLong(most)
	}
	text, ok := decode(body, contentType, most)
	switch {
	case !ok:
		return element{}, tooLong(most)
	case strings.TrimSpace(text) == "":
		return element{}, errEmpty
	case longRun(text):
		return element{}, errLongRun
	}
	r := treeReader{dec: xml.NewDecoder(strings.NewReader(text)), left: elements, each: each}
	// Not strict: real pages carry URLs with a bare ampersand. Entities other
	// than XML's five stay as they are written, since no table is given.
	r.dec.Strict = false
	r.dec.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil } // decoded above
	return r.read()
}

// longRun reports that a tag is further from the next than any of a page is. A tag
// holds none (XML 1.0 §3.1), so that this bounds what is read of one at a time.
func longRun(text string) bool {
	for len(text) > maxRun {
		next := strings.LastIndexByte(text[:maxRun+1], '<')
		if next <= 0 {
			return true
		}
		text = text[next:]
	}
	return false
}

type treeReader struct {
	dec  *xml.Decoder
	open []element     // outermost first
	left int           // elements that may still come
	each func(element) // takes the root's children; nil: they are kept
}

// read keeps its own stack over raw tokens: a decoder that is not strict would
// close what is still open by itself, and half a page would pass.
func (r *treeReader) read() (element, error) {
	for {
		token, err := r.dec.RawToken()
		switch {
		case errors.Is(err, io.EOF):
			return element{}, r.atEnd()
		case err != nil:
			return element{}, r.broken(err)
		}
		root, err := r.take(token)
		switch {
		case err != nil:
			return element{}, err
		case root != nil:
			return *root, nil
		}
	}
}

func (r *treeReader) atEnd() error {
	if len(r.open) == 0 {
		return errNotXML
	}
	return errHalf
}

// broken tells a page that was cut inside a tag from one that is no XML.
func (r *treeReader) broken(err error) error {
	if s, ok := errors.AsType[*xml.SyntaxError](err); ok && s.Msg == "unexpected EOF" {
		return r.atEnd()
	}
	return errNotXML
}

func (r *treeReader) take(token xml.Token) (root *element, err error) {
	switch t := token.(type) {
	case xml.Directive:
		return nil, errDTD
	case xml.StartElement:
		return nil, r.start(t)
	case xml.EndElement:
		return r.end(name(t.Name))
	case xml.CharData:
		if len(r.open) == 0 {
			if len(bytes.TrimSpace(t)) > 0 {
				return nil, errNotXML
			}
			return nil, nil
		}
		e := &r.open[len(r.open)-1]
		e.text = append(e.text, t[:min(len(t), maxText-len(e.text))]...)
	}
	return nil, nil
}

func (r *treeReader) start(t xml.StartElement) error {
	if r.left--; r.left < 0 {
		return errTooMany
	}
	if len(r.open) == maxDepth {
		return errTooDeep
	}
	r.open = append(r.open, element{name: name(t.Name), attrs: slices.Clone(t.Attr[:min(len(t.Attr), 4)])})
	return nil
}

func (r *treeReader) end(name string) (root *element, err error) {
	last := len(r.open) - 1
	if last < 0 || r.open[last].name != name {
		return nil, errMismatch
	}
	e := r.open[last]
	if last == 0 {
		return &e, nil
	}
	r.open = r.open[:last]
	if last == 1 && r.each != nil {
		r.each(e)
		return nil, nil
	}
	parent := &r.open[last-1]
	parent.children = append(parent.children, e)
	return nil, nil
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
// named. Then the prolog, then the header. What is left over is replaced. Not ok is a
// text that comes to more than most bytes.
func decode(body []byte, contentType string, most int) (_ string, ok bool) {
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
			if text, ok := decodeAs(body, label, most); ok {
				return legal(text, most)
			}
		}
	}
	text := string(body)
	if !utf8.ValidString(text) {
		size := len(text)
		for i, r := range text {
			if r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD") {
				size += len("\uFFFD") - 1
			}
		}
		if size > most {
			return "", false
		}
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	return legal(text, most)
}

// decodeAs decodes by a charset that is not UTF-8 itself, nor UTF-16, which the
// prolog could not have been read in.
func decodeAs(body []byte, label string, most int) (string, bool) {
	l := strings.ToLower(label)
	if strings.HasPrefix(l, "utf") || strings.HasPrefix(l, "unicode") {
		return "", false
	}
	enc, err := htmlindex.Get(l)
	if err != nil || enc == nil {
		return "", false
	}
	read := func() io.Reader {
		return io.LimitReader(enc.NewDecoder().Reader(bytes.NewReader(body)), int64(most)+1)
	}
	size, err := io.Copy(io.Discard, read()) // first, so that nothing has to grow
	if err != nil || size > int64(most) {
		return "", false
	}
	var text strings.Builder
	text.Grow(int(size))
	if _, err := io.Copy(&text, read()); err != nil {
		return "", false
	}
	return text.String(), true
}

// legal replaces what XML 1.0 §2.2 allows in no document, so that one stray
// control character in a label does not cost the whole page.
func legal(s string, most int) (_ string, ok bool) {
	illegal := func(r rune) bool {
		return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r > 0xFFFD && r < 0x10000
	}
	first := strings.IndexFunc(s, illegal)
	if first < 0 {
		return s, true
	}
	size := len(s)
	for i := first; i < len(s); i++ {
		if s[i] < 0x20 && illegal(rune(s[i])) {
			size += len("\uFFFD") - 1
		}
	}
	if size > most {
		return "", false
	}
	return strings.Map(func(r rune) rune {
		if illegal(r) {
			return '\uFFFD'
		}
		return r
	}, s), true
}
