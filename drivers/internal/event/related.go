package event

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"strconv"
	"strings"
)

// Limits of a list's body (RLS-10).
const (
	maxListBody = 2 << 20
	maxParts    = 1000
	maxNesting  = 3
)

// Part is one part of a multipart body. ID is its Content-ID without <>.
type Part struct {
	ID, ContentType string
	Body            []byte
}

// ListBody is the body of a list's NOTIFY (RFC 4662 §4.5). Nested has, by the id
// of its part, what is a list itself and can be read.
type ListBody struct {
	List   ResourceList
	Parts  []Part // without the root
	Nested map[string]ListBody
}

// ContentID makes an id for a part (RFC 2392): the same for the same words, which
// should have the list's URI and version among them.
func ContentID(domain string, words ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return hex.EncodeToString(sum[:10]) + "@" + domain
}

// RenderList writes the body of a list's NOTIFY and its Content-Type: the list as
// root and start, then the parts that it refers to (RFC 4662 §5.1, RFC 2387 §3;
// RLS-03, RLS-04). Equal values give equal octets. A part may be a list itself,
// with what this returned of it. It is an error when the list lacks what it must
// say, or when list and parts do not fit together.
func RenderList(l ResourceList, parts []Part) (contentType string, body []byte, err error) {
	if err := l.check(); err != nil {
		return "", nil, fmt.Errorf("rlmi: %w", err)
	}
	if err := l.fits(parts); err != nil {
		return "", nil, fmt.Errorf("rlmi: %s: %w", l.URI, err)
	}
	root := Part{ID: ContentID(domainOf(l.URI), "rlmi", l.URI, strconv.FormatUint(uint64(l.Version), 10)), ContentType: RLMIType, Body: RenderRLMI(l)}
	limit := boundary(root, parts)
	size := len(root.Body) + 256
	for _, p := range parts {
		size += len(p.Body) + len(p.ContentType) + 256
	}
	b := appendPart(make([]byte, 0, size), limit, root)
	for _, p := range parts {
		b = appendPart(b, limit, p)
	}
	b = append(append(append(b, "--"...), limit...), "--\r\n"...)
	return `multipart/related;type="` + RLMIType + `";start="<` + root.ID + `>";boundary="` + limit + `"`, b, nil
}

// fits reports whether each id that the list refers to is a part's, and each part
// is referred to once.
func (l ResourceList) fits(parts []Part) error {
	wanted := make(map[string]bool, len(parts))
	want := func(cid string) {
		if cid != "" {
			wanted[cid] = true
		}
	}
	want(l.CID)
	for _, r := range l.Resources {
		for _, i := range r.Instances {
			want(i.CID)
		}
	}
	for _, p := range parts {
		if !isContentID(p.ID) || p.ContentType == "" || strings.ContainsAny(p.ContentType, "\r\n\x00") {
			return fmt.Errorf("part <%.40s> of type %.60q can't be written", p.ID, p.ContentType)
		}
		if !wanted[p.ID] {
			return fmt.Errorf("part <%s> is there twice, or nothing refers to it", p.ID)
		}
		delete(wanted, p.ID)
	}
	for cid := range wanted {
		return fmt.Errorf("there is no part <%.80s>", cid)
	}
	return nil
}

// isContentID: what may stand between < and > in a header.
func isContentID(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f || strings.IndexByte(`<>"\()`, s[i]) >= 0 {
			return false
		}
	}
	return s != ""
}

func domainOf(uri string) string {
	_, host, found := strings.Cut(uri, "@")
	host, _, _ = strings.Cut(host, ";")
	if !found || !isContentID(host) {
		return "localhost"
	}
	return host
}

// boundary is the first of a row whose delimiter is in no part (RFC 2046 §5.1.1):
// text of others may hold it, and nested lists do.
func boundary(root Part, parts []Part) string {
	for n := 0; ; n++ {
		delimiter := []byte("--pilotlight-" + strconv.Itoa(n))
		within := bytes.Contains(root.Body, delimiter)
		for _, p := range parts {
			within = within || bytes.Contains(p.Body, delimiter)
		}
		if !within {
			return string(delimiter[2:])
		}
	}
}

func appendPart(b []byte, limit string, p Part) []byte {
	b = append(append(append(b, "--"...), limit...), "\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <"...)
	b = append(append(append(b, p.ID...), ">\r\nContent-Type: "...), p.ContentType...)
	if strings.HasSuffix(p.ContentType, "+xml") {
		b = append(b, `;charset="UTF-8"`...)
	}
	return append(append(append(b, "\r\n\r\n"...), p.Body...), "\r\n"...)
}

// ParseList reads the body of a list's NOTIFY. drafts is as for ParseRLMI. A part
// that is a list and can't be read as such, or that lies too deep, stays a part.
func ParseList(contentType string, body []byte, drafts bool) (ListBody, error) {
	list, err := parseList(contentType, body, drafts, 1)
	if err != nil {
		return ListBody{}, fmt.Errorf("list: %w", err)
	}
	return list, nil
}

func parseList(header string, body []byte, drafts bool, depth int) (ListBody, error) {
	if len(body) > maxListBody {
		return ListBody{}, fmt.Errorf("%d octets are too many", len(body))
	}
	kind, params, err := mime.ParseMediaType(header)
	if err != nil || kind != "multipart/related" {
		return ListBody{}, fmt.Errorf("content type %.80q", header)
	}
	parts, err := readParts(body, params["boundary"])
	if err != nil {
		return ListBody{}, err
	}
	root, err := rootOf(parts, bareID(params["start"]))
	if err != nil {
		return ListBody{}, err
	}
	if contentType(parts[root].ContentType) != RLMIType {
		return ListBody{}, fmt.Errorf("its root is %.60q", parts[root].ContentType)
	}
	var out ListBody
	if out.List, err = ParseRLMI(parts[root].Body, drafts); err != nil {
		return ListBody{}, err
	}
	for i, p := range parts {
		if i == root {
			continue
		}
		out.Parts = append(out.Parts, p)
		if depth >= maxNesting || contentType(p.ContentType) != "multipart/related" || p.ID == "" {
			continue
		}
		if nested, err := parseList(p.ContentType, p.Body, drafts, depth+1); err == nil {
			if out.Nested == nil {
				out.Nested = map[string]ListBody{}
			}
			out.Nested[p.ID] = nested
		}
	}
	return out, nil
}

// rootOf is the part that start names; without a name, the first (RFC 2387 §3.2).
func rootOf(parts []Part, start string) (int, error) {
	if len(parts) == 0 {
		return 0, errors.New("no part")
	}
	if start == "" {
		return 0, nil
	}
	for i, p := range parts {
		if p.ID == start {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no part <%.80s> to start with", start)
}

// readParts takes a multipart body apart (RFC 2046 §5.1).
func readParts(body []byte, limit string) ([]Part, error) {
	if limit == "" {
		return nil, errors.New("no boundary")
	}
	r := multipart.NewReader(bytes.NewReader(body), limit)
	var parts []Part
	for {
		p, err := r.NextRawPart()
		if err == io.EOF { // as it is: a body that is cut has it wrapped
			return parts, nil
		}
		if err != nil {
			return nil, err
		}
		if len(parts) >= maxParts {
			return nil, errors.New("too many parts")
		}
		// SIP is 8-bit clean (RFC 3261 §7.4.1): nobody needs a coding here.
		switch coding := strings.ToLower(strings.TrimSpace(p.Header.Get("Content-Transfer-Encoding"))); coding {
		case "", "binary", "8bit", "7bit":
		default:
			return nil, fmt.Errorf("transfer encoding %.20q", coding)
		}
		b, err := io.ReadAll(p) // bounded by the body
		if err != nil {
			return nil, err
		}
		parts = append(parts, Part{ID: bareID(p.Header.Get("Content-ID")), ContentType: p.Header.Get("Content-Type"), Body: b})
	}
}

func bareID(s string) string {
	s = strings.TrimSpace(s)
	return strings.TrimSuffix(strings.TrimPrefix(s, "<"), ">")
}

// Part is the part of that id: one of this list, and not of one inside (RLS-04).
func (l ListBody) Part(id string) (Part, bool) {
	for _, p := range l.Parts {
		if p.ID == id && id != "" {
			return p, true
		}
	}
	return Part{}, false
}
