package panel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"pilotlight/agent/access"
	"pilotlight/agent/presence"
)

// Watcher is somebody who watches a presentity, or of whom it decided.
type Watcher struct {
	Watcher string     `json:"watcher" example:"sip:bob@example.com"`
	Do      string     `json:"do" enum:"allow,polite-block,confirm,block" doc:"how the watcher is taken; confirm: a decision is waited for"`
	Decided bool       `json:"decided" doc:"by the presentity; false: by the configuration's rules"`
	Since   *time.Time `json:"since" doc:"for how long it has been watching; null: it does not watch now"`
	Package []string   `json:"packages" doc:"event packages of its subscriptions"`
}

// WatcherPath names a watcher of somebody's.
type WatcherPath struct {
	UserPath
	Watcher string `path:"watcher" maxLength:"300" example:"sip:bob@example.com"`
}

func (p *Panel) addWatchers(api huma.API) {
	self := func(id, method, path, summary string, errors ...int) huma.Operation {
		op := operation(access.Viewer, id, method, path, summary, errors...)
		op.Metadata[needsSelf], op.Description = true, "Needs the role operator, or to be that user."
		op.Security = op.Security[:2]
		return op
	}
	register(p, api, self("list-watchers", http.MethodGet, "/presence/{user}/watchers", "Who watches somebody, and how each is taken", 404, 503), p.listWatchers)
	op := self("decide-watcher", http.MethodPut, "/presence/{user}/watchers/{watcher}", "Decide how a watcher is taken", 404, 422, 503)
	op.Description += " Answered when on disk; subscriptions that stand obey at once."
	op.DefaultStatus = http.StatusNoContent
	register(p, api, op, p.decideWatcher)
	op = self("forget-watcher", http.MethodDelete, "/presence/{user}/watchers/{watcher}", "Take a decision back: the configuration's rules hold again", 404, 503)
	op.DefaultStatus = http.StatusNoContent
	register(p, api, op, p.forgetWatcher)
}

func (p *Panel) listWatchers(ctx context.Context, in *UserPath) (*list[Watcher], error) {
	of, err := p.personOf(ctx, in.User)
	if err != nil {
		return nil, err
	}
	all := map[presence.Presentity]*Watcher{}
	for _, d := range p.deps.Watchers.Decisions(of) {
		all[d.Watcher] = &Watcher{Do: d.Do.String(), Decided: true, Package: []string{}}
	}
	now, err := p.deps.Watching(ctx, of)
	if err != nil {
		return nil, newProblem(http.StatusServiceUnavailable, err.Error())
	}
	for _, w := range now {
		one := all[w.Watcher]
		if one == nil {
			one = &Watcher{Do: p.deps.Watchers.Watch(w.Watcher, of).String()}
			all[w.Watcher] = one
		}
		since := p.deps.Clock.Wall(w.Since).UTC().Truncate(time.Second)
		one.Since, one.Package = &since, w.Packages
	}
	out := &list[Watcher]{Body: []Watcher{}}
	for who, one := range all {
		one.Watcher = string(who)
		out.Body = append(out.Body, *one)
	}
	slices.SortFunc(out.Body, func(a, b Watcher) int { return cmp.Compare(a.Watcher, b.Watcher) })
	return out, nil
}

func (p *Panel) decideWatcher(ctx context.Context, in *struct {
	WatcherPath
	Body struct {
		Do string `json:"do" enum:"allow,polite-block,confirm,block"`
	}
}) (*empty, error) {
	of, watcher, err := p.pairOf(ctx, in.WatcherPath)
	if err != nil {
		return nil, err
	}
	do, err := access.ParseHandling(in.Body.Do)
	if err != nil {
		return nil, newProblem(http.StatusUnprocessableEntity, err.Error())
	}
	ctx, stop := context.WithTimeout(ctx, publishTimeout)
	defer stop()
	err = p.deps.Watchers.Decide(ctx, access.Decision{Of: of, Watcher: watcher, Do: do})
	if errors.Is(err, access.ErrInvalid) {
		return nil, newProblem(http.StatusUnprocessableEntity, err.Error())
	}
	return nil, err
}

func (p *Panel) forgetWatcher(ctx context.Context, in *WatcherPath) (*empty, error) {
	of, watcher, err := p.pairOf(ctx, *in)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(ctx, publishTimeout)
	defer stop()
	err = p.deps.Watchers.Forget(ctx, of, watcher)
	if errors.Is(err, access.ErrNotFound) {
		return nil, newProblem(http.StatusNotFound, err.Error())
	}
	return nil, err
}

func (p *Panel) pairOf(ctx context.Context, in WatcherPath) (of, watcher presence.Presentity, err error) {
	if of, err = p.personOf(ctx, in.User); err != nil {
		return "", "", err
	}
	if watcher, err = p.presentity(in.Watcher); err != nil {
		return "", "", newProblem(http.StatusUnprocessableEntity, fmt.Sprintf("watcher %.100q: want sip:user@domain", in.Watcher))
	}
	return of, watcher, nil
}
