package panel

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"pilotlight/agent/access"
)

// Me is who asks.
type Me struct {
	Name     string `json:"name"`
	Role     string `json:"role" enum:"viewer,operator,admin"`
	SignedIn bool   `json:"signed_in" doc:"false: reading is open here to all"`
}

// addSessions adds the browser's way in and out.
func (p *Panel) addSessions(api huma.API, d *door) {
	type credentials struct {
		Body struct {
			User     string `json:"user,omitempty"`
			Password string `json:"password,omitempty"`
			Token    string `json:"token,omitempty" doc:"instead of user and password"`
		}
	}
	type welcome struct {
		Cookie string `header:"Set-Cookie"`
		Body   Me
	}
	login := operation(access.Nobody, "log-in", http.MethodPost, "/login", "Open a session; it is in the answer's cookie", 401, 429)
	register(p, api, login, func(ctx context.Context, in *credentials) (*welcome, error) {
		from, _ := ctx.Value(sourceKey{}).(string)
		cookie, who, err := p.logIn(ctx, from, in.Body.User, in.Body.Password, in.Body.Token)
		if err != nil {
			return nil, err
		}
		return &welcome{sessionCookie(cookie, d.secure), Me{who.Name, who.Role.String(), true}}, nil
	})
	type farewell struct {
		Cookie string `header:"Set-Cookie"`
	}
	logout := operation(access.Nobody, "log-out", http.MethodPost, "/logout", "Close the session")
	logout.DefaultStatus = http.StatusNoContent
	register(p, api, logout, func(ctx context.Context, _ *struct{}) (*farewell, error) {
		if c := visitorOf(ctx).cookie; c != "" {
			if err := p.deps.Book.CloseSession(ctx, c); err != nil {
				return nil, err
			}
		}
		return &farewell{sessionCookie("", d.secure)}, nil
	})
	register(p, api, operation(access.Viewer, "get-me", http.MethodGet, "/me", "Who asks"), func(ctx context.Context, _ *struct{}) (*one[Me], error) {
		v := visitorOf(ctx)
		return &one[Me]{Me{v.Name, v.Role.String(), v.known}}, nil
	})
}

func (p *Panel) logIn(ctx context.Context, from, user, password, token string) (string, access.Principal, error) {
	if token != "" {
		return p.deps.Book.OpenTokenSession(ctx, from, token)
	}
	who, err := p.deps.Book.Login(ctx, from, user, password)
	if err != nil {
		return "", who, err
	}
	cookie, err := p.deps.Book.OpenSession(ctx, who)
	return cookie, who, err
}

// Token is an API token without its secret.
type Token struct {
	ID       string `json:"id"`
	Role     string `json:"role" enum:"viewer,operator,admin"`
	User     string `json:"user" doc:"whose it is; empty: nobody's"`
	Created  Stamp  `json:"created"`
	LastUsed Stamp  `json:"last_used" doc:"to the minute"`
}

// NewToken is an API token with its secret, which is told this once.
type NewToken struct {
	Token
	Secret string `json:"token"`
}

// User is a local account.
type User struct {
	Name    string `json:"name"`
	Role    string `json:"role" enum:"viewer,operator,admin"`
	Created Stamp  `json:"created"`
}

func (p *Panel) token(t access.Token) Token {
	s := p.shaper()
	return Token{t.ID, t.Role.String(), t.User, s.stamp(t.Created), s.stamp(t.Used)}
}

// addAdmin adds the keeping of accounts.
func (p *Panel) addAdmin(api huma.API) {
	p.addTokens(api)
	p.addUsers(api)
}

func (p *Panel) addTokens(api huma.API) {
	type wanted struct {
		Body struct {
			Role string `json:"role" enum:"viewer,operator,admin"`
			User string `json:"user,omitempty"`
		}
	}
	create := operation(access.Admin, "create-token", http.MethodPost, "/tokens", "Make an API token", 409, 422)
	create.DefaultStatus = http.StatusCreated
	register(p, api, create, func(ctx context.Context, in *wanted) (*one[NewToken], error) {
		role, err := access.ParseRole(in.Body.Role)
		if err != nil {
			return nil, err
		}
		secret, t, err := p.deps.Book.CreateToken(ctx, role, in.Body.User)
		if err != nil {
			return nil, err
		}
		p.log.Info("token made", "id", t.ID, "role", t.Role, "user", t.User)
		return &one[NewToken]{NewToken{p.token(t), secret}}, nil
	})
	register(p, api, operation(access.Admin, "list-tokens", http.MethodGet, "/tokens", "All API tokens"),
		func(context.Context, *struct{}) (*one[[]Token], error) {
			all := []Token{}
			for _, t := range p.deps.Book.Tokens() {
				all = append(all, p.token(t))
			}
			return &one[[]Token]{all}, nil
		})
	revoke := operation(access.Admin, "revoke-token", http.MethodDelete, "/tokens/{id}", "Revoke an API token", 404)
	revoke.DefaultStatus = http.StatusNoContent
	register(p, api, revoke, func(ctx context.Context, in *struct {
		ID string `path:"id" maxLength:"64"`
	}) (*empty, error) {
		if err := p.deps.Book.Revoke(ctx, in.ID); err != nil {
			return nil, err
		}
		p.log.Info("token revoked", "id", in.ID)
		return nil, nil
	})
}

func (p *Panel) addUsers(api huma.API) {
	type account struct {
		Body struct {
			Name     string `json:"name"`
			Role     string `json:"role" enum:"viewer,operator,admin"`
			Password string `json:"password" doc:"8 to 72 bytes"`
		}
	}
	type named struct {
		Name string `path:"name" maxLength:"64"`
	}
	type passwd struct {
		Name string `path:"name" maxLength:"64"`
		Body struct {
			Password string `json:"password" doc:"8 to 72 bytes"`
		}
	}
	add := operation(access.Admin, "add-user", http.MethodPost, "/users", "Make a local account", 409, 422)
	add.DefaultStatus = http.StatusCreated
	register(p, api, add, func(ctx context.Context, in *account) (*one[User], error) {
		role, err := access.ParseRole(in.Body.Role)
		if err != nil {
			return nil, err
		}
		if err := p.deps.Book.AddUser(ctx, in.Body.Name, role, in.Body.Password); err != nil {
			return nil, err
		}
		p.log.Info("user added", "user", in.Body.Name, "role", role)
		return &one[User]{User{in.Body.Name, role.String(), p.shaper().stamp(time.Now())}}, nil
	})
	register(p, api, operation(access.Admin, "list-users", http.MethodGet, "/users", "All local accounts"),
		func(context.Context, *struct{}) (*one[[]User], error) {
			all, s := []User{}, p.shaper()
			for _, u := range p.deps.Book.Users() {
				all = append(all, User{u.Name, u.Role.String(), s.stamp(u.Created)})
			}
			return &one[[]User]{all}, nil
		})
	remove := operation(access.Admin, "remove-user", http.MethodDelete, "/users/{name}", "Remove a local account, its sessions and its tokens", 404)
	remove.DefaultStatus = http.StatusNoContent
	register(p, api, remove, func(ctx context.Context, in *named) (*empty, error) {
		if err := p.deps.Book.RemoveUser(ctx, in.Name); err != nil {
			return nil, err
		}
		p.log.Info("user removed", "user", in.Name)
		return nil, nil
	})
	set := operation(access.Admin, "set-password", http.MethodPut, "/users/{name}/password", "Set a password; ends the account's sessions", 404, 422)
	set.DefaultStatus = http.StatusNoContent
	register(p, api, set, func(ctx context.Context, in *passwd) (*empty, error) {
		if err := p.deps.Book.SetPassword(ctx, in.Name, in.Body.Password); err != nil {
			return nil, err
		}
		p.log.Info("password set", "user", in.Name)
		return nil, nil
	})
}

// addStreams adds what is not JSON.
func (p *Panel) addStreams(api huma.API, d *door) {
	events := operation(access.Viewer, "follow-events", http.MethodGet, "/events", "Server-sent events: phone, presence, uplink", 422, 503)
	events.Description = "Begins with the present state of everything, or of what is newer than Last-Event-ID (store.epoch.rev), conflated."
	events.Responses = streamOf("text/event-stream")
	huma.Register(api, events, func(_ context.Context, _ *struct {
		LastEventID string `header:"Last-Event-ID"`
		After       string `query:"after" doc:"as Last-Event-ID, where a header can't be set"`
		Kinds       string `query:"kinds" doc:"some of phone,presence,uplink; empty: all"`
		All         bool   `query:"all" doc:"presence of lines and devices, too"`
	}) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			p.serveEvents(d, w, r)
		}}, nil
	})
	backup := operation(access.Admin, "take-backup", http.MethodPost, "/backup", "A consistent copy of the store, not encrypted", 503)
	backup.Responses = streamOf("application/octet-stream")
	huma.Register(api, backup, func(context.Context, *struct{}) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			p.serveBackup(w, r)
		}}, nil
	})
}

func streamOf(kind string) map[string]*huma.Response {
	return map[string]*huma.Response{"200": {
		Description: "OK",
		Content:     map[string]*huma.MediaType{kind: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
	}}
}

// serveBackup streams a copy of the store, one at a time. An error on the way
// ends the connection, so that half a copy is never taken for a whole one.
func (p *Panel) serveBackup(w http.ResponseWriter, r *http.Request) {
	select {
	case p.backups <- struct{}{}:
		defer func() { <-p.backups }()
	default:
		newProblem(http.StatusServiceUnavailable, "another backup is being taken").after(10).write(w)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	out := &patient{w: w, ctl: http.NewResponseController(w)}
	err := p.deps.Heart.Backup(r.Context(), out)
	switch {
	case err == nil:
		p.log.Info("backup taken", "user", visitorOf(r.Context()).Name, "bytes", out.n)
	case out.n == 0:
		w.Header().Del("Content-Type")
		if no, is := p.problemOf(err).(*problem); is {
			no.write(w)
		}
	default:
		p.log.Warn("backup broken off", "bytes", out.n, "err", err)
		panic(http.ErrAbortHandler)
	}
}

// patient gives each write its own deadline: a copy may take long, one write
// may not.
type patient struct {
	w   io.Writer
	ctl *http.ResponseController
	n   int64
}

func (p *patient) Write(b []byte) (int, error) {
	if err := p.ctl.SetWriteDeadline(time.Now().Add(eventDeadline)); err != nil {
		return 0, err
	}
	n, err := p.w.Write(b)
	p.n += int64(n)
	return n, err
}
