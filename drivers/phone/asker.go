package phone

import (
	"context"
	"strings"

	"pilotlight/drivers/internal/sip"
)

// Doer is what OPTIONS needs of the SIP endpoint.
type Doer interface {
	Do(context.Context, *sip.Request) (*sip.Response, error)
}

// EndpointAsker sends OPTIONS through the agent's SIP endpoint.
type EndpointAsker struct {
	Endpoint Doer
	From     string // who asks, such as "sip:pilotlight@example.com"
}

// Options implements Asker. Any final response is an answer (RFC 3261 §11.2).
func (a EndpointAsker) Options(ctx context.Context, target string) (SIPAnswer, error) {
	uri, _, _ := strings.Cut(target, ";")
	r, err := a.Endpoint.Do(ctx, &sip.Request{Method: "OPTIONS", URI: uri, Target: target, From: a.From, To: uri, Accept: []string{"application/sdp"}})
	if err != nil {
		return SIPAnswer{}, err
	}
	answer := SIPAnswer{Status: r.Status, RTT: r.RTT, UserAgent: r.Header.Get("User-Agent"),
		Allow: r.Header.List("Allow"), Accept: r.Header.List("Accept"), Contact: r.Header.Get("Contact")}
	if answer.UserAgent == "" {
		answer.UserAgent = r.Header.Get("Server")
	}
	if contentType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.EqualFold(strings.TrimSpace(contentType), "application/sdp") {
		answer.SDP = string(r.Body)
	}
	return answer, nil
}
