package branch

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/gosnmp/gosnmp"

	"pilotlight/testbench/branch/internal/snmpd"
)

// heap is what lives, with goroutines' stacks.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

func TestAThousandPhonesTakeLittle(t *testing.T) {
	const phones, limit = 1000, 30 << 10
	before := heap()
	b := start(t, Options{Phones: phones})
	must(t, manager(t, b.Switch(), "public").BulkWalk("1.3.6.1.2.1.2", func(gosnmp.SnmpPDU) error { return nil }))
	each := (heap() - before) / phones
	t.Logf("%d bytes a phone at rest", each)
	if each > limit {
		t.Errorf("%d bytes a phone, want at most %d", each, limit)
	}
	runtime.KeepAlive(b)
}

func TestEveryRecordingOfTheBenchIsRead(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(shared(t), "recordings", "*", "*", "*.snmprec"))
	must(t, err)
	if len(files) == 0 {
		t.Log("no recordings beside this checkout: nothing could be read")
		return
	}
	for _, file := range files {
		f, err := os.Open(file)
		must(t, err)
		table, err := snmpd.ReadRec(f)
		f.Close()
		if err != nil || table.Len() == 0 {
			t.Errorf("%s: %d objects, %v", file, table.Len(), err)
		}
	}
}

// shared is the folder beside the module.
func shared(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	must(t, err)
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "..", "shared")
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}

func BenchmarkPoll(b *testing.B) {
	br, err := Start(b.Context(), Options{Phones: 100})
	if err != nil {
		b.Fatal(err)
	}
	defer br.Close()
	tr := &http.Transport{MaxIdleConnsPerHost: 1}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr}
	phones := br.Phones()
	for i := 0; b.Loop(); i++ {
		p := phones[i%len(phones)]
		resp, err := client.Get(fmt.Sprintf("http://%s:%d/StreamingStatisticsX?1", p.Address, p.WebPort))
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}
