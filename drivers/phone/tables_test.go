package phone

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// table reads the table of a page whose header begins with that, by its first column.
func table(t *testing.T, file, header string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n"+header)
	if !found {
		t.Fatalf("%s has no table %q", file, header)
	}
	rows := map[string][]string{}
	for n, line := range strings.Split(rest, "\n") {
		if n < 2 { // the rest of the header, and the rule
			continue
		}
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows[cells[0]] = cells
	}
	if len(rows) != len(Families) {
		t.Errorf("%s has %d rows, and there are %d families", file, len(rows), len(Families))
	}
	return rows
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "–"
}

// The table for the administrator says what the data says.
func TestThePageOnPhonesAgreesWithTheData(t *testing.T) {
	rows := table(t, "../../docs/phones.md", "| family | open pages | keys")
	for _, f := range Families {
		row := rows[f.Name]
		if len(row) != 7 {
			t.Errorf("%s: row %q", f.Name, row)
			continue
		}
		options := yes(f.Options)
		if !f.Sure {
			options += " (unsure)"
		}
		if row[5] != options {
			t.Errorf("%s answers OPTIONS: %q, and by the data %q", f.Name, row[5], options)
		}
		if flat := f.Dialect == flatDialect; flat != strings.HasPrefix(row[2], "in `status.xml`") || flat != strings.HasPrefix(row[1], "`status.xml`") {
			t.Errorf("%s: pages %q, keys %q", f.Name, row[1], row[2])
		}
		if keys := f.Lines != nil; keys != strings.HasPrefix(row[2], "yes") {
			t.Errorf("%s: keys %q, and by the data %v", f.Name, row[2], keys)
		}
	}
}

// So does the one for who reads the driver, and column by column.
func TestTheREADMEAgreesWithTheData(t *testing.T) {
	rows := table(t, "README.md", "| family | open pages | streams |")
	for _, f := range Families {
		row := rows[f.Name]
		if len(row) != 8 {
			t.Errorf("%s: row %q", f.Name, row)
			continue
		}
		sure := "no"
		if f.Sure {
			sure = "yes"
		}
		streams := map[int]string{0: "–", 1: "?1"}[f.Streams]
		if f.Streams > 1 {
			streams = fmt.Sprintf("?1 to ?%d", f.Streams)
		}
		keys, _, _ := strings.Cut(row[4], ",")
		got := []string{streams, yes(f.Ports), yes(f.Lines != nil), yes(f.Log), yes(f.Options), sure}
		want := []string{row[2], row[3], keys, row[5], row[6], row[7]}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: the README has %q, the data %q", f.Name, want, got)
		}
		if (f.Dialect == flatDialect) != (row[1] == "`status.xml`") {
			t.Errorf("%s: pages %q", f.Name, row[1])
		}
	}
}
