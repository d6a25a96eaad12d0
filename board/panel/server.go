package panel

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"pilotlight/agent/access"
)

// What a client may cost.
const (
	maxBody      = 64 << 10
	maxHeader    = 16 << 10
	readTimeout  = 15 * time.Second
	writeTimeout = 30 * time.Second
	idleTimeout  = 2 * time.Minute
	farewell     = 3 * time.Second // for requests under way when the agent stops
)

// serve answers at one door until ctx is done.
func (p *Panel) serve(ctx context.Context, g *errgroup.Group, d *door) {
	s := &http.Server{
		Handler:           p.handler(d),
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout, // event streams and backups set their own
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return ctx }, // ends event streams, too
		ErrorLog:          slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	g.Go(func() error {
		if err := s.Serve(d.listener); err != http.ErrServerClosed {
			return fmt.Errorf("panel: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		grace, stop := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer stop()
		if s.Shutdown(grace) != nil {
			_ = s.Close()
		}
		if d.admin {
			_ = os.Remove(filepath.Join(p.deps.DataDir, "admin.sock"))
		}
		return ctx.Err()
	})
}

// handler is all that is served at one door.
func (p *Panel) handler(d *door) http.Handler {
	mux := http.NewServeMux()
	p.addAPI(mux, d)
	p.addHealth(mux)
	mux.HandleFunc("GET /metrics", p.guard(access.Viewer, p.metrics.ServeHTTP))
	p.web.add(mux)

	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		newProblem(http.StatusForbidden, "this request comes from a page of another site").write(w)
	}))
	h := routed(mux)
	h = p.identified(d, h)
	h = protection.Handler(h)
	h = compressed(h)
	h = limited(h)
	h = secured(h)
	return p.watched(h)
}

// routed answers what no pattern matches with a problem that says so.
func routed(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		said := &silent{header: http.Header{}}
		h.ServeHTTP(said, r)
		switch said.status {
		case http.StatusMethodNotAllowed:
			no := newProblem(said.status, r.Method+" is not something to do with "+r.URL.Path)
			no.headers.Set("Allow", said.header.Get("Allow"))
			no.write(w)
		case http.StatusNotFound:
			newProblem(said.status, "nothing is at "+r.URL.Path).write(w)
		default: // a path to clean up
			h.ServeHTTP(w, r)
		}
	})
}

// silent takes an answer and keeps only its head.
type silent struct {
	header http.Header
	status int
}

func (s *silent) Header() http.Header         { return s.header }
func (s *silent) Write(b []byte) (int, error) { return len(b), nil }
func (s *silent) WriteHeader(status int)      { s.status = status }

// identified puts the visitor in the request's context. A wrong credential is
// refused on what needs one or reads the API; the rest is open to all.
func (p *Panel) identified(d *door, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := p.identify(d, r)
		if err != nil && (strings.HasPrefix(r.URL.Path, "/api/") || r.URL.Path == "/metrics") {
			v.unknown(err.Error()).write(w)
			return
		}
		ctx := context.WithValue(r.Context(), visitorKey{}, v)
		ctx = context.WithValue(ctx, sourceKey{}, source(r.RemoteAddr))
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

func limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// policy lets the dashboard do what it does, and nothing else: its own files, no
// inline script or style, nothing from outside.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		if strings.HasPrefix(r.URL.Path, "/api/") {
			h.Set("Cache-Control", "no-store")
		}
		next.ServeHTTP(w, r)
	})
}

// watched survives a panic, and logs each request at debug.
func (p *Panel) watched(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &recorder{ResponseWriter: w}
		defer func() {
			if v := recover(); v != nil {
				if v == http.ErrAbortHandler {
					panic(v) // net/http's own way to drop a connection
				}
				p.log.Error("panic in a request", "method", r.Method, "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
				if rec.status == 0 {
					newProblem(http.StatusInternalServerError, "the log of the agent tells more").write(rec)
				}
			}
			p.log.Debug("request", "method", r.Method, "path", r.URL.Path, "status", rec.status,
				"peer", r.RemoteAddr, "took", time.Since(start))
		}()
		next.ServeHTTP(rec, r)
	})
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}
