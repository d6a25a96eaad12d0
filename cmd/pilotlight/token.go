package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"pilotlight/agent/access"
	"pilotlight/agent/ledger"
)

// accounts is what the account verbs do, through a running agent's admin socket
// or, with none running, on the store itself.
type accounts interface {
	CreateToken(ctx context.Context, role access.Role, user string) (secret string, err error)
	Tokens(ctx context.Context) ([]access.Token, error)
	Revoke(ctx context.Context, id string) error
	AddUser(ctx context.Context, name string, role access.Role, password string) error
	Users(ctx context.Context) ([]access.User, error)
	RemoveUser(ctx context.Context, name string) error
	SetPassword(ctx context.Context, name, password string) error
}

// withAccounts does something with the accounts of the agent that c configures.
func (c configFlag) withAccounts(ctx context.Context, con *console, do func(accounts) error) error {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	if api, ok := runningAgent(ctx, cfg); ok {
		return do(socketAccounts{api})
	}
	return withLedger(ctx, con, cfg, func(l *ledger.Ledger) error {
		book, err := openBook(l)
		if err != nil {
			return err
		}
		return do(storeAccounts{book})
	})
}

// withLedger does something with the store while no agent has it.
func withLedger(ctx context.Context, con *console, cfg fileConfig, do func(*ledger.Ledger) error) error {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	l, err := openLedger(cfg, con.log)
	if err != nil {
		return err
	}
	beat, still := context.WithCancel(context.WithoutCancel(ctx))
	gone := make(chan error, 1)
	go func() { gone <- l.Run(beat) }()
	err = do(l)
	still()
	if end := <-gone; end != nil && !errors.Is(end, context.Canceled) {
		err = errors.Join(err, end)
	}
	return err
}

// runningAgent looks whether somebody answers on the admin socket.
func runningAgent(ctx context.Context, cfg fileConfig) (*client, bool) {
	api := adminClient(cfg.socketPath())
	ctx, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	resp, err := api.do(ctx, http.MethodGet, "/healthz", nil)
	if err != nil {
		return nil, false
	}
	resp.Body.Close()
	return api, true
}

// storeAccounts works on the store itself.
type storeAccounts struct{ *access.Book }

func (s storeAccounts) CreateToken(ctx context.Context, role access.Role, user string) (string, error) {
	secret, _, err := s.Book.CreateToken(ctx, role, user)
	return secret, err
}
func (s storeAccounts) Tokens(context.Context) ([]access.Token, error) { return s.Book.Tokens(), nil }
func (s storeAccounts) Users(context.Context) ([]access.User, error)   { return s.Book.Users(), nil }

// socketAccounts asks a running agent.
type socketAccounts struct{ api *client }

func (s socketAccounts) CreateToken(ctx context.Context, role access.Role, user string) (string, error) {
	var made struct{ Token string }
	err := s.api.call(ctx, http.MethodPost, "/api/v1/tokens", map[string]string{"role": role.String(), "user": user}, &made)
	return made.Token, err
}

func (s socketAccounts) Tokens(ctx context.Context) ([]access.Token, error) {
	var told []struct {
		ID, Role, User, Created string
		LastUsed                string `json:"last_used"`
	}
	if err := s.api.call(ctx, http.MethodGet, "/api/v1/tokens", nil, &told); err != nil {
		return nil, err
	}
	all := make([]access.Token, len(told))
	for i, t := range told {
		role, err := access.ParseRole(t.Role)
		if err != nil {
			return nil, err
		}
		all[i] = access.Token{ID: t.ID, Role: role, User: t.User, Created: stamp(t.Created), Used: stamp(t.LastUsed)}
	}
	return all, nil
}

// stamp reads a time of the API, where empty is never.
func stamp(s string) time.Time {
	t, _ := time.Parse(time.RFC3339Nano, s)
	return t
}

func (s socketAccounts) Revoke(ctx context.Context, id string) error {
	return s.api.call(ctx, http.MethodDelete, "/api/v1/tokens/"+url.PathEscape(id), nil, nil)
}

func (s socketAccounts) AddUser(ctx context.Context, name string, role access.Role, password string) error {
	return s.api.call(ctx, http.MethodPost, "/api/v1/users", map[string]string{"name": name, "role": role.String(), "password": password}, nil)
}

func (s socketAccounts) Users(ctx context.Context) ([]access.User, error) {
	var told []struct{ Name, Role, Created string }
	if err := s.api.call(ctx, http.MethodGet, "/api/v1/users", nil, &told); err != nil {
		return nil, err
	}
	all := make([]access.User, len(told))
	for i, u := range told {
		role, err := access.ParseRole(u.Role)
		if err != nil {
			return nil, err
		}
		all[i] = access.User{Name: u.Name, Role: role, Created: stamp(u.Created)}
	}
	return all, nil
}

func (s socketAccounts) RemoveUser(ctx context.Context, name string) error {
	return s.api.call(ctx, http.MethodDelete, "/api/v1/users/"+url.PathEscape(name), nil, nil)
}

func (s socketAccounts) SetPassword(ctx context.Context, name, password string) error {
	return s.api.call(ctx, http.MethodPut, "/api/v1/users/"+url.PathEscape(name)+"/password", map[string]string{"password": password}, nil)
}

type tokenCmd struct {
	Create tokenCreateCmd `cmd:"" help:"Make a token; it is printed once, alone."`
	List   tokenListCmd   `cmd:"" help:"The tokens, without their secrets."`
	Revoke tokenRevokeCmd `cmd:"" help:"End a token."`
}

type tokenCreateCmd struct {
	configFlag
	Role string `required:"" enum:"viewer,operator,admin" help:"${enum}."`
	User string `help:"The person the token acts for."`
}

func (c *tokenCreateCmd) Run(ctx context.Context, con *console) error {
	role, err := access.ParseRole(c.Role)
	if err != nil {
		return usageError{err}
	}
	return c.withAccounts(ctx, con, func(a accounts) error {
		secret, err := a.CreateToken(ctx, role, c.User)
		if err == nil {
			fmt.Fprintln(con.out, secret)
		}
		return err
	})
}

type tokenListCmd struct{ configFlag }

func (c *tokenListCmd) Run(ctx context.Context, con *console) error {
	return c.withAccounts(ctx, con, func(a accounts) error {
		tokens, err := a.Tokens(ctx)
		if err != nil {
			return err
		}
		t := newTable(con.out, "ID", "ROLE", "USER", "CREATED", "LAST USED")
		for _, k := range tokens {
			t.row(k.ID, k.Role.String(), k.User, ago(k.Created)+" ago", ago(k.Used))
		}
		return t.flush()
	})
}

type tokenRevokeCmd struct {
	configFlag
	ID string `arg:"" help:"As token list shows it."`
}

func (c *tokenRevokeCmd) Run(ctx context.Context, con *console) error {
	return c.withAccounts(ctx, con, func(a accounts) error { return a.Revoke(ctx, c.ID) })
}

type userCmd struct {
	Add    userAddCmd    `cmd:"" help:"Make an account; the password is asked for, or read from standard input."`
	List   userListCmd   `cmd:"" help:"The accounts."`
	Remove userRemoveCmd `cmd:"" help:"Remove an account, its sessions and tokens."`
	Passwd userPasswdCmd `cmd:"" help:"Change a password."`
}

type userAddCmd struct {
	configFlag
	Name string `arg:"" help:"The account's name."`
	Role string `default:"viewer" enum:"viewer,operator,admin" help:"${enum}."`
}

func (c *userAddCmd) Run(ctx context.Context, con *console) error {
	role, err := access.ParseRole(c.Role)
	if err != nil {
		return usageError{err}
	}
	password, err := con.newSecret("Password")
	if err != nil {
		return err
	}
	return c.withAccounts(ctx, con, func(a accounts) error { return a.AddUser(ctx, c.Name, role, password) })
}

type userListCmd struct{ configFlag }

func (c *userListCmd) Run(ctx context.Context, con *console) error {
	return c.withAccounts(ctx, con, func(a accounts) error {
		users, err := a.Users(ctx)
		if err != nil {
			return err
		}
		t := newTable(con.out, "NAME", "ROLE", "CREATED")
		for _, u := range users {
			t.row(u.Name, u.Role.String(), ago(u.Created)+" ago")
		}
		return t.flush()
	})
}

type userRemoveCmd struct {
	configFlag
	Name string `arg:""`
}

func (c *userRemoveCmd) Run(ctx context.Context, con *console) error {
	return c.withAccounts(ctx, con, func(a accounts) error { return a.RemoveUser(ctx, c.Name) })
}

type userPasswdCmd struct {
	configFlag
	Name string `arg:""`
}

func (c *userPasswdCmd) Run(ctx context.Context, con *console) error {
	password, err := con.newSecret("New password")
	if err != nil {
		return err
	}
	return c.withAccounts(ctx, con, func(a accounts) error { return a.SetPassword(ctx, c.Name, password) })
}

// secret asks for a secret: without echo on a terminal, else one line of
// standard input.
func (con *console) secret(prompt string) (string, error) {
	if f, ok := con.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(con.err, prompt+": ")
		text, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(con.err)
		return string(text), err
	}
	line, err := bufio.NewReader(con.in).ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", usagef("%s: nothing on standard input (%w)", strings.ToLower(prompt), err)
	}
	return line, nil
}

// newSecret asks twice on a terminal.
func (con *console) newSecret(prompt string) (string, error) {
	first, err := con.secret(prompt)
	if err != nil || !isTerminal(con.in) {
		return first, err
	}
	second, err := con.secret(prompt + ", again")
	if err == nil && first != second {
		err = usagef("the two are not the same")
	}
	return first, err
}
