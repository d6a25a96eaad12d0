// Package access knows who may do what: roles, API tokens, local accounts and
// the sessions of the web.
//
// A [Book] holds all three. It reads its drawers once and answers from memory,
// so that asking who somebody is never waits for a disk; what changes an
// account is on disk before it is answered. What is revoked is over in memory
// first: should the disk then fail, the caller is told, and no door is open
// meanwhile. The book has one owner at a time:
// the agent while it runs, a command line verb while it does not (the store's
// lock sees to that), so the copy in memory is never behind.
//
// Nothing that opens a door is stored as it is: of a token and of a session the
// SHA-256 of 32 random bytes (guessing that is out of the question, and a slow
// hash would only make each request dear), of a password its bcrypt hash. No
// secret is part of an error, of a log line or of a String method.
package access

import (
	"errors"
	"fmt"
	"time"
)

// A Role is what somebody may do. The greater holds all that the lesser may.
type Role uint8

// Nobody may do nothing. A viewer reads, an operator acts, an admin keeps
// accounts and takes backups.
const (
	Nobody Role = iota
	Viewer
	Operator
	Admin
)

var roleNames = [...]string{"nobody", "viewer", "operator", "admin"}

// String is the role's word.
func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return roleNames[Nobody]
}

// ParseRole takes exactly the words viewer, operator and admin.
func ParseRole(s string) (Role, error) {
	for r := Viewer; r <= Admin; r++ {
		if s == roleNames[r] {
			return r, nil
		}
	}
	return Nobody, fmt.Errorf("%w: role %q, want viewer, operator or admin", ErrInvalid, s)
}

// MarshalText makes a role a word in JSON.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads that word.
func (r *Role) UnmarshalText(b []byte) (err error) {
	*r, err = ParseRole(string(b))
	return err
}

// A Principal is who asks.
type Principal struct {
	Name string // the user; empty for a token that belongs to nobody
	Role Role
}

// May reports whether the principal's role suffices.
func (p Principal) May(need Role) bool { return p.Role >= need }

// MayActFor reports whether the principal may say something in the name of
// user: an operator for everyone, anyone who is known for herself.
func (p Principal) MayActFor(user string) bool {
	return p.May(Operator) || (p.May(Viewer) && p.Name != "" && p.Name == user)
}

// Why the book says no.
var (
	ErrDenied   = errors.New("not known, or the password is wrong") // which of the two is not told
	ErrInvalid  = errors.New("invalid")
	ErrExists   = errors.New("exists already")
	ErrNotFound = errors.New("no such")
	ErrFull     = errors.New("too many")
)

// SlowDown is the answer to a source that failed too often.
type SlowDown struct{ Wait time.Duration }

// Error says how long to wait.
func (s *SlowDown) Error() string {
	return fmt.Sprintf("too many failed attempts, try again in %s", s.Wait.Round(time.Second))
}

// Bounds of what is kept.
const (
	maxTokens   = 1000
	maxUsers    = 1000
	maxSessions = 1000
	maxName     = 64
	// MinPassword is the least length of a password, in bytes.
	MinPassword = 8
	// MaxPassword is what bcrypt can tell apart; the rest would be ignored.
	MaxPassword = 72
)

// CheckName says what is wrong with a user's name.
func CheckName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("%w: name %.80q, want 1 to %d characters", ErrInvalid, name, maxName)
	}
	alnum := false
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			alnum = true
		case r == '.', r == '_', r == '-':
		default:
			return fmt.Errorf("%w: name %q, want only a-z, 0-9, '.', '_' and '-'", ErrInvalid, name)
		}
	}
	if !alnum { // "." and ".." mean something else in a path
		return fmt.Errorf("%w: name %q, want a letter or a digit in it", ErrInvalid, name)
	}
	return nil
}

// CheckPassword says what is wrong with a password, without repeating it.
func CheckPassword(password string) error {
	switch {
	case len(password) < MinPassword:
		return fmt.Errorf("%w: password of %d bytes, want at least %d", ErrInvalid, len(password), MinPassword)
	case len(password) > MaxPassword:
		return fmt.Errorf("%w: password of %d bytes, want at most %d", ErrInvalid, len(password), MaxPassword)
	}
	return nil
}
