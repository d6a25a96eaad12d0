package store

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"
)

// A migration takes the file from one schema to the next, in the transaction
// it is given.
type migration func(*bbolt.Tx) error

// migrations is append-only: step n leads from schema n to n+1, and an empty
// file has schema 0. A step that was released is never changed.
func migrations() []migration {
	return []migration{layoutOne}
}

// buckets are all that a store has.
func buckets() [][]byte {
	all := [][]byte{bucketMeta, bucketLog}
	for _, name := range bucketOf {
		all = append(all, name)
	}
	return all
}

func layoutOne(tx *bbolt.Tx) error {
	for _, name := range buckets() {
		if _, err := tx.CreateBucket(name); err != nil {
			return fmt.Errorf("bucket %q: %w", name, err)
		}
	}
	return nil
}

// upgrade migrates a file that needs it, and writes nothing to one that does not:
// what is found broken later must be set aside as it was. A migration that
// fails is no fault of the file, which stays as it is.
func upgrade(db *bbolt.DB, steps []migration) error {
	var have uint64
	err := db.View(func(tx *bbolt.Tx) (err error) { have, err = schema(tx); return err })
	if err != nil {
		return unsound(err)
	}
	if have == uint64(len(steps)) {
		return nil
	}
	return db.Update(func(tx *bbolt.Tx) error { return migrate(tx, steps) })
}

func migrate(tx *bbolt.Tx, steps []migration) error {
	have, err := schema(tx)
	if err != nil {
		return err
	}
	if have > uint64(len(steps)) {
		return fmt.Errorf("%w (schema %d, this one knows %d)", ErrNewer, have, len(steps))
	}
	for n := have; n < uint64(len(steps)); n++ {
		if err := steps[n](tx); err != nil {
			return fmt.Errorf("migration from schema %d: %w", n, err)
		}
	}
	return tx.Bucket(bucketMeta).Put(keySchema, binary.BigEndian.AppendUint64(nil, uint64(len(steps))))
}

func schema(tx *bbolt.Tx) (uint64, error) {
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		if k, _ := tx.Cursor().First(); k != nil {
			return 0, fmt.Errorf("no bucket %q: not a store of ours", bucketMeta)
		}
		return 0, nil
	}
	v := meta.Get(keySchema)
	if len(v) != 8 || len(meta.Get(keyID)) == 0 {
		return 0, fmt.Errorf("bucket %q without schema or id", bucketMeta)
	}
	return binary.BigEndian.Uint64(v), nil
}
