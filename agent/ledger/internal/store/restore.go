package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"go.etcd.io/bbolt"
)

// maxBackup bounds what is taken for a backup.
const maxBackup = 1 << 30

// Restore puts a backup in the place of the store at o.Path, which no agent may
// hold. The backup is verified first, gets a new id, and loses the records that
// drop picks. The old store is gone only once the new one is whole on disk.
func Restore(o Options, from io.Reader, drop func(Kind, string) bool) error {
	o = o.withDefaults()
	unlock, err := lockFolder(o.Path)
	if err != nil {
		return err
	}
	defer unlock()
	old, err := os.OpenFile(o.Path, os.O_RDWR, 0)
	if err == nil {
		defer func() { _ = old.Close() }()
		err = lock(old)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store %s: %w", o.Path, err)
	}
	if err := restore(o, from, drop); err != nil {
		_ = os.Remove(temporary(o.Path))
		return fmt.Errorf("restore %s: %w", o.Path, err)
	}
	return nil
}

func restore(o Options, from io.Reader, drop func(Kind, string) bool) error {
	f, err := os.OpenFile(temporary(o.Path), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(from, maxBackup+1))
	if err == nil && n > maxBackup {
		err = fmt.Errorf("larger than %d bytes", maxBackup)
	}
	if err == nil {
		err = lock(f)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s, err := adopt(o, f)
	if err != nil {
		return fmt.Errorf("the backup: %w", err)
	}
	err = s.guard(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			if err := fold(tx); err != nil {
				return err
			}
			if err := dropRecords(tx, drop); err != nil {
				return err
			}
			return tx.Bucket(bucketMeta).Put(keyID, []byte(newID()))
		})
	})
	if err == nil {
		err = f.Sync() // bbolt syncs the pages it wrote, and the rest came by io.Copy
	}
	if err == nil {
		err = install(temporary(o.Path), o.Path)
	}
	return errors.Join(err, s.db.Close())
}

func dropRecords(tx *bbolt.Tx, drop func(Kind, string) bool) error {
	for kind, name := range bucketOf {
		var doomed [][]byte // a cursor may skip keys while it deletes: collect first
		bucket := tx.Bucket(name)
		err := bucket.ForEach(func(k, _ []byte) error {
			if drop(kind, string(k)) {
				doomed = append(doomed, []byte(string(k)))
			}
			return nil
		})
		for _, k := range doomed {
			err = errors.Join(err, bucket.Delete(k))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
