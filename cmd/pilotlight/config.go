package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"pilotlight/agent/access"
	"pilotlight/agent/config"
	"pilotlight/board/panel"
	"pilotlight/drivers"
)

// fileConfig is one configuration file: what the rooms define, composed.
type fileConfig struct {
	// What this branch is.
	Branch branchConfig `yaml:"branch"`
	// Folder of the store, the admin socket and the certificate made here;
	// relative to the configuration file.
	DataDir string `yaml:"data_dir"`
	// How state gets to the disk.
	Store storeConfig `yaml:"store"`
	// The web dashboard and the HTTP API.
	Panel panel.Config `yaml:"panel"`
	// Who may watch whom.
	Access accessConfig `yaml:"access"`

	drivers.Config `yaml:",inline"`
}

// branchConfig is the section branch.
type branchConfig struct {
	// Unique in the fleet; lower-case letters, digits and hyphens.
	ID string `yaml:"id"`
	// What people call the branch.
	Name string `yaml:"name"`
	// Presentities are user@domain.
	Domain string `yaml:"domain"`
}

// storeConfig is the section store.
type storeConfig struct {
	// How long polled state may wait for the disk; what a person did never waits.
	Commit time.Duration `yaml:"commit"`
}

// accessConfig is the section access.
type accessConfig struct {
	// For watchers that no rule names: allow; polite-block, to look offline; confirm, to wait for a decision; block.
	Default string `yaml:"default"`
	// Rules for some watchers or presentities; the narrowest decides.
	Rules []watchRule `yaml:"rules"`
}

// watchRule is one item of access.rules.
type watchRule struct {
	// Whose presence: sip:user@domain; empty: everybody's.
	Of string `yaml:"of"`
	// Who watches: sip:user@domain, or @domain for all of it; empty: everybody.
	Watcher string `yaml:"watcher"`
	// allow, polite-block, confirm or block.
	Do string `yaml:"do"`
}

// rules are the section in the words of the heart.
func (a accessConfig) rules(report config.Report) (r access.Rules) {
	handling := func(path, word string) access.Handling {
		h, err := access.ParseHandling(word)
		if err != nil {
			report(path, "%s %q: want allow, polite-block, confirm or block", path, word)
		}
		return h
	}
	r.Default = handling("access.default", a.Default)
	for i, w := range a.Rules {
		path := fmt.Sprintf("access.rules[%d]", i)
		rule := access.WatchRule{Of: w.Of, Watcher: w.Watcher, Do: handling(path+".do", w.Do)}
		if err := rule.Check(); err != nil {
			report(path, "%s: %v", path, err)
		}
		r.List = append(r.List, rule)
	}
	return r
}

func defaultConfig() fileConfig {
	return fileConfig{
		Branch:  branchConfig{Domain: "localhost"},
		DataDir: "/var/lib/pilotlight",
		Store:   storeConfig{Commit: 10 * time.Second},
		Panel:   panel.Default(),
		Access:  accessConfig{Default: "allow"},
		Config:  drivers.Defaults(),
	}
}

var (
	branchID   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	domainName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?$`)
)

// Check holds the rules of the sections above.
func (c *fileConfig) Check(report config.Report) {
	if !branchID.MatchString(c.Branch.ID) {
		report("branch.id", "branch.id %q: want lower-case letters, digits and hyphens, such as lyon-12", c.Branch.ID)
	}
	if !domainName.MatchString(c.Branch.Domain) {
		report("branch.domain", "branch.domain %q: want a domain such as example.com", c.Branch.Domain)
	}
	if c.DataDir == "" {
		report("data_dir", "data_dir: want a folder")
	}
	for path, file := range map[string]string{"panel.tls.cert_file": c.Panel.TLS.CertFile, "panel.tls.key_file": c.Panel.TLS.KeyFile} {
		if file == "" {
			continue
		}
		if _, err := os.Stat(c.within(file)); err != nil {
			report(path, "%v", err)
		}
	}
	if c.Store.Commit < 10*time.Millisecond || c.Store.Commit > time.Hour {
		report("store.commit", "store.commit %v: want 10ms to 1h", c.Store.Commit)
	}
	c.Access.rules(report)
}

// loadConfig reads and checks a file.
func loadConfig(path string) (fileConfig, error) {
	cfg := defaultConfig()
	cfg.Dir = filepath.Dir(path)
	if err := config.Load(path, &cfg); err != nil {
		var faults config.Faults
		if !errors.As(err, &faults) { // not there, not a file, not to be read
			err = usageError{err}
		}
		return cfg, err
	}
	cfg.resolve()
	return cfg, nil
}

func (c *fileConfig) resolve() {
	c.Branch.Domain = strings.ToLower(c.Branch.Domain)
	if c.Branch.Name == "" {
		c.Branch.Name = c.Branch.ID
	}
	for _, path := range []*string{&c.DataDir, &c.Panel.TLS.CertFile, &c.Panel.TLS.KeyFile} {
		if *path != "" {
			*path = c.within(*path)
		}
	}
}

// within takes a path as the configuration names it.
func (c *fileConfig) within(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(c.Dir, path)
}

func (c *fileConfig) storePath() string  { return filepath.Join(c.DataDir, "pilotlight.db") }
func (c *fileConfig) socketPath() string { return filepath.Join(c.DataDir, "admin.sock") }

// configFlag is how verbs name the configuration.
type configFlag struct {
	Config string `env:"PILOTLIGHT_CONFIG" default:"/etc/pilotlight/pilotlight.yaml" help:"The configuration file."`
}

type checkCmd struct{ configFlag }

func (c *checkCmd) Run(con *console) error {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	for _, what := range cfg.Notes() {
		fmt.Fprintf(con.err, "%s: note: %s\n", c.Config, what)
	}
	fmt.Fprintf(con.out, "%s: branch %s, %d phones, %d people, %d switches, %d uplinks: well formed\n",
		c.Config, cfg.Branch.ID, len(cfg.Phones), len(cfg.People), len(cfg.Switches), len(cfg.Uplinks))
	return nil
}
