package phone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"pilotlight/agent/presence"
)

// A Fault is why a phone could not be read, and what that proves of it.
type Fault struct {
	// Reach is what it says of the phone's reachability; empty when the trouble
	// is ours (no file descriptor, no such name), which says nothing.
	Reach  presence.ReachOutcome
	Page   string        // the path that was asked for
	Detail string        // a sentence for the administrator, the same for the same trouble
	Status int           // the HTTP status, where that is what is wrong
	Wait   time.Duration // how long it asks to be left alone (Retry-After)
	Dial   bool          // no connection came about: no single page is to blame
	Shown  bool          // our user was shown for it
	Err    error
}

// gone reports that the phone says it has no such page. Once may be a web server
// that has just started.
func (f *Fault) gone() bool {
	return f.Status == http.StatusNotFound || f.Status == http.StatusGone || f.Status == http.StatusNotImplemented
}

// denied reports that the page is there, and not for us.
func (f *Fault) denied() bool {
	return f.Status == http.StatusUnauthorized || f.Status == http.StatusForbidden
}

// busy reports a phone that asks to be left alone for a while.
func (f *Fault) busy() bool {
	return f.Status == http.StatusTooManyRequests || f.Status == http.StatusServiceUnavailable
}

// own reports a fault of the page, which says nothing against the phone's other pages.
func (f *Fault) own() bool {
	return f.Reach != "" && f.Reach != presence.Silent && !f.Dial && !f.another()
}

// hung reports a page that was asked for, and no answer: the page's own fault while
// the phone answers on others, and else its silence.
func (f *Fault) hung() bool { return f.Reach == presence.Silent && !f.Dial }

// faultIn is the fault that an error is, or nil.
func faultIn(err error) *Fault {
	f, _ := errors.AsType[*Fault](err)
	return f
}

// Error is one line for a log.
func (f *Fault) Error() string {
	s := f.Detail
	if f.Page != "" {
		s = f.Page + ": " + s
	}
	if f.Err != nil {
		s += ": " + f.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (f *Fault) Unwrap() error { return f.Err }

// Outcome is the class of the poll in the metrics.
func (f *Fault) Outcome() string {
	switch f.Reach {
	case presence.Silent:
		return "timeout"
	case presence.Refused, presence.Garbled:
		return string(f.Reach)
	case presence.Other:
		return string(presence.Garbled)
	}
	return "error"
}

// Sentences that say what to do.
const (
	adviceWebOff = "refuses web connections: Web Access is Disabled: set it to Read Only on the phone's page in Unified CM"
	adviceAuth   = "asks for a password for its pages: set Web Access to Read Only on the phone's page in Unified CM"
	adviceOther  = "its own pages tell nothing: no /DeviceInformationX, as on 3PCC firmware"
	adviceStatus = "asks for a user for its status page: give it that of the phone (phone_defaults: user, password_file)"
	adviceUser   = "does not let our user in: associate it with the phone in Unified CM, and see that the Authentication URL can be reached"
	adviceHeld   = "is not asked for: another phone does not let our user in, which is shown to one at a time until one does"
	adviceMoved  = "its address answers for another phone"
)

// A stage is how far an exchange had come when it failed.
type stage int

const (
	dialling stage = iota // no connection yet
	asked                 // connected, not a byte of an answer
	reading               // the answer had begun
)

// faultOf classifies a failed exchange. What the phone's own IP stack or web
// server said proves that it lives; only silence is a miss; and what failed on
// this side proves nothing.
func faultOf(at stage, page string, err error) *Fault {
	f := &Fault{Page: page, Err: err, Dial: at == dialling}
	switch {
	case errors.Is(err, context.Canceled):
		f.Detail = "given up"
	case at == dialling && isOurs(err): // before timeouts: a name server's is none of the phone's
		f.Detail = "could not be asked"
	case errors.Is(err, syscall.ECONNREFUSED):
		f.Reach, f.Detail = presence.Refused, adviceWebOff
	case isTimeout(err) && at == reading:
		f.Reach, f.Detail = presence.Garbled, "began to answer and did not end in time"
	case isTimeout(err) && at == asked:
		f.Reach, f.Detail = presence.Silent, "takes the connection and answers nothing"
	case isTimeout(err), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EHOSTDOWN):
		f.Reach, f.Detail = presence.Silent, "does not answer"
	case at == reading && isCut(err):
		f.Reach, f.Detail = presence.Garbled, "sent half a page"
	case isCut(err):
		f.Reach, f.Detail = presence.Garbled, "closes the connection without an answer"
	default:
		f.Reach, f.Detail = presence.Garbled, "answers, and not sense"
	}
	return f
}

func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT) {
		return true
	}
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

// isOurs reports trouble of this machine: names, routes, descriptors, ports.
func isOurs(err error) bool {
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return true
	}
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL,
		syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EACCES, syscall.EPERM, syscall.EAFNOSUPPORT, syscall.EINVAL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func isCut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func garbled(page string, format string, args ...any) *Fault {
	return &Fault{Reach: presence.Garbled, Page: page, Detail: fmt.Sprintf(format, args...)}
}
