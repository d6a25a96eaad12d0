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

// A Fault is what is wrong with one key of a credential.
type Fault struct {
	Key string
	Err error
}

func (f Fault) Error() string { return f.Err.Error() }

// Unwrap gives the cause, such as fs.ErrNotExist.
func (f Fault) Unwrap() error { return f.Err }

func fault(key, format string, args ...any) error { return Fault{key, fmt.Errorf(format, args...)} }

// Faults is everything that is wrong with c, its secrets' files included.
func (c Credential) Faults(secrets Secrets) []Fault {
	_, err := c.resolve(secrets)
	var all []Fault
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			if f, ok := errors.AsType[Fault](e); ok {
				all = append(all, f)
			}
		}
	}
	return all
}

// read checks c and reads its secrets.
func (c Credential) read(secrets Secrets) (credential, error) {
	out, err := c.resolve(secrets)
	if err != nil {
		return credential{}, fmt.Errorf("snmp credential %s: %w", c.Name, err)
	}
	return out, nil
}

// resolve's error joins a Fault for each key that is wrong.
func (c Credential) resolve(secrets Secrets) (out credential, err error) {
	if c.Name == "" {
		err = fault("name", "no name")
	}
	var faults error
	switch c.Version {
	case "2c":
		out, faults = c.readCommunity(secrets)
	case "3":
		out, faults = c.readUser(secrets)
	default:
		faults = fault("version", "version %q, want 2c or 3", c.Version)
	}
	if err = flat(faults, err); err != nil {
		return credential{}, err
	}
	return out, nil
}

func (c Credential) readCommunity(secrets Secrets) (credential, error) {
	if c.User != "" || c.Auth != "" || c.AuthPasswordFile != "" || c.Privacy != "" || c.PrivacyPasswordFile != "" {
		return credential{}, fault("version", "user, auth and privacy belong to version 3")
	}
	out := credential{version: gosnmp.Version2c, community: c.Community}
	if c.CommunityFile != "" {
		if c.Community != "" {
			return credential{}, fault("community_file", "both community and community_file")
		}
		s, err := secrets(c.CommunityFile)
		if err != nil {
			return credential{}, fault("community_file", "community_file: %w", err)
		}
		out.community = s
	}
	if out.community == "" || len(out.community) > maxCommunity {
		return credential{}, fault("community", "community: want 1 to %d bytes", maxCommunity)
	}
	return out, nil
}

func (c Credential) readUser(secrets Secrets) (credential, error) {
	var faults error
	if c.Community != "" || c.CommunityFile != "" {
		faults = errors.Join(faults, fault("version", "community belongs to version 2c"))
	}
	if c.User == "" || len(c.User) > 32 { // RFC 3414 §5, usmUserName: 1 to 32 octets
		faults = errors.Join(faults, fault("user", "user: want 1 to 32 bytes"))
	}
	out := credential{
		version: gosnmp.Version3, user: c.User, level: gosnmp.NoAuthNoPriv,
		auth: gosnmp.NoAuth, privacy: gosnmp.NoPriv,
	}
	var errs [4]error
	if c.Auth != "" {
		out.level = gosnmp.AuthNoPriv
		out.auth, errs[0] = protocol("auth", c.Auth, authProtocols)
		out.authPass, errs[1] = password("auth_password_file", c.AuthPasswordFile, secrets)
	} else if c.Privacy != "" || c.AuthPasswordFile != "" {
		errs[0] = fault("auth", "privacy and a password need auth")
	}
	if c.Privacy != "" {
		out.level = gosnmp.AuthPriv
		out.privacy, errs[2] = protocol("privacy", c.Privacy, privacyProtocols)
		out.privPass, errs[3] = password("privacy_password_file", c.PrivacyPasswordFile, secrets)
	}
	return out, flat(faults, errs[:]...)
}

// flat joins errors of which the first may itself be joined.
func flat(first error, more ...error) error {
	if joined, ok := first.(interface{ Unwrap() []error }); ok {
		return errors.Join(append(joined.Unwrap(), more...)...)
	}
	return errors.Join(append([]error{first}, more...)...)
}

func protocol[P any](key, name string, known map[string]P) (P, error) {
	p, ok := known[strings.ToLower(name)]
	if !ok {
		return p, fault(key, "%s %q, want one of %s", key, name, strings.Join(sortedKeys(known), ", "))
	}
	return p, nil
}

func password(key, file string, secrets Secrets) (string, error) {
	if file == "" {
		return "", fault(key, "%s: missing", key)
	}
	password, err := secrets(file)
	if err != nil {
		return "", fault(key, "%s: %w", key, err)
	}
	if len(password) < minPassword {
		return "", fault(key, "%s %s: shorter than %d characters", key, file, minPassword)
	}
	return password, nil
}
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
