package panel

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"pilotlight/agent/access"
	"pilotlight/agent/errand"
	"pilotlight/agent/presence"
)

// problem is an answer that says no (RFC 9457). It is an error that huma knows
// how to send, and writes itself where huma is not in the way.
type problem struct {
	huma.ErrorModel
	headers http.Header
}

func newProblem(status int, detail string) *problem {
	p := &problem{ErrorModel: huma.ErrorModel{Title: http.StatusText(status), Status: status, Detail: detail}, headers: http.Header{}}
	if status == http.StatusUnauthorized {
		p.headers.Set("WWW-Authenticate", `Bearer realm="pilotlight"`) // RFC 9110 §11.6.1: a 401 names a way
	}
	return p
}

// GetHeaders is what huma sends along.
func (p *problem) GetHeaders() http.Header { return p.headers }

func (p *problem) write(w http.ResponseWriter) {
	for name, values := range p.headers {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(encode(&p.ErrorModel), '\n'))
}

func (p *problem) after(seconds float64) *problem {
	p.headers.Set("Retry-After", strconv.Itoa(int(math.Ceil(max(seconds, 1)))))
	return p
}

// problemOf turns an error of the heart into an answer. What it does not know is
// a fault of ours: the log tells the whole of it, the client only that.
func (p *Panel) problemOf(err error) error {
	var slow *access.SlowDown
	switch {
	case err == nil:
		return nil
	case errors.As(err, &slow):
		return newProblem(http.StatusTooManyRequests, slow.Error()).after(slow.Wait.Seconds())
	case errors.Is(err, access.ErrDenied):
		return newProblem(http.StatusUnauthorized, "user and password do not belong together")
	case errors.Is(err, access.ErrNotFound):
		return newProblem(http.StatusNotFound, err.Error())
	case errors.Is(err, access.ErrExists), errors.Is(err, access.ErrFull):
		return newProblem(http.StatusConflict, err.Error())
	case errors.Is(err, access.ErrInvalid), errors.Is(err, presence.ErrInvalid):
		return newProblem(http.StatusUnprocessableEntity, err.Error())
	case errors.Is(err, presence.ErrFull):
		return newProblem(http.StatusServiceUnavailable, err.Error())
	case errors.Is(err, errand.ErrNobody):
		return newProblem(http.StatusNotImplemented, err.Error())
	case errors.Is(err, errand.ErrBusy):
		return newProblem(http.StatusServiceUnavailable, err.Error()).after(1)
	case errors.Is(err, errand.ErrLarge):
		return newProblem(http.StatusBadGateway, err.Error())
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return newProblem(http.StatusGatewayTimeout, "no answer in time")
	}
	p.log.Error("request failed", "err", err)
	return newProblem(http.StatusInternalServerError, "the log of the agent tells more")
}
