package snmp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/gosnmp/gosnmp"

	"pilotlight/agent"
)

// Session is one visit to one device, by one goroutine. Close gives it back.
type Session struct {
	client     *Client
	target     Target
	credential credential
	g          *gosnmp.GoSNMP
	conn       *watched
	closed     bool

	// Requests and Tries are what the visit cost so far.
	Requests, Tries int
}

func (s *Session) v3() bool { return s.credential.version == gosnmp.Version3 }

func (s *Session) fail(doing string, err error) error {
	return &Error{Target: name(s.target.Addr), Doing: doing, Err: err}
}

// connect makes a new socket; what gosnmp reads from it, we see first.
func (s *Session) connect(ctx context.Context, e engine) error {
	g := s.handle(ctx, e)
	if err := g.Connect(); err != nil {
		return err
	}
	s.g, s.conn = g, &watched{Conn: g.Conn}
	g.Conn = s.conn
	return nil
}

// Close keeps what was learnt of the engine and gives the session back.
func (s *Session) Close() {
	if s.closed {
		return
	}
	s.closed = true
	s.conn.Close()
	s.g = nil
	<-s.client.slots
}

// perGet is how many objects are asked for at once: some switches find 60 too many.
const perGet = 16

// Get asks for objects by their full OIDs ("1.3.6.1.2.1.1.5.0"). The values
// come in that order; what the device does not have is absent.
func (s *Session) Get(ctx context.Context, oids ...string) ([]Value, error) {
	values := make([]Value, 0, len(oids))
	for len(oids) > 0 {
		n := min(len(oids), perGet)
		part, err := s.get(ctx, oids[:n])
		if err != nil {
			return nil, s.fail("get", err)
		}
		values, oids = append(values, part...), oids[n:]
	}
	return values, nil
}

// get asks for one lot, and for its halves when the answer would be too big.
func (s *Session) get(ctx context.Context, oids []string) ([]Value, error) {
	p, err := s.exchange(ctx, func() (*gosnmp.SnmpPacket, error) { return s.g.Get(oids) })
	if err != nil {
		return nil, err
	}
	if p.Error == gosnmp.TooBig && len(oids) > 1 {
		first, err := s.get(ctx, oids[:len(oids)/2])
		if err != nil {
			return nil, err
		}
		second, err := s.get(ctx, oids[len(oids)/2:])
		return append(first, second...), err
	}
	if p.Error != gosnmp.NoError {
		return nil, fmt.Errorf("%w: %s", ErrStatus, statusText(p.Error))
	}
	if len(p.Variables) != len(oids) {
		return nil, fmt.Errorf("%w: %d values for %d objects", ErrGarbled, len(p.Variables), len(oids))
	}
	values := make([]Value, len(oids))
	for i, v := range p.Variables {
		if strings.TrimPrefix(v.Name, ".") != strings.TrimPrefix(oids[i], ".") {
			return nil, fmt.Errorf("%w: %.80s when asked for %s", ErrGarbled, v.Name, oids[i])
		}
		values[i] = valueOf(v)
	}
	return values, nil
}

// exchange sends one request until it is answered, refused or given up.
func (s *Session) exchange(ctx context.Context, send func() (*gosnmp.SnmpPacket, error)) (*gosnmp.SnmpPacket, error) {
	s.Requests++
	rediscovered := false
	var last error
	for try := 0; try < s.client.opts.Tries; try++ {
		p, err := s.once(ctx, s.client.opts.Timeout<<try, send)
		if err == nil {
			s.learn()
			return p, nil
		}
		last = err
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case agent.IsPermanent(err), errors.Is(err, ErrRefused), errors.Is(err, ErrForbidden):
			s.client.forget(s.target)
			return nil, err
		case errors.Is(err, ErrEngine), errors.Is(err, ErrWindow):
			// Another box at this address, or one that lost count of its boots:
			// begin with discovery (RFC 3414 §4), once.
			if rediscovered {
				return nil, err
			}
			rediscovered, try = true, try-1
			if err := s.reconnect(ctx); err != nil {
				return nil, err
			}
		}
	}
	return nil, s.explain(last)
}

// explain tells a silence that begins after discovery from plain silence: a
// request that a device can't decrypt may be dropped without a word.
func (s *Session) explain(err error) error {
	if !errors.Is(err, ErrSilentV3) || s.credential.level != gosnmp.AuthPriv {
		return err
	}
	if usm := s.usm(); usm != nil && usm.AuthoritativeEngineID != "" && s.conn.packets > 0 {
		return fmt.Errorf("%w, though it told its engine id: %w?", ErrSilentV3, ErrPrivacy)
	}
	return err
}

func (s *Session) reconnect(ctx context.Context) error {
	s.client.forget(s.target)
	s.conn.Close()
	if err := s.connect(ctx, engine{}); err != nil {
		return classify(err, s.v3())
	}
	return nil
}

// once sends one request and waits no longer than timeout, or ctx.
func (s *Session) once(ctx context.Context, timeout time.Duration, send func() (*gosnmp.SnmpPacket, error)) (*gosnmp.SnmpPacket, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.Tries++
	s.g.Context, s.g.Timeout, s.conn.report = ctx, timeout, 0
	usm := s.usm()
	discovering := usm != nil && usm.AuthoritativeEngineID == ""
	// gosnmp heeds a deadline of ctx, and not its cancellation: closing the socket does.
	conn := s.conn
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	p, err := send()
	stop()
	if err == nil {
		return p, check(p)
	}
	if discovering && s.conn.report == statEngine {
		s.conn.report = 0 // the answer to discovery is that very report (RFC 3414 §4)
	}
	if told := reported(s.conn.report); told != nil {
		return nil, told
	}
	return nil, classify(err, s.v3())
}

// check refuses what gosnmp lets pass: request id 0, which answers to anything,
// and PDUs that are no answers.
func check(p *gosnmp.SnmpPacket) error {
	if p == nil || p.PDUType != gosnmp.GetResponse || p.RequestID == 0 {
		return ErrGarbled
	}
	return nil
}

func (s *Session) usm() *gosnmp.UsmSecurityParameters {
	usm, _ := s.g.SecurityParameters.(*gosnmp.UsmSecurityParameters)
	return usm
}

// learn keeps the engine's id, boots and time, which an answer has just vouched for.
func (s *Session) learn() {
	usm := s.usm()
	if usm == nil || usm.AuthoritativeEngineID == "" {
		return
	}
	s.client.remember(s.target, engine{
		id: usm.AuthoritativeEngineID, boots: usm.AuthoritativeEngineBoots,
		time: usm.AuthoritativeEngineTime, at: time.Now(),
	})
}

// watched is the socket with an eye on unauthenticated reports. It hides that
// the socket is a PacketConn, so that gosnmp uses Read, which only takes what
// comes from the connected address.
type watched struct {
	net.Conn
	report  uint32 // the last usmStats told since it was set to 0
	packets int
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if err != nil {
		return n, err
	}
	w.packets++
	if stat, ok := parseReport(b[:n]); ok {
		w.report = stat
	}
	return n, nil
}
