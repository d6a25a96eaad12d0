package panel

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"pilotlight/agent/access"
	"pilotlight/agent/errand"
)

// PhoneName names a phone in a path.
type PhoneName struct {
	Name string `path:"name" maxLength:"64" example:"SEP0011AABBCCDD"`
}

func (p *Panel) addPhones(api huma.API) {
	register(p, api, operation(access.Viewer, "list-phones", http.MethodGet, "/phones", "All phones, by name"), p.listPhones)
	register(p, api, operation(access.Viewer, "get-phone", http.MethodGet, "/phones/{name}", "One phone", 404), p.getPhone)
	register(p, api, operation(access.Viewer, "get-phone-history", http.MethodGet, "/phones/{name}/history",
		"The last changes of a phone's state, the oldest first", 404), p.getHistory)
	register(p, api, pngOperation(), p.getScreen)

	act := func(what, summary string) huma.Operation {
		op := operation(access.Operator, what+"-phone", http.MethodPost, "/phones/{name}/"+what, summary, 404, 501, 503, 504)
		op.DefaultStatus = http.StatusNoContent
		return op
	}
	register(p, api, act("message", "Show a text on a phone"), func(ctx context.Context, in *struct {
		PhoneName
		Body struct {
			Text string `json:"text" minLength:"1" maxLength:"2000"`
		}
	}) (*empty, error) {
		return p.act(ctx, "message", in.Name, in.Body)
	})
	register(p, api, act("dial", "Let a phone dial a number"), func(ctx context.Context, in *struct {
		PhoneName
		Body struct {
			Number string `json:"number" pattern:"^[0-9*#+]{1,32}$"`
		}
	}) (*empty, error) {
		return p.act(ctx, "dial", in.Name, in.Body)
	})
	for what, summary := range map[string]string{"restart": "Restart a phone", "identify": "Let a phone make itself seen and heard"} {
		register(p, api, act(what, summary), func(ctx context.Context, in *PhoneName) (*empty, error) {
			return p.act(ctx, what, in.Name, struct{}{})
		})
	}
}

func (p *Panel) listPhones(ctx context.Context, _ *struct{}) (*list[Phone], error) {
	snap := p.keeper.refresh(ctx, false)
	s := p.shaper()
	out := &list[Phone]{LastEventID: p.eventID(snap.rev), Body: make([]Phone, len(snap.phones))}
	for i, it := range snap.phones {
		out.Body[i] = s.phone(it.device)
	}
	return out, nil
}

func (p *Panel) getPhone(ctx context.Context, in *PhoneName) (*one[Phone], error) {
	it := p.keeper.refresh(ctx, false).phone(in.Name)
	if it == nil {
		return nil, noPhone(in.Name)
	}
	return &one[Phone]{p.shaper().phone(it.device)}, nil
}

func noPhone(name string) *problem {
	return newProblem(http.StatusNotFound, fmt.Sprintf("no phone is called %.64q", name))
}

func (p *Panel) getHistory(ctx context.Context, in *PhoneName) (*list[HistoryEntry], error) {
	if p.keeper.snap.Load().phone(in.Name) == nil {
		return nil, noPhone(in.Name)
	}
	changes, err := p.deps.Heart.History(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	s := p.shaper()
	out := &list[HistoryEntry]{LastEventID: p.eventID(p.keeper.snap.Load().rev), Body: make([]HistoryEntry, len(changes))}
	for i, c := range changes {
		out.Body[i] = HistoryEntry{s.stamp(c.At), string(c.From), string(c.To), c.Why}
	}
	return out, nil
}

// act hands a wish over to whoever serves it, as JSON.
func (p *Panel) act(ctx context.Context, what, phone string, body any) (*empty, error) {
	if p.keeper.snap.Load().phone(phone) == nil {
		return nil, noPhone(phone)
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	if _, err := p.deps.Desk.Ask(ctx, errand.Errand{Kind: what, Target: phone, Body: text}); err != nil {
		return nil, err
	}
	p.log.Info("phone acted upon", "device", phone, "what", what, "user", visitorOf(ctx).Name)
	return nil, nil
}

type picture struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func pngOperation() huma.Operation {
	op := operation(access.Viewer, "get-phone-screen", http.MethodGet, "/phones/{name}/screen", "What a phone's screen shows now", 404, 501, 502, 503, 504)
	op.Responses = map[string]*huma.Response{"200": {
		Description: "OK",
		Content:     map[string]*huma.MediaType{"image/png": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
	}}
	return op
}

// getScreen fetches the screen. What a phone answers is not believed: only the
// signature of PNG makes it one.
func (p *Panel) getScreen(ctx context.Context, in *PhoneName) (*picture, error) {
	if p.keeper.snap.Load().phone(in.Name) == nil {
		return nil, noPhone(in.Name)
	}
	reply, err := p.deps.Desk.Ask(ctx, errand.Errand{Kind: "screen", Target: in.Name})
	if err != nil {
		return nil, err
	}
	if http.DetectContentType(reply.Body) != "image/png" {
		return nil, newProblem(http.StatusBadGateway, "the answer is no PNG")
	}
	return &picture{"image/png", reply.Body}, nil
}
