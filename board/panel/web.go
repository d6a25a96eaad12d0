package panel

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed web
var files embed.FS

// web is the dashboard: one page for all addresses, its scripts and its styles.
// They are compressed once.
type web struct {
	page   *asset
	assets map[string]*asset
}

// An asset is one file, ready to send.
type asset struct {
	kind  string
	etag  string
	plain []byte
	gz    []byte
}

var kinds = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// newWeb loads the dashboard, with the branch's name in the page.
func newWeb(b Branch) (*web, error) {
	w := &web{assets: map[string]*asset{}}
	err := fs.WalkDir(files, "web", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		if e.Name() == "index.html" {
			title := b.Name
			if title == "" {
				title = b.ID
			}
			w.page = newAsset(".html", bytes.ReplaceAll(data, []byte("{{branch}}"), []byte(html.EscapeString(title))))
			return nil
		}
		w.assets[e.Name()] = newAsset(path.Ext(name), data)
		return nil
	})
	return w, err
}

func newAsset(ext string, data []byte) *asset {
	var z bytes.Buffer
	gz, _ := gzip.NewWriterLevel(&z, gzip.BestCompression)
	_, _ = gz.Write(data) // to memory: it cannot fail
	_ = gz.Close()
	sum := sha256.Sum256(data)
	return &asset{kind: kinds[ext], etag: `"` + hex.EncodeToString(sum[:12]) + `"`, plain: data, gz: z.Bytes()}
}

// add serves the page at each address that it knows how to show.
func (w *web) add(mux *http.ServeMux) {
	for _, pattern := range []string{"GET /{$}", "GET /people", "GET /wall", "GET /phones/{name}"} {
		mux.HandleFunc(pattern, w.page.serve)
	}
	for name, a := range w.assets {
		mux.HandleFunc("GET /static/"+name, a.serve)
	}
	if icon := w.assets["icon.svg"]; icon != nil {
		mux.HandleFunc("GET /favicon.ico", icon.serve)
	}
}

func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("ETag", a.etag)
	h.Set("Cache-Control", "no-cache") // ask again each time: an update shows at once
	if strings.Contains(r.Header.Get("If-None-Match"), a.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := a.plain
	if takesGzip(r) {
		h.Set("Content-Encoding", "gzip")
		body = a.gz
	}
	_, _ = w.Write(body)
}
