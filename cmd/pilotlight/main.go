// Command pilotlight keeps a branch's presence lit: one verb a file, thin. It
// composes the configuration of what the rooms define, hands it on, and turns
// errors into words and an exit status: 0 done, 1 failed, 2 wrong use or
// configuration. Results go to standard output, logs to standard error.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"pilotlight/agent/config"
)

// version and commit are set by the linker.
var (
	version = "dev"
	commit  = "unknown"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// cli is the command line.
type cli struct {
	LogLevel  string `enum:"debug,info,warn,error" default:"info" help:"How much is logged: ${enum}."`
	LogFormat string `enum:"auto,text,json" default:"auto" help:"${enum}; auto is text on a terminal and JSON elsewhere."`

	Run      runCmd      `cmd:"" help:"The agent, in the foreground, until SIGTERM or SIGINT."`
	Demo     demoCmd     `cmd:"" help:"A whole simulated branch with its agent and panel, on loopback."`
	Check    checkCmd    `cmd:"" help:"Read and verify a configuration; every fault with file, line and column."`
	Discover discoverCmd `cmd:"" help:"One sweep: the phones that the configured sources know."`
	Probe    probeCmd    `cmd:"" help:"One exchange with one outside system, explained."`

	Status   statusCmd   `cmd:"" help:"How a running agent is."`
	Phones   phonesCmd   `cmd:"" help:"The phones that a running agent knows."`
	Presence presenceCmd `cmd:"" help:"The presence of all people, or of one presentity."`
	Watch    watchCmd    `cmd:"" help:"Changes, as they happen."`
	Uplinks  uplinksCmd  `cmd:"" help:"The ways to the central presence server."`

	Token   tokenCmd   `cmd:"" help:"API tokens."`
	User    userCmd    `cmd:"" help:"Local accounts."`
	Backup  backupCmd  `cmd:"" help:"A consistent copy of the store from a running agent."`
	Restore restoreCmd `cmd:"" help:"Put a backup in place of the store; the agent must be stopped."`
	Version versionCmd `cmd:"" help:"Version, commit and Go version."`
}

// console is what a verb may read and write.
type console struct {
	in       io.Reader
	out, err io.Writer
	log      *slog.Logger
}

// usageError is wrong use: exit status 2.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run is main without the process: tests call it.
func run(ctx context.Context, args []string, in io.Reader, out, errw io.Writer) int {
	var c cli
	status := -1
	parser, err := kong.New(&c,
		kong.Name("pilotlight"),
		kong.Description("Branch presence that stays lit when the WAN goes dark."),
		kong.Writers(out, errw),
		kong.Exit(func(code int) { status = code }),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		fmt.Fprintln(errw, "pilotlight:", err)
		return 1
	}
	k, err := parser.Parse(args)
	if status >= 0 { // --help
		return status
	}
	if err != nil {
		fmt.Fprintf(errw, "pilotlight: %v (try pilotlight --help)\n", err)
		return 2
	}
	con := &console{in: in, out: out, err: errw, log: newLog(errw, c.LogLevel, c.LogFormat)}
	k.BindTo(ctx, (*context.Context)(nil))
	return exitStatus(con, k.Run(con))
}

// exitStatus says what went wrong, in the words of who can act.
func exitStatus(con *console, err error) int {
	var faults config.Faults
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &faults):
		fmt.Fprintln(con.err, faults)
		return 2
	case errors.As(err, &usage):
		fmt.Fprintln(con.err, "pilotlight:", err)
		return 2
	}
	fmt.Fprintln(con.err, "pilotlight:", err)
	return 1
}

func newLog(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(strings.ToUpper(level))); err != nil {
		l = slog.LevelInfo
	}
	opts := &slog.HandlerOptions{Level: l}
	if format == "text" || format == "auto" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
