package disk

import (
	"math/rand/v2"
	"path"
	"slices"
)

// Image is what lies on a disk: paths relative to its root, slash-separated.
// Sockets are in it because their names survive a cut too.
type Image map[string]Item

// Item is one file, directory or socket of an image.
type Item struct {
	Kind Kind
	Mode uint32
	Data []byte
}

// draw decides for one cut what was written out in time. Cuts come in several
// shapes, because a program may survive one and not another: everything lost,
// everything kept, single operations lost, operations torn by sector; and in
// half of all cuts, everything up to some moment is kept.
type draw struct {
	rng    *rand.Rand
	keep   float64 // how likely one decision says "written out"
	torn   bool    // decide per sector, else per operation
	cutoff uint64  // operations below it are kept whole
}

func newDraw(rng *rand.Rand, lowest, highest uint64) draw {
	likelihoods := []float64{0, 0.1, 0.5, 0.9, 1}
	d := draw{rng: rng, keep: likelihoods[rng.IntN(len(likelihoods))], torn: rng.IntN(2) == 0}
	if rng.IntN(2) == 0 && highest >= lowest {
		d.cutoff = lowest + rng.Uint64N(highest-lowest+2)
	}
	return d
}

// fate is the draw for one operation.
type fate struct {
	draw  draw
	whole bool // decided for all of it
	kept  bool
}

func (d draw) begin(seq uint64) fate {
	if seq < d.cutoff {
		return fate{whole: true, kept: true}
	}
	return fate{draw: d, whole: !d.torn, kept: d.rng.Float64() < d.keep}
}

func (f fate) keeps() bool {
	if f.whole {
		return f.kept
	}
	return f.draw.rng.Float64() < f.draw.keep
}

// After draws one of the images that a cut at this moment may leave. The disk
// itself stays as it is; the same seed and history give the same image.
func (d *Disk) After(rng *rand.Rand) Image {
	d.mu.Lock()
	defer d.mu.Unlock()
	chance := newDraw(rng, d.oldestPending(), d.seq)
	left := newNames()
	for at, id := range d.kept.at {
		left.apply(move{id: id, to: at})
	}
	for _, m := range d.moves {
		if chance.begin(m.seq).kept {
			left.apply(m)
		}
	}
	contents := map[ID][]byte{}
	for _, id := range d.ids() { // in order, so that a seed repeats
		contents[id] = d.nodes[id].survivor(chance)
	}
	image := Image{}
	d.walk(Root, "", left, func(name string, id ID, n *node) {
		image[name] = Item{Kind: n.kind, Mode: n.mode, Data: contents[id]}
	})
	return image
}

// Now is the image that readers see: what a clean shutdown would leave.
func (d *Disk) Now() Image {
	d.mu.Lock()
	defer d.mu.Unlock()
	image := Image{}
	d.walk(Root, "", d.now, func(name string, _ ID, n *node) {
		image[name] = Item{Kind: n.kind, Mode: n.mode, Data: slices.Clone(n.now)}
	})
	return image
}

// Load returns a disk that holds an image, all of it durable.
func Load(image Image) *Disk {
	d := New()
	ids := map[string]ID{"": Root}
	paths := make([]string, 0, len(image))
	for p := range image {
		paths = append(paths, p)
	}
	slices.Sort(paths) // parents before children
	for _, p := range paths {
		dir, name := path.Split(p)
		parent, ok := ids[path.Clean("/" + dir)[1:]]
		if !ok {
			continue // no way to it from the root: nobody could open it
		}
		item := image[p]
		d.last++
		ids[p] = d.last
		d.nodes[d.last] = &node{kind: item.Kind, mode: item.Mode,
			now: slices.Clone(item.Data), kept: slices.Clone(item.Data)}
		m := move{id: d.last, to: place{parent, name}}
		d.now.apply(m)
		d.kept.apply(m)
	}
	return d
}

func (d *Disk) oldestPending() uint64 {
	oldest := d.seq + 1
	if len(d.moves) > 0 {
		oldest = d.moves[0].seq
	}
	for _, n := range d.nodes {
		if len(n.pending) > 0 {
			oldest = min(oldest, n.pending[0].seq)
		}
	}
	return oldest
}

func (d *Disk) ids() []ID {
	ids := make([]ID, 0, len(d.nodes))
	for id := range d.nodes {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// walk visits what can be reached from a directory.
func (d *Disk) walk(dir ID, prefix string, in names, visit func(string, ID, *node)) {
	for at, id := range in.at {
		if at.dir != dir {
			continue
		}
		n := d.nodes[id]
		name := path.Join(prefix, at.name)
		visit(name, id, n)
		if n.kind == Directory {
			d.walk(id, name, in, visit)
		}
	}
}
