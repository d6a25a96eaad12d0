package phone

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"pilotlight/agent/presence"
)

// maxHead bounds the header of an answer.
const maxHead = 16 << 10

// A session is the one connection to one phone during one sweep. A phone's
// web server is tiny: some take one connection at a time, so requests follow
// each other, and the connection is closed when the sweep ends. It starts no
// goroutine. (net/http's client would keep two per idle connection, and dial
// on behind a request that was given up.)
type session struct {
	phone   Phone
	timeout time.Duration // of one request, from dialling to the last byte
	pins    *pins
	creds   Credentials // for the pages that ask for a user; none where the session has moved

	scheme, authority string // where requests go; a redirect may have moved it
	moved             bool
	authorization     string // of the exchange under way
	most              int    // bytes of a body; 0: maxBody
	conn              net.Conn
	limit             *io.LimitedReader // under reader: what the answer may still cost
	reader            *bufio.Reader
	reused            bool       // the connection has carried an answer
	heard             bool       // it has answered something
	remote            netip.Addr // whom we really talked to
}

func newSession(p Phone, timeout time.Duration, pins *pins, creds Credentials) *session {
	return &session{phone: p, timeout: timeout, pins: pins, creds: creds, scheme: p.WebScheme,
		authority: net.JoinHostPort(p.Address, strconv.Itoa(p.WebPort))}
}

// An answer is one page as it came over the wire, and what it cost.
type answer struct {
	Path        string
	Status      int
	Server      string // the banner
	ContentType string
	Body        []byte
	Took        time.Duration
	Challenge   string // WWW-Authenticate
	RetryAfter  string
}

// get fetches one page that is open to anybody.
func (s *session) get(ctx context.Context, path string) (answer, error) {
	return s.fetch(ctx, path, "")
}

// getAs fetches one page that asks for a user: by Basic at once, as Unified CM
// firmware knows nothing else (Development Notes), or else as it is challenged to.
// A user is shown to the phone itself, and to nobody whom it redirects to.
func (s *session) getAs(ctx context.Context, path string, basic bool) (answer, error) {
	authorization := ""
	if basic && !s.moved {
		authorization = s.creds.basic()
	}
	a, err := s.fetch(ctx, path, authorization)
	if err == nil || a.Status != http.StatusUnauthorized || authorization != "" || s.moved {
		return a, err
	}
	if authorization = s.creds.answer(a.Challenge, path); authorization == "" {
		return a, err
	}
	return s.fetch(ctx, path, authorization)
}

// fetch makes one exchange; a redirect inside the phone is followed once.
func (s *session) fetch(ctx context.Context, path, authorization string) (answer, error) {
	s.authorization = authorization
	defer func() { s.authorization = "" }()
	began := time.Now()
	ctx, cancel := context.WithDeadline(ctx, began.Add(s.timeout))
	defer cancel()
	a, to, err := s.ask(ctx, path)
	if err == nil && to != "" {
		if err = s.follow(path, to); err == nil {
			next, _ := url.Parse(to) // follow has parsed it before
			if a, to, err = s.ask(ctx, requestPath(next, path)); err == nil && to != "" {
				s.close()
				err = garbled(path, "redirects twice")
			}
		}
	}
	a.Path, a.Took = path, time.Since(began)
	if err != nil {
		if f, ok := errors.AsType[*Fault](err); ok {
			f.Page = path
		}
		return a, err
	}
	return a, s.judge(a)
}

// judge says what a status other than 200 means, with the error that the phone
// words itself, where it does.
func (s *session) judge(a answer) error {
	f := &Fault{Reach: presence.Garbled, Page: a.Path, Status: a.Status, Detail: fmt.Sprintf("answers HTTP %d", a.Status)}
	switch {
	case a.Status == http.StatusOK:
		return nil
	case f.denied():
		f.Reach, f.Detail = presence.Refused, adviceAuth
	case f.gone():
		f.Detail = fmt.Sprintf("has no such page (HTTP %d)", a.Status)
	case f.busy():
		f.Wait = retryAfter(a.RetryAfter, time.Now())
	}
	if own := phoneError(a.Body, a.ContentType); own != nil {
		f.Err = own
		if !f.denied() && !f.gone() {
			f.Detail += ", " + own.Error()
		}
	}
	return f
}

// retryAfter reads the field of that name (RFC 9110 §10.2.3), 0 where it says
// nothing. Nobody may put himself off for longer than maxWait.
func retryAfter(field string, now time.Time) time.Duration {
	wait := time.Duration(0)
	if n, err := strconv.ParseUint(field, 10, 31); err == nil {
		wait = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(field); err == nil {
		wait = at.Sub(now)
	}
	return max(0, min(wait, maxWait))
}

// follow moves the session to where a redirect points, if that is the same host. Our
// user goes along to another path of the phone's, and not to another port or scheme,
// nor where the credentials are made for one path.
func (s *session) follow(path, to string) error {
	s.close()
	if !strings.HasPrefix(s.authorization, "Basic ") {
		s.authorization = ""
	}
	host, _, err := net.SplitHostPort(s.authority)
	if err != nil {
		return garbled(path, "redirects to an address that cannot be read")
	}
	u, err := url.Parse(to)
	switch {
	case err != nil:
		return garbled(path, "redirects to an address that cannot be read")
	case u.Host == "" && u.Scheme == "":
		return nil // a path of its own
	case u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https":
		return garbled(path, "redirects to a %s address: not followed", clip(u.Scheme, 12))
	case s.scheme == "https" && u.Scheme == "http":
		return garbled(path, "redirects from https to http: not followed")
	case !strings.EqualFold(u.Hostname(), host):
		return garbled(path, "redirects to another host (%s): not followed", clip(u.Host, 60))
	}
	scheme := cmp.Or(u.Scheme, s.scheme)
	authority := net.JoinHostPort(host, cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[scheme]))
	if scheme != s.scheme || authority != s.authority {
		s.moved, s.authorization = true, ""
	}
	s.scheme, s.authority = scheme, authority
	return nil
}

func requestPath(u *url.URL, asked string) string {
	if p := u.RequestURI(); strings.HasPrefix(p, "/") {
		return p
	}
	return asked
}

// ask makes one exchange, on a fresh connection when the phone had closed the
// kept one without saying so (RFC 9112 §9.3.1: a GET may then be sent again).
func (s *session) ask(ctx context.Context, path string) (answer, string, error) {
	a, to, at, err := s.exchange(ctx, path)
	if err != nil && at == asked && s.reused && isCut(err) && ctx.Err() == nil {
		s.close()
		a, to, at, err = s.exchange(ctx, path)
	}
	if err == nil {
		return a, to, nil
	}
	s.close()
	if f, ok := errors.AsType[*Fault](err); ok {
		f.Dial = at == dialling
		return a, "", f
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return a, "", ctx.Err()
	}
	return a, "", faultOf(at, path, err)
}

func (s *session) exchange(ctx context.Context, path string) (a answer, to string, at stage, err error) {
	if err := s.dial(ctx); err != nil {
		return a, "", dialling, err
	}
	deadline, _ := ctx.Deadline()
	if err := s.conn.SetDeadline(deadline); err != nil {
		return a, "", dialling, err
	}
	conn := s.conn
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() { // it may strike late: this connection carries nothing more
			s.close()
		}
	}()
	s.limit.N = s.allowance()
	if _, err := io.WriteString(s.conn, s.request(path)); err != nil {
		return a, "", asked, err
	}
	resp, err := http.ReadResponse(s.reader, &http.Request{Method: http.MethodGet})
	if err != nil {
		return a, "", s.reached(), s.overlong(err)
	}
	defer resp.Body.Close()
	a = answer{Status: resp.StatusCode, Server: resp.Header.Get("Server"), ContentType: resp.Header.Get("Content-Type"),
		Challenge: clip(resp.Header.Get("WWW-Authenticate"), 1000), RetryAfter: resp.Header.Get("Retry-After")}
	s.heard = true
	if a.Status >= 300 && a.Status < 400 && resp.Header.Get("Location") != "" {
		return a, resp.Header.Get("Location"), reading, nil
	}
	most := int(s.allowance()) - maxHead
	a.Body, err = io.ReadAll(io.LimitReader(resp.Body, int64(most)+1))
	switch {
	case len(a.Body) > most:
		return a, "", reading, garbled(path, "sends %s", tooLong(most))
	case err != nil:
		return a, "", reading, s.overlong(err)
	}
	if resp.Close || s.reader.Buffered() > 0 {
		s.close()
	}
	s.reused = true
	return a, "", reading, nil
}

// allowance is what one answer may cost.
func (s *session) allowance() int64 { return maxHead + int64(cmp.Or(s.most, maxBody)) }

// overlong tells an answer that hit our own limit from one that was cut.
func (s *session) overlong(err error) error {
	if s.limit.N <= 0 {
		return garbled("", "sends %s", tooLong(s.allowance()-maxHead))
	}
	return err
}

// reached is how far an answer had come that could not be read.
func (s *session) reached() stage {
	if s.limit.N < s.allowance() {
		return reading
	}
	return asked
}

func (s *session) request(path string) string {
	host := s.authority
	if h, port, err := net.SplitHostPort(host); err == nil && (s.scheme == "http" && port == "80" || s.scheme == "https" && port == "443") {
		if host = h; strings.Contains(h, ":") {
			host = "[" + h + "]"
		}
	}
	head := "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: pilotlight\r\nAccept: text/xml, application/xml\r\n"
	if s.authorization != "" {
		head += "Authorization: " + s.authorization + "\r\n"
	}
	return head + "\r\n"
}

// dial opens the connection unless it is open already.
func (s *session) dial(ctx context.Context) error {
	if s.conn != nil {
		return nil
	}
	s.reused = false
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", s.authority)
	if err != nil {
		return err
	}
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		s.remote = a.AddrPort().Addr().Unmap()
	}
	if s.scheme == "https" {
		if conn, err = s.secure(ctx, conn); err != nil {
			return err
		}
	}
	s.conn = conn
	s.limit = &io.LimitedReader{R: conn, N: maxHead + maxBody}
	s.reader = bufio.NewReaderSize(s.limit, 4096)
	return nil
}

// secure speaks TLS with the phone. Its certificate is its own (MIC) or one of
// Unified CM's (LSC), which no public authority signed: the first key that it
// shows is kept, and another one later is refused. Old versions and ciphers are
// taken: they are all that a 7900 speaks, and the alternative is no TLS.
func (s *session) secure(ctx context.Context, plain net.Conn) (net.Conn, error) {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS10,
		CipherSuites:       phoneCiphers(),
		InsecureSkipVerify: true, // VerifyConnection decides
		VerifyConnection: func(cs tls.ConnectionState) error {
			return s.pins.check(ctx, s.phone, cs.PeerCertificates)
		},
	}
	conn := tls.Client(plain, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = plain.Close()
		if f, ok := errors.AsType[*Fault](err); ok {
			return nil, f
		}
		if isTimeout(err) || errors.Is(err, context.Canceled) {
			return nil, err
		}
		return nil, &Fault{Reach: presence.Garbled, Detail: "no TLS could be agreed with it", Err: err}
	}
	return conn, nil
}

// phoneCiphers adds the RSA key exchange, the only one of 7900 phones.
func phoneCiphers() []uint16 {
	var ids []uint16
	for _, c := range tls.CipherSuites() {
		ids = append(ids, c.ID)
	}
	return append(ids, tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA,
		tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384)
}

func (s *session) close() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}
