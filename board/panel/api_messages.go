package panel

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"pilotlight/agent/access"
	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
)

// Message is an instant message from or to whoever asks.
type Message struct {
	ID        uint64    `json:"id" doc:"rises; the order in which messages were taken"`
	From      string    `json:"from" example:"sip:alice@example.com"`
	To        string    `json:"to" example:"sip:bob@example.com"`
	At        time.Time `json:"at"`
	Text      string    `json:"text"`
	Delivered bool      `json:"delivered" doc:"the recipient has it, on a device, by reading it here, or at her own server"`
	Refused   string    `json:"refused,omitempty" example:"404 Not Found" doc:"her server's answer, where that is final: it is not tried again"`
}

func (p *Panel) addMessages(api huma.API) {
	own := func(id, method, summary string, errors ...int) huma.Operation {
		op := operation(access.Viewer, id, method, "/messages", summary, errors...)
		op.Description = "Needs a token or a sign-in of a user: messages are that user's own."
		op.Security = op.Security[:2]
		return op
	}
	register(p, api, own("list-messages", http.MethodGet, "The messages from and to whoever asks, in order; those to her count as delivered"), p.listMessages)
	op := own("send-message", http.MethodPost, "Send a message to a person of the branch, or of a domain that a peer has. Answered when on disk", 404, 422, 503)
	op.DefaultStatus = http.StatusCreated
	register(p, api, op, p.sendMessage)
}

// me is the presentity of whoever asks.
func (p *Panel) me(ctx context.Context) (presence.Presentity, error) {
	v := visitorOf(ctx)
	switch {
	case !v.known:
		return "", v.unknown("messages are somebody's own: sign in, or send a token")
	case v.Name == "":
		return "", newProblem(http.StatusForbidden, "this token belongs to nobody, and messages are somebody's own")
	}
	return presence.At(v.Name, p.deps.Branch.Domain), nil
}

func (p *Panel) listMessages(ctx context.Context, in *struct {
	With string `query:"with" maxLength:"300" doc:"only those from and to this user; empty: all"`
}) (*list[Message], error) {
	me, err := p.me(ctx)
	if err != nil {
		return nil, err
	}
	var other presence.Presentity
	if in.With != "" {
		if other, err = p.presentity(in.With); err != nil {
			return nil, newProblem(http.StatusUnprocessableEntity, "with: "+err.Error())
		}
	}
	out := &list[Message]{Body: []Message{}}
	for _, m := range p.deps.Post.With(me, other) {
		if m.To == me && !m.Delivered {
			if err := p.deps.Post.Delivered(ctx, m.ID); err != nil {
				return nil, err
			}
			m.Delivered = true
		}
		out.Body = append(out.Body, p.messageOf(m))
	}
	return out, nil
}

func (p *Panel) sendMessage(ctx context.Context, in *struct {
	Body struct {
		To   string `json:"to" maxLength:"300" example:"bob" doc:"a user of this branch, or sip:USER@DOMAIN"`
		Text string `json:"text" minLength:"1" maxLength:"4096"`
	}
}) (*one[Message], error) {
	me, err := p.me(ctx)
	if err != nil {
		return nil, err
	}
	to, err := p.recipient(ctx, in.Body.To)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(ctx, publishTimeout)
	defer stop()
	m, err := p.deps.Post.Send(ctx, relay.Message{From: me, To: to, Text: in.Body.Text})
	switch {
	case errors.Is(err, relay.ErrNoText):
		return nil, newProblem(http.StatusUnprocessableEntity, err.Error())
	case errors.Is(err, relay.ErrPostFull):
		return nil, newProblem(http.StatusServiceUnavailable, err.Error()).after(60)
	case err != nil:
		return nil, err
	}
	return &one[Message]{p.messageOf(m)}, nil
}

// recipient is a person here, or somebody of a peer's domain: who is there, only the
// peer knows.
func (p *Panel) recipient(ctx context.Context, user string) (presence.Presentity, error) {
	if of, err := p.presentity(user); err == nil && p.deps.Reaches != nil && p.deps.Reaches(of.Domain()) {
		return of, nil
	}
	return p.personOf(ctx, user)
}

func (p *Panel) messageOf(m relay.Message) Message {
	return Message{ID: m.ID, From: string(m.From), To: string(m.To), At: p.deps.Clock.Wall(m.At).UTC().Truncate(time.Second), Text: m.Text, Delivered: m.Delivered, Refused: m.Refused}
}
