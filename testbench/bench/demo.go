package main

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"pilotlight/testbench/freeport"
)

// demo is how long a person waits for a populated panel.
func (p plan) demo(ctx context.Context, r *report) error {
	listen, err := freeport.Address()
	if err != nil {
		return err
	}
	began := time.Now()
	d, err := launch(nil, p.Agent, "demo", "--phones", strconv.Itoa(p.Demo), "--listen", listen)
	if err != nil {
		return err
	}
	defer d.stop()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	if _, err := awaitPhones(ctx, d, "http://"+listen, client, p.Demo); err != nil {
		return err
	}
	r.add("demo of "+strconv.Itoa(p.Demo)+" phones", "start to populated panel", time.Since(began).Seconds(), "s", 5)
	return nil
}
