package xmlscan

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

var limits = Limits{Bytes: 256 << 10, Depth: 32, Elements: 4096}

// same asks both readers, and reports whether they agree.
func same(t *testing.T, body []byte) {
	t.Helper()
	slow, slowErr := readSlow(body, limits)
	fast, err := scan(string(body), limits)
	switch {
	case len(body) > limits.Bytes, errors.Is(err, errElsewhere), errors.Is(err, errSpaces):
	case (err == nil) != (slowErr == nil):
		t.Errorf("%q: we say %v, encoding/xml says %v", body, err, slowErr)
	case err == nil && !equal(fast, slow):
		t.Errorf("%q:\nwe read       %s\nencoding/xml: %s", body, dump(fast), dump(slow))
	}
	if _, err := Read(body, limits); err == nil && slowErr != nil {
		t.Errorf("%q: taken", body)
	}
}

// equal leaves out attributes that a prefix declared for it makes look like a declaration.
func equal(a, b *Node) bool {
	attrs := func(n *Node) []Attr {
		return slices.DeleteFunc(slices.Clone(n.Attrs), func(a Attr) bool {
			return a.Space == "xmlns" || a.Space == "" && a.Local == "xmlns"
		})
	}
	if a.Space != b.Space || a.Local != b.Local || a.Text != b.Text || !slices.Equal(attrs(a), attrs(b)) {
		return false
	}
	c, d := a.First, b.First
	for ; c != nil && d != nil; c, d = c.Next, d.Next {
		if !equal(c, d) {
			return false
		}
	}
	return c == nil && d == nil
}

func dump(n *Node) string {
	var b strings.Builder
	b.WriteString("{" + n.Space + " " + n.Local)
	for _, a := range n.Attrs {
		b.WriteString(" [" + a.Space + " " + a.Local + "=" + a.Value + "]")
	}
	b.WriteString(" '" + n.Text + "'")
	for c := n.First; c != nil; c = c.Next {
		b.WriteString(dump(c))
	}
	return b.String() + "}"
}

// odd are documents, and what is none, at the edges of the rules.
var odd = []string{
	"", " ", "text", "<a/>", "<a/>text", "text<a/>", "<a/><b/>", "<a></a><!-- c --> <?pi?>", "<a", "<a>", "<a/", "<a /", "<a / >", "</a>", "<>", "< a/>", "</>", "<a></b>", "<a></a >", "<a></a b>",
	"\ufeff<a/>", "\x00<a/>", "<a>\x01</a>", "<a>\xff</a>", "<a>é</a>", "<a>\ufffe</a>", "<a>\ufffd</a>", "<é/>", "<aé/>", "<a é='1'/>", "<a b='é'/>", "<1/>", "<-a/>", "<:a/>", "<a:/>", "<:/>", "<a:b:c/>", "<a b:c:d=''/>", "<a :b='1' c:='2'/>",
	"<a b=1/>", "<a b/>", "<a b=/>", "<a b='/>", `<a b="'" c='"'/>`, "<a b='1'c='2'/>", "<a b = '1' b='2'/>", "<a b='<'/>", "<a b='>'/>", "<a b=']]>'/>", "<a b='\r\n\r\t\n'/>", "<a b=''/>",
	"<a>]]></a>", "<a>]]&gt;</a>", "<a>]&#93;></a>", "]]>", "<a>]] ></a>", "<a><![CDATA[]]></a>", "<a><![CDATA[x]]]></a>", "<a><![CDATA[<&\r\n\r]]>b</a>", "<a><![CDATA[x</a>", "<![CDATA[x]]><a/>", "<a><![CDATA[\x01]]></a>", "<a><![cdata[]]></a>", "<![",
	"<a>&lt;&gt;&amp;&apos;&quot;</a>", "<a b='&lt;&quot;&apos;'/>", "<a>&lt</a>", "<a>&;</a>", "<a>&</a>", "<a>& b;</a>", "<a>&nbsp;</a>", "<a>&é;</a>", "<a>&#65;&#x41;&#X41;</a>", "<a>&#x41;&#x1F600;</a>", "<a>&#;</a>", "<a>&#x;</a>", "<a>&#0;</a>", "<a>&#xD800;</a>", "<a>&#xFFFE;</a>", "<a>&#x110000;</a>", "<a>&#99999999999999999999;</a>", "<a>&#" + strings.Repeat("0", 99) + "65;</a>", "<a>&#+65;</a>", "<a>&#6_5;</a>",
	"<a>\r\n&#13;\n&#10;\r</a>", "<a>\r&#10;</a>", "<a> b <c/> d <e/> </a>", "<a> <b/>  <c/> x</a>", "<a>x<!-- y -->z<?p q?>w</a>", "<a>\u00a0x\u0085</a>", "<a>\u0085<b/>x</a>",
	"<!-- --><a/>", "<!----><a/>", "<!--->", "<!---><a/>", "<!-- -- --><a/>", "<!-- ---><a/>", "<!-- \xff --><a/>", "<!-", "<!--", "<!-x-->", "<!DOCTYPE a><a/>", "<!DOCTYPE", "<!>", "<!x", "<a><!ENTITY b 'c'></a>",
	"<?xml version='1.0'?><a/>", "<?xml version='1.1'?><a/>", "<?xml version=\"1.0\" encoding=\"utf-8\"?><a/>", "<?xml encoding='US-ASCII'?><a>é</a>", "<?xml encoding='UTF-7'?><a/>", "<?xml encoding=\"iso-8859-1\"?><a>\xe9</a>", "<a><?xml encoding='latin1'?>\xe9</a>", "<?xml encoding=utf-7?><a/>", "<?xml encoding='x?><a/>", "<?xml version=version='2'?><a/>", "<?xml encoding==''utf-7'?><a/>", "<?xml encoding=?><a/>", "<?xmlx encoding='q'?><a/>", "<?XML encoding='q'?><a/>", "<? x?><a/>", "<?x", "<?x?", "<?x?>", "<?é?><a/>", "<?a:b:c ? > ?><a/>", "<?1?><a/>", "<?x\xff?><a/>",
	"<a xmlns='u'/>", "<a xmlns='u'><b xmlns=''/><c/></a>", "<a xmlns:p='u' p:b='1'><p:c/></a>", "<p:a p:b='1' xmlns:p='u'/>", "<a xmlns:p='u' xmlns:p='v'><p:b xmlns:p='w'/><p:b/></a>", "<p:a/>", "<xml:a xml:lang='x'/>", "<xmlns:a/>", "<xmlns/>", "<xmlns xmlns='u'/>", "<a xmlns:xmlns='u' xmlns:xml='v' xml:b=''/>", "<p:a xmlns:p=''/>", "<a xmlns:p='' p:b='1'/>", "<a xmlns:='u'/>", "<a xmlns:p='&lt;'><p:b/></a>", "<p:a xmlns:p='u'></a>", "<a xmlns='u' xmlns:p='u'></p:a>", "<a xmlns:p='u'><b></b><c xmlns:p='v'></c><p:d></p:d></a>",
	"<a " + strings.Repeat("b='' ", maxAttributes) + "/>", "<a " + strings.Repeat("b='' ", maxAttributes+1) + "/>", strings.Repeat("<a>", 33), strings.Repeat("<a>", 32) + strings.Repeat("</a>", 32), "<a>" + strings.Repeat("<b/>", 4095) + "</a>", "<a>" + strings.Repeat("<b/>", 4096) + "</a>",
}

func TestItAgreesWithEncodingXML(t *testing.T) {
	for _, body := range odd {
		same(t, []byte(body))
		for cut := range min(len(body), 80) {
			same(t, []byte(body[:cut]))
		}
	}
}

// TestItAgreesOnAllSamples: what the RFCs and other people's systems send.
func TestItAgreesOnAllSamples(t *testing.T) {
	dirs := []string{"../../../../shared/sip/samples", "../pidf/testdata", "../event/testdata"}
	var files []string
	for _, dir := range dirs {
		for _, pattern := range []string{"*.xml", "*/*.xml"} {
			found, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, found...)
		}
	}
	if len(files) < 10 {
		t.Fatal("no samples")
	}
	for _, f := range files {
		body, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if len(body) <= limits.Bytes {
			same(t, body)
		}
	}
	t.Log(len(files), "documents")
}

// TestWhatIsLeftToEncodingXML: other encodings, and names outside ASCII.
func TestWhatIsLeftToEncodingXML(t *testing.T) {
	for body, want := range map[string]string{
		"<?xml version='1.0' encoding='ISO-8859-1'?><a>d\xe9j\xe0</a>": "déjà",
		"<a><é>x</é>y</a>": "y",
	} {
		n, err := Read([]byte(body), limits)
		if err != nil || n.Text != want {
			t.Errorf("%q: %v %v", body, n, err)
		}
	}
	twice := "<?xml encoding='latin1'?><a>\xe9<?xml encoding='latin1'?></a>"
	if _, err := Read([]byte(twice), limits); err == nil {
		t.Error("an encoding twice is taken")
	}
}

// TestMemoryIsBounded: what is far too much costs about what it is long.
func TestMemoryIsBounded(t *testing.T) {
	for name, body := range map[string]string{
		"elements":     "<a>" + strings.Repeat("<b>", 1<<16),
		"text":         "<a>" + strings.Repeat("x<b/>", 4000) + "</a>",
		"open tags":    strings.Repeat("<", 1<<18),
		"references":   "<a>" + strings.Repeat("&", 1<<17),
		"brackets":     "<a>" + strings.Repeat("]", 1<<17),
		"declarations": "<a" + strings.Repeat(" xmlns:b=''", 100) + ">",
		"spaces":       strings.Repeat("<a xmlns:b='' xmlns:c='' xmlns:d='' xmlns:e='' xmlns:f='' xmlns:g=''>", 30),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Read([]byte(body), limits)
		runtime.ReadMemStats(&after)
		if spent := after.TotalAlloc - before.TotalAlloc; spent > uint64(8*len(body)+1<<20) {
			t.Errorf("%s: %d octets cost %d (%v)", name, len(body), spent, err)
		}
	}
}

func FuzzItAgrees(f *testing.F) {
	for _, body := range odd {
		if len(body) < 1000 {
			f.Add([]byte(body))
		}
	}
	files, _ := filepath.Glob("../pidf/testdata/*.xml")
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) { same(t, body) })
}
