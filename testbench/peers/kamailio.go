package peers

import (
	_ "embed"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

//go:embed kamailio.cfg
var kamailioConfig string

// KamailioServer is a running Kamailio.
type KamailioServer struct {
	Addr   string // "127.0.0.1:PORT", UDP and TCP
	Domain string // the domain it serves
	p      *process
	dir    string
	args   []string
}

// KamailioOption chooses what it does.
type KamailioOption func(*kamailio)

type kamailio struct {
	defines        []string
	domain         string
	user, password string
	elsewhere      string
	branch         string
	list           string
}

// WithPresence makes it a presence server: PUBLISH, and SUBSCRIBE for presence and dialog.
func WithPresence() KamailioOption {
	return func(k *kamailio) { k.defines = append(k.defines, "WITH_PRESENCE") }
}

// WithRegistrar makes it take REGISTER, any password being good, and route calls.
func WithRegistrar() KamailioOption {
	return func(k *kamailio) { k.defines = append(k.defines, "WITH_REGISTRAR") }
}

// WithDialogInfo makes calls through it publish the dialog state of both
// lines (RFC 4235). It needs presence and a registrar, and brings them.
func WithDialogInfo() KamailioOption {
	return func(k *kamailio) {
		k.defines = append(k.defines, "WITH_PRESENCE", "WITH_REGISTRAR", "WITH_DIALOGINFO")
	}
}

// WithDigest makes it ask publishers for a password.
func WithDigest(user, password string) KamailioOption {
	return func(k *kamailio) {
		k.defines, k.user, k.password = append(k.defines, "WITH_DIGEST"), user, password
	}
}

// WithBranch makes it a registrar that sends messages for people of a domain to the
// agent at addr, and answers 480 for its own who are not registered, and 404 for
// "nobody".
func WithBranch(domain, addr string) KamailioOption {
	return func(k *kamailio) {
		k.defines, k.branch, k.elsewhere = append(k.defines, "WITH_REGISTRAR", "WITH_BRANCH"), domain, addr
	}
}

// WithList makes it a list server: the list uri of a watcher, "watcher0", has
// entries that Kamailio watches itself, at the presence server at addr.
func WithList(addr, watcher, uri string, entries ...string) KamailioOption {
	return func(k *kamailio) {
		k.defines, k.elsewhere = append(k.defines, "WITH_PRESENCE", "WITH_LISTS"), addr
		var doc strings.Builder
		doc.WriteString(`<?xml version="1.0"?><rls-services xmlns="urn:ietf:params:xml:ns:rls-services" xmlns:rl="urn:ietf:params:xml:ns:resource-lists">`)
		fmt.Fprintf(&doc, `<service uri="%s"><list name="l">`, uri)
		for _, e := range entries {
			fmt.Fprintf(&doc, `<rl:entry uri="%s"/>`, e)
		}
		doc.WriteString(`</list><packages><package>presence</package></packages></service></rls-services>`)
		// A row of xcap: id, user, domain, document, 8 for rls-services, etag, source, URI, port.
		k.list = fmt.Sprintf("1:%s:%s:%s:8:e:0:/lists:0\n", watcher, domainOf(uri), strings.ReplaceAll(doc.String(), ":", `\:`))
	}
}

// writeLists makes the tables of text that a list server works on.
func (k *kamailio) writeLists(t testing.TB, dir string) {
	t.Helper()
	const made = "/usr/share/kamailio/dbtext/kamailio/"
	if err := os.Mkdir(filepath.Join(dir, "text"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"version", "rls_presentity", "rls_watchers", "xcap"} {
		text, err := os.ReadFile(made + table)
		if err != nil {
			t.Fatal(err)
		}
		if table == "xcap" {
			head, _, _ := strings.Cut(string(text), "\n")
			text = []byte(head + "\n" + k.list)
		}
		write(t, filepath.Join(dir, "text"), table, string(text))
	}
}

// WithDomain sets the domain; else it is example.com.
func WithDomain(domain string) KamailioOption { return func(k *kamailio) { k.domain = domain } }

// Kamailio starts one. It is ready when it answers OPTIONS.
func Kamailio(t testing.TB, options ...KamailioOption) *KamailioServer {
	t.Helper()
	k := &kamailio{domain: "example.com"}
	for _, o := range options {
		o(k)
	}
	modules, err := filepath.Glob("/usr/lib/*/kamailio/modules")
	if err != nil || len(modules) == 0 {
		t.Fatal("kamailio: no folder of modules", err)
	}
	dir := shortDir(t)
	port := freePort(t)
	text := strings.NewReplacer("@PORT@", fmt.Sprint(port), "@DOMAIN@", k.domain, "@MODULES@", modules[0], "@RUN@", dir,
		"@ELSEWHERE@", k.elsewhere, "@BRANCH@", k.branch, "@USER@", k.user, "@PASSWORD@", k.password).Replace(kamailioConfig)
	config := write(t, dir, "kamailio.cfg", text)
	if strings.Contains(strings.Join(k.defines, " "), "WITH_PRESENCE") {
		// Memory mode wants the tables, too, though it never writes them.
		for _, f := range []string{"standard", "presence"} {
			sql, err := os.ReadFile("/usr/share/kamailio/db_sqlite/" + f + "-create.sql")
			if err != nil {
				t.Fatal(err)
			}
			runOnce(t, string(sql), "sqlite3", filepath.Join(dir, "pres.sqlite"))
		}
	}
	if k.list != "" {
		k.writeLists(t, dir)
	}
	args := []string{"-DD", "-E", "-f", config, "-m", "64", "-M", "8", "-P", filepath.Join(dir, "pid"), "-Y", dir}
	for _, d := range k.defines {
		args = append(args, "-A", d)
	}
	s := &KamailioServer{Addr: fmt.Sprintf("127.0.0.1:%d", port), Domain: k.domain, dir: dir, args: args}
	s.Again(t)
	return s
}

// Again starts it anew after a Kill, at the same address and with nothing remembered.
func (s *KamailioServer) Again(t testing.TB) {
	t.Helper()
	s.p = start(t, syscall.SIGTERM, s.dir, nil, "kamailio", s.args...)
	s.p.ready(t, func() error { return pingSIP(s.Addr) })
}

// Kill is kill -9 of all its processes. It returns when they have gone.
func (s *KamailioServer) Kill() { s.p.end(syscall.SIGKILL) }

// Command gives it a command of its own console, such as
// "presence.presentity_list", and returns what it prints.
func (s *KamailioServer) Command(t testing.TB, words ...string) string {
	t.Helper()
	return runOnce(t, "", "kamcmd", append([]string{"-s", "unix:" + filepath.Join(s.dir, "ctl")}, words...)...)
}

// URI is the SIP URI of a user of its domain.
func (s *KamailioServer) URI(user string) string { return "sip:" + user + "@" + s.Domain }

// Target is where to send to, for a transport of udp or tcp.
func (s *KamailioServer) Target(transport string) string {
	return "sip:" + s.Addr + ";transport=" + transport
}

// Freeze stops it in its tracks as a hung server is, and Thaw lets it go on:
// sockets stay open, nothing is answered.
func (s *KamailioServer) Freeze() error { return syscall.Kill(-s.p.cmd.Process.Pid, syscall.SIGSTOP) }

// Thaw ends a Freeze.
func (s *KamailioServer) Thaw() error { return syscall.Kill(-s.p.cmd.Process.Pid, syscall.SIGCONT) }

// Publications gives the entity-tags of the publications of presence that stand
// there, by user. A watcher can't see them: Kamailio merges what several say.
func (s *KamailioServer) Publications(t testing.TB) map[string][]string {
	t.Helper()
	tags := map[string][]string{}
	for entry := range strings.SplitSeq(s.Command(t, "presence.presentity_list"), "}") {
		field := map[string]string{}
		for line := range strings.Lines(entry) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			field[name] = value
		}
		if field["event"] == "presence" {
			tags[field["user"]] = append(tags[field["user"]], field["etag"])
		}
	}
	return tags
}

// shortDir is a private folder with a short path: Unix sockets take some 100 characters.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "peer")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// pingSIP sends an OPTIONS by UDP and waits a moment for any answer.
func pingSIP(addr string) error {
	conn, err := net.Dial("udp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	local := conn.LocalAddr().String()
	msg := "OPTIONS sip:" + addr + " SIP/2.0\r\nVia: SIP/2.0/UDP " + local + ";branch=z9hG4bK" + token() + "\r\nMax-Forwards: 70\r\n" +
		"From: <sip:ping@" + local + ">;tag=" + token() + "\r\nTo: <sip:" + addr + ">\r\nCall-ID: " + token() + "\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
	if _, err := conn.Write([]byte(msg)); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1500))
	return err
}
