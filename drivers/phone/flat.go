package phone

import (
	"context"
	"errors"
	"strings"
	"time"

	"pilotlight/agent/presence"
)

// otherwise asks a phone that has no X pages in the other two ways. Only a page
// that was read as what it should be decides how the phone is asked from now on:
// a phone that starts has no page at all for a while, and what answers instead may
// be anything.
func (w *sweep) otherwise(ctx context.Context, why *Fault) (Page, error) {
	none := *why
	none.Detail = adviceOther
	for _, path := range []string{pathStatus, pathStatusAdmin} {
		if !w.has(path) {
			continue
		}
		at := time.Now()
		s, err := w.status(ctx, path)
		if err == nil {
			w.a.dialect, w.a.status = flatDialect, path
			delete(w.a.troubles, path)
			return Page{}, w.takeStatus(at, s)
		}
		switch f := faultIn(err); {
		case f != nil && f.hung(): // which is not silence: it has answered that it has no X pages
			w.failed(path, f)
			if err := w.hesitate(ctx); err != nil {
				return Page{}, err
			}
		case f == nil || !f.own():
			return Page{}, err
		case f.denied(), f.busy(): // it is there
			return Page{}, err
		default:
			w.failed(path, f)
		}
	}
	if !w.has(pathAdapter) {
		return Page{}, &none
	}
	page, err := w.byAdapter(ctx, "device")
	if err == nil {
		if _, err = page.Device(); err == nil {
			w.a.adapter = true
			return page, nil
		}
		err = sends(pathAdapter, err)
	}
	f := faultIn(err)
	if f == nil || !f.own() && !f.hung() {
		return Page{}, err
	}
	w.failed(pathAdapter, f)
	return Page{}, &none
}

// flat reads the one page of multiplatform firmware.
func (w *sweep) flat(ctx context.Context) error {
	at := time.Now()
	s, err := w.status(ctx, w.a.status)
	if err != nil {
		return err
	}
	return w.takeStatus(at, s)
}

// status fetches a status page. A user that was refused is not shown for a while.
func (w *sweep) status(ctx context.Context, path string) (Status, error) {
	w.most = maxStatus
	defer func() { w.most = 0 }()
	now := time.Now()
	var a answer
	var err error
	shown := w.creds.User != "" && !now.Before(w.a.users.until)
	if shown {
		a, err = w.getAs(ctx, path, false)
	} else {
		a, err = w.get(ctx, path)
	}
	if f, ok := errors.AsType[*Fault](err); ok && f.denied() {
		if f.Detail = adviceStatus; shown {
			w.a.users.refused(now)
		}
	}
	if err != nil {
		return Status{}, err
	}
	if shown {
		w.a.users = refusals{}
	}
	s, err := ParseStatus(a.Body, a.ContentType)
	return s, sends(path, err)
}

// takeStatus tells what a status page says.
func (w *sweep) takeStatus(at time.Time, s Status) error {
	if mac := strings.TrimPrefix(strings.ToUpper(w.phone.Name), "SEP"); sepName(w.phone.Name) && s.MAC != "" && s.MAC != mac {
		return another(w.a.status, s.MAC)
	}
	w.a.family, w.a.deviceAt = s.family(), at
	w.a.device = s.device()
	f := presence.Facts{
		Identity:     &presence.Identity{Model: s.Product, Serial: s.Serial, Firmware: s.Firmware, MAC: s.MAC, Address: w.remote},
		Reach:        &presence.Reach{Outcome: presence.Answered, Via: "web"},
		Abilities:    &presence.Abilities{Audio: true},
		Registration: s.Registration(), Messages: s.Messages(), Calls: s.Calls(w.phone.User), Streams: &presence.Streams{List: s.Streams},
	}
	w.a.streams = len(s.Streams)
	if f.Calls != nil && busy(f.Calls) {
		w.a.streams = max(w.a.streams, 1)
	}
	w.registered(f.Registration)
	w.a.news = false // such a phone has no log to read
	w.tell(sourceWeb, at, 0, f)
	return nil
}

// family is the family of a phone that has a status page: that it has one is surer
// than the name that it gives itself.
func (s Status) family() Family {
	if f := FamilyOf(s.Product); f.Dialect == flatDialect {
		return f
	}
	return strangeFlat
}

// device is the identity, as the pages of Unified CM firmware have it.
func (s Status) device() DeviceInfo {
	return DeviceInfo{HostName: s.HostName, MAC: s.MAC, Model: s.Product, Serial: s.Serial, Firmware: s.Firmware, Messages: s.Messages()}
}

// reconsider has a phone asked anew how it tells of itself, when the page that
// this was decided by is gone or makes no sense for some visits: it was given other
// firmware, or it was taken for what it is not.
func (a *account) reconsider(err error) {
	f, ok := errors.AsType[*Fault](err)
	switch {
	case err == nil:
		a.senseless = 0
	case a.dialect == anyDialect || !ok || !f.own() || f.Status != 0 && !f.gone():
	default:
		if a.senseless++; a.senseless >= goneTries {
			a.again()
		}
	}
}
