package panel

import (
	"regexp"
	"strings"
	"testing"
)

// What a browser is told with every answer.
var securedHeaders = map[string]string{
	"Content-Security-Policy":      policy,
	"X-Content-Type-Options":       "nosniff",
	"Referrer-Policy":              "no-referrer",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Cross-Origin-Opener-Policy":   "same-origin",
}

func TestThePolicyLetsNothingInlineAndNothingFromOutside(t *testing.T) {
	sources := map[string]string{}
	for _, d := range strings.Split(policy, "; ") {
		name, value, _ := strings.Cut(d, " ")
		sources[name] = value
	}
	if sources["default-src"] != "'none'" || sources["frame-ancestors"] != "'none'" || sources["base-uri"] != "'none'" {
		t.Errorf("what is not named is not refused: %v", sources)
	}
	for name, value := range sources {
		if value != "'self'" && value != "'none'" {
			t.Errorf("%s lets in %s", name, value)
		}
	}
}

func TestEveryAnswerIsSecured(t *testing.T) {
	h := newHouse(t)
	paths := append(staticPaths(h.panel), "/", "/people", "/phones/SEP0011AABBCC00", "/favicon.ico", "/nothing", "/static/nothing.js",
		"/metrics", "/healthz", "/readyz", "/api/openapi.json", "/api/v1/phones", "/api/v1/status", "/api/v1/phones/nobody")
	for _, method := range []string{"GET", "HEAD", "POST"} {
		for _, path := range paths {
			res, _ := h.ask(method, path, "")
			for name, want := range securedHeaders {
				if got := res.Header.Get(name); got != want {
					t.Errorf("%s %s: %s: %q", method, path, name, got)
				}
			}
			if res.Header.Get("Content-Type") == "" && res.StatusCode == 200 {
				t.Errorf("%s %s: no Content-Type, and the browser may not guess", method, path)
			}
		}
	}
}

// What the policy would refuse is not in the files in the first place: the page
// would be broken, not dangerous, and nobody would see it but the visitor.
func TestThePagesHoldNothingThatThePolicyRefuses(t *testing.T) {
	h := newHouse(t)
	refused := map[string]*regexp.Regexp{
		"text/html": regexp.MustCompile(`(?i)<script(>|\s+[^>]*>[^<])|<style|\sstyle=|\son[a-z]+=|javascript:|<base|<iframe|<object`),
		"text/css":  regexp.MustCompile(`(?i)@import|url\(\s*["']?(https?:|//|data:)`),
		"text/javascript": regexp.MustCompile(`\beval\(|new Function\(|setAttribute\(\s*["'](style|on[a-z]+)["']|javascript:|document\.write|` +
			`import\(?\s*["'](https?:|//)`),
	}
	outside := regexp.MustCompile(`(?i)["'(=]\s*(https?:)?//[a-z0-9]`)
	checked := 0
	for _, path := range append(staticPaths(h.panel), "/", "/people", "/phones/SEP0011AABBCC00") {
		res, body := h.ask("GET", path, "")
		kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
		if bad := refused[kind]; bad != nil {
			checked++
			if at := bad.FindString(body); at != "" {
				t.Errorf("%s: %q", path, at)
			}
		}
		if at := outside.FindString(strings.ReplaceAll(body, "http://www.w3.org/", "")); at != "" {
			t.Errorf("%s: %q is from outside", path, at)
		}
	}
	if checked < 5 {
		t.Errorf("only %d files looked at", checked)
	}
}
