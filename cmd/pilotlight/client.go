package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// apiFlags is how the asking verbs find a running agent.
type apiFlags struct {
	API       string `name:"api" env:"PILOTLIGHT_API" default:"http://127.0.0.1:8080" help:"Where the agent's panel listens."`
	TokenFile string `type:"path" help:"File with an API token; needed where reading is not open."`
	JSON      bool   `name:"json" help:"As JSON, for scripts."`
}

// client asks a running agent over its API.
type client struct {
	base  string
	token string
	http  *http.Client
}

func (f apiFlags) client() (*client, error) {
	u, err := url.Parse(f.API)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usagef("--api %q: want a URL such as http://127.0.0.1:8080", f.API)
	}
	c := &client{base: strings.TrimRight(f.API, "/"), http: &http.Client{}}
	if f.TokenFile != "" {
		token, err := os.ReadFile(f.TokenFile)
		if err != nil {
			return nil, usagef("--token-file: %w", err)
		}
		c.token = strings.TrimSpace(string(token))
	}
	return c, nil
}

// adminClient speaks through the admin socket of a running agent.
func adminClient(socket string) *client {
	return &client{base: "http://agent", http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}}}
}

// apiTimeout bounds one question; streams have none.
const apiTimeout = 15 * time.Second

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 20

// call asks once and decodes the answer into out, unless that is nil.
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	body, err := c.raw(ctx, method, path, in)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s %s: the answer is not what an agent says: %w", method, path, err)
	}
	return nil
}

// raw asks once and returns the body as it came.
func (c *client) raw(ctx context.Context, method, path string, in any) ([]byte, error) {
	ctx, stop := context.WithTimeout(ctx, apiTimeout)
	defer stop()
	resp, err := c.do(ctx, method, path, in)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
}

// do sends a request; the caller closes the body of a good answer.
func (c *client) do(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("is an agent running? %w", err)
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		return nil, problem(resp)
	}
	return resp, nil
}

// errNotFound is what the agent does not know.
var errNotFound = errors.New("not found")

// problem reads an RFC 9457 answer.
func problem(resp *http.Response) error {
	var p struct{ Title, Detail string }
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	_ = json.Unmarshal(text, &p) // what is no problem document is told by its status
	what := p.Detail
	if what == "" {
		what = p.Title
	}
	if what == "" {
		what = resp.Status
	}
	switch resp.StatusCode {
	case http.StatusNotFound:
		return fmt.Errorf("%w: %s", errNotFound, what)
	case http.StatusUnauthorized:
		return fmt.Errorf("%s (give --token-file; pilotlight token create makes one)", what)
	}
	return errors.New(what)
}
