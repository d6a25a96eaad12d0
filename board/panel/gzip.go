package panel

import (
	"compress/gzip"
	"net/http"
	"strings"
	"sync"
)

// compressed sends text in gzip to who takes it. Event streams are left alone:
// a compressor's window for each of fifty viewers is more than the agent has to
// spare, and so is what was compressed before.
func compressed(next http.Handler) http.Handler {
	pool := &sync.Pool{New: func() any { return gzip.NewWriter(nil) }}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept-Encoding")
		if !takesGzip(r) {
			next.ServeHTTP(w, r)
			return
		}
		z := &compressor{ResponseWriter: w, pool: pool}
		defer z.end()
		next.ServeHTTP(z, r)
	})
}

func takesGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		q := strings.ReplaceAll(params, " ", "")
		if strings.EqualFold(name, "gzip") && q != "q=0" && !strings.HasPrefix(q, "q=0.0") {
			return true
		}
	}
	return false
}

// compressor decides when the head of the answer is written.
type compressor struct {
	http.ResponseWriter
	pool    *sync.Pool
	gz      *gzip.Writer
	decided bool
}

func (c *compressor) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *compressor) WriteHeader(status int) {
	if !c.decided && status >= http.StatusOK {
		c.decided = true
		h := c.Header()
		kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
		if h.Get("Content-Encoding") == "" && worthIt(kind) && status != http.StatusNoContent && status != http.StatusNotModified {
			h.Set("Content-Encoding", "gzip")
			h.Del("Content-Length")
			c.gz = c.pool.Get().(*gzip.Writer)
			c.gz.Reset(c.ResponseWriter)
		}
	}
	c.ResponseWriter.WriteHeader(status)
}

func worthIt(kind string) bool {
	switch kind {
	case "application/json", "application/problem+json", "text/html", "text/css", "text/javascript", "image/svg+xml":
		return true
	}
	return false
}

func (c *compressor) Write(b []byte) (int, error) {
	if !c.decided {
		c.WriteHeader(http.StatusOK)
	}
	if c.gz != nil {
		return c.gz.Write(b)
	}
	return c.ResponseWriter.Write(b)
}

func (c *compressor) end() {
	if c.gz == nil {
		return
	}
	_ = c.gz.Close() // the connection is what fails, and net/http knows
	c.gz.Reset(nil)
	c.pool.Put(c.gz)
}
