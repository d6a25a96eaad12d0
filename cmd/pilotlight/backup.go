package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"

	"pilotlight/agent/ledger"
)

type backupCmd struct {
	configFlag
	File           string `arg:"" type:"path" help:"The file to write, mode 0600."`
	Plain          bool   `help:"Not encrypted."`
	PassphraseFile string `type:"path" help:"File with the passphrase; else it is asked for, or read from standard input."`
}

// Run writes beside the target and renames, so that there is either a whole
// backup or none.
func (c *backupCmd) Run(ctx context.Context, con *console) error {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	var passphrase string
	if !c.Plain {
		if passphrase, err = con.passphrase(c.PassphraseFile, con.newSecret); err != nil {
			return err
		}
	}
	tmp, err := os.CreateTemp(filepath.Dir(c.File), ".pilotlight-backup-") // CreateTemp makes it 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	copyStore := func(to io.Writer) error { return storeCopy(ctx, con, cfg, to) }
	if api, running := runningAgent(ctx, cfg); running {
		copyStore = func(to io.Writer) error { return download(ctx, api, to) }
	}
	if err := errors.Join(encrypted(tmp, passphrase, copyStore), tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := os.Rename(tmp.Name(), c.File); err != nil {
		return err
	}
	fmt.Fprintf(con.out, "%s written. The secret files that the configuration names, and the configuration itself, are not in it.\n", c.File)
	return nil
}

// encrypted writes what write gives it, under a passphrase unless that is empty.
func encrypted(to io.Writer, passphrase string, write func(io.Writer) error) error {
	if passphrase == "" {
		return write(to)
	}
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return err
	}
	out, err := age.Encrypt(to, recipient)
	if err != nil {
		return err
	}
	return errors.Join(write(out), out.Close())
}

// download asks a running agent for a copy.
func download(ctx context.Context, api *client, to io.Writer) error {
	resp, err := api.do(ctx, http.MethodPost, "/api/v1/backup", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(to, resp.Body)
	if err == nil && n == 0 {
		err = errors.New("the agent sent nothing")
	}
	if want := resp.ContentLength; err == nil && want >= 0 && n != want {
		err = fmt.Errorf("the agent sent %d bytes of %d", n, want)
	}
	return err
}

// storeCopy copies the store itself, with no agent running.
func storeCopy(ctx context.Context, con *console, cfg fileConfig, to io.Writer) error {
	if _, err := os.Stat(cfg.storePath()); err != nil {
		return err
	}
	return withLedger(ctx, con, cfg, func(l *ledger.Ledger) error { return l.Backup(ctx, to) })
}

// minPassphrase keeps a backup from being encrypted in name only.
const minPassphrase = 8

func (con *console) passphrase(file string, ask func(string) (string, error)) (string, error) {
	if file == "" {
		p, err := ask("Passphrase")
		if err == nil && len(p) < minPassphrase {
			err = usagef("a passphrase has %d characters or more", minPassphrase)
		}
		return p, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", usageError{err}
	}
	p := strings.TrimRight(string(text), "\r\n")
	if len(p) < minPassphrase {
		return "", usagef("%s: a passphrase has %d characters or more", file, minPassphrase)
	}
	return p, nil
}

type restoreCmd struct {
	configFlag
	File           string `arg:"" type:"path" help:"What backup wrote."`
	PassphraseFile string `type:"path" help:"File with the passphrase; else it is asked for, or read from standard input."`
}

// transient are the drawers that a restored store must not have: dialogs and
// entity-tags of another time would be claimed by a store that has forgotten
// what came of them.
var transient = []string{"dialogs", "etags", "cursors", "sessions"}

func (c *restoreCmd) Run(ctx context.Context, con *console) error {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	if _, running := runningAgent(ctx, cfg); running {
		return errors.New("an agent is running on this store: stop it first")
	}
	f, err := os.Open(c.File)
	if err != nil {
		return usageError{err}
	}
	defer f.Close()
	from, err := c.open(con, f)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	if err := ledger.Restore(cfg.storePath(), from, transient...); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	fmt.Fprintf(con.out, "%s restored as %s. Sessions, dialogs, entity-tags and cursors of the old store are gone: uplinks are told everything anew.\n", c.File, cfg.storePath())
	return nil
}

// ageMagic begins an age file.
const ageMagic = "age-encryption.org/"

func (c *restoreCmd) open(con *console, f io.Reader) (io.Reader, error) {
	r := bufio.NewReader(f)
	head, err := r.Peek(len(ageMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if !bytes.Equal(head, []byte(ageMagic)) {
		return r, nil
	}
	passphrase, err := con.passphrase(c.PassphraseFile, con.secret)
	if err != nil {
		return nil, err
	}
	identity, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, err
	}
	out, err := age.Decrypt(r, identity)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.File, err)
	}
	return out, nil
}
