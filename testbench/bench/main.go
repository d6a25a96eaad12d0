// Command bench measures the real agent: the release binary beside a simulated
// branch that is a process of its own, over the wires that both speak anyway.
//
// It runs scenarios one after the other: a branch at its usual polls and calls
// with fifty viewers (memory, CPU, how soon a change is on the panel), several
// branches at a time on compressed time (bytes that reach the disk), the demo,
// and the agent as a presence server beside Kamailio. Each gives figures; a figure carries the aim that the project set for
// it, or none. The table goes to standard output, the same as JSON lines to a
// file, and what happens meanwhile to standard error.
//
// It exits with 1 when it could not measure, never because an aim was missed:
// on a machine with other work that says nothing. README.md says what each
// figure is, and what it is not.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	log.SetFlags(log.Ltime)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	agent := flags.String("agent", "bin/pilotlight", "the agent's release `binary`")
	branch := flags.String("branch", "bin/branch", "the simulated branch's `binary`")
	short := flags.Bool("short", false, "the least that shows that the bench works; no figure to quote")
	full := flags.Bool("full", false, "the whole eight hours, and longer windows")
	fast := flags.Bool("fast", false, "poll every 5 s in place of the defaults")
	board := flags.Bool("board", false, "only the browser and the fast sweeps")
	simple := flags.Bool("simple", false, "only the presence server beside Kamailio")
	shared := flags.String("shared", "../shared", "the `folder` with the load generator and Kamailio's scripts")
	lines := flags.String("json", "", "write the figures as JSON lines to this `file`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	plan := usual
	switch {
	case *short:
		plan = shortest
	case *full:
		plan = whole
	}
	if *fast {
		plan.Polls = polls{"5s", "5s", "5s"}
	}
	plan.Agent, plan.Branch, plan.Shared = *agent, *branch, *shared
	plan.Board, plan.Simple = *board, *simple

	report, err := plan.run(ctx)
	if err != nil {
		return err
	}
	fmt.Print(report.markdown())
	if *lines == "" {
		return nil
	}
	return os.WriteFile(*lines, report.jsonLines(), 0o644)
}
