package panel

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"pilotlight/agent/access"
)

// How an operation says who may ask for it.
const (
	needsRole = "role" // an access.Role
	needsSelf = "self" // the path's {user} herself, or an operator
)

// addAPI adds all operations below /api. Huma decodes and checks what comes,
// and makes the OpenAPI description of the same declarations.
func (p *Panel) addAPI(mux *http.ServeMux, d *door) {
	json := huma.DefaultJSONFormat
	api := humago.New(mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "Pilotlight",
				Version:     "v1",
				Description: "Presence of a branch. Times are RFC 3339 in UTC; errors are application/problem+json (RFC 9457).",
			},
			Components: &huma.Components{
				Schemas:         huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: securitySchemes(),
			},
		},
		Formats:       map[string]huma.Format{"application/json": json, "json": json},
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{withoutValues},
	})
	api.UseMiddleware(p.permitted)
	p.addPhones(api)
	p.addPresence(api)
	if p.deps.Watchers != nil {
		p.addWatchers(api)
	}
	if p.deps.Post != nil {
		p.addMessages(api)
	}
	p.addStatus(api)
	p.addSessions(api, d)
	p.addAdmin(api)
	p.addStreams(api, d)
	mux.HandleFunc("GET /api/openapi.json", p.guard(access.Viewer, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, api.OpenAPI())
	}))
}

func securitySchemes() map[string]*huma.SecurityScheme {
	return map[string]*huma.SecurityScheme{
		"token":   {Type: "http", Scheme: "bearer", Description: "pilotlight token create"},
		"session": {Type: "apiKey", In: "cookie", Name: cookieName, Description: "POST /api/v1/login"},
	}
}

// operation declares one. Who may is needed by the middleware before anything
// of the request is read.
func operation(need access.Role, id, method, path, summary string, errors ...int) huma.Operation {
	op := huma.Operation{
		OperationID: id, Method: method, Path: "/api/v1" + path, Summary: summary,
		MaxBodyBytes: maxBody,
		Errors:       errors,
		Metadata:     map[string]any{needsRole: need},
	}
	if need != access.Nobody {
		op.Description = "Needs the role " + need.String() + "."
		op.Security = []map[string][]string{{"token": {}}, {"session": {}}}
		if need == access.Viewer {
			op.Security = append(op.Security, map[string][]string{}) // open on a loopback listener
		}
		op.Errors = append([]int{http.StatusUnauthorized, http.StatusForbidden}, errors...)
	}
	return op
}

// permitted asks whether the visitor may.
func (p *Panel) permitted(ctx huma.Context, next func(huma.Context)) {
	v := visitorOf(ctx.Context())
	no := v.may(ctx.Operation().Metadata[needsRole].(access.Role))
	if ctx.Operation().Metadata[needsSelf] != nil {
		no = v.mayFor(p.userOf(ctx.Param("user")))
	}
	if no != nil {
		_, w := humago.Unwrap(ctx)
		no.write(w)
		return
	}
	next(ctx)
}

// withoutValues keeps what was sent out of what is answered: it may have been a
// password.
func withoutValues(_ huma.Context, _ string, v any) (any, error) {
	if e, ok := v.(*huma.ErrorModel); ok {
		for _, detail := range e.Errors {
			detail.Value = nil
		}
	}
	return v, nil
}

// list is an array with the place in the order of changes that it stands for.
type list[T any] struct {
	LastEventID string `header:"Last-Event-ID" doc:"where the event stream continues: /api/v1/events?after="`
	Body        []T    `nullable:"false"`
}

type one[T any] struct{ Body T }

// empty is an answer without a body: 204.
type empty struct{}

// register wraps a handler so that errors of the heart become problems.
func register[I, O any](p *Panel, api huma.API, op huma.Operation, h func(context.Context, *I) (*O, error)) {
	huma.Register(api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if _, is := err.(*problem); is || err == nil {
			return out, err
		}
		return nil, p.problemOf(err)
	})
}
