package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// What the API tells, as far as the asking verbs show it.
type (
	phoneJSON struct {
		Name, State, Cause, Diagnosis, Freshness, Model, Address, Owner string
		AsOf                                                            time.Time `json:"as_of"`
		Since                                                           time.Time
		Lines                                                           []struct{ Number, State string }
		Port                                                            *struct{ Switch, Name string }
		Power                                                           *struct{ Watts *float64 }
		Gone                                                            bool
	}
	documentJSON struct {
		Presentity, Name, Availability, Note, Freshness string
		Since                                           time.Time
		AsOf                                            time.Time `json:"as_of"`
		Because                                         []string
		Gone                                            bool
	}
	uplinkJSON struct {
		Name, Kind, Mode, Why string
		Since                 time.Time
		Pending               int
	}
)

type phonesCmd struct{ apiFlags }

func (c *phonesCmd) Run(ctx context.Context, con *console) error {
	var phones []phoneJSON
	if done, err := c.ask(ctx, con, "/api/v1/phones", &phones); done {
		return err
	}
	t := newTable(con.out, "NAME", "STATE", "SINCE", "LINE", "OWNER", "MODEL", "ADDRESS", "PORT", "CAUSE", "DIAGNOSIS")
	for _, p := range phones {
		var lines []string
		for _, l := range p.Lines {
			lines = append(lines, l.Number)
		}
		port := ""
		if p.Port != nil {
			port = strings.TrimSpace(p.Port.Switch + " " + p.Port.Name)
		}
		state := p.State
		if p.Freshness == "last-known" {
			state += " (last known " + ago(p.AsOf) + " ago)"
		}
		t.row(p.Name, t.lamp(state), ago(p.Since), strings.Join(lines, ","), userOf(p.Owner), p.Model, p.Address, port, p.Cause, p.Diagnosis)
	}
	return t.flush()
}

type presenceCmd struct {
	apiFlags
	URI string `arg:"" optional:"" help:"A user, a number or a presentity, such as sip:alice@example.com."`
	All bool   `help:"Lines and devices too."`
}

func (c *presenceCmd) Run(ctx context.Context, con *console) error {
	if c.URI != "" {
		return c.one(ctx, con)
	}
	path := "/api/v1/presence"
	if c.All {
		path += "?all=true"
	}
	var docs []documentJSON
	if done, err := c.ask(ctx, con, path, &docs); done {
		return err
	}
	t := newTable(con.out, "PRESENTITY", "NAME", "AVAILABILITY", "SINCE", "NOTE")
	for _, d := range docs {
		t.row(d.Presentity, d.Name, t.lamp(availability(d)), ago(d.Since), d.Note)
	}
	return t.flush()
}

func (c *presenceCmd) one(ctx context.Context, con *console) error {
	var d documentJSON
	if done, err := c.ask(ctx, con, "/api/v1/presence/"+url.PathEscape(c.URI), &d); done {
		return err
	}
	fmt.Fprintf(con.out, "%s %s: %s since %s\n", d.Presentity, d.Name, availability(d), ago(d.Since))
	if d.Note != "" {
		fmt.Fprintf(con.out, "  note: %s\n", d.Note)
	}
	for _, why := range d.Because {
		fmt.Fprintf(con.out, "  because %s\n", why)
	}
	return nil
}

func availability(d documentJSON) string {
	if d.Freshness == "last-known" {
		return d.Availability + " (last known " + ago(d.AsOf) + " ago)"
	}
	return d.Availability
}

type uplinksCmd struct{ apiFlags }

func (c *uplinksCmd) Run(ctx context.Context, con *console) error {
	var uplinks []uplinkJSON
	if done, err := c.ask(ctx, con, "/api/v1/uplinks", &uplinks); done {
		return err
	}
	t := newTable(con.out, "NAME", "KIND", "MODE", "SINCE", "PENDING", "WHY")
	for _, u := range uplinks {
		t.row(u.Name, u.Kind, t.lamp(u.Mode), ago(u.Since), fmt.Sprint(u.Pending), u.Why)
	}
	return t.flush()
}

type statusCmd struct{ apiFlags }

func (c *statusCmd) Run(ctx context.Context, con *console) error {
	var status struct {
		Branch  struct{ ID, Name string }
		Version string
		Started time.Time
		Phones  map[string]int
		People  map[string]int
		Drivers []struct {
			Name, State, Error string
			Restarts           int
		}
		Uplinks []uplinkJSON
		Store   struct {
			Error       string
			SetAside    string `json:"set_aside"`
			SetAsideWhy string `json:"set_aside_why"`
		}
		Clock struct {
			Trusted bool
			Why     string
		}
		Certificate *struct {
			SHA256 string
			Until  time.Time
		}
	}
	if done, err := c.ask(ctx, con, "/api/v1/status", &status); done {
		return err
	}
	fmt.Fprintf(con.out, "branch %s (%s), version %s, up %s\n", status.Branch.ID, status.Branch.Name, status.Version, ago(status.Started))
	fmt.Fprintf(con.out, "phones: %s\npeople: %s\n", counts(status.Phones), counts(status.People))
	for _, d := range status.Drivers {
		line := fmt.Sprintf("%s: %s, started again %d times", d.Name, d.State, d.Restarts)
		if d.Error != "" {
			line += ": " + d.Error
		}
		fmt.Fprintln(con.out, line)
	}
	for _, u := range status.Uplinks {
		fmt.Fprintf(con.out, "uplink %s: %s since %s, %d pending\n", u.Name, u.Mode, ago(u.Since), u.Pending)
	}
	if c := status.Certificate; c != nil {
		fmt.Fprintf(con.out, "panel certificate: SHA-256 %s, until %s\n", c.SHA256, c.Until.Format(time.DateOnly))
	}
	if status.Store.Error != "" {
		fmt.Fprintf(con.out, "the disk does not write: %s\n", status.Store.Error)
	}
	if status.Store.SetAside != "" {
		fmt.Fprintf(con.out, "the former store could not be read (%s) and was set aside: %s\n", status.Store.SetAsideWhy, status.Store.SetAside)
	}
	if !status.Clock.Trusted {
		fmt.Fprintf(con.out, "the clock is not to be trusted: %s\n", status.Clock.Why)
	}
	return nil
}

// ask gets path; with --json it prints the answer and is done.
func (f apiFlags) ask(ctx context.Context, con *console, path string, out any) (done bool, err error) {
	c, err := f.client()
	if err != nil {
		return true, err
	}
	body, err := c.raw(ctx, http.MethodGet, path, nil)
	switch {
	case err != nil:
		return true, err
	case f.JSON:
		_, err := con.out.Write(append(bytes.TrimSpace(body), '\n'))
		return true, err
	}
	if err := json.Unmarshal(body, out); err != nil {
		return true, fmt.Errorf("%s: the answer is not what an agent says: %w", path, err)
	}
	return false, nil
}

type watchCmd struct{ apiFlags }

// Run prints events until ctx ends; a lost connection is taken up again.
func (c *watchCmd) Run(ctx context.Context, con *console) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	last, connected := "", false
	for {
		err := api.events(ctx, &last, func(event, data string) {
			connected = true
			c.print(con, event, data)
		})
		if ctx.Err() != nil {
			return nil
		}
		if !connected {
			return err
		}
		con.log.Warn("the agent hung up, trying again", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

func (c *watchCmd) print(con *console, event, data string) {
	if c.JSON {
		fmt.Fprintf(con.out, "{\"event\":%q,\"data\":%s}\n", event, data)
		return
	}
	now := time.Now().Format("15:04:05")
	switch event {
	case "phone":
		var p phoneJSON
		if json.Unmarshal([]byte(data), &p) == nil {
			if p.Gone {
				p.State = "gone"
			}
			fmt.Fprintf(con.out, "%s phone    %-16s %-12s %s\n", now, p.Name, p.State, p.Diagnosis)
		}
	case "presence":
		var d documentJSON
		if json.Unmarshal([]byte(data), &d) == nil {
			word := availability(d)
			if d.Gone {
				word = "gone"
			}
			fmt.Fprintf(con.out, "%s presence %-32s %s\n", now, d.Presentity, word)
		}
	case "uplink":
		var u uplinkJSON
		if json.Unmarshal([]byte(data), &u) == nil {
			fmt.Fprintf(con.out, "%s uplink   %-16s %s\n", now, u.Name, u.Mode)
		}
	}
}

// events reads server-sent events until the stream ends.
func (c *client) events(ctx context.Context, last *string, tell func(event, data string)) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/api/v1/events", nil)
	if err != nil {
		return err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if *last != "" {
		req.Header.Set("Last-Event-ID", *last)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("is an agent running? %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return problem(resp)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	var event, data string
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case lines.Text() == "":
			if data != "" {
				tell(event, data)
			}
			event, data = "", ""
		case field == "event":
			event = value
		case field == "data":
			data += value
		case field == "id":
			*last = value
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return fmt.Errorf("the stream ended")
}

func userOf(uri string) string {
	user, _, _ := strings.Cut(strings.TrimPrefix(uri, "sip:"), "@")
	return user
}
