package drill

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxBody bounds what is read of an answer.
const maxBody = 1 << 20

// api is the agent's HTTP API, as the contract has it.
type api struct {
	base   string
	token  string
	client *http.Client
}

func newAPI(panel, token string) api {
	// A transport of its own: connections to a killed agent must not be
	// handed to the next.
	return api{base: "http://" + panel, token: token, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
}

func (a api) close() { a.client.CloseIdleConnections() }

// state is what a person's manual presence is: nothing, or a word and a note.
type state struct {
	Availability string `json:"availability"`
	Note         string `json:"note"`
}

func (s state) String() string {
	if s == (state{}) {
		return "nothing set"
	}
	return s.Availability + " " + s.Note
}

func (a api) request(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var r io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, r)
	if err != nil {
		return nil, err
	}
	if a.token != "" { // on loopback reading is open
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return a.client.Do(req)
}

// call does one exchange; into may be nil. An answer other than 2xx is an error.
func (a api) call(ctx context.Context, method, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	resp, err := a.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %.200s", method, path, resp.Status, text)
	}
	if into == nil {
		return nil // the status line alone acknowledges
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func (a api) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return a.call(ctx, http.MethodGet, "/readyz", nil, nil) == nil
}

// set asks for a state and returns when it is acknowledged.
func (a api) set(ctx context.Context, user string, s state) error {
	path := "/api/v1/presence/" + user + "/manual"
	if s == (state{}) {
		return a.call(ctx, http.MethodDelete, path, nil, nil)
	}
	return a.call(ctx, http.MethodPut, path, s, nil)
}

// get reads what a person's manual state is.
func (a api) get(ctx context.Context, user string) (state, error) {
	var doc struct {
		state
		Manual bool `json:"manual"`
	}
	if err := a.call(ctx, http.MethodGet, "/api/v1/presence/"+user, nil, &doc); err != nil {
		return state{}, err
	}
	if !doc.Manual {
		return state{}, nil
	}
	return doc.state, nil
}

// origin is the store and the epoch that events carry: an event's id is
// store.epoch.rev.
func (a api) origin(ctx context.Context) (store string, epoch uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	resp, err := a.request(ctx, http.MethodGet, "/api/v1/events", nil)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", 0, fmt.Errorf("events: %s", resp.Status)
	}
	lines := bufio.NewScanner(io.LimitReader(resp.Body, maxBody))
	for lines.Scan() {
		id, ok := strings.CutPrefix(lines.Text(), "id:")
		if !ok {
			continue
		}
		parts := strings.Split(strings.TrimSpace(id), ".")
		if len(parts) != 3 {
			return "", 0, fmt.Errorf("event id %q: want store.epoch.rev", id)
		}
		epoch, err := strconv.ParseUint(parts[1], 10, 64)
		return parts[0], epoch, err
	}
	return "", 0, errors.Join(errors.New("no event with an id"), lines.Err())
}
