package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"pilotlight/agent/access"
	"pilotlight/agent/config"
	"pilotlight/testbench/branch"
)

type demoCmd struct {
	Phones int    `default:"24" help:"How many phones to simulate."`
	Listen string `default:"127.0.0.1:8080" help:"Where the panel listens; loopback only."`
	Seed   uint64 `default:"1" help:"Seed of the script of calls."`
	Tour   bool   `help:"Begin with a tour of all that can happen."`
}

// Run starts a simulated branch and an agent beside it, and lets them be until ctx ends.
func (c *demoCmd) Run(ctx context.Context, con *console) error {
	if c.Phones < 1 || c.Phones > 1000 {
		return usagef("--phones %d: want 1 to 1000", c.Phones)
	}
	if c.Tour && c.Phones < branch.TourPhones {
		return usagef("--tour with --phones %d: it needs %d", c.Phones, branch.TourPhones)
	}
	if host, _, err := net.SplitHostPort(c.Listen); err != nil || !isLoopback(host) {
		return usagef("--listen %q: want HOST:PORT on loopback, such as 127.0.0.1:8080", c.Listen)
	}
	dir, err := os.MkdirTemp("", "pilotlight-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	log, journal, err := demoLog(dir)
	if err != nil {
		return err
	}
	defer journal.Close()

	b, err := branch.Start(ctx, branch.Options{Phones: c.Phones, Seed: c.Seed, Domain: "example.com", Log: log.With("driver", "bench"),
		PhoneUser: "pilot", PhonePassword: rand.Text()})
	if err != nil {
		return fmt.Errorf("the simulated branch: %w", err)
	}
	defer b.Close()
	a, err := c.agent(b, dir, log)
	if err != nil {
		return err
	}
	bench := branch.NewConsole(ctx, b, con.out)
	defer bench.Close()
	return a.run(ctx, func() {
		bench.StartScript()
		c.greet(ctx, con, a, b, dir)
		if c.Tour {
			if err := bench.Tour(); err != nil {
				fmt.Fprintln(con.err, "pilotlight:", err)
			}
		}
		go bench.Serve(con.in) // ends with its input, or with ctx
	})
}

// agent configures an agent for the branch, as a person would by a file.
func (c *demoCmd) agent(b *branch.Branch, dir string, log *slog.Logger) (*agentProcess, error) {
	file := filepath.Join(dir, "pilotlight.yaml")
	text := b.Config(filepath.Join(dir, "data"), c.Listen)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	if err := b.WritePassword(dir); err != nil {
		return nil, err
	}
	cfg := defaultConfig()
	cfg.Dir = dir
	if err := config.Decode(file, text, &cfg); err != nil {
		return nil, fmt.Errorf("the demo's own configuration: %w", err)
	}
	cfg.resolve()
	return newAgent(cfg, log)
}

// demoLog keeps the agent's log in the demo's folder, so that the terminal
// stays readable.
func demoLog(dir string) (*slog.Logger, io.Closer, error) {
	f, err := os.Create(filepath.Join(dir, "pilotlight.log"))
	if err != nil {
		return nil, nil, err
	}
	return slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug})), f, nil
}

func (c *demoCmd) greet(ctx context.Context, con *console, a *agentProcess, b *branch.Branch, dir string) {
	token, _, err := a.book.CreateToken(ctx, access.Operator, "")
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			fmt.Fprintln(con.err, "pilotlight: no token:", err)
		}
		return
	}
	phones := b.Phones()
	who := phones[0].User
	url := a.panel.URL()
	fmt.Fprintf(con.out, `
Pilotlight demo: %d simulated Cisco phones and their switch, a call server, a central presence server, one agent.

  panel    %s
  token    %s   (role operator: reading is open on loopback, acting is not)
  sip      %s   (a presence server: SUBSCRIBE to sip:%s@%s with a soft phone, udp or tcp)
  folder   %s   (configuration, log and store; gone when you stop)

Try, in another terminal:
  pilotlight phones --api %s
  pilotlight presence %s --api %s
  pilotlight watch --api %s
  curl -X PUT -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' \
       -d '{"availability":"do-not-disturb","note":"writing"}' %s/api/v1/presence/%s/manual

Type "tour" here to be shown all that can happen, "unplug %s" and "plug %s", or "help". Ctrl-C ends it all.
`, len(phones), url, token, b.AgentSIP(), who, b.Domain(), dir, url, who, url, url, token, url, who, who, who)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
