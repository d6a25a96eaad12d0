package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/encoding/protowire"
)

// A log record is a version byte, then for each mutation a length-delimited
// protobuf field whose number is the kind, holding the length of the key, the
// key, and for a put the byte 1 and the value; then a checksum.
const logVersion = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errChecksum = errors.New("checksum does not match")

func appendLog(b []byte, batch []Mutation) []byte {
	b = append(b, logVersion)
	for _, m := range batch {
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
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// consumeLog is the reverse of appendLog. What it returns points into b.
func consumeLog(b []byte) ([]Mutation, error) {
	if len(b) < 5 {
		return nil, errors.New("log record cut short")
	}
	b, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(b, castagnoli) != sum {
		return nil, errChecksum
	}
	if b[0] != logVersion {
		return nil, fmt.Errorf("log record of version %d", b[0])
	}
	var batch []Mutation
	for b = b[1:]; len(b) > 0; {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || typ != protowire.BytesType || num > 255 || bucketOf[Kind(num)] == nil {
			return nil, errors.New("log record: not a mutation")
		}
		body, m := protowire.ConsumeBytes(b[n:])
		if m < 0 {
			return nil, errors.New("log record: mutation cut short")
		}
		b = b[n+m:]
		key, k := protowire.ConsumeBytes(body)
		if k < 0 || len(key) == 0 {
			return nil, errors.New("log record: mutation without a key")
		}
		mut := Mutation{Kind: Kind(num), Key: string(key)}
		if body = body[k:]; len(body) > 0 {
			mut.Value = body[1:]
		}
		batch = append(batch, mut)
	}
	return batch, nil
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

// replay reads the log into the latest mutation of each place.
func replay(tx *bbolt.Tx) (map[place]Mutation, int, error) {
	latest := map[place]Mutation{}
	bytes := 0
	err := tx.Bucket(bucketLog).ForEach(func(k, v []byte) error {
		bytes += len(v)
		batch, err := consumeLog(v)
		if err != nil {
			return fmt.Errorf("log %x: %w", k, err)
		}
		for _, m := range batch {
			latest[place{m.Kind, m.Key}] = m
		}
		return nil
	})
	return latest, bytes, err
}

func load(tx *bbolt.Tx, visit func(Kind, string, []byte) error) error {
	latest, _, err := replay(tx)
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
	latest, _, err := replay(tx)
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
