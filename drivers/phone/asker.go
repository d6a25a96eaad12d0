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

// Asking sends OPTIONS through the agent's SIP endpoint.
func Asking(endpoint Doer) Asker { return asking{endpoint} }

type asking struct{ endpoint Doer }

// Options implements Asker. Any final response is an answer (RFC 3261 §11.2).
func (a asking) Options(ctx context.Context, target string) (SIPAnswer, error) {
	uri, _, _ := strings.Cut(target, ";")
	r, err := a.endpoint.Do(ctx, &sip.Request{Method: "OPTIONS", URI: uri, Target: target, To: uri, Accept: []string{"application/sdp"}})
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
