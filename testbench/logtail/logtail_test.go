package logtail

import (
	"fmt"
	"strings"
	"testing"
)

func TestTheEndIsKept(t *testing.T) {
	var tail Tail
	for i := range 10000 {
		fmt.Fprintln(&tail, "line", i)
	}
	if s := tail.String(); !strings.HasSuffix(s, "line 9999") || len(s) > kept || cap(tail.text) > 4*kept {
		t.Errorf("%d bytes of %d held, ending in %q", len(s), cap(tail.text), s[max(0, len(s)-12):])
	}
}
