package panel

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// readyTimeout is how long the ledger may take to answer before the agent
// counts as not ready.
const readyTimeout = 2 * time.Second

func (p *Panel) addHealth(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, stop := context.WithTimeout(r.Context(), readyTimeout)
		defer stop()
		if err := p.unready(ctx); err != nil {
			answer(w, http.StatusServiceUnavailable, map[string]string{"status": "not ready", "why": err.Error()})
			return
		}
		answer(w, http.StatusOK, map[string]string{"status": "ready"})
	})
}

// unready says why the agent is not ready. Both paths are open to all, so it
// tells no more than it must.
func (p *Panel) unready(ctx context.Context) error {
	if !p.up.Load() {
		return errors.New("the present state is not loaded yet")
	}
	if p.deps.Heart.Ping(ctx) != nil {
		return errors.New("the store does not answer")
	}
	if p.deps.Healthy == nil {
		return nil
	}
	return p.deps.Healthy(ctx)
}

// answer writes one line of JSON.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(encode(v), '\n'))
}
