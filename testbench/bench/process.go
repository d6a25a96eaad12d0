package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"pilotlight/testbench/logtail"
)

// process is a program under measurement. What it logs goes to a pipe, for a
// log on a disk would count among the bytes that it writes.
type process struct {
	cmd  *exec.Cmd
	log  logtail.Tail
	gone chan struct{}
}

// launch starts a program; prepare may set up its pipes first.
func launch(prepare func(*exec.Cmd) error, binary string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(binary, args...), gone: make(chan struct{})}
	p.cmd.Stderr = &p.log
	if prepare == nil {
		p.cmd.Stdout = &p.log
	} else if err := prepare(p.cmd); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.gone)
		_ = p.cmd.Wait() // how it ended is in its log
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends the process, gently at first.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-p.gone:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.gone
	}
}

// until asks, at most once in every, whether something is so.
func (p *process) until(ctx context.Context, within time.Duration, what string, every time.Duration, is func(context.Context) bool) (time.Duration, error) {
	began := time.Now()
	ctx, stop := context.WithTimeout(ctx, within)
	defer stop()
	look := time.NewTicker(every)
	defer look.Stop()
	for !is(ctx) {
		select {
		case <-look.C:
		case <-p.gone:
			return 0, fmt.Errorf("%s ended: %s", p.cmd.Path, &p.log)
		case <-ctx.Done():
			return 0, fmt.Errorf("not within %v: %s: %s", within, what, &p.log)
		}
	}
	return time.Since(began), nil
}

// sleep waits, or tells why not.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// scratch is a folder on the disk that temporary files are on.
func scratch() (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp("", "pilotlight-bench-")
	return dir, func() { _ = os.RemoveAll(dir) }, err
}
