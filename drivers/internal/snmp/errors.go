package snmp

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"

	"github.com/gosnmp/gosnmp"

	"pilotlight/agent"
)

// The ways in which an exchange fails; compare with [errors.Is]. Whatever a
// device says no to with ErrUser to ErrPrivacy is marked [agent.Permanent]: it
// needs a person, not another try, and concerns this one device.
var (
	ErrSilent    = errors.New("no answer: device down, filtered, or another community")
	ErrSilentV3  = errors.New("no answer: device down or filtered")
	ErrRefused   = errors.New("port unreachable: no agent is listening there")
	ErrGarbled   = errors.New("answered, and not sense")
	ErrUser      = errors.New("the device knows no such user")
	ErrPassword  = errors.New("wrong authentication password or protocol")
	ErrLevel     = errors.New("the device does not take this user at this security level")
	ErrPrivacy   = errors.New("wrong privacy password or protocol")
	ErrEngine    = errors.New("the device does not keep to one engine id")
	ErrWindow    = errors.New("the device's clock and ours can't be brought together (time window)")
	ErrStatus    = errors.New("the device ended the answer with an error")
	ErrLoop      = errors.New("OID not increasing")
	ErrTooLarge  = errors.New("more than this table may hold")
	ErrForbidden = errors.New("address is not one to be contacted")
)

// Error says which device, doing what, failed how: "snmp 10.1.1.2: walk
// cdpCacheTable: no answer: …". It is a [net.Error].
type Error struct {
	Target string
	Doing  string
	Err    error
}

func (e *Error) Error() string {
	if e.Doing == "" {
		return "snmp " + e.Target + ": " + e.Err.Error()
	}
	return "snmp " + e.Target + ": " + e.Doing + ": " + e.Err.Error()
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether nothing came back in time.
func (e *Error) Timeout() bool {
	return errors.Is(e.Err, ErrSilent) || errors.Is(e.Err, ErrSilentV3) || errors.Is(e.Err, context.DeadlineExceeded)
}

// Outcome is the class of the failure, as the metrics name it.
func (e *Error) Outcome() string {
	switch {
	case errors.Is(e.Err, context.Canceled):
		return "cancelled"
	case e.Timeout():
		return "timeout"
	case errors.Is(e.Err, ErrRefused):
		return "refused"
	case agent.IsPermanent(e.Err), errors.Is(e.Err, ErrForbidden):
		return "denied"
	}
	return "error"
}

// Temporary is part of [net.Error].
func (e *Error) Temporary() bool { return !agent.IsPermanent(e.Err) }

var _ net.Error = (*Error)(nil)

// classify turns what gosnmp returned into one of the errors above. Its
// messages are compared by text only where it has no value to compare with.
func classify(err error, v3 bool) error {
	var ne net.Error
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, ErrForbidden):
		return ErrForbidden
	case errors.Is(err, syscall.ECONNREFUSED):
		return ErrRefused
	case errors.Is(err, gosnmp.ErrUnknownUsername):
		return agent.Permanent(ErrUser)
	case errors.Is(err, gosnmp.ErrWrongDigest):
		return agent.Permanent(ErrPassword)
	case errors.Is(err, gosnmp.ErrUnknownSecurityLevel):
		return agent.Permanent(ErrLevel)
	case errors.Is(err, gosnmp.ErrDecryption):
		return agent.Permanent(ErrPrivacy)
	case errors.Is(err, gosnmp.ErrNotInTimeWindow):
		return ErrWindow
	case errors.Is(err, gosnmp.ErrUnknownEngineID):
		return ErrEngine
	case errors.Is(err, gosnmp.ErrMaxRetriesExceeded), errors.As(err, &ne) && ne.Timeout():
		if v3 {
			return ErrSilentV3
		}
		return ErrSilent
	case errors.As(err, &ne):
		return err
	}
	return ErrGarbled
}

// reported maps a usmStats report (RFC 3414 §3.2, §5) to its meaning. It can't be
// authenticated, so it decides nothing but what is said, and whether to try again.
func reported(stat uint32) error {
	switch stat {
	case statLevel:
		return agent.Permanent(ErrLevel)
	case statUser:
		return agent.Permanent(ErrUser)
	case statDigest:
		return agent.Permanent(ErrPassword)
	case statDecryption:
		return agent.Permanent(ErrPrivacy)
	case statWindow:
		return ErrWindow
	case statEngine:
		return ErrEngine
	}
	return nil
}

// statusText is an error-status (RFC 3416 §3) as the RFC spells it.
func statusText(s gosnmp.SNMPError) string {
	t := s.String()
	return strings.ToLower(t[:1]) + t[1:]
}
