package panel

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"pilotlight/agent/access"
	"pilotlight/agent/presence"
)

// maxNote is the longest note a person may leave, in characters.
const maxNote = 256

// UserPath names whose presence it is about.
type UserPath struct {
	User string `path:"user" maxLength:"300" example:"alice" doc:"alice, alice@example.com or sip:alice@example.com"`
}

// manual is what a person says of herself.
type manual struct {
	Availability string `json:"availability" enum:"available,away,busy,do-not-disturb,out-of-office,offline"`
	Note         string `json:"note,omitempty" doc:"at most 256 characters"`
	Until        string `json:"until,omitempty" doc:"when it ends (RFC 3339, in the future); empty: when it is withdrawn"`
}

func (p *Panel) addPresence(api huma.API) {
	register(p, api, operation(access.Viewer, "list-presence", http.MethodGet, "/presence", "The documents of all people"), p.listPresence)
	register(p, api, operation(access.Viewer, "get-presence", http.MethodGet, "/presence/{user}",
		"One document, of a person, a line or a device", 404), p.getPresence)

	op := operation(access.Viewer, "set-manual-presence", http.MethodPut, "/presence/{user}/manual", "Set what a person says", 404, 422, 503)
	op.Metadata[needsSelf], op.Description = true, "Needs the role operator, or to be that user. Answered when on disk."
	op.Security = op.Security[:2]
	register(p, api, op, p.setManual)
	op = operation(access.Viewer, "clear-manual-presence", http.MethodDelete, "/presence/{user}/manual", "Clear what a person says", 404, 503)
	op.Metadata[needsSelf], op.Description = true, "Needs the role operator, or to be that user. Answered when on disk."
	op.Security, op.DefaultStatus = op.Security[:2], http.StatusNoContent
	register(p, api, op, p.clearManual)

	register(p, api, operation(access.Viewer, "search-directory", http.MethodGet, "/directory", "People, by name, user or number"), p.searchDirectory)
}

type presenceQuery struct {
	All bool `query:"all" doc:"lines and devices, too"`
}

func (p *Panel) listPresence(ctx context.Context, in *presenceQuery) (*list[Document], error) {
	snap := p.keeper.refresh(ctx, false)
	s := p.shaper()
	out := &list[Document]{LastEventID: p.eventID(snap.rev), Body: []Document{}}
	for _, it := range snap.docs {
		if in.All || it.doc.Kind == presence.KindPerson {
			out.Body = append(out.Body, s.document(it.doc))
		}
	}
	return out, nil
}

func (p *Panel) getPresence(ctx context.Context, in *UserPath) (*one[Document], error) {
	of, err := p.presentity(in.User)
	if err != nil {
		return nil, noUser(in.User)
	}
	it := p.keeper.refresh(ctx, false).doc(of)
	if it == nil {
		return nil, noUser(in.User)
	}
	return &one[Document]{p.shaper().document(it.doc)}, nil
}

func noUser(user string) *problem {
	return newProblem(http.StatusNotFound, fmt.Sprintf("nobody here is %.100q", user))
}

// presentity takes a bare user for one of this branch.
func (p *Panel) presentity(user string) (presence.Presentity, error) {
	switch {
	case !strings.Contains(user, "@"):
		user = "sip:" + user + "@" + p.deps.Branch.Domain
	case !strings.Contains(user, ":"):
		user = "sip:" + user
	}
	return presence.ParsePresentity(user)
}

// userOf is the account's name that belongs to a path's user; "" where none can.
func (p *Panel) userOf(user string) string {
	of, err := p.presentity(user)
	if err != nil || of.Domain() != strings.ToLower(p.deps.Branch.Domain) {
		return ""
	}
	return of.User()
}

func (p *Panel) setManual(ctx context.Context, in *struct {
	UserPath
	Body manual
}) (*one[Document], error) {
	of, err := p.personOf(ctx, in.User)
	if err != nil {
		return nil, err
	}
	word, _ := presence.ParseAvailability(in.Body.Availability)
	note := clean(in.Body.Note)
	if utf8.RuneCountInString(note) > maxNote {
		return nil, newProblem(http.StatusUnprocessableEntity, fmt.Sprintf("note: want at most %d characters", maxNote))
	}
	expires, err := p.until(in.Body.Until)
	if err != nil {
		return nil, newProblem(http.StatusUnprocessableEntity, "until: "+err.Error())
	}
	err = p.publish(ctx, presence.Publication{
		Of: of, By: "panel", Manual: true, Expires: expires,
		Said: &presence.Said{Availability: word, Note: note},
	})
	if err != nil {
		return nil, err
	}
	it := p.keeper.refresh(ctx, true).doc(of)
	if it == nil {
		return nil, noUser(in.User)
	}
	return &one[Document]{p.shaper().document(it.doc)}, nil
}

func (p *Panel) clearManual(ctx context.Context, in *UserPath) (*empty, error) {
	of, err := p.personOf(ctx, in.User)
	if err != nil {
		return nil, err
	}
	err = p.publish(ctx, presence.Publication{Of: of, By: "panel", Manual: true})
	if err != nil && !errors.Is(err, presence.ErrNoMatch) { // nothing was set: cleared it is
		return nil, err
	}
	p.keeper.refresh(ctx, true)
	return nil, nil
}

// publishTimeout is how long a disk may take to keep what a person said.
const publishTimeout = 10 * time.Second

func (p *Panel) publish(ctx context.Context, said presence.Publication) error {
	ctx, stop := context.WithTimeout(ctx, publishTimeout)
	defer stop()
	_, _, err := p.deps.Heart.Publish(ctx, said)
	return err
}

// personOf finds a person; lines and devices say nothing of themselves.
func (p *Panel) personOf(ctx context.Context, user string) (presence.Presentity, error) {
	of, err := p.presentity(user)
	if err != nil || p.keeper.refresh(ctx, false).person(of) == nil {
		return "", noUser(user)
	}
	return of, nil
}

// until is how long something holds that ends at a wall time.
func (p *Panel) until(s string) (time.Duration, error) {
	if s == "" {
		return presence.Forever, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return 0, errors.New("want RFC 3339, such as 2026-01-02T18:00:00Z")
	}
	if ok, why := p.deps.Clock.Trusted(); !ok {
		return 0, fmt.Errorf("%s, so that no time can be kept; leave it out", why)
	}
	left := t.Sub(p.deps.Clock.Wall(time.Now()))
	if left <= 0 {
		return 0, errors.New("want a time in the future")
	}
	return left, nil
}

// clean drops control characters, and bytes that are no text.
func clean(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, s))
}

type directoryQuery struct {
	Q string `query:"q" maxLength:"128" doc:"part of a name, a user or a number; empty: everybody"`
}

func (p *Panel) searchDirectory(ctx context.Context, in *directoryQuery) (*list[DirectoryPerson], error) {
	snap := p.keeper.refresh(ctx, false)
	out := &list[DirectoryPerson]{LastEventID: p.eventID(snap.rev), Body: []DirectoryPerson{}}
	q := strings.ToLower(strings.TrimSpace(in.Q))
	for _, it := range snap.docs {
		if it.doc.Kind != presence.KindPerson {
			continue
		}
		if person := directoryPerson(it.doc); person.matches(q) {
			out.Body = append(out.Body, person)
		}
	}
	return out, nil
}

func directoryPerson(d *presence.Document) DirectoryPerson {
	person := DirectoryPerson{
		User: d.Of.User(), Name: d.Name, Presentity: string(d.Of), Numbers: []string{}, Phones: []string{},
		Availability: string(d.Availability), Freshness: string(d.Freshness),
	}
	for _, device := range d.Devices {
		person.Phones = append(person.Phones, device.Name)
		for _, l := range device.Lines {
			if l.Number != "" && !slices.Contains(person.Numbers, l.Number) {
				person.Numbers = append(person.Numbers, l.Number)
			}
		}
	}
	return person
}

func (d DirectoryPerson) matches(q string) bool {
	holds := func(s string) bool { return strings.Contains(strings.ToLower(s), q) }
	return holds(d.Name) || holds(d.User) || slices.ContainsFunc(d.Numbers, holds)
}
