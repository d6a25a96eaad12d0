// Package sipwire is as much of SIP (RFC 3261) as a bench needs: messages on
// the wire, and a server for them over UDP and TCP.
//
// It shares nothing with the stack of the product on purpose. When both sides
// of a test read a header with the same code, they agree on the same mistake.
// So this is small, written from the RFC, strict in what it sends, and knows no
// transaction but the answer to a request that comes twice.
//
// It is made for loopback: it sends to 127.0.0.0/8 and nowhere else.
package sipwire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// What a message may cost. A datagram cannot be longer.
const (
	maxMessage = 64 << 10
	maxHeaders = 100
)

// Header is one header line. Name is in its long form.
type Header struct {
	Name, Value string
}

// Message is a request (Method is set) or a response (Status is).
type Message struct {
	Method, URI string
	Status      int
	Reason      string
	Headers     []Header
	Body        []byte
}

// ErrMalformed is behind every error of Parse.
var ErrMalformed = errors.New("malformed message")

// long maps the compact forms (RFC 3261 §7.3.3, RFC 6665 §8.2) to the long ones.
var long = map[string]string{
	"v": "Via", "f": "From", "t": "To", "i": "Call-ID", "m": "Contact", "l": "Content-Length",
	"c": "Content-Type", "e": "Content-Encoding", "k": "Supported", "s": "Subject",
	"o": "Event", "u": "Allow-Events",
}

// Parse reads one datagram.
func Parse(b []byte) (*Message, error) {
	head, body, found := bytes.Cut(b, []byte("\r\n\r\n"))
	if !found {
		return nil, fmt.Errorf("%w: no empty line after the headers", ErrMalformed)
	}
	m, err := parseHead(string(head))
	if err != nil {
		return nil, err
	}
	n, err := m.contentLength(len(body))
	if err != nil {
		return nil, err
	}
	m.Body = bytes.Clone(body[:n])
	return m, nil
}

// Read reads one message from a stream (RFC 3261 §18.3: framed by Content-Length).
func Read(r *bufio.Reader) (*Message, error) {
	var head strings.Builder
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		blank := len(bytes.TrimRight(line, "\r\n")) == 0
		switch {
		case blank && head.Len() == 0:
			continue // keep-alive, RFC 5626 §3.5.1
		case blank:
			m, err := parseHead(strings.TrimSuffix(head.String(), "\r\n"))
			if err != nil {
				return nil, err
			}
			return m, m.readBody(r)
		}
		if head.Len()+len(line) > maxMessage {
			return nil, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, maxMessage)
		}
		head.Write(line)
	}
}

func (m *Message) readBody(r io.Reader) error {
	if m.Get("Content-Length") == "" {
		return fmt.Errorf("%w: no Content-Length on a stream", ErrMalformed)
	}
	n, err := m.contentLength(maxMessage)
	if err != nil {
		return err
	}
	m.Body = make([]byte, n)
	_, err = io.ReadFull(r, m.Body)
	return err
}

func (m *Message) contentLength(have int) (int, error) {
	v := m.Get("Content-Length")
	if v == "" {
		return have, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n > have {
		return 0, fmt.Errorf("%w: Content-Length %q with %d bytes", ErrMalformed, v, have)
	}
	return n, nil
}

func parseHead(s string) (*Message, error) {
	lines := strings.Split(s, "\r\n")
	m, err := parseStart(lines[0])
	if err != nil {
		return nil, err
	}
	for _, line := range lines[1:] {
		if len(m.Headers) == maxHeaders {
			return nil, fmt.Errorf("%w: more than %d headers", ErrMalformed, maxHeaders)
		}
		if last := len(m.Headers) - 1; last >= 0 && (strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")) {
			m.Headers[last].Value += " " + strings.TrimSpace(line) // folded, §7.3.1
			continue
		}
		name, value, found := strings.Cut(line, ":")
		name = strings.TrimRight(name, " \t")
		if !found || name == "" {
			return nil, fmt.Errorf("%w: header line %.40q", ErrMalformed, line)
		}
		if full, ok := long[strings.ToLower(name)]; ok {
			name = full
		}
		m.Headers = append(m.Headers, Header{name, strings.TrimSpace(value)})
	}
	for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq"} {
		if m.Get(name) == "" {
			return nil, fmt.Errorf("%w: no %s", ErrMalformed, name)
		}
	}
	return m, nil
}

func parseStart(line string) (*Message, error) {
	a, rest, ok1 := strings.Cut(line, " ")
	b, c, ok2 := strings.Cut(rest, " ")
	if !ok1 || !ok2 || a == "" || b == "" {
		return nil, fmt.Errorf("%w: first line %.40q", ErrMalformed, line)
	}
	if a == "SIP/2.0" {
		status, err := strconv.Atoi(b)
		if err != nil || status < 100 || status > 699 {
			return nil, fmt.Errorf("%w: status %.10q", ErrMalformed, b)
		}
		return &Message{Status: status, Reason: c}, nil
	}
	if c != "SIP/2.0" {
		return nil, fmt.Errorf("%w: version %.10q", ErrMalformed, c)
	}
	return &Message{Method: a, URI: b}, nil
}

// Get is the first header of a name, or "".
func (m *Message) Get(name string) string {
	for _, h := range m.Headers {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// Has tells a header that is there and empty from one that is not there.
func (m *Message) Has(name string) bool {
	for _, h := range m.Headers {
		if strings.EqualFold(h.Name, name) {
			return true
		}
	}
	return false
}

// Add appends a header.
func (m *Message) Add(name, value string) {
	m.Headers = append(m.Headers, Header{name, value})
}

// Bytes is the message on the wire; Content-Length is added.
func (m *Message) Bytes() []byte {
	var b bytes.Buffer
	if m.Method != "" {
		fmt.Fprintf(&b, "%s %s SIP/2.0\r\n", m.Method, m.URI)
	} else {
		fmt.Fprintf(&b, "SIP/2.0 %d %s\r\n", m.Status, m.Reason)
	}
	for _, h := range m.Headers {
		if !strings.EqualFold(h.Name, "Content-Length") {
			b.WriteString(h.Name + ": " + h.Value + "\r\n")
		}
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", len(m.Body))
	b.Write(m.Body)
	return b.Bytes()
}

// Answer begins the response to a request (RFC 3261 §8.2.6.2): Via, From, To
// with our tag unless it has one, Call-ID and CSeq.
func Answer(req *Message, status int, reason, tag string) *Message {
	m := &Message{Status: status, Reason: reason}
	for _, h := range req.Headers {
		switch strings.ToLower(h.Name) {
		case "via", "from", "call-id", "cseq":
			m.Headers = append(m.Headers, h)
		case "to":
			if Param(h.Value, "tag") == "" && tag != "" {
				h.Value += ";tag=" + tag
			}
			m.Headers = append(m.Headers, h)
		}
	}
	return m
}

// CSeq is the number and method of a message.
func (m *Message) CSeq() (uint32, string) {
	n, method, _ := strings.Cut(m.Get("CSeq"), " ")
	v, err := strconv.ParseUint(n, 10, 32)
	if err != nil {
		return 0, ""
	}
	return uint32(v), strings.TrimSpace(method)
}

// Seconds reads a header such as Expires; ok is false when it is absent or no number.
func (m *Message) Seconds(name string) (n int, ok bool) {
	v, err := strconv.ParseUint(m.Get(name), 10, 31)
	return int(v), err == nil
}

// Param is a parameter of a header such as From, Via or Event: what stands
// behind the address in <>, or behind the first semicolon.
func Param(value, name string) string {
	if i := strings.LastIndexByte(value, '>'); i >= 0 {
		value = value[i+1:]
	}
	_, value, _ = strings.Cut(value, ";")
	for p := range strings.SplitSeq(value, ";") {
		k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(k, name) {
			return strings.Trim(v, `"`)
		}
	}
	return ""
}

// AddrSpec is the URI in a From, To or Contact.
func AddrSpec(value string) string {
	if _, rest, found := strings.Cut(value, "<"); found {
		uri, _, _ := strings.Cut(rest, ">")
		return uri
	}
	uri, _, _ := strings.Cut(value, ";")
	return strings.TrimSpace(uri)
}

// URI is a SIP URI taken apart.
type URI struct {
	User, Host, Port, Transport string
}

// ParseURI reads a sip: URI with an IPv4 address or a name.
func ParseURI(s string) (URI, error) {
	rest, ok := strings.CutPrefix(s, "sip:")
	if !ok {
		return URI{}, fmt.Errorf("%w: URI %.60q: no sip scheme", ErrMalformed, s)
	}
	rest, _, _ = strings.Cut(rest, "?")
	rest, params, _ := strings.Cut(rest, ";")
	var u URI
	if user, host, found := strings.Cut(rest, "@"); found {
		u.User, rest = user, host
	}
	u.Host, u.Port, _ = strings.Cut(rest, ":")
	u.Transport = strings.ToLower(Param(";"+params, "transport"))
	if u.Host == "" {
		return URI{}, fmt.Errorf("%w: URI %.60q: no host", ErrMalformed, s)
	}
	return u, nil
}
