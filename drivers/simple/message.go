package simple

import (
	"context"
	"errors"
	"mime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
	"pilotlight/agent/supervise"
	"pilotlight/drivers/internal/sip"
)

// Post keeps instant messages.
type Post interface {
	Send(context.Context, relay.Message) (relay.Message, error)
	Waiting(to presence.Presentity) []relay.Message
	Recipients() map[presence.Presentity]uint64 // with the last message for each
	Delivered(ctx context.Context, id uint64) error
	Changed(ctx context.Context, since uint64) (uint64, error)
}

const textType = "text/plain"

// message takes a MESSAGE for somebody here (RFC 3428 §7): it is on disk before
// the 202, and handed on when the recipient has a device that takes it.
func (r *run) message(ctx context.Context, in *sip.Incoming) {
	who, no := r.identify(in, "message")
	if no != nil {
		r.refuse(in, no)
		return
	}
	to := presence.At(in.URI.User, r.c.Domain)
	kind, params, err := mime.ParseMediaType(in.Header.Get("Content-Type"))
	charset := strings.ToLower(params["charset"])
	switch {
	case err != nil || kind != textType || charset != "" && charset != "utf-8" && charset != "us-ascii":
		r.refuse(in, &refusal{status: 415, header: sip.Header{{Name: "Accept", Value: textType}}}) // MSG-05
		return
	case !r.person(ctx, to):
		r.refuse(in, &refusal{status: 404})
		return
	}
	_, err = r.n.Post.Send(ctx, relay.Message{From: who.as, To: to, Text: string(in.Body)})
	switch {
	case errors.Is(err, relay.ErrNoText):
		r.refuse(in, &refusal{status: 400})
	case errors.Is(err, relay.ErrPostFull):
		r.refuse(in, &refusal{status: 503, header: sip.Header{{Name: "Retry-After", Value: "300"}}})
	case err != nil:
		r.refuse(in, &refusal{status: 500})
	default:
		_ = in.Respond(sip.Reply{Status: 202}) // stored (MSG-03), without Contact and body (MSG-01)
	}
}

func (r *run) person(ctx context.Context, of presence.Presentity) (is bool) {
	_ = r.do(ctx, func() {
		w := r.of[of]
		is = w != nil && w.known && w.doc.Kind == presence.KindPerson
	})
	return is
}

// Delivery tries again after a while, in case nothing else tells that a device
// came back; and no more than some at a time.
const (
	deliverAgain  = time.Minute
	deliverWithin = 10 * time.Second
	deliverers    = 8
)

// postman hands messages to the devices of those whom they are for. A device is
// one that watches in its user's name: it has a Contact, and showed that it lives.
func (r *run) postman(ctx context.Context) error {
	seen, changed := uint64(0), make(chan struct{}, 1)
	tasks, inner := errgroup.WithContext(ctx)
	tasks.Go(func() error {
		return supervise.Guard(func() error {
			for {
				n, err := r.n.Post.Changed(inner, seen)
				if err != nil {
					return err
				}
				seen = n
				select {
				case changed <- struct{}{}:
				default:
				}
			}
		})
	})
	tasks.Go(func() error {
		return supervise.Guard(func() error {
			for {
				r.deliver(inner)
				select {
				case <-changed:
				case <-r.came:
				case <-time.After(deliverAgain):
				case <-inner.Done():
					return inner.Err()
				}
			}
		})
	})
	return tasks.Wait()
}

// deliver tries what waits, each recipient's in order and one at a time (MSG-04).
func (r *run) deliver(ctx context.Context) {
	tasks := errgroup.Group{}
	tasks.SetLimit(deliverers)
	for to := range r.n.Post.Recipients() {
		at := r.contacts(ctx, to)
		if len(at) == 0 {
			continue
		}
		tasks.Go(func() error {
			return supervise.Guard(func() error {
				for _, m := range r.n.Post.Waiting(to) {
					if !r.handOver(ctx, m, at) {
						return nil
					}
				}
				return nil
			})
		})
	}
	if err := tasks.Wait(); err != nil {
		r.log.Error("messages are not delivered", "err", err)
	}
}

// contacts are where the devices of a person are, the latest first.
func (r *run) contacts(ctx context.Context, who presence.Presentity) (at []string) {
	_ = r.do(ctx, func() {
		if r.watchers[who] == 0 {
			return
		}
		var mine []*subscription
		for _, s := range r.subs {
			if s.Watcher == who && !s.unreachable && s.proven && s.met {
				mine = append(mine, s)
			}
		}
		slices.SortFunc(mine, func(a, b *subscription) int { return b.Expires.Compare(a.Expires) })
		for _, s := range mine {
			if target := s.Target; !slices.Contains(at, target) && len(at) < 4 {
				at = append(at, target)
			}
		}
	})
	return at
}

// handOver sends a message to the first device that takes it. It reports whether
// the next may follow.
func (r *run) handOver(ctx context.Context, m relay.Message, at []string) bool {
	for _, target := range at {
		res, err := r.n.Endpoint.Do(ctx, &sip.Request{Method: "MESSAGE", URI: target, From: string(m.From), To: string(m.To),
			Header:      sip.Header{{Name: "Date", Value: m.At.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")}},
			ContentType: textType + ";charset=UTF-8", Body: []byte(m.Text), Timeout: deliverWithin})
		if err == nil && res.OK() {
			if err := r.n.Post.Delivered(ctx, m.ID); err != nil {
				r.log.Warn("a delivery is not on disk", "to", m.To, "err", err)
			}
			return true
		}
	}
	return false
}
