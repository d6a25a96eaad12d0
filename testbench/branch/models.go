package branch

// family says which of the generations of pages a phone serves.
type family int

const (
	legacy  family = iota // 7940, 7960: RowStatus and Tool names
	classic               // 6900, 7941 to 7975
	modern                // 7800, 8800 with the firmware for Unified CM
	mpp                   // multiplatform firmware ("3PCC"): status.xml, answers OPTIONS
)

// model is what all phones of one type have in common. The loads, banners and
// watts are those that such phones show; a number that no source gives is invented.
type model struct {
	product   string // modelNumber, and the name by which a user knows it
	platform  string // cdpCachePlatform
	load      string // cdpCacheVersion, versionID
	appLoad   string
	userAgent string
	family    family
	streams   int     // how many StreamingStatisticsX pages
	video     bool    // sends and receives video
	server    string  // HTTP Server header; no source tells that of the newer ones
	closes    bool    // closes the connection after each page
	locale    *locale // nil: English
	numbers   bool    // LineInfo, CallInfo and ModeInfo, for the user it is associated with
	lineInfo  string  // where LineInfo is; empty: /CGI/Java
	ata       bool    // its calls stand in the group of the line
	med       bool    // speaks LLDP-MED beside CDP
	class     int     // PoE class 0 to 4
	asksMW    int     // cdpCachePowerConsumption
	idleMW    int     // drawn
	talkMW    int
}

// models is ordered: the phones of a branch take them in turn.
var models = []model{
	{product: "CP-8841", platform: "Cisco IP Phone 8841", load: "sip88xx.14-2-1-0001", appLoad: "rootfs88xx.14-2-1-0001",
		userAgent: "Cisco-CP8841/14.2.1", family: modern, numbers: true, streams: 5, class: 2, asksMW: 6300, idleMW: 2500, talkMW: 3400, med: true},
	{product: "CP-8845", platform: "Cisco IP Phone 8845", load: "sip8845_65.14-2-1-0001", appLoad: "rootfs8845_65.14-2-1-0001",
		userAgent: "Cisco-CP8845/14.2.1", family: modern, numbers: true, streams: 5, video: true, class: 3, asksMW: 11400, idleMW: 4600, talkMW: 7900},
	{product: "CP-7841", platform: "Cisco IP Phone 7841", load: "sip78xx.12-8-1-0001", appLoad: "rootfs78xx.12-8-1-0001",
		userAgent: "Cisco-CP7841/12.8.1", family: modern, numbers: true, streams: 5, class: 1, asksMW: 3800, idleMW: 1700, talkMW: 2300, locale: &french},
	{product: "CP-8851", platform: "Cisco IP Phone 8851", load: "sip88xx.12-1-1-12", appLoad: "rootfs88xx.12-1-1-12",
		userAgent: "Cisco-CP8851/12.1.1", family: modern, numbers: true, streams: 5, class: 4, asksMW: 12900, idleMW: 3000, talkMW: 4100, med: true},
	{product: "CP-7962G", platform: "Cisco IP Phone 7962", load: "SCCP42.9-4-2SR3-1S", appLoad: "jar42sccp.9-4-2ES26.sbn",
		userAgent: "Cisco-CP7962G/9.4.2", family: classic, streams: 5, server: "Allegro-Software-RomPager/4.34", closes: true,
		class: 2, asksMW: 6300, idleMW: 2600, talkMW: 3300, med: true},
	{product: "CP-8865", platform: "Cisco IP Phone 8865", load: "sip8845_65.14-2-1-0001", appLoad: "rootfs8845_65.14-2-1-0001",
		userAgent: "Cisco-CP8865/14.2.1", family: modern, numbers: true, streams: 5, video: true, class: 4, asksMW: 13600, idleMW: 5100, talkMW: 8800},
	{product: "CP-7821", platform: "Cisco IP Phone 7821", load: "sip78xx.11-5-1-18", appLoad: "rootfs78xx.11-5-1-18",
		userAgent: "Cisco-CP7821/11.5.1", family: modern, numbers: true, streams: 5, class: 1, asksMW: 2900, idleMW: 1500, talkMW: 2000},
	{product: "CP-8851-3PCC", platform: "Cisco IP Phone 8851", load: "sip88xx.11-3-7MPP0001", appLoad: "sip88xx.11-3-7MPP0001",
		userAgent: "Cisco-CP-8851-3PCC/11.3.7_MPP_0001", family: mpp, class: 4, asksMW: 12900, idleMW: 3000, talkMW: 4100},
	{product: "CP-7940G", platform: "Cisco IP Phone 7940", load: "P00308010200", appLoad: "P00308010200",
		userAgent: "Cisco-CP7940G/8.0", family: legacy, streams: 3, server: "Allegro-Software-RomPager/4.34", closes: true,
		class: 0, asksMW: 6300, idleMW: 4100, talkMW: 5200, locale: &french},
	{product: "CP-9971", platform: "Cisco IP Phone 9971", load: "sip9971.9-4-2SR3-1", appLoad: "rootfs9971.9-4-2SR3-1",
		userAgent: "Cisco-CP9971/9.4.2", family: modern, streams: 3, video: true, class: 4, asksMW: 12500, idleMW: 6100, talkMW: 9200, med: true, numbers: true},
	{product: "SPA504G", platform: "Cisco IP Phone SPA504G", load: "7.6.2f", appLoad: "7.6.2f",
		userAgent: "Cisco/SPA504G-7.6.2f", family: mpp, class: 2, asksMW: 6300, idleMW: 2600, talkMW: 3300},
	{product: "CP-7945G", platform: "Cisco IP Phone 7945", load: "SIP45.9-4-2SR3-1S", appLoad: "jar45sip.9-4-2ES26.sbn",
		userAgent: "Cisco-CP7945G/9.4.2", family: classic, streams: 5, server: "Allegro-Software-RomPager/4.34", closes: true,
		class: 3, asksMW: 12000, idleMW: 4000, talkMW: 6000, med: true, locale: &german},
	{product: "CP-6941", platform: "Cisco IP Phone 6941", load: "= V02", appLoad: "SIP69xx.9-4-1-3SR3",
		userAgent: "Cisco-CP6941/9.4.1", family: classic, streams: 1, class: 1, asksMW: 3800, idleMW: 2000, talkMW: 2600},
	{product: "CP-8821", platform: "Cisco IP Phone 8821", load: "sip8821.11-0-4SR1-1", appLoad: "rootfs8821.11-0-4SR1-1",
		userAgent: "Cisco-CP8821/11.0.4", family: modern, streams: 3, class: 2, asksMW: 6300, idleMW: 2200, talkMW: 3000, numbers: true, lineInfo: "/CGI"},
	{product: "ATA191", platform: "Cisco ATA 191", load: "11-2-2MSR1-1", appLoad: "11-2-2MSR1-1",
		userAgent: "Cisco/ATA191-11.2.2", family: mpp, class: 1, asksMW: 3800, idleMW: 2100, talkMW: 2500, ata: true},
	{product: "CP-7861", platform: "Cisco IP Phone 7861", load: "sip78xx.12-1-1-12", appLoad: "rootfs78xx.12-1-1-12",
		userAgent: "Cisco-CP7861/12.1.1", family: modern, streams: 5, class: 1, asksMW: 3800, idleMW: 1700, talkMW: 2300, numbers: true, locale: &japanese},
}

// answersOptions: an enterprise phone has no SIP port for strangers
// (it talks to its registrar from an ephemeral TCP port); a multiplatform one has.
func (m *model) answersOptions() bool { return m.family == mpp }

// A locale is how a phone words what it says, in the language of its user.
// Only " OUI" was seen on a real phone; the rest is what these locales would say.
type locale struct {
	name                     string
	yes, no, active, standby string
	charset                  string // of the prolog; the header always says utf-8
}

var (
	french   = locale{"Français_France", " OUI", " NON", "Actif", "En veille", "iso-8859-1"}
	german   = locale{"German_Germany", "Ja", "Nein", "Aktiv", "Bereitschaft", "utf-8"}
	japanese = locale{"Japanese_Japan", "はい", "いいえ", "アクティブ", "スタンバイ", "utf-8"}
)

// yes is the localised word of MessageWaiting.
func (m *model) yes(on bool) string {
	switch {
	case m.locale != nil && on:
		return m.locale.yes
	case m.locale != nil:
		return m.locale.no
	case on:
		return "Yes"
	case m.family == classic:
		return "NO"
	}
	return "No"
}

// words are the localised states of a call server.
func (m *model) words() (active, standby string) {
	if m.locale != nil {
		return m.locale.active, m.locale.standby
	}
	return "Active", "Standby"
}
