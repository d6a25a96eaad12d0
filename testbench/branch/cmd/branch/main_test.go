package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"pilotlight/testbench/branch"
)

func TestTheCommandObeysLinesAndEndsWithThem(t *testing.T) {
	defer goleak.VerifyNone(t)
	file := filepath.Join(t.TempDir(), "out.yaml")
	in, say := io.Pipe()
	said, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run([]string{"-phones", "3", "-script=false", "-config", file}, in, out)
		out.Close()
		done <- err
	}()
	lines := bufio.NewScanner(said)
	hear := func() string {
		if !lines.Scan() {
			t.Fatal("no answer")
		}
		return lines.Text()
	}
	ask := func(command string) string {
		io.WriteString(say, command+"\n")
		return hear()
	}
	if r := hear(); !strings.HasPrefix(r, "ready phones=3 switch=127.") {
		t.Errorf("%q", r)
	}
	if y, err := os.ReadFile(file); err != nil || !strings.Contains(string(y), "pilotlight-data") {
		t.Errorf("the configuration: %v", err)
	}
	var phones []branch.Phone
	if err := json.Unmarshal([]byte(strings.TrimPrefix(ask("phones"), "ok ")), &phones); err != nil {
		t.Fatal(err)
	}
	one, two := phones[0].Name, phones[1].Name
	for _, c := range []struct{ say, want string }{
		{"call " + one + " " + two, "ok"},
		{"call " + one + " " + two, "error"},
		{"answer " + two, "ok"},
		{"truth " + two, `ok {"` + two + `":{"word":"in-use"`},
		{"unplug " + one, "ok"},
		{"truth " + one, `ok {"` + one + `":{"word":"unpowered"`},
		{"unplug SEP0", "error branch: no phone"},
		{"central off", "ok"},
		{"central sideways", "error"},
		{"script on", "ok"},
		{"counts", "ok {"},
		{"unplug", "error want: unplug PHONE"},
		{"dance", "error no command"},
	} {
		if r := ask(c.say); !strings.HasPrefix(r, c.want) {
			t.Errorf("%s: %q, want %q", c.say, r, c.want)
		}
	}
	io.WriteString(say, "quit\n")
	if err := <-done; err != nil {
		t.Error(err)
	}
	say.Close()
}

func TestAStoryIsPlayedFirst(t *testing.T) {
	defer goleak.VerifyNone(t)
	file := filepath.Join(t.TempDir(), "story.txt")
	for _, tc := range []struct{ story, said, err string }{
		{"say Alice calls Bob.\ncall alice bob # who rings\nanswer bob\n", "Alice calls Bob.\n", ""},
		{"answer bob\n", "", file + ": line 1: answer bob"},
	} {
		if err := os.WriteFile(file, []byte(tc.story), 0o600); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		err := run([]string{"-phones", "3", "-play", file}, strings.NewReader("truth alice\n"), &out)
		switch {
		case tc.err == "":
			if err != nil || !strings.Contains(out.String(), tc.said) || !strings.Contains(out.String(), `"word":"in-use"`) {
				t.Errorf("%v: %s", err, out.String())
			}
		case err == nil || !strings.Contains(err.Error(), tc.err):
			t.Errorf("%v, want %s", err, tc.err)
		}
	}
}

func TestThePhonesUserIsInTheConfigurationAndHasAPassword(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "out.yaml")
	for _, user := range []string{"", "pilot"} {
		if err := run([]string{"-phones", "2", "-script=false", "-user", user, "-config", file}, strings.NewReader(""), io.Discard); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil || strings.Contains(string(text), `user: "pilot"`) != (user != "") {
			t.Errorf("user %q: %v\n%s", user, err, text)
		}
		password, err := os.ReadFile(filepath.Join(dir, branch.PasswordFile))
		if (err == nil) != (user != "") || err == nil && len(strings.TrimSpace(string(password))) < 20 {
			t.Errorf("user %q: %v, %d bytes of password", user, err, len(password))
		}
	}
	if err := run([]string{"-h"}, strings.NewReader(""), io.Discard); err != nil {
		t.Errorf("who asks for help: %v", err)
	}
}
