package drill

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// standIn is the smallest agent that keeps the contract as far as the drill
// looks: it is what the drill is tried on, honest and otherwise. It is this
// test binary, started with standInVariable set.
const (
	standInVariable = "DRILL_STANDIN"
	controlVariable = "PILOTLIGHT_TEST_STORE" // the product's own controls use the same
)

func TestMain(m *testing.M) {
	if os.Getenv(standInVariable) == "" {
		os.Exit(m.Run())
	}
	if err := standIn(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var (
	folderLine = regexp.MustCompile(`(?m)^data_dir: "(.+)"$`)
	listenLine = regexp.MustCompile(`(?m)^panel: \{listen: "(.+)"\}$`)
	bucket     = []byte("manual")
	epochKey   = []byte("epoch")
)

func standIn(args []string) error {
	at := slices.Index(args, "--config")
	text, err := os.ReadFile(args[at+1])
	if err != nil {
		return err
	}
	if args[0] == "token" {
		fmt.Println("a-token")
		return nil
	}
	s, err := openStandIn(string(folderLine.FindSubmatch(text)[1]))
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /api/v1/events", s.events)
	mux.HandleFunc("GET /api/v1/presence/{user}", s.get)
	mux.HandleFunc("PUT /api/v1/presence/{user}/manual", s.put)
	mux.HandleFunc("DELETE /api/v1/presence/{user}/manual", s.put)
	server := http.Server{Addr: string(listenLine.FindSubmatch(text)[1]), Handler: mux, ReadHeaderTimeout: time.Second}
	return server.ListenAndServe()
}

type standInStore struct {
	db      *bbolt.DB
	epoch   uint64
	control string
	mu      sync.Mutex
	manual  map[string][]byte
}

// openStandIn opens or makes the store, in the way that the control asks for.
func openStandIn(folder string) (*standInStore, error) {
	s := &standInStore{control: os.Getenv(controlVariable), manual: map[string][]byte{}}
	path := filepath.Join(folder, "store.db")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := makeStore(path, s.control == "made-in-place"); err != nil {
			return nil, err
		}
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, NoSync: s.control == "nosync"})
	if err != nil {
		return nil, err
	}
	s.db = db
	return s, db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucket)
		if old := b.Get(epochKey); old != nil {
			s.epoch = binary.BigEndian.Uint64(old)
		}
		if s.control != "epoch-stays" || s.epoch == 0 {
			s.epoch++
		}
		err := b.ForEach(func(k, v []byte) error { s.manual[string(k)] = slices.Clone(v); return nil })
		return errors.Join(err, b.Put(epochKey, binary.BigEndian.AppendUint64(nil, s.epoch)))
	})
}

// makeStore makes an empty store: under another name first, unless in place.
func makeStore(path string, inPlace bool) error {
	name := path + ".new"
	if inPlace {
		name = path
	} else if err := os.RemoveAll(name); err != nil { // what a cut left of an earlier try
		return err
	}
	db, err := bbolt.Open(name, 0o600, nil)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucketIfNotExists(bucket); return err })
	if err := errors.Join(err, db.Close(), os.Rename(name, path)); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (s *standInStore) events(w http.ResponseWriter, r *http.Request) {
	id := "store-1"
	if s.control == "new-store" {
		id = strconv.FormatUint(s.epoch, 10)
	}
	fmt.Fprintf(w, "retry: 2000\n\nid: %s.%d.1\nevent: presence\ndata: {}\n\n", id, s.epoch)
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func (s *standInStore) get(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, ok := s.manual[r.PathValue("user")]
	if !ok {
		fmt.Fprint(w, `{"manual":false,"availability":"unknown","note":""}`)
		return
	}
	var st state
	_ = json.Unmarshal(text, &st)
	_ = json.NewEncoder(w).Encode(map[string]any{"manual": true, "availability": st.Availability, "note": st.Note})
}

func (s *standInStore) put(w http.ResponseWriter, r *http.Request) {
	user := r.PathValue("user")
	change := func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Delete([]byte(user)) }
	var st state
	if r.Method == http.MethodPut {
		if err := json.NewDecoder(r.Body).Decode(&st); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		text, _ := json.Marshal(st)
		change = func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Put([]byte(user), text) }
	}
	if s.control == "early-ack" {
		w.WriteHeader(http.StatusNoContent)
		_ = http.NewResponseController(w).Flush()
	}
	if err := s.db.Update(change); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}
