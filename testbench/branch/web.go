package branch

import (
	"cmp"
	"context"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// newWeb is the one HTTP server behind the web ports of all phones: it tells
// them apart by the local address of a connection.
func (b *Branch) newWeb() *http.Server {
	return &http.Server{
		Handler:           http.HandlerFunc(b.serveWeb),
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      0, // a frozen phone holds its connections
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          stdlog.New(io.Discard, "", 0), // what clients do wrong is theirs to log
		BaseContext:       func(net.Listener) context.Context { return b.ctx },
		ConnState: func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				b.conns.Add(1)
			case http.StateClosed, http.StateHijacked:
				b.conns.Done()
			}
		},
	}
}

func (b *Branch) serveWeb(w http.ResponseWriter, r *http.Request) {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if local == nil {
		panic(http.ErrAbortHandler)
	}
	at, _ := netip.AddrFromSlice(local.IP)
	p := b.byAddr[at.Unmap()]
	if p == nil {
		panic(http.ErrAbortHandler)
	}
	p.requests.Add(1)
	p.open.Add(1)
	hushed := false
	defer func() {
		p.open.Add(-1)
		if hushed {
			p.hushed.Add(-1)
		}
	}()
	for n := b.opened(r.Context(), p); ; {
		old := p.peak.Load()
		if n <= old || p.peak.CompareAndSwap(old, n) {
			break
		}
	}
	b.hush(r.Context(), p, &hushed)
	b.page(w, r, p)
}

// opened is how many requests are open. Who gives up at a silent phone and asks
// again at once is heard before the old connection is known to be closed: that is
// waited for.
func (b *Branch) opened(ctx context.Context, p *phone) int64 {
	b.mu.Lock()
	silent := p.mute != nil
	b.mu.Unlock()
	for range 20 {
		if p.open.Load() == 1 || !silent && p.hushed.Load() == 0 {
			break
		}
		if sleep(ctx, 5*time.Millisecond) != nil {
			panic(http.ErrAbortHandler) // given up, too
		}
	}
	return p.open.Load()
}

// hush keeps a request to a silent phone waiting for as long as the client
// likes. When the phone comes back it has forgotten the connection.
func (b *Branch) hush(ctx context.Context, p *phone, hushed *bool) {
	b.mu.Lock()
	mute, off := p.mute, p.state.WebDisabled
	b.mu.Unlock()
	if mute != nil {
		*hushed = true
		p.hushed.Add(1)
		select {
		case <-mute:
		case <-ctx.Done():
		}
		panic(http.ErrAbortHandler)
	}
	if off {
		panic(http.ErrAbortHandler)
	}
}

// page answers with a page of the phone's family, or 404.
func (b *Branch) page(w http.ResponseWriter, r *http.Request, p *phone) {
	b.count(p, r.URL)
	h := w.Header()
	if strings.HasPrefix(r.URL.Path, "/CGI/") && p.numbers && !b.admits(r) {
		h.Set("WWW-Authenticate", `Basic realm="user"`)
		h.Set("Content-Type", "text/xml")
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, "<CiscoIPPhoneError Number=\"4\"/>")
		return
	}
	body := b.body(p, r.URL.Path, r.URL.RawQuery)
	if p.server != "" {
		h.Set("Server", p.server)
	}
	if p.closes {
		h.Set("Connection", "close")
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if body == nil {
		h.Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, "<html><head><title>404</title></head><body>Not Found</body></html>")
		return
	}
	if p.family <= classic { // RomPager: never to be cached, and a date long past
		h.Set("Pragma", "no-cache")
		h.Set("Cache-Control", "no-cache")
		h.Set("Expires", "Thu, 26 Oct 1995 00:00:00 GMT")
	}
	h.Set("Content-Type", `text/xml; charset="utf-8"`) // even where the prolog says iso-8859-1
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

// body is the page at a path, or nil.
func (b *Branch) body(p *phone, path, query string) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if p.family == mpp {
		if path == "/status.xml" || path == "/admin/status.xml" {
			return b.statusPage(p, now)
		}
		return nil
	}
	switch path {
	case "/DeviceInformationX":
		return b.devicePage(p, now)
	case "/NetworkConfigurationX":
		return b.networkPage(p)
	case "/PortInformationX":
		if n, err := strconv.Atoi(query); err == nil && n >= 1 && n <= 2 {
			return b.portPage(p, n, now)
		}
	case "/EthernetInformationX":
		return b.ethernetPage(p, now)
	case "/DeviceLogX":
		if query == "0" {
			return b.logPage(p)
		}
	case "/StreamingStatisticsX":
		n, err := strconv.Atoi(query)
		if err == nil && n >= 1 && n <= p.streams {
			return b.streamPage(p, n, now)
		}
	}
	if p.numbers {
		return b.personal(p, path)
	}
	return nil
}

// personal are the pages for the user whom the phone is associated with.
func (b *Branch) personal(p *phone, path string) []byte {
	switch strings.TrimPrefix(path, cmp.Or(p.lineInfo, "/CGI/Java")) {
	case "/LineInfo":
		return b.linesPage(p)
	case "/CallInfo1":
		return b.callsPage(p)
	case "/ModeInfo":
		return b.modePage(p)
	}
	return nil
}

// admits asks the Authentication URL about a user, as the phones do.
func (b *Branch) admits(r *http.Request) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	user, password, ok := r.BasicAuth()
	return ok && !b.authDown && b.opts.PhoneUser != "" && user == b.opts.PhoneUser && password == b.opts.PhonePassword
}

// maxPaths bounds what is counted of a phone, whatever a client invents.
const maxPaths = 64

// fixed8821 are the loads of an 8821 from 11.0(5)SR3 on.
var fixed8821 = regexp.MustCompile(`^sip8821\.11-0-(5SR([3-9]|[1-9][0-9])|([6-9]|[1-9][0-9])(SR[0-9]+)?)-`)

// crashes reports whether CallInfo overflows the phone's stack: an 8821's before
// 11.0(5)SR3 (CSCvs78272).
func (p *phone) crashes() bool { return p.product == "CP-8821" && !fixed8821.MatchString(p.loaded()) }

// count notes a request. A crash is only counted, so that a test can see that
// nobody asks.
func (b *Branch) count(p *phone, u *url.URL) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.asked == nil {
		p.asked = map[string]int{}
	}
	if path := u.RequestURI(); len(p.asked) < maxPaths || p.asked[path] > 0 {
		p.asked[path]++
	}
	if p.crashes() && strings.Contains(u.Path, "CallInfo") {
		p.crashed++
	}
}
