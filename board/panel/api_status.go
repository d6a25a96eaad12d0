package panel

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"pilotlight/agent/access"
	"pilotlight/agent/presence"
)

// Status is how the agent is.
type Status struct {
	Branch     StatusBranch   `json:"branch"`
	Version    string         `json:"version"`
	Commit     string         `json:"commit"`
	Started    Stamp          `json:"started"`
	Clock      StatusClock    `json:"clock"`
	Store      StatusStore    `json:"store"`
	Drivers    []StatusDriver `json:"drivers"`
	Polls      []StatusPolls  `json:"polls"`
	Phones     map[string]int `json:"phones" doc:"how many are in each state"`
	People     map[string]int `json:"people" doc:"how many are of each availability"`
	Uplinks    []Uplink       `json:"uplinks"`
	Viewers    int            `json:"viewers" doc:"event streams that are open"`
	Accounts   bool           `json:"accounts" doc:"whether anybody could sign in"`
	LastChange string         `json:"last_change" doc:"the newest event's id"`

	Certificate *StatusCertificate `json:"certificate" doc:"what the panel shows over TLS; null: it speaks plain HTTP"`
}

// StatusBranch says where the agent is.
type StatusBranch struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Domain string `json:"domain"`
}

// StatusCertificate is what a visitor can hold the browser's word against.
type StatusCertificate struct {
	SHA256 string `json:"sha256"`
	Until  Stamp  `json:"until"`
}

// StatusClock says whether wall time may be believed.
type StatusClock struct {
	Now     Stamp  `json:"now"`
	Trusted bool   `json:"trusted"`
	Why     string `json:"why"`
}

// StatusStore says how the store is.
type StatusStore struct {
	ID           string `json:"id"`
	Epoch        uint64 `json:"epoch"`
	Commits      uint64 `json:"commits"`
	BytesWritten uint64 `json:"bytes_written"`
	FileSize     int64  `json:"file_size"`
	Pending      int    `json:"pending" doc:"records that wait for the disk"`
	Error        string `json:"error" doc:"why the disk does not write"`
	SetAside     string `json:"set_aside" doc:"a file that was found broken at the start"`
	SetAsideWhy  string `json:"set_aside_why"`
}

// StatusDriver says how one driver is.
type StatusDriver struct {
	Name     string `json:"name"`
	State    string `json:"state" enum:"running,failing,down"`
	Since    Stamp  `json:"since"`
	Restarts int    `json:"restarts"`
	Error    string `json:"error"`
}

// StatusPolls says what one queue of polls has done.
type StatusPolls struct {
	Driver   string            `json:"driver"`
	Targets  int               `json:"targets"`
	InFlight int               `json:"in_flight"`
	Outcomes map[string]uint64 `json:"outcomes"`
}

func (p *Panel) addStatus(api huma.API) {
	register(p, api, operation(access.Viewer, "get-status", http.MethodGet, "/status", "How the agent is"), p.getStatus)
	register(p, api, operation(access.Viewer, "list-uplinks", http.MethodGet, "/uplinks", "How each uplink is"), p.listUplinks)
}

func (p *Panel) listUplinks(context.Context, *struct{}) (*list[Uplink], error) {
	return &list[Uplink]{LastEventID: p.eventID(p.keeper.snap.Load().rev), Body: p.uplinks()}, nil
}

func (p *Panel) uplinks() []Uplink {
	all := []Uplink{}
	if p.deps.Uplinks != nil {
		s := p.shaper()
		for _, u := range p.deps.Uplinks.All() {
			all = append(all, s.uplink(u))
		}
	}
	return all
}

func (p *Panel) getStatus(context.Context, *struct{}) (*one[Status], error) {
	s := p.shaper()
	snap := p.keeper.snap.Load()
	st := p.deps.Heart.Stats()
	trusted, why := p.deps.Clock.Trusted()
	out := Status{
		Branch:  StatusBranch(p.deps.Branch),
		Version: p.deps.Build.Version, Commit: p.deps.Build.Commit, Started: s.stamp(p.started),
		Clock: StatusClock{s.stamp(time.Now()), trusted, why},
		Store: StatusStore{
			p.deps.Heart.ID(), p.deps.Heart.Epoch(), st.Commits, st.BytesWritten, st.FileSize, st.Pending,
			st.LastError, st.SetAside, st.SetAsideWhy,
		},
		Drivers: p.drivers(s), Polls: []StatusPolls{}, Phones: map[string]int{}, People: map[string]int{},
		Uplinks: p.uplinks(), Viewers: len(p.viewers), Accounts: p.deps.Book.HasAccounts(), LastChange: p.eventID(snap.rev),
		Certificate: p.certificate.Load(),
	}
	for _, q := range p.deps.Pollers {
		st := q.Stats()
		out.Polls = append(out.Polls, StatusPolls{st.Name, st.Targets, st.InFlight, st.Outcomes})
	}
	for _, state := range presence.DeviceStates {
		out.Phones[string(state)] = 0
	}
	for _, it := range snap.phones {
		out.Phones[string(it.device.State)]++
	}
	for _, word := range presence.Availabilities {
		out.People[string(word)] = 0
	}
	for _, it := range snap.docs {
		if it.doc.Kind == presence.KindPerson {
			out.People[string(it.doc.Availability)]++
		}
	}
	return &one[Status]{out}, nil
}

func (p *Panel) drivers(s shaper) []StatusDriver {
	all := []StatusDriver{}
	if p.deps.Drivers == nil {
		return all
	}
	for _, d := range p.deps.Drivers.Statuses() {
		out := StatusDriver{Name: d.Name, State: "running", Since: s.stamp(d.Since), Restarts: d.Restarts}
		if d.Err != nil {
			out.State = "failing"
			out.Error, _, _ = strings.Cut(d.Err.Error(), "\n") // what follows is for the log
		}
		if d.Down {
			out.State = "down"
		}
		all = append(all, out)
	}
	return all
}
