package snmp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pilotlight/drivers/internal/snmp/snmptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ports serves an ifXTable of n rows and something behind it.
func ports(n int) []string {
	var lines []string
	for i := 1; i <= n; i++ {
		lines = append(lines,
			fmt.Sprintf("1.3.6.1.2.1.31.1.1.1.1.%d|4|Gi1/0/%d", i, i),
			fmt.Sprintf("1.3.6.1.2.1.31.1.1.1.15.%d|66|1000", i))
	}
	return append(lines, "1.3.6.1.2.1.1.5.0|4|sw1", "1.3.6.1.2.1.1.3.0|67|4711", "1.3.6.1.2.1.47.1.0|2|1")
}

func client(t *testing.T, opts Options) *Client {
	t.Helper()
	if opts.Timeout == 0 {
		opts.Timeout = 100 * time.Millisecond
	}
	c, err := New(Config{Credentials: []Credential{{Name: "ro", Version: "2c", Community: "public"}}}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func session(t *testing.T, c *Client, addr netip.AddrPort) *Session {
	t.Helper()
	s, err := c.Open(t.Context(), Target{Addr: addr, Credential: "ro"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestWalkReadsAllColumnsToTheEnd(t *testing.T) {
	for _, n := range []int{0, 1, 9, 10, 11, 48, 300} {
		a := snmptest.Start(t, "public", snmptest.Rows(t, ports(n)...))
		table, err := session(t, client(t, Options{}), a.Addr).Walk(t.Context(), IfXTable)
		if err != nil || table.Partial || len(table.Rows) != n {
			t.Fatalf("%d ports: %d rows, partial %v, %v", n, len(table.Rows), table.Partial, err)
		}
		for i, r := range table.Rows {
			speed, _ := r.Cell(IfHighSpeed).Uint()
			if name := r.Cell(IfName).Text(); name != fmt.Sprintf("Gi1/0/%d", i+1) || speed != 1000 {
				t.Fatalf("row %d: %q %d", i, name, speed)
			}
		}
	}
}

// A walk that goes wrong says so, marks the table, and keeps what came.
func TestWalkCutShortIsPartial(t *testing.T) {
	later := func(f func(*snmptest.Answer)) func(snmptest.Request, *snmptest.Answer) {
		n := 0
		return func(_ snmptest.Request, a *snmptest.Answer) {
			if n++; n > 1 {
				f(a)
			}
		}
	}
	tests := []struct {
		name  string
		twist func(snmptest.Request, *snmptest.Answer)
		want  error
		says  string
	}{
		{"genErr", later(func(a *snmptest.Answer) { a.Status, a.Index, a.Vars = 5, 2, a.Vars[:2] }), ErrStatus, "genErr in column 15"},
		{"tooBig for ever", later(func(a *snmptest.Answer) { a.Status, a.Vars = 1, nil }), ErrStatus, "tooBig"},
		{"silence", later(func(a *snmptest.Answer) { a.Drop = true }), ErrSilent, "no answer"},
		{"OIDs that do not grow", later(func(a *snmptest.Answer) {
			a.Vars = a.Vars[:2]
			a.Vars[0].OID = []uint32{1, 3, 6, 1, 2, 1, 31, 1, 1, 1, 1, 1}
		}), ErrLoop, "not increasing"},
		{"the same OID twice in one answer", later(func(a *snmptest.Answer) { a.Vars[2].OID = a.Vars[0].OID }), ErrLoop, "not increasing"},
		{"an empty answer", later(func(a *snmptest.Answer) { a.Vars = nil }), ErrGarbled, "not sense"},
		{"half a datagram", later(func(a *snmptest.Answer) { b := a.Encode("public"); a.Raw = b[:len(b)/2] }), ErrGarbled, "not sense"},
		{"wrong request id", later(func(a *snmptest.Answer) { a.ID++ }), ErrSilent, "no answer"},
		{"request id 0", later(func(a *snmptest.Answer) { a.ID = 0 }), ErrGarbled, "not sense"},
		{"another source port", later(func(a *snmptest.Answer) { a.Elsewhere = true }), ErrSilent, "no answer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := snmptest.Start(t, "public", snmptest.Rows(t, ports(48)...))
			a.Twist(tt.twist)
			table, err := session(t, client(t, Options{}), a.Addr).Walk(t.Context(), IfXTable)
			if !table.Partial || !errors.Is(err, tt.want) {
				t.Fatalf("partial %v, error %v; want partial and %v", table.Partial, err, tt.want)
			}
			if len(table.Rows) < 10 || len(table.Rows) == 48 {
				t.Errorf("%d rows, want those of the first answer", len(table.Rows))
			}
			prefix := "snmp " + a.Addr.String() + ": walk ifXTable: "
			if !strings.HasPrefix(err.Error(), prefix) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %q; want %q … %q", err, prefix, tt.says)
			}
			if strings.Contains(err.Error(), "public") {
				t.Errorf("the community is told: %v", err)
			}
		})
	}
}

func TestTooBigHalvesAndGoesOn(t *testing.T) {
	a := snmptest.Start(t, "public", snmptest.Rows(t, ports(48)...))
	a.Twist(func(r snmptest.Request, a *snmptest.Answer) {
		if len(a.Vars) > 5 {
			a.Status, a.Vars = 1, nil
		}
	})
	s := session(t, client(t, Options{}), a.Addr)
	table, err := s.Walk(t.Context(), IfXTable)
	if err != nil || len(table.Rows) != 48 {
		t.Fatalf("%d rows, %v", len(table.Rows), err)
	}
	a.Twist(func(r snmptest.Request, a *snmptest.Answer) {
		if len(a.Vars) > 1 {
			a.Status, a.Vars = 1, nil
		}
	})
	if table, err = s.Walk(t.Context(), IfXTable); err != nil || len(table.Rows) != 48 {
		t.Fatalf("one value an answer: %d rows, %v", len(table.Rows), err)
	}
	values, err := s.Get(t.Context(), SysName, SysUpTime, SysDescr)
	if err != nil || values[0].Text() != "sw1" || values[2].Present() {
		t.Fatalf("get: %v, %v", values, err)
	}
}

func TestTablesHaveLimits(t *testing.T) {
	a := snmptest.Start(t, "public", snmptest.Rows(t, ports(300)...))
	table, err := session(t, client(t, Options{Rows: 100}), a.Addr).Walk(t.Context(), IfXTable)
	if !errors.Is(err, ErrTooLarge) || !table.Partial || len(table.Rows) != 100 {
		t.Fatalf("%d rows, %v", len(table.Rows), err)
	}
	table, err = session(t, client(t, Options{Bytes: 1000}), a.Addr).Walk(t.Context(), IfXTable)
	if !errors.Is(err, ErrTooLarge) || !table.Partial {
		t.Fatalf("%d rows, %v", len(table.Rows), err)
	}
	// An agent that makes up rows for ever, each greater than the last.
	a.Twist(func(r snmptest.Request, a *snmptest.Answer) {
		for i := range a.Vars {
			o := r.OIDs[i%len(r.OIDs)]
			at := uint32(0)
			if len(o) > 11 {
				at = o[11]
			}
			oid := append(append([]uint32(nil), o[:11]...), at+1+uint32(i/len(r.OIDs)))
			a.Vars[i] = snmptest.Var{OID: oid, Tag: snmptest.TagOctets, Value: []byte("x")}
		}
	})
	table, err = session(t, client(t, Options{Rows: 5000}), a.Addr).Walk(t.Context(), IfXTable)
	if !errors.Is(err, ErrTooLarge) || len(table.Rows) != 5000 {
		t.Fatalf("endless: %d rows, %v", len(table.Rows), err)
	}
}

func TestStaleAndForeignAnswersAreIgnored(t *testing.T) {
	a := snmptest.Start(t, "public", snmptest.Rows(t, ports(3)...))
	a.Twist(func(r snmptest.Request, a *snmptest.Answer) {
		old := *a
		old.ID, old.Vars = a.ID-1, []snmptest.Var{{OID: r.OIDs[0], Tag: snmptest.TagOctets, Value: []byte("old")}}
		a.Before = [][]byte{old.Encode("public")}
	})
	v, err := session(t, client(t, Options{}), a.Addr).Get(t.Context(), SysName)
	if err != nil || v[0].Text() != "sw1" {
		t.Fatalf("%v, %v", v, err)
	}
	a.Twist(func(_ snmptest.Request, a *snmptest.Answer) { a.Vars[0].OID = []uint32{1, 3, 6, 1, 2, 1, 1, 6, 0} })
	if _, err = session(t, client(t, Options{}), a.Addr).Get(t.Context(), SysName); !errors.Is(err, ErrGarbled) {
		t.Fatalf("an answer to another question was taken: %v", err)
	}
}

func TestDeadlineAndCancelEndAVisit(t *testing.T) {
	a := snmptest.Start(t, "other", nil)
	c := client(t, Options{Timeout: time.Minute})
	for _, how := range []string{"deadline", "cancel"} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if how == "cancel" {
			cancel()
			ctx, cancel = context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
		}
		start := time.Now()
		_, err := session(t, c, a.Addr).Get(ctx, SysName)
		if err == nil || time.Since(start) > 2*time.Second {
			t.Errorf("%s: %v after %v", how, err, time.Since(start))
		}
		cancel()
	}
}

func TestErrorsAreToldApart(t *testing.T) {
	a := snmptest.Start(t, "other", nil) // our community is wrong there
	_, err := session(t, client(t, Options{}), a.Addr).Get(t.Context(), SysName)
	var e *Error
	if !errors.As(err, &e) || !e.Timeout() || e.Outcome() != "timeout" || !strings.Contains(err.Error(), "another community") {
		t.Errorf("wrong community: %v", err)
	}
	dead := netip.MustParseAddrPort("127.0.0.1:1")
	_, err = session(t, client(t, Options{Timeout: 5 * time.Second}), dead).Get(t.Context(), SysName)
	if !errors.Is(err, ErrRefused) || !errors.As(err, &e) || e.Outcome() != "refused" {
		t.Errorf("closed port: %v", err)
	}
}

// The gate is asked before a socket is connected, and its no is final.
func TestNoPacketLeavesWithoutLeave(t *testing.T) {
	a := snmptest.Start(t, "public", snmptest.Rows(t, ports(3)...))
	var asked []netip.AddrPort
	c := client(t, Options{Gate: func(to netip.AddrPort) error {
		asked = append(asked, to)
		return errors.New("not listed")
	}})
	_, err := c.Open(t.Context(), Target{Addr: a.Addr, Credential: "ro"})
	if !errors.Is(err, ErrForbidden) || len(asked) != 1 || asked[0] != a.Addr {
		t.Errorf("%v, asked %v", err, asked)
	}
	if len(a.Requests()) != 0 {
		t.Error("a packet was sent")
	}
}

func TestSessionsAreBounded(t *testing.T) {
	c := client(t, Options{Sessions: 1})
	to := Target{Addr: netip.MustParseAddrPort("127.0.0.1:1"), Credential: "ro"}
	first, err := c.Open(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err = c.Open(ctx, to); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second session: %v", err)
	}
	first.Close()
	first.Close() // twice is once
	second, err := c.Open(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
}
