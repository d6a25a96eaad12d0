package snmp

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/gosnmp/gosnmp"
)

func secrets(path string) (string, error) {
	switch path {
	case "a.pw":
		return "auth-password", nil
	case "p.pw":
		return "priv-password", nil
	case "short.pw":
		return "short", nil
	}
	return "", errors.New("no such file")
}

func TestCredentialsAreReadFromYAML(t *testing.T) {
	const text = `
credentials:
  - {name: branch-ro, version: 2c, community: public}
  - {name: secure, version: 3, user: pilot, auth: sha256, auth_password_file: a.pw, privacy: aes, privacy_password_file: p.pw}
traps: {listen: ""}
`
	var cfg Config
	if err := yaml.UnmarshalWithOptions([]byte(text), &cfg, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	c, err := New(cfg, Options{Secrets: secrets})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.credentials["secure"]; got.auth != gosnmp.SHA256 || got.privacy != gosnmp.AES || got.level != gosnmp.AuthPriv || got.privPass != "priv-password" {
		t.Errorf("secure: %v %v %v", got.auth, got.privacy, got.level)
	}
	if !c.Has("branch-ro") || c.Has("other") {
		t.Error("Has")
	}
}

func TestCredentialFaultsAreNamed(t *testing.T) {
	tests := []struct {
		c    Credential
		want string
	}{
		{Credential{Version: "2c", Community: "x"}, "no name"},
		{Credential{Name: "a", Version: "1", Community: "x"}, "version"},
		{Credential{Name: "a", Version: "2c"}, "community"},
		{Credential{Name: "a", Version: "2c", Community: strings.Repeat("x", 128)}, "community"},
		{Credential{Name: "a", Version: "2c", CommunityFile: "none"}, "community_file: no such file"},
		{Credential{Name: "a", Version: "2c", Community: "x", Auth: "sha"}, "belong to version 3"},
		{Credential{Name: "a", Version: "3", Community: "x", User: "u"}, "belongs to version 2c"},
		{Credential{Name: "a", Version: "3"}, "user"},
		{Credential{Name: "a", Version: "3", User: "u", Auth: "sha3"}, "one of md5, sha, sha224"},
		{Credential{Name: "a", Version: "3", User: "u", Auth: "sha"}, "auth_password_file: missing"},
		{Credential{Name: "a", Version: "3", User: "u", Auth: "sha", AuthPasswordFile: "short.pw"}, "shorter than 8"},
		{Credential{Name: "a", Version: "3", User: "u", Privacy: "aes"}, "need auth"},
		{Credential{Name: "a", Version: "3", User: "u", Auth: "sha", AuthPasswordFile: "a.pw", Privacy: "rot13", PrivacyPasswordFile: "p.pw"}, "privacy"},
	}
	for _, tt := range tests {
		_, err := New(Config{Credentials: []Credential{tt.c}}, Options{Secrets: secrets})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want … %s", tt.c, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "password\"") {
			t.Errorf("a secret is told: %v", err)
		}
	}
	two := Credential{Name: "a", Version: "2c", Community: "x"}
	if _, err := New(Config{Credentials: []Credential{two, two}}, Options{}); err == nil {
		t.Error("one name for two credentials was taken")
	}
}

func TestOIDsOfAllTablesAreWellFormed(t *testing.T) {
	for _, d := range []*Definition{
		IfTable, IfXTable, BasePortTable, EntPhysicalTable, PsePortTable, CpePsePortTable, VoiceVLANTable, CdpCacheTable,
		LldpLocPortTable, LldpRemTable, LldpRemManAddrTable, MedCapTable, MedPolicyTable, MedInventoryTable,
	} {
		if len(d.Entry) < 8 || len(d.Columns) == 0 || d.Name == "" {
			t.Errorf("%s: %v %v", d.Name, d.Entry, d.Columns)
		}
		if p, err := ParseOID("." + d.Entry.String()); err != nil || p.Compare(d.Entry) != 0 {
			t.Errorf("%s: %v", d.Name, err)
		}
	}
	for _, bad := range []string{"", ".", "1..2", "1.x", "1.4294967296", "1.-2", strings.Repeat("1.", 200) + "1"} {
		if o, err := ParseOID(bad); err == nil {
			t.Errorf("ParseOID(%.20q) = %v", bad, o)
		}
	}
}

func ExampleError() {
	fmt.Println(&Error{Target: "10.1.1.2", Doing: "walk cdpCacheTable", Err: ErrSilent})
	// Output: snmp 10.1.1.2: walk cdpCacheTable: no answer: device down, filtered, or another community
}
