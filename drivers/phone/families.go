package phone

import (
	"regexp"
	"strconv"
	"strings"
)

// A Family is what the phones of one kind can tell, as far as that is known. An
// interface that a family is known not to have is never asked for, and its absence
// is never evidence that a phone is down.
type Family struct {
	Name    string
	Models  *regexp.Regexp // of modelNumber, or of the product's name
	Dialect dialect
	Streams int      // StreamingStatisticsX pages
	Ports   bool     // PortInformationX, EthernetInformationX
	Lines   []string // LineInfo, in the order in which the paths are tried; nil: none
	Calls   func(firmware string) bool
	Mode    bool // ModeInfo
	Log     bool // DeviceLogX
	Options bool // answers OPTIONS from strangers
	Sure    bool // the row rests on documents or on pages of real phones; else what it has not got is tried
	Source  string
}

// deaf reports that a phone is known to answer no OPTIONS of ours: it is not asked,
// and its silence would be no evidence of anything.
func (f Family) deaf() bool { return f.Sure && !f.Options }

// tried is the family with the open pages that it is not sure to be without: they are
// asked for, as of a phone of no known family. Pages that ask for a user are not.
func (f Family) tried() Family {
	if !f.Sure && f.Dialect == pageDialect {
		f.Streams, f.Ports, f.Log = max(f.Streams, strange.Streams), strange.Ports, strange.Log
	}
	return f
}

// A dialect is how a phone tells of itself.
type dialect int

const (
	anyDialect  dialect = iota // not known yet: each is tried
	pageDialect                // the X pages of Unified CM firmware
	flatDialect                // status.xml of multiplatform firmware
)

var (
	javaLines = []string{pathLines, "/CGI/LineInfo"}
	oldLines  = []string{"/CGI/LineInfo", pathLines}
)

func never(string) bool  { return false }
func always(string) bool { return true }

// Families is the table, the more special first.
var Families = []Family{
	{Name: "7905, 7912", Models: models(`79(05|12)`), Dialect: pageDialect, Calls: never,
		Source: "public serialisation of the phone pages"},
	{Name: "7940, 7960", Models: models(`79[46]0`), Dialect: pageDialect, Streams: 3, Ports: true, Log: true, Calls: never, Sure: true,
		Source: "page list and dump of a 7940"},
	{Name: "7906, 7911, 7931, 7941 to 7975", Models: models(`79(06|11|31|[4-7][1-9]|70)`), Dialect: pageDialect, Streams: 3, Ports: true, Log: true, Calls: never, Sure: true,
		Source: "7900 administration guides; page list of a 7945"},
	{Name: "6900", Models: models(`69[0-9]{2}`), Dialect: pageDialect, Streams: 1, Ports: true, Log: true, Calls: never, Sure: true,
		Source: "6900 administration guide: one stream; dump of a 6941"},
	{Name: "8821", Models: models(`8821`), Dialect: pageDialect, Streams: 3, Ports: true, Log: true, Lines: oldLines, Calls: after8821, Sure: true,
		Source: "8821 release notes 11.0(5)SR3: CallInfo overflows the stack before (CSCvs78272)"},
	{Name: "840, 860", Models: models(`8[46]0[S]?`), Dialect: pageDialect, Calls: never,
		Source: "wireless phone 800 developer guide: an interface of its own, not read here"},
	{Name: "MPP: 6800, 7800, 8800 with 3PCC firmware", Models: regexp.MustCompile(`(?i)-3PCC|^CP-68[0-9]{2}`), Dialect: flatDialect, Options: true, Calls: never,
		Source: "multiplatform guides; the shape of status.xml is an SPA5xx's (inferred)"},
	{Name: "7800", Models: models(`78[0-9]{2}`), Dialect: pageDialect, Streams: 3, Ports: true, Log: true, Lines: javaLines, Calls: always, Mode: true,
		Source: "Application Development Notes for the X pages; LineInfo is the 8800's (inferred)"},
	{Name: "8875, 9800", Models: regexp.MustCompile(`(?i)^(CP-8875|DP-98[0-9]{2})`), Dialect: pageDialect, Streams: 3, Calls: never,
		Source: "a public client: HTTPS wanted; the rest is not known"},
	{Name: "8800", Models: models(`88[0-9]{2}`), Dialect: pageDialect, Streams: 3, Ports: true, Log: true, Lines: javaLines, Calls: always, Mode: true, Sure: true,
		Source: "8800 administration guide; dump of an 8851"},
	{Name: "8961, 9951, 9971", Models: models(`8961|99[57]1`), Dialect: pageDialect, Streams: 3, Ports: true, Log: true, Lines: javaLines, Calls: never,
		Source: "Application Development Notes for the X pages; LineInfo from memory"},
	{Name: "SPA 300, SPA 500", Models: regexp.MustCompile(`(?i)^SPA[35][0-9]{2}`), Dialect: flatDialect, Options: true, Calls: never, Sure: true,
		Source: "profile of an SPA5xx"},
	{Name: "ATA 190, SPA 100", Models: regexp.MustCompile(`(?i)^(ATA|SPA1)[0-9]{2}`), Dialect: flatDialect, Options: true, Calls: never,
		Source: "ATA 191 and 192 administration guide; the groups of its status are inferred"},
}

// strange is what is asked of a phone of no known family: the pages that are
// open to anybody, and nothing that asks for a user.
var strange = Family{Name: "unknown", Streams: 3, Ports: true, Log: true, Calls: never, Source: "none"}

// strangeFlat is a phone of no known family that has a status page.
var strangeFlat = Family{Name: "unknown, with a status page", Dialect: flatDialect, Calls: never, Source: "none"}

// models matches Cisco's model numbers, with CP- before them or not.
func models(numbers string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)^(CP-|Cisco (Unified )?IP Phone )?(` + numbers + `)(G|G-GE|-K9)?$`)
}

// FamilyOf is the family of a model.
func FamilyOf(model string) Family {
	model = strings.TrimSpace(model)
	for _, f := range Families {
		if f.Models.MatchString(model) {
			return f
		}
	}
	return strange
}

var load8821 = regexp.MustCompile(`11[.-]0[.(-]+([0-9]+)[)-]*(?:SR([0-9]+))?`)

// after8821 reports whether an 8821's firmware is 11.0(5)SR3 or later. One that
// cannot be read is taken for an old one.
func after8821(firmware string) bool {
	m := load8821.FindStringSubmatch(firmware)
	if m == nil {
		return false
	}
	release, _ := strconv.Atoi(m[1])
	service, _ := strconv.Atoi(m[2])
	return release > 5 || release == 5 && service >= 3
}
