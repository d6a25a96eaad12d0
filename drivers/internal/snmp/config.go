package snmp

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gosnmp/gosnmp"
)

// Config is the section "snmp" of the configuration.
type Config struct {
	// Ways to be let in, by name; each goes to the devices that name it, and nowhere else.
	Credentials []Credential `yaml:"credentials"`
	// Notifications; a later version takes them.
	Traps Traps `yaml:"traps"`
}

// Traps says where notifications are listened for; empty: nowhere.
type Traps struct {
	// Where notifications are listened for; empty: nowhere.
	Listen string `yaml:"listen"`
}

// Credential is one way to be let in: a community, or a user of the User-based
// Security Model (RFC 3414). Secrets other than a community are named by file.
type Credential struct {
	// Short name that switches and phones refer to.
	Name string `yaml:"name"`
	// 2c or 3.
	Version Version `yaml:"version"`
	// 2c: the community.
	Community string `yaml:"community"`
	// 2c: file with the community, instead.
	CommunityFile string `yaml:"community_file"`
	// 3: the user.
	User string `yaml:"user"`
	// 3: md5, sha, sha224, sha256, sha384 or sha512; empty: no authentication.
	Auth string `yaml:"auth"`
	// 3: file with the authentication password, relative to the configuration.
	AuthPasswordFile string `yaml:"auth_password_file"`
	// 3: des, aes, aes192 or aes256; empty: no privacy.
	Privacy string `yaml:"privacy"`
	// 3: file with the privacy password, relative to the configuration.
	PrivacyPasswordFile string `yaml:"privacy_password_file"`
}

// Version is "2c" or "3"; YAML may write the latter as a number.
type Version string

// UnmarshalYAML takes 3 as well as "3".
func (v *Version) UnmarshalYAML(text []byte) error {
	*v = Version(strings.Trim(strings.TrimSpace(string(text)), `"'`))
	return nil
}

// Secrets reads the secret that a path names, relative to the configuration.
type Secrets func(path string) (string, error)

// credential is a Credential with its secrets read. It has no String method and
// no exported field, so that a log line can't hold what is in it by design.
type credential struct {
	version   gosnmp.SnmpVersion
	community string
	user      string
	level     gosnmp.SnmpV3MsgFlags
	auth      gosnmp.SnmpV3AuthProtocol
	privacy   gosnmp.SnmpV3PrivProtocol
	authPass  string
	privPass  string
}

// maxCommunity is what one length octet holds: gosnmp writes no more.
const maxCommunity = 127

// minPassword is RFC 3414 §11.2's.
const minPassword = 8

var authProtocols = map[string]gosnmp.SnmpV3AuthProtocol{
	"md5": gosnmp.MD5, "sha": gosnmp.SHA, "sha224": gosnmp.SHA224,
	"sha256": gosnmp.SHA256, "sha384": gosnmp.SHA384, "sha512": gosnmp.SHA512,
}

// Where the hash is shorter than the key, AES-192 and AES-256 need a longer one.
// Cisco makes it in the way of draft-reeder, "AES-256-C" to net-snmp, whose own
// "AES-256" follows draft-blumenthal. From SHA-256 on both are the same.
var privacyProtocols = map[string]gosnmp.SnmpV3PrivProtocol{
	"des": gosnmp.DES, "aes": gosnmp.AES, "aes128": gosnmp.AES,
	"aes192": gosnmp.AES192C, "aes256": gosnmp.AES256C,
	"aes192-blumenthal": gosnmp.AES192, "aes256-blumenthal": gosnmp.AES256,
}

// read checks c and reads its secrets.
func (c Credential) read(secrets Secrets) (credential, error) {
	if c.Name == "" {
		return credential{}, errors.New("snmp credential: no name")
	}
	var out credential
	var err error
	switch c.Version {
	case "2c":
		out, err = c.readCommunity(secrets)
	case "3":
		out, err = c.readUser(secrets)
	default:
		err = fmt.Errorf("version %q, want 2c or 3", c.Version)
	}
	if err != nil {
		return credential{}, fmt.Errorf("snmp credential %s: %w", c.Name, err)
	}
	return out, nil
}

func (c Credential) readCommunity(secrets Secrets) (credential, error) {
	if c.User != "" || c.Auth != "" || c.AuthPasswordFile != "" || c.Privacy != "" || c.PrivacyPasswordFile != "" {
		return credential{}, errors.New("user, auth and privacy belong to version 3")
	}
	out := credential{version: gosnmp.Version2c, community: c.Community}
	if c.CommunityFile != "" {
		if c.Community != "" {
			return credential{}, errors.New("both community and community_file")
		}
		s, err := secrets(c.CommunityFile)
		if err != nil {
			return credential{}, fmt.Errorf("community_file: %w", err)
		}
		out.community = s
	}
	if out.community == "" || len(out.community) > maxCommunity {
		return credential{}, fmt.Errorf("community: want 1 to %d bytes", maxCommunity)
	}
	return out, nil
}

func (c Credential) readUser(secrets Secrets) (credential, error) {
	if c.Community != "" || c.CommunityFile != "" {
		return credential{}, errors.New("community belongs to version 2c")
	}
	// RFC 3414 §5, usmUserName: 1 to 32 octets.
	if c.User == "" || len(c.User) > 32 {
		return credential{}, errors.New("user: want 1 to 32 bytes")
	}
	out := credential{
		version: gosnmp.Version3, user: c.User, level: gosnmp.NoAuthNoPriv,
		auth: gosnmp.NoAuth, privacy: gosnmp.NoPriv,
	}
	if c.Auth == "" {
		if c.Privacy != "" || c.AuthPasswordFile != "" {
			return credential{}, errors.New("privacy and a password need auth")
		}
		return out, nil
	}
	var err error
	if out.auth, out.authPass, err = protocol("auth", c.Auth, authProtocols, c.AuthPasswordFile, secrets); err != nil {
		return credential{}, err
	}
	out.level = gosnmp.AuthNoPriv
	if c.Privacy == "" {
		return out, nil
	}
	if out.privacy, out.privPass, err = protocol("privacy", c.Privacy, privacyProtocols, c.PrivacyPasswordFile, secrets); err != nil {
		return credential{}, err
	}
	out.level = gosnmp.AuthPriv
	return out, nil
}

// protocol resolves one of auth and privacy: its name, and the password's file.
func protocol[P any](key, name string, known map[string]P, file string, secrets Secrets) (p P, password string, err error) {
	p, ok := known[strings.ToLower(name)]
	if !ok {
		return p, "", fmt.Errorf("%s %q, want one of %s", key, name, strings.Join(sortedKeys(known), ", "))
	}
	if file == "" {
		return p, "", fmt.Errorf("%s_password_file: missing", key)
	}
	if password, err = secrets(file); err != nil {
		return p, "", fmt.Errorf("%s_password_file: %w", key, err)
	}
	if len(password) < minPassword {
		return p, "", fmt.Errorf("%s_password_file %s: shorter than %d characters", key, file, minPassword)
	}
	return p, password, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
