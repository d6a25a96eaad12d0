package snmp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gosnmp/gosnmp"
)

// Table is what a walk brought home.
type Table struct {
	Rows []Row // by index, ascending
	// Partial: the walk ended early. Rows may be missing, and columns of rows.
	Partial bool
}

// Row is one row of a table: its index and the columns that were asked for.
type Row struct {
	Index OID
	cells []Value
	def   *Definition
}

// Cell is the value of a column, by the column's number; absent if the row has none.
func (r Row) Cell(column uint32) Value {
	if r.def == nil {
		return Value{}
	}
	if i := slices.Index(r.def.Columns, column); i >= 0 && i < len(r.cells) {
		return r.cells[i]
	}
	return Value{}
}

// Repetitions of one GETBULK (RFC 3416 §4.2.3), and how many values an answer
// may ask of a small agent: the product of repetitions and columns.
const (
	minRepetitions = 10
	maxRepetitions = 25
	maxPerRequest  = 120
	maxColumns     = 12
)

// Walk reads a table, several columns at a time. Whatever happens, the rows that
// came are returned; unless the end of each column was seen, they are marked
// Partial and the error says why.
func (s *Session) Walk(ctx context.Context, def *Definition) (Table, error) {
	w := walk{session: s, def: def, rows: make(map[string]*Row), repetitions: minRepetitions, most: maxRepetitions + 1}
	var err error
	for first := 0; first < len(def.Columns) && err == nil; first += maxColumns {
		err = w.columns(ctx, def.Columns[first:min(first+maxColumns, len(def.Columns))])
	}
	t := w.table()
	if err != nil {
		t.Partial = true
		return t, s.fail("walk "+def.Name, err)
	}
	return t, nil
}

// walk is a walk under way.
type walk struct {
	session     *Session
	def         *Definition
	rows        map[string]*Row
	bytes       int
	repetitions int
	most        int // repetitions that are known to be too many, or maxRepetitions+1
}

// column is where the walk stands in one column.
type column struct {
	number uint32
	prefix OID
	at     OID // the last OID seen, prefix at first
	done   bool
}

func (w *walk) columns(ctx context.Context, numbers []uint32) error {
	cols := make([]*column, 0, len(numbers))
	for _, n := range numbers {
		prefix := append(slices.Clone(w.def.Entry), n)
		cols = append(cols, &column{number: n, prefix: prefix, at: prefix})
	}
	width := len(cols)
	for {
		open := make([]*column, 0, width)
		for _, c := range cols {
			if !c.done && len(open) < width {
				open = append(open, c)
			}
		}
		if len(open) == 0 {
			return nil
		}
		err := w.step(ctx, open)
		switch {
		case errors.Is(err, errTooBig) && w.repetitions > 1:
			w.most = w.repetitions
			w.repetitions /= 2
		case errors.Is(err, errTooBig) && width > 1:
			width = (width + 1) / 2
		case err != nil:
			return err
		}
	}
}

var errTooBig = fmt.Errorf("%w: tooBig", ErrStatus)

// step asks once for what follows in each of the open columns.
func (w *walk) step(ctx context.Context, open []*column) error {
	oids := make([]string, len(open))
	for i, c := range open {
		oids[i] = c.at.String()
	}
	n := max(1, min(w.repetitions, maxPerRequest/len(open)))
	p, err := w.session.exchange(ctx, func() (*gosnmp.SnmpPacket, error) {
		return w.session.g.GetBulk(oids, 0, uint32(n))
	})
	if n > minRepetitions && (errors.Is(err, ErrSilent) || errors.Is(err, ErrSilentV3)) {
		// Long answers go in fragments, which some networks lose.
		w.repetitions, w.most = minRepetitions, n
		return nil
	}
	if err != nil {
		return err
	}
	if p.Error == gosnmp.TooBig {
		w.repetitions = n
		return errTooBig
	}
	if p.Error != gosnmp.NoError {
		return fmt.Errorf("%w: %s%s", ErrStatus, statusText(p.Error), w.where(open, p.ErrorIndex))
	}
	if err := w.take(open, p.Variables); err != nil {
		return err
	}
	if more := w.repetitions + 5; w.repetitions >= minRepetitions && more < w.most {
		w.repetitions = more
	}
	return nil
}

// where says which column an error-index points to.
func (w *walk) where(open []*column, index uint8) string {
	if index == 0 || int(index) > len(open) {
		return ""
	}
	return fmt.Sprintf(" in column %d", open[index-1].number)
}

// take sorts an answer into rows: repetition by repetition, one value for each
// open column (RFC 3416 §4.2.3). An answer may be shorter than asked for.
func (w *walk) take(open []*column, vars []gosnmp.SnmpPDU) error {
	if len(vars) == 0 {
		return fmt.Errorf("%w: an empty answer", ErrGarbled)
	}
	for i, v := range vars {
		c := open[i%len(open)]
		if c.done {
			continue // filling, once a column has ended within this answer
		}
		if v.Type == gosnmp.EndOfMibView {
			c.done = true
			continue
		}
		oid, err := ParseOID(v.Name)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrGarbled, err)
		}
		if oid.Compare(c.at) <= 0 {
			return fmt.Errorf("%w: %.80s after %.80s", ErrLoop, oid, c.at)
		}
		index, inside := oid.Below(c.prefix)
		if !inside {
			c.done = true
			continue
		}
		c.at = oid
		if err := w.put(c, index, v); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) put(c *column, index OID, v gosnmp.SnmpPDU) error {
	key := index.String()
	r := w.rows[key]
	if r == nil {
		if len(w.rows) >= w.session.client.opts.Rows {
			return fmt.Errorf("%w: %d rows", ErrTooLarge, len(w.rows))
		}
		r = &Row{Index: slices.Clone(index), cells: make([]Value, len(w.def.Columns)), def: w.def}
		w.rows[key] = r
	}
	value := valueOf(v)
	if w.bytes += len(key) + len(value.s); w.bytes > w.session.client.opts.Bytes {
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, w.session.client.opts.Bytes)
	}
	if i := slices.Index(w.def.Columns, c.number); i >= 0 {
		r.cells[i] = value
	}
	return nil
}

func (w *walk) table() Table {
	t := Table{Rows: make([]Row, 0, len(w.rows))}
	for _, r := range w.rows {
		t.Rows = append(t.Rows, *r)
	}
	slices.SortFunc(t.Rows, func(a, b Row) int { return a.Index.Compare(b.Index) })
	return t
}

// Tables reads several tables of one device. Those that could be read are told
// even if others could not; the error joins what went wrong.
func (s *Session) Tables(ctx context.Context, defs ...*Definition) (map[*Definition]Table, error) {
	out := make(map[*Definition]Table, len(defs))
	var errs []error
	for _, d := range defs {
		out[d] = Table{Partial: true}
	}
	for _, d := range defs {
		t, err := s.Walk(ctx, d)
		out[d] = t
		if err == nil {
			continue
		}
		errs = append(errs, err)
		if !TableOnly(err) {
			break
		}
	}
	return out, join(errs)
}

// TableOnly reports whether a walk failed for a reason that lies in the table:
// the device is there, and its other tables may well be read.
func TableOnly(err error) bool {
	var several joined
	if errors.As(err, &several) {
		return !slices.ContainsFunc(several, func(e error) bool { return !TableOnly(e) })
	}
	return errors.Is(err, ErrStatus) || errors.Is(err, ErrLoop) || errors.Is(err, ErrTooLarge)
}

// join is errors.Join on one line.
func join(errs []error) error {
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return joined(errs)
}

type joined []error

func (j joined) Error() string {
	texts := make([]string, len(j))
	for i, err := range j {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (j joined) Unwrap() []error { return j }
