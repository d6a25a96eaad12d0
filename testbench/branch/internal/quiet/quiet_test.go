package quiet

import (
	"errors"
	"net"
	"testing"
	"time"
)

// greeter accepts and says one byte, until the listener is closed.
func greeter(t *testing.T, l *Listener) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("!"))
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
}

func greeted(l *Listener) error {
	c, err := net.DialTimeout("tcp", l.Addr().String(), 300*time.Millisecond)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	_, err = c.Read(make([]byte, 1))
	return err
}

func TestASilentListenerLetsConnectsTimeOutAndComesBackOnTheSamePort(t *testing.T) {
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	greeter(t, l)
	for round := range 3 {
		if err := greeted(l); err != nil {
			t.Fatalf("round %d: open: %v", round, err)
		}
		if err := l.Silence(true); err != nil {
			t.Fatal(err)
		}
		err := greeted(l)
		if ne := net.Error(nil); !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("round %d: silent: got %v, want a timeout: no reset, no answer", round, err)
		}
		if err := l.Silence(false); err != nil {
			t.Fatal(err)
		}
	}
	if err := greeted(l); err != nil {
		t.Errorf("after the last silence: %v", err)
	}
}

func TestCloseEndsAnAcceptThatWaitsThroughASilence(t *testing.T) {
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	greeter(t, l)
	if err := l.Silence(true); err != nil {
		t.Fatal(err)
	}
	l.Close() // the clean-up waits for the accepting goroutine
	if err := l.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}
