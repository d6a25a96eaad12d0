// Package logtail keeps the end of what a program under test says, and forgets
// the rest: enough to tell why it ended, however long it ran.
package logtail

import (
	"bytes"
	"sync"
)

// kept is how many bytes are shown; up to twice as many are held.
const kept = 4000

// Tail is an io.Writer for a program's standard error. The zero value is ready.
type Tail struct {
	mu   sync.Mutex
	text []byte
}

// Write takes all and keeps the end.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if len(t.text) > 2*kept {
		t.text = append(t.text[:0], t.text[len(t.text)-kept:]...)
	}
	return len(p), nil
}

// String is the end of what was written.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.text[max(0, len(t.text)-kept):]))
}
