package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// User is what may be told of a local account.
type User struct {
	Name    string
	Role    Role
	Created time.Time
}

// userRecord is an account as it is kept.
type userRecord struct {
	Name     string    `json:"name"`
	Role     Role      `json:"role"`
	Password string    `json:"bcrypt"`
	Created  time.Time `json:"created"`
}

// AddUser makes a local account.
func (b *Book) AddUser(ctx context.Context, name string, role Role, password string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if role < Viewer || role > Admin {
		return fmt.Errorf("%w: an account needs a role", ErrInvalid)
	}
	hashed, err := b.hashPassword(ctx, password)
	if err != nil {
		return err
	}
	b.changes.Lock()
	defer b.changes.Unlock()
	b.mu.RLock()
	_, taken := b.users[name]
	n := len(b.users)
	b.mu.RUnlock()
	if taken {
		return fmt.Errorf("user %s %w", name, ErrExists)
	}
	if n >= maxUsers {
		return fmt.Errorf("%w users: remove some of the %d", ErrFull, maxUsers)
	}
	return b.keepUser(ctx, &userRecord{Name: name, Role: role, Password: hashed, Created: b.now().UTC()})
}

// SetPassword changes a password and signs the user out everywhere.
func (b *Book) SetPassword(ctx context.Context, name, password string) error {
	hashed, err := b.hashPassword(ctx, password)
	if err != nil {
		return err
	}
	b.changes.Lock()
	defer b.changes.Unlock()
	old := b.user(name)
	if old == nil {
		return fmt.Errorf("%w user: %.64q", ErrNotFound, name)
	}
	next := *old
	next.Password = hashed
	if err := b.keepUser(ctx, &next); err != nil {
		return err
	}
	return b.endSessions(ctx, func(s *session) bool { return s.User == name })
}

// RemoveUser ends an account, its sessions and its tokens at once: who is removed
// keeps no other key. An error says that the disk does not know of it yet.
func (b *Book) RemoveUser(ctx context.Context, name string) error {
	b.changes.Lock()
	defer b.changes.Unlock()
	if b.user(name) == nil && !b.owes(userKey+name) {
		return fmt.Errorf("%w user: %.64q", ErrNotFound, name)
	}
	b.mu.Lock()
	delete(b.users, name)
	b.mu.Unlock()
	// The account last, so that a power cut in between leaves one that can be removed again.
	err := b.erase(ctx, b.dropTokens(func(r *tokenRecord) bool { return r.User == name })...)
	err = errors.Join(err, b.endSessions(ctx, func(s *session) bool { return s.User == name }), b.erase(ctx, userKey+name))
	if err != nil {
		return fmt.Errorf("access: remove user %.64s: %w", name, err)
	}
	return nil
}

// Users lists all accounts by name.
func (b *Book) Users() []User {
	b.mu.RLock()
	defer b.mu.RUnlock()
	list := make([]User, 0, len(b.users))
	for _, u := range b.users {
		list = append(list, User{Name: u.Name, Role: u.Role, Created: u.Created})
	}
	slices.SortFunc(list, func(x, y User) int { return strings.Compare(x.Name, y.Name) })
	return list
}

// Login checks a password. Source is where the attempt comes from: one that
// failed often is told to wait ([SlowDown]) before any hash is worked on.
func (b *Book) Login(ctx context.Context, source, name, password string) (Principal, error) {
	if err := b.brake.take(source); err != nil {
		return Principal{}, err
	}
	u := b.user(name)
	kept := b.decoy // an unknown name costs the same time as a wrong password
	if u != nil {
		kept = []byte(u.Password)
	}
	if err := b.acquire(ctx); err != nil {
		b.brake.giveBack(source) // nothing was guessed
		return Principal{}, err
	}
	err := bcrypt.CompareHashAndPassword(kept, []byte(password))
	<-b.bcrypt
	if err != nil || u == nil {
		return Principal{}, ErrDenied
	}
	b.brake.giveBack(source)
	if now := b.user(name); now == nil || now.Password != u.Password { // changed while we looked
		return Principal{}, ErrDenied
	}
	return Principal{Name: u.Name, Role: u.Role}, nil
}

func (b *Book) user(name string) *userRecord {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.users[name]
}

func (b *Book) keepUser(ctx context.Context, u *userRecord) error {
	if err := b.put(ctx, userKey+u.Name, u); err != nil {
		return fmt.Errorf("access: keep user %s: %w", u.Name, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.users[u.Name] = u
	return nil
}

func (b *Book) hashPassword(ctx context.Context, password string) (string, error) {
	if err := CheckPassword(password); err != nil {
		return "", err
	}
	if err := b.acquire(ctx); err != nil {
		return "", err
	}
	defer func() { <-b.bcrypt }()
	hashed, err := bcrypt.GenerateFromPassword([]byte(password), b.cost)
	if err != nil {
		return "", fmt.Errorf("access: %w", err)
	}
	return string(hashed), nil
}

func (b *Book) acquire(ctx context.Context) error {
	select {
	case b.bcrypt <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
