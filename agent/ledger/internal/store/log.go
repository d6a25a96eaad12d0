package store

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/encoding/protowire"
)

// A log record is a version byte, a byte that says whether the body is
// deflated, the body, and a checksum of all that. The body holds, for each
// mutation, a length-delimited protobuf field whose number is the kind, with
// the length of the key, the key, and for a put the byte 1 and the value.
const (
	logVersion  = 1
	logPlain    = 0
	logDeflated = 1

	deflateFrom = 1024     // bytes; below, it gains nothing
	maxRecord   = 64 << 20 // inflated
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errChecksum = errors.New("checksum does not match")

// A deflater makes log records; it keeps its tables, which are large.
type deflater struct{ w *flate.Writer }

func (d *deflater) appendLog(b []byte, batch []Mutation) []byte {
	var body []byte
	for _, m := range batch {
		body = appendMutation(body, m)
	}
	if small, ok := d.deflate(body); ok {
		b = append(append(b, logVersion, logDeflated), small...)
	} else {
		b = append(append(b, logVersion, logPlain), body...)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func appendMutation(b []byte, m Mutation) []byte {
	n := protowire.SizeVarint(uint64(len(m.Key))) + len(m.Key)
	if m.Value != nil {
		n += 1 + len(m.Value)
	}
	b = protowire.AppendTag(b, protowire.Number(m.Kind), protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(n))
	b = protowire.AppendString(b, m.Key)
	if m.Value != nil {
		b = append(append(b, 1), m.Value...)
	}
	return b
}

// deflate makes a body smaller, if it can. Records repeat names and models a
// lot: it saves flash two bytes of three.
func (d *deflater) deflate(body []byte) ([]byte, bool) {
	if len(body) < deflateFrom {
		return nil, false
	}
	var small bytes.Buffer
	if d.w == nil {
		d.w, _ = flate.NewWriter(nil, flate.BestSpeed) // fails for an unknown level only
	}
	d.w.Reset(&small)
	_, err := d.w.Write(body)
	if err == nil {
		err = d.w.Close()
	}
	return small.Bytes(), err == nil && small.Len() < len(body)
}

func inflate(b []byte) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b)), maxRecord+1))
	if err == nil && len(body) > maxRecord {
		err = errors.New("too large")
	}
	return body, err
}

// consumeLog is the reverse of appendLog. What it returns may point into b.
func consumeLog(b []byte) ([]Mutation, error) {
	if len(b) < 6 {
		return nil, errors.New("log record cut short")
	}
	b, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(b, castagnoli) != sum {
		return nil, errChecksum
	}
	if b[0] != logVersion {
		return nil, fmt.Errorf("log record of version %d", b[0])
	}
	body := b[2:]
	if b[1] == logDeflated {
		var err error
		if body, err = inflate(body); err != nil {
			return nil, fmt.Errorf("log record: %w", err)
		}
	}
	var batch []Mutation
	for len(body) > 0 {
		m, n, err := consumeMutation(body)
		if err != nil {
			return nil, fmt.Errorf("log record: %w", err)
		}
		batch = append(batch, m)
		body = body[n:]
	}
	return batch, nil
}

func consumeMutation(b []byte) (Mutation, int, error) {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 || typ != protowire.BytesType || num > 255 || bucketOf[Kind(num)] == nil {
		return Mutation{}, 0, errors.New("not a mutation")
	}
	body, m := protowire.ConsumeBytes(b[n:])
	if m < 0 {
		return Mutation{}, 0, errors.New("mutation cut short")
	}
	key, k := protowire.ConsumeBytes(body)
	if k < 0 || len(key) == 0 {
		return Mutation{}, 0, errors.New("mutation without a key")
	}
	mut := Mutation{Kind: Kind(num), Key: string(key)}
	if body = body[k:]; len(body) > 0 {
		mut.Value = body[1:]
	}
	return mut, n + m, nil
}

// seal appends the checksum that guards one record in its bucket.
func seal(kind Kind, key string, value []byte) []byte {
	return binary.BigEndian.AppendUint32(slices.Clone(value), checksum(kind, key, value))
}

// unseal checks and removes it. What it returns points into b.
func unseal(kind Kind, key string, b []byte) ([]byte, error) {
	if len(b) < 4 {
		return nil, errors.New("record cut short")
	}
	value, sum := b[:len(b)-4:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if checksum(kind, key, value) != sum {
		return nil, errChecksum
	}
	return value, nil
}

func checksum(kind Kind, key string, value []byte) uint32 {
	sum := crc32.Update(0, castagnoli, []byte{byte(kind)})
	sum = crc32.Update(sum, castagnoli, []byte(key))
	return crc32.Update(sum, castagnoli, value)
}

type place struct {
	kind Kind
	key  string
}

// chunkSize makes four chunks fill a page. bbolt keeps at least two, and up to
// four, values together in a leaf that it writes anew with each: with a whole
// record in one value, each commit would write the last few of them again.
const chunkSize = (pageSize-headerSize)/4 - elementSize - 10

// appendRecord adds a record to the log, as chunks under (number, part).
func appendRecord(tx *bbolt.Tx, record []byte) error {
	log := tx.Bucket(bucketLog)
	log.FillPercent = 1 // keys only grow: half-empty pages would stay so
	n, err := log.NextSequence()
	if err != nil {
		return err
	}
	part := uint16(0)
	for chunk := range slices.Chunk(record, chunkSize) {
		key := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(nil, n), part)
		if part++; part == 0 {
			return errors.New("log record too large")
		}
		if err := log.Put(key, chunk); err != nil {
			return err
		}
	}
	return nil
}

// replay reads the log into the latest mutation of each place.
func replay(tx *bbolt.Tx) (map[place]Mutation, error) {
	latest := map[place]Mutation{}
	var record []byte
	take := func() error {
		if record == nil {
			return nil
		}
		batch, err := consumeLog(record)
		for _, m := range batch {
			latest[place{m.Kind, m.Key}] = m
		}
		record = nil
		return err
	}
	err := tx.Bucket(bucketLog).ForEach(func(k, v []byte) error {
		if len(k) != 10 {
			return errors.New("log: not a key")
		}
		if binary.BigEndian.Uint16(k[8:]) == 0 {
			if err := take(); err != nil {
				return err
			}
		}
		record = append(record, v...)
		return nil
	})
	return latest, errors.Join(err, take())
}

func load(tx *bbolt.Tx, visit func(Kind, string, []byte) error) error {
	latest, err := replay(tx)
	if err != nil {
		return err
	}
	for kind, name := range bucketOf {
		err := tx.Bucket(name).ForEach(func(k, v []byte) error {
			value, err := unseal(kind, string(k), v)
			if err != nil {
				return fmt.Errorf("%s %q: %w", name, k, err)
			}
			if _, later := latest[place{kind, string(k)}]; later {
				return nil
			}
			if err := visit(kind, string(k), slices.Clone(value)); err != nil {
				return fmt.Errorf("%s %q: %w", name, k, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, m := range latest {
		if m.Value == nil {
			continue
		}
		if err := visit(m.Kind, m.Key, append([]byte{}, m.Value...)); err != nil {
			return fmt.Errorf("log: %s %q: %w", bucketOf[m.Kind], m.Key, err)
		}
	}
	return nil
}

// fold applies the log to the buckets and empties it, in one transaction.
func fold(tx *bbolt.Tx) error {
	latest, err := replay(tx)
	if err != nil {
		return err
	}
	batch := make([]Mutation, 0, len(latest))
	for _, m := range latest {
		batch = append(batch, m)
	}
	// In the order of the keys: neighbours share pages.
	slices.SortFunc(batch, func(a, b Mutation) int {
		if a.Kind != b.Kind {
			return int(a.Kind) - int(b.Kind)
		}
		return strings.Compare(a.Key, b.Key)
	})
	for _, m := range batch {
		bucket := tx.Bucket(bucketOf[m.Kind])
		if m.Value == nil {
			err = bucket.Delete([]byte(m.Key))
		} else {
			err = bucket.Put([]byte(m.Key), seal(m.Kind, m.Key, m.Value))
		}
		if err != nil {
			return fmt.Errorf("%s %q: %w", bucketOf[m.Kind], m.Key, err)
		}
	}
	if err := tx.DeleteBucket(bucketLog); err != nil {
		return err
	}
	_, err = tx.CreateBucket(bucketLog)
	return err
}
