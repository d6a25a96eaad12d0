package disk

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteTo lays an image out in an empty or missing folder, so that ordinary
// programs can look at it. Sockets are left out: nobody listens on them.
func (im Image) WriteTo(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for name, item := range im {
		if item.Kind == Directory {
			if err := os.MkdirAll(filepath.Join(folder, filepath.FromSlash(name)), 0o755); err != nil {
				return err
			}
		}
	}
	for name, item := range im {
		if item.Kind != File {
			continue
		}
		mode := fs.FileMode(item.Mode & 0o777)
		if err := os.WriteFile(filepath.Join(folder, filepath.FromSlash(name)), item.Data, mode); err != nil {
			return err
		}
	}
	return nil
}

// ReadImage takes the image of a folder's files and directories.
func ReadImage(folder string) (Image, error) {
	image := Image{}
	err := filepath.WalkDir(folder, func(p string, entry fs.DirEntry, err error) error {
		if err != nil || p == folder {
			return err
		}
		name, err := filepath.Rel(folder, p)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		item := Item{Mode: uint32(info.Mode().Perm())}
		switch {
		case entry.IsDir():
			item.Kind = Directory
		case info.Mode().IsRegular():
			item.Kind = File
			if item.Data, err = os.ReadFile(p); err != nil {
				return err
			}
		default:
			return nil
		}
		image[filepath.ToSlash(name)] = item
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("image of %s: %w", folder, err)
	}
	return image, nil
}
