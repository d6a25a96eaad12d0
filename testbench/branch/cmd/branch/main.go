// Command branch runs a simulated branch as a process of its own, for tests and
// benches that want it apart from what they measure:
//
//	branch -phones 200 -config out.yaml
//
// It writes the configuration of an agent that stands beside it, prints "ready"
// with what is where, and takes commands on standard input, one a line; each is
// answered by one line that begins with "ok" or "error" ("help" lists them). It
// ends with its input, with "quit", or with SIGINT or SIGTERM.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"pilotlight/testbench/branch"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "branch:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	var o branch.Options
	flags := flag.NewFlagSet("branch", flag.ContinueOnError)
	flags.IntVar(&o.Phones, "phones", 24, "how many phones")
	flags.Uint64Var(&o.Seed, "seed", 1, "decides the names and the script")
	flags.StringVar(&o.Domain, "domain", "example.com", "of the people")
	flags.Float64Var(&o.CallRate, "rate", 0, "calls a minute; 0: enough to be busy")
	flags.Float64Var(&o.Speed, "speed", 1, "how much faster than real time")
	flags.BoolVar(&o.Unshared, "unshared", false, "every phone has a number of its own")
	flags.StringVar(&o.PhoneUser, "user", "", "whom the phones show their keys to; the password goes beside the configuration")
	flags.StringVar(&o.SNMPRec, "snmprec", "", "a recording for the first switch to answer from")
	config := flags.String("config", "", "write the configuration of an agent to this `file`")
	data := flags.String("data", "", "the agent's data_dir (default: pilotlight-data beside the configuration)")
	panel := flags.String("panel", "127.0.0.1:8080", "the agent's panel")
	script := flags.Bool("script", true, "let calls come and go")
	play := flags.String("play", "", "obey the lines of this `file` first; no calls come and go unless it says \"script on\"")
	verbose := flags.Bool("v", false, "log what happens")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	}
	if o.PhoneUser != "" {
		o.PhonePassword = rand.Text()
	}
	if *verbose {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b, err := branch.Start(ctx, o)
	if err != nil {
		return err
	}
	defer b.Close()
	if *config != "" {
		if *data == "" {
			*data = filepath.Join(filepath.Dir(*config), "pilotlight-data")
		}
		if err := writeConfig(b, *config, *data, *panel); err != nil {
			return err
		}
	}
	c := branch.NewConsole(ctx, b, out)
	defer c.Close()
	if *script && *play == "" {
		c.StartScript()
	}
	fmt.Fprintf(out, "ready phones=%d switch=%s:%d callserver=%s central=%s\n",
		o.Phones, b.Switch().Address, b.Switch().Port, b.CallServer(), b.Central())
	if *play != "" {
		if err := c.PlayFile(*play); err != nil {
			return err
		}
	}
	return c.Serve(in)
}

func writeConfig(b *branch.Branch, file, data, panel string) error {
	data, err := filepath.Abs(data)
	if err != nil {
		return err
	}
	if err := b.WritePassword(filepath.Dir(file)); err != nil {
		return err
	}
	return os.WriteFile(file, b.Config(data, panel), 0o600)
}
