package disk

import "syscall"

// place is a name in a directory. The zero place is nowhere.
type place struct {
	dir  ID
	name string
}

// names says who is where. There are no hard links, so each ID has one place,
// and a change of names is always "this ID is there now, or nowhere".
type names struct {
	at map[place]ID
	of map[ID]place
}

func newNames() names {
	return names{at: map[place]ID{}, of: map[ID]place{}}
}

// move is one change of names. It happens whole or not at all: a rename takes
// the old name away, evicts whoever had the new one, and sets it, in one step.
type move struct {
	seq      uint64
	id       ID
	from, to place
}

func (n names) apply(m move) {
	if old, ok := n.of[m.id]; ok {
		delete(n.at, old)
		delete(n.of, m.id)
	}
	if m.to == (place{}) {
		return
	}
	if evicted, ok := n.at[m.to]; ok {
		delete(n.of, evicted)
	}
	n.at[m.to] = m.id
	n.of[m.id] = m.to
}

// Create makes a new, empty file, directory or socket under a free name.
func (d *Disk) Create(dir ID, name string, kind Kind, mode uint32) (Info, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.get(dir, Directory); err != nil {
		return Info{}, err
	}
	to := place{dir, name}
	if _, ok := d.now.at[to]; ok {
		return Info{}, syscall.EEXIST
	}
	d.last++
	n := &node{kind: kind, mode: mode & 0o7777}
	d.nodes[d.last] = n
	d.move(move{id: d.last, to: to})
	return n.info(d.last), nil
}

// Remove takes a name away; kind is Directory for rmdir, anything else for
// unlink. An open file stays readable under its ID.
func (d *Disk) Remove(dir ID, name string, kind Kind) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.get(dir, Directory); err != nil {
		return err
	}
	from := place{dir, name}
	id, ok := d.now.at[from]
	if !ok {
		return syscall.ENOENT
	}
	switch isDir := d.nodes[id].kind == Directory; {
	case isDir && kind != Directory:
		return syscall.EISDIR
	case !isDir && kind == Directory:
		return syscall.ENOTDIR
	case isDir && d.occupied(id):
		return syscall.ENOTEMPTY
	}
	d.move(move{id: id, from: from})
	return nil
}

// Rename moves a name, and replaces whoever had the new one.
func (d *Disk) Rename(oldDir ID, oldName string, newDir ID, newName string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, dir := range []ID{oldDir, newDir} {
		if _, err := d.get(dir, Directory); err != nil {
			return err
		}
	}
	from, to := place{oldDir, oldName}, place{newDir, newName}
	id, ok := d.now.at[from]
	if !ok {
		return syscall.ENOENT
	}
	if from == to {
		return nil
	}
	if err := d.mayReplace(id, to); err != nil {
		return err
	}
	d.move(move{id: id, from: from, to: to})
	return nil
}

func (d *Disk) mayReplace(id ID, to place) error {
	isDir := d.nodes[id].kind == Directory
	for up := to.dir; isDir && up != Root; up = d.now.of[up].dir {
		if up == id {
			return syscall.EINVAL // a directory into itself
		}
		if _, linked := d.now.of[up]; !linked {
			return syscall.ENOENT // into a directory that was removed
		}
	}
	old, ok := d.now.at[to]
	if !ok {
		return nil
	}
	switch oldIsDir := d.nodes[old].kind == Directory; {
	case isDir && !oldIsDir:
		return syscall.ENOTDIR
	case !isDir && oldIsDir:
		return syscall.EISDIR
	case oldIsDir && d.occupied(old):
		return syscall.ENOTEMPTY
	}
	return nil
}

func (d *Disk) occupied(dir ID) bool {
	for at := range d.now.at {
		if at.dir == dir {
			return true
		}
	}
	return false
}

func (d *Disk) move(m move) {
	m.seq = d.step()
	d.now.apply(m)
	d.moves = append(d.moves, m)
}

// syncNames makes durable every change to one directory, and with it each
// earlier change that it rests on: of the same ID, or of the same name.
func (d *Disk) syncNames(dir ID) {
	ids, places := map[ID]bool{}, map[place]bool{}
	settled := make([]bool, len(d.moves))
	for i := len(d.moves) - 1; i >= 0; i-- {
		m := d.moves[i]
		if m.from.dir != dir && m.to.dir != dir && !ids[m.id] && !places[m.from] && !places[m.to] {
			continue
		}
		settled[i], ids[m.id] = true, true
		for _, p := range []place{m.from, m.to} {
			if p != (place{}) {
				places[p] = true
			}
		}
	}
	var left []move
	for i, m := range d.moves {
		if settled[i] {
			d.kept.apply(m)
		} else {
			left = append(left, m)
		}
	}
	d.moves = left
}
