package event

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// beside finds the reference data that lies beside the module.
func beside(t testing.TB, pattern string) []string {
	t.Helper()
	dir, _ := os.Getwd()
	for dir != "/" {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	list, _ := filepath.Glob(filepath.Join(dir, "../shared/sip/samples", pattern))
	if len(list) == 0 {
		fmt.Printf("%s: nothing at ../shared/sip/samples/%s; this part could not run\n", t.Name(), pattern)
	}
	return list
}

// wantGolden compares with testdata/name.
func wantGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("differs from %s (-update writes it):\n%s", file, got)
	}
}

// wantValid asks xmllint whether each body is valid by a schema of the RFCs.
func wantValid(t *testing.T, schema string, bodies ...[]byte) {
	t.Helper()
	xsd := beside(t, "schemas/"+schema)
	tool, err := exec.LookPath("xmllint")
	if err != nil {
		fmt.Printf("%s: no xmllint (Debian libxml2-utils); this part could not run\n", t.Name())
	}
	if err != nil || len(xsd) == 0 {
		return
	}
	dir := t.TempDir()
	args := []string{"--noout", "--nonet", "--schema", xsd[0]}
	for i, body := range bodies {
		file := filepath.Join(dir, fmt.Sprintf("%d.xml", i))
		if err := os.WriteFile(file, body, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, file)
	}
	if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
		for line := range strings.Lines(string(out)) {
			if !strings.HasSuffix(line, " validates\n") {
				t.Error(line)
			}
		}
	}
}
