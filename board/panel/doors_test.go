package panel

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pilotlight/agent/access"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) { os.Exit(code) }))
}

func TestWhoMayComeInOnLoopback(t *testing.T) {
	h := newHouse(t)
	viewer, admin := h.token(access.Viewer, ""), h.token(access.Admin, "")
	for _, c := range []struct {
		name, method, path string
		headers            []string
		want               int
	}{
		{"reading is open", "GET", "/api/v1/phones", nil, 200},
		{"so are metrics", "GET", "/metrics", nil, 200},
		{"by another name of this machine", "GET", "/api/v1/phones", []string{"Host", "localhost:1234"}, 200},
		{"by its IPv6 address", "GET", "/api/v1/phones", []string{"Host", "[::1]:1234"}, 200},
		{"a rebound name reads nothing", "GET", "/api/v1/phones", []string{"Host", "evil.example:8080"}, 401},
		{"nor metrics", "GET", "/metrics", []string{"Host", "evil.example"}, 401},
		{"nor events", "GET", "/api/v1/events", []string{"Host", "localhost.evil.example"}, 401},
		{"with a token by any name", "GET", "/api/v1/phones", []string{"Host", "panel.example", "Authorization", "Bearer " + viewer}, 200},
		{"a wrong token, where none is needed", "GET", "/api/v1/phones", []string{"Authorization", "Bearer plt_x"}, 401},
		{"another scheme", "GET", "/api/v1/phones", []string{"Authorization", "Basic YTpi"}, 401},
		{"an ended session is as none", "GET", "/api/v1/phones", []string{"Cookie", cookieName + "=old"}, 200},
		{"accounts are for admins", "GET", "/api/v1/tokens", nil, 401},
		{"and for nobody less", "GET", "/api/v1/tokens", []string{"Authorization", "Bearer " + viewer}, 403},
		{"an admin", "GET", "/api/v1/tokens", []string{"Authorization", "Bearer " + admin}, 200},
		{"no backup for viewers", "POST", "/api/v1/backup", []string{"Authorization", "Bearer " + viewer}, 403},
		{"a page of another site", "POST", "/api/v1/backup", []string{"Authorization", "Bearer " + admin, "Sec-Fetch-Site", "cross-site"}, 403},
		{"an older browser's page of another site", "POST", "/api/v1/logout", []string{"Origin", "https://evil.example"}, 403},
		{"a page of this site", "POST", "/api/v1/logout", []string{"Sec-Fetch-Site", "same-origin"}, 204},
		{"the dashboard is for all", "GET", "/phones/SEP1", []string{"Host", "evil.example"}, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, body := h.ask(c.method, c.path, "", c.headers...)
			if c.want >= 400 {
				problemIn(t, res, body, c.want)
			} else if res.StatusCode != c.want {
				t.Errorf("%d %.200s", res.StatusCode, body)
			}
		})
	}
}

func TestABrowsersSession(t *testing.T) {
	h := newHouse(t)
	if err := h.book.AddUser(context.Background(), "alice", access.Viewer, "correct horse"); err != nil {
		t.Fatal(err)
	}
	res, body := h.ask("POST", "/api/v1/login", `{"user":"alice","password":"wrong horse"}`)
	problemIn(t, res, body, 401)
	if strings.Contains(body, "wrong horse") {
		t.Errorf("the password is answered: %s", body)
	}
	res, body = h.ask("POST", "/api/v1/login", `{"user":"alice","password":12345678}`)
	problemIn(t, res, body, 422)
	if strings.Contains(body, "12345678") {
		t.Errorf("the password is answered: %s", body)
	}
	res, body = h.ask("POST", "/api/v1/login", `{"user":"alice","password":"correct horse"}`)
	if res.StatusCode != 200 || body != `{"name":"alice","role":"viewer","signed_in":true}`+"\n" {
		t.Fatalf("login: %d %s", res.StatusCode, body)
	}
	cookie := res.Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Secure || cookie.Path != "/" {
		t.Errorf("cookie: %s", cookie)
	}
	signed := []string{"Cookie", cookie.Name + "=" + cookie.Value}
	if res, body := h.ask("PUT", "/api/v1/presence/alice/manual", `{"availability":"away"}`, signed...); res.StatusCode != 200 {
		t.Errorf("acting for herself: %d %s", res.StatusCode, body)
	}
	res, body = h.ask("PUT", "/api/v1/presence/alice/manual", `{"availability":"away"}`, append(signed, "Sec-Fetch-Site", "cross-site")...)
	problemIn(t, res, body, 403)
	if res, _ := h.ask("POST", "/api/v1/logout", "", signed...); res.StatusCode != 204 || res.Cookies()[0].MaxAge >= 0 {
		t.Errorf("logout: %d %v", res.StatusCode, res.Cookies())
	}
	res, body = h.ask("PUT", "/api/v1/presence/alice/manual", `{"availability":"away"}`, signed...)
	problemIn(t, res, body, 401)

	res, body = h.ask("POST", "/api/v1/login", `{"token":"`+h.token(access.Operator, "")+`"}`)
	if res.StatusCode != 200 || !strings.Contains(body, `"role":"operator"`) {
		t.Errorf("login by token: %d %s", res.StatusCode, body)
	}
	for range 10 {
		res, body = h.ask("POST", "/api/v1/login", `{"user":"alice","password":"guess"}`)
	}
	problemIn(t, res, body, 429)
	if res.Header.Get("Retry-After") == "" {
		t.Error("429 without Retry-After")
	}
	h.stop()
	if log := h.log.String(); strings.Contains(log, "horse") || strings.Contains(log, cookie.Value) {
		t.Error("a secret is in the log")
	}
}

// overSocket is a client of the admin socket.
func (h *house) overSocket() *http.Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(h.dir, "admin.sock"))
	}}
	h.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestTheAdminSocketKeepsAccounts(t *testing.T) {
	h := newHouse(t)
	c := h.overSocket()
	ask := func(method, path, body string) (*http.Response, string) {
		return askWith(t, c, method, "http://admin"+path, body)
	}
	if st, err := os.Stat(filepath.Join(h.dir, "admin.sock")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("admin.sock: %v %v", st, err)
	}
	res, body := ask("POST", "/api/v1/tokens", `{"role":"operator","user":"alice"}`)
	var made struct{ ID, Token, Role, User, Created string }
	if err := json.Unmarshal([]byte(body), &made); err != nil || res.StatusCode != 201 || !strings.HasPrefix(made.Token, "plt_") || made.Role != "operator" || made.User != "alice" {
		t.Fatalf("POST tokens: %d %s", res.StatusCode, body)
	}
	if res, body := h.ask("GET", "/api/v1/me", "", "Authorization", "Bearer "+made.Token); !strings.Contains(body, `{"name":"alice","role":"operator","signed_in":true}`) {
		t.Errorf("me: %d %s", res.StatusCode, body)
	}
	if _, body := ask("GET", "/api/v1/tokens", ""); strings.Contains(body, made.Token) || !strings.Contains(body, made.ID) {
		t.Errorf("GET tokens: %s", body)
	}
	if res, _ := ask("DELETE", "/api/v1/tokens/"+made.ID, ""); res.StatusCode != 204 {
		t.Errorf("DELETE token: %d", res.StatusCode)
	}
	res, body = ask("DELETE", "/api/v1/tokens/"+made.ID, "")
	problemIn(t, res, body, 404)
	res, body = ask("POST", "/api/v1/tokens", `{"role":"root"}`)
	problemIn(t, res, body, 422)

	if res, body := ask("POST", "/api/v1/users", `{"name":"bruno","role":"viewer","password":"correct horse"}`); res.StatusCode != 201 || strings.Contains(body, "horse") {
		t.Errorf("POST users: %d %s", res.StatusCode, body)
	}
	res, body = ask("POST", "/api/v1/users", `{"name":"bruno","role":"viewer","password":"correct horse"}`)
	problemIn(t, res, body, 409)
	for _, bad := range []string{`{"name":"Bruno","role":"viewer","password":"correct horse"}`, `{"name":"b","role":"viewer","password":"short"}`} {
		res, body = ask("POST", "/api/v1/users", bad)
		problemIn(t, res, body, 422)
	}
	if _, body := ask("GET", "/api/v1/users", ""); !strings.HasPrefix(body, `[{"name":"bruno","role":"viewer","created":"`) {
		t.Errorf("GET users: %s", body)
	}
	if res, _ := ask("PUT", "/api/v1/users/bruno/password", `{"password":"battery staple"}`); res.StatusCode != 204 {
		t.Errorf("PUT password: %d", res.StatusCode)
	}
	if _, err := h.book.Login(context.Background(), "here", "bruno", "battery staple"); err != nil {
		t.Error(err)
	}
	if res, _ := ask("DELETE", "/api/v1/users/bruno", ""); res.StatusCode != 204 {
		t.Errorf("DELETE user: %d", res.StatusCode)
	}
	if res, body := ask("POST", "/api/v1/backup", ""); res.StatusCode != 200 || body != "the store" || res.Header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("backup: %d %q", res.StatusCode, body)
	}
}

func TestHalfABackupIsNeverTakenForAWholeOne(t *testing.T) {
	h := newHouse(t)
	h.heart.backup = func(w io.Writer) error {
		_, _ = w.Write(make([]byte, 1<<20))
		return errors.New("disk gone")
	}
	res, err := h.overSocket().Post("http://admin/api/v1/backup", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err == nil {
		t.Error("a broken copy reads like a whole one")
	}
	h.heart.backup = func(io.Writer) error { return errors.New("disk gone") }
	res2, body := askWith(t, h.overSocket(), "POST", "http://admin/api/v1/backup", "")
	problemIn(t, res2, body, 500)
}

func newPanel(t *testing.T, dir string, c Config, book *access.Book) (*Panel, error) {
	t.Helper()
	h := newFakeHeart()
	return New(c, Deps{Heart: h, Book: book, Clock: trueClock{}, Desk: askNobody{}, DataDir: dir, Branch: Branch{"b", "B", "example.com"}}, slog.New(slog.DiscardHandler))
}

func TestAStrangersListenerNeedsAnAccount(t *testing.T) {
	book, err := access.New(access.Config{Drawer: &drawer{kept: map[string][]byte{}}, Sessions: &drawer{kept: map[string][]byte{}}, Cost: 4})
	if err != nil {
		t.Fatal(err)
	}
	for _, listen := range []string{":8080", "0.0.0.0:8080", "[::]:8080", "10.0.0.1:8080", "panel.example:8080"} {
		if _, err := newPanel(t, t.TempDir(), Config{Listen: listen}, book); err == nil || !strings.Contains(err.Error(), "pilotlight user add") {
			t.Errorf("%s: %v", listen, err)
		}
	}
	for _, listen := range []string{"", "127.0.0.1:0", "127.0.0.9:8080", "[::1]:8080", "localhost:8080"} {
		if _, err := newPanel(t, t.TempDir(), Config{Listen: listen}, book); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
	}
	if _, _, err := book.CreateToken(context.Background(), access.Admin, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := newPanel(t, t.TempDir(), Config{Listen: "0.0.0.0:8080"}, book); err == nil {
		t.Error("a token is taken for an account")
	}
	if err := book.AddUser(context.Background(), "alice", access.Admin, "correct horse"); err != nil {
		t.Fatal(err)
	}
	if _, err := newPanel(t, t.TempDir(), Config{Listen: "0.0.0.0:8080"}, book); err != nil {
		t.Errorf("with an account: %v", err)
	}
}

func TestABadSectionIsNamed(t *testing.T) {
	for _, c := range []struct {
		config Config
		path   string
	}{
		{Config{Listen: "8080"}, "listen"},
		{Config{Listen: "127.0.0.1:http"}, "listen"},
		{Config{Listen: "127.0.0.1:70000"}, "listen"},
		{Config{Listen: "0.0.0.0:0"}, "listen"},
		{Config{TLS: TLS{CertFile: "a"}}, "tls.key_file"},
		{Config{TLS: TLS{KeyFile: "a"}}, "tls.cert_file"},
		{Config{}, ""},
		{Default(), ""},
	} {
		got := ""
		c.config.Check(func(path, _ string, _ ...any) { got = path })
		if got != c.path {
			t.Errorf("%+v: fault at %q, want %q", c.config, got, c.path)
		}
	}
}

func TestAStaleSocketIsReplacedAndALiveOneIsNot(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "admin.sock"))
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := clearStale(context.Background(), filepath.Join(dir, "admin.sock")); err == nil {
		t.Error("a socket that answers was removed")
	}
	_ = l.Close()
	h := newHouse(t, func(_ *Config, d *Deps) { d.DataDir = dir })
	h.stop()
	if _, err := os.Lstat(filepath.Join(dir, "admin.sock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the end: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "admin.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := clearStale(context.Background(), filepath.Join(dir, "admin.sock")); err == nil {
		t.Error("somebody's file was removed")
	}
}

func TestABranchsNameIsText(t *testing.T) {
	w, err := newWeb(Branch{Name: "<script>alert(1)</script>"})
	if err != nil || strings.Contains(string(w.page.plain), "<script>alert") {
		t.Errorf("%v", err)
	}
}

func TestAPanicIsOneProblemAndNotTheEnd(t *testing.T) {
	h := newHouse(t)
	h.heart.backup = func(io.Writer) error { panic("oh") }
	res, body := askWith(t, h.overSocket(), "POST", "http://admin/api/v1/backup", "")
	problemIn(t, res, body, 500)
	if strings.Contains(body, "oh") {
		t.Errorf("the inside shows: %s", body)
	}
	if res, _ := h.ask("GET", "/healthz", ""); res.StatusCode != 200 {
		t.Error("not healthy any more")
	}
}

func TestThePanelRunsAgainAfterItEnded(t *testing.T) {
	h := newHouse(t)
	h.stop()
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- h.panel.Run(ctx) }()
	deadline := time.Now().Add(5 * time.Second)
	for !h.panel.up.Load() && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if res, _ := askWith(t, http.DefaultClient, "GET", h.panel.URL()+"/readyz", ""); res.StatusCode != 200 {
		t.Errorf("second run: %d", res.StatusCode)
	}
	cancel()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
