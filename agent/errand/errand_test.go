package errand_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pilotlight/agent/errand"
)

func TestWhatNobodyServesIsRefusedAtOnce(t *testing.T) {
	if _, err := errand.New().Ask(t.Context(), errand.Errand{Kind: "screen"}); !errors.Is(err, errand.ErrNobody) {
		t.Error(err)
	}
}

func TestAnErrandIsAnswered(t *testing.T) {
	d := errand.New()
	c, err := d.Serve("screen")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Serve("screen"); err == nil {
		t.Error("two drivers serve one kind")
	}
	go func() {
		for _, body := range []string{"png", "much too long"} {
			job, err := c.Next(context.Background())
			if err != nil {
				return
			}
			job.Done(errand.Reply{Body: []byte(body)}, nil)
		}
	}()
	r, err := d.Ask(t.Context(), errand.Errand{Kind: "screen", Target: "SEP1", Most: 5})
	if err != nil || string(r.Body) != "png" {
		t.Errorf("%q %v", r.Body, err)
	}
	if _, err := d.Ask(t.Context(), errand.Errand{Kind: "screen", Most: 5}); !errors.Is(err, errand.ErrLarge) {
		t.Error(err)
	}
	c.Close()
	if _, err := d.Ask(t.Context(), errand.Errand{Kind: "screen"}); !errors.Is(err, errand.ErrNobody) {
		t.Error(err)
	}
}

func TestASlowDriverCostsTheAskerItsDeadlineOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := errand.New()
		c, _ := d.Serve("restart")
		defer c.Close()
		start := time.Now()
		_, err := d.Ask(t.Context(), errand.Errand{Kind: "restart", Within: 3 * time.Second})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}
