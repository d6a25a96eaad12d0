package phone

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"pilotlight/agent/presence"
)

// The pages that are read, and the root elements that they must have.
const (
	pathDevice  = "/DeviceInformationX"
	pathNetwork = "/NetworkConfigurationX"
	pathStream  = "/StreamingStatisticsX"

	rootDevice  = "DeviceInformation"
	rootNetwork = "NetworkConfiguration"
	rootStream  = "StreamingStatistics"
)

// DeviceInfo is the typed view of DeviceInformationX.
type DeviceInfo struct {
	HostName string             `json:"host_name"` // SEP and the MAC address
	MAC      string             `json:"mac"`       // twelve upper-case hex digits
	Number   string             `json:"number"`    // the primary directory number
	Model    string             `json:"model"`
	Serial   string             `json:"serial"`
	Firmware string             `json:"firmware"`
	Messages *presence.Messages `json:"messages,omitempty"` // nil: the word was not understood
}

// CallManager is one entry of the list of call servers.
type CallManager struct {
	Server string `json:"server"`
	State  string `json:"state"` // as the phone words it
	SRST   bool   `json:"srst"`  // marked as the branch's survivable router, or in its place (survivable)
}

// NetworkInfo is the typed view of NetworkConfigurationX.
type NetworkInfo struct {
	HostName       string        `json:"host_name"`
	Address        netip.Addr    `json:"address"`
	CallManagers   []CallManager `json:"call_managers"`                // in the order of the list, empty ones left out
	Listed         bool          `json:"listed"`                       // the page has the list, though it may be empty
	Video          *bool         `json:"video,omitempty"`              // nil: not told
	Authentication string        `json:"authentication_url,omitempty"` // where it asks whether a user may see its keys
}

// StreamInfo is the typed view of one StreamingStatisticsX page.
type StreamInfo struct {
	presence.Stream
	Told bool // whether the page lets us know if the stream is active
	// RcvrJitter is what a 7940 or 7960 has in place of AvgJitter and MaxJitter, as
	// it words it. The guides call it the maximum jitter of the stream and give no
	// unit, and the page may show two numbers: it stands in for no milliseconds.
	RcvrJitter string `json:",omitempty"`
}

// Device is the view of a DeviceInformation page.
func (p Page) Device() (DeviceInfo, error) {
	if err := p.is(rootDevice); err != nil {
		return DeviceInfo{}, err
	}
	d := DeviceInfo{
		HostName: p.value("HostName"),
		MAC:      normalMAC(p.value("MACAddress")),
		Number:   number(p.value("phoneDN", "PhoneDN")),
		Model:    p.value("modelNumber", "ModelNumber"),
		Serial:   p.value("serialNumber"),
		Firmware: p.value("versionID", "appLoadID"),
		Messages: waiting(p.value("MessageWaiting")),
	}
	if d.HostName == "" && d.MAC == "" && d.Model == "" && d.Serial == "" {
		return DeviceInfo{}, fmt.Errorf("a %s page without host name, MAC address, model or serial number", rootDevice)
	}
	// A 6941 puts its hardware version ("= V02") where others have the load.
	if strings.HasPrefix(d.Firmware, "=") {
		d.Firmware = p.value("appLoadID")
	}
	if d.HostName == "" && d.MAC != "" {
		d.HostName = "SEP" + d.MAC
	}
	return d, nil
}

// Network is the view of a NetworkConfiguration page.
func (p Page) Network() (NetworkInfo, error) {
	if err := p.is(rootNetwork); err != nil {
		return NetworkInfo{}, err
	}
	n := NetworkInfo{HostName: p.value("HostName"), Video: truth(p.value("VideoCapability")), Authentication: p.value("AuthenticationURL")}
	if a, err := netip.ParseAddr(p.value("IPAddress")); err == nil {
		n.Address = a.Unmap()
	}
	for i := 1; i <= 5; i++ {
		text, has := p.Fields["CallManager"+strconv.Itoa(i)]
		n.Listed = n.Listed || has
		if cm, ok := callManager(text); ok {
			cm.SRST = cm.SRST || p.survivable(i, cm.Server, len(n.CallManagers) == 0)
			n.CallManagers = append(n.CallManagers, cm)
		}
	}
	return n, nil
}

// mostCallManagers is how many call servers a phone lists of Unified CM, before its
// SRST reference (SRST administration guide: up to three).
const mostCallManagers = 3

// survivable reports whether an entry of the list of call servers that carries no
// mark is the SRST router's by its place. That comes last, after the call servers
// of Unified CM (8800 administration guide); and as a rule it is the phone's own
// router, which no call server of Unified CM is. The first entry is never taken for
// it: a phone of CME has its router there and nothing else, and runs as it should.
// Inferred, and not seen on a phone: a page without a mark may be in another language.
func (p Page) survivable(place int, server string, first bool) bool {
	if first || place > mostCallManagers {
		return !first
	}
	addr, err := netip.ParseAddr(server)
	if err != nil || addr.IsUnspecified() {
		return false
	}
	for i := 1; i <= 5; i++ {
		if router, err := netip.ParseAddr(p.value("DefaultRouter" + strconv.Itoa(i))); err == nil && router.Unmap() == addr.Unmap() {
			return true
		}
	}
	return false
}

// Stream is the view of a StreamingStatistics page, in the names of either
// generation (7940/60: RowStatus, ReceiverTool; later: StreamStatus, RcvrCodec).
//
// A stream is active when its status word says so and it has a remote address:
// the counters and addresses of the last call stay on the page after its end.
func (p Page) Stream() (StreamInfo, error) {
	if err := p.is(rootStream); err != nil {
		return StreamInfo{}, err
	}
	s := StreamInfo{Stream: presence.Stream{
		Codec:    p.value("RcvrCodec", "SenderCodec", "ReceiverTool", "SenderTool"),
		Sent:     count(p.value("SenderPackets")),
		Received: count(p.value("RcvrPackets")),
		Lost:     count(p.value("RcvrLostPackets")),
		JitterMS: between(p.value("AvgJitter"), 0, 60_000),
		MOSLQK:   between(p.value("MOSLQK"), 1, 5), // ITU-T P.800: 1 is bad, 5 excellent

		AvgMOSLQK:   between(p.value("AvgMOSLQK"), 1, 5),
		MinMOSLQK:   between(p.value("MinMOSLQK"), 1, 5),
		MaxJitterMS: between(p.value("MaxJitter"), 0, 60_000),
		Concealed:   between(p.value("CmltveConcealRatio"), 0, 1),
	}, RcvrJitter: clip(p.value("RcvrJitter"), 40)}
	remote := p.value("RemoteAddr")
	var nowhere bool
	s.Remote, nowhere = endpoint(remote)
	status := word(p.value("StreamStatus", "RowStatus"))
	switch {
	case nowhere || slices.Contains(idleWords, status):
		s.Told = true
	case remote != "" && slices.Contains(activeWords, status):
		s.Told, s.Active = true, true
	}
	return s, nil
}

func (p Page) is(root string) error {
	if p.Root != root {
		return fmt.Errorf("a page whose root is %s, where %s was asked for", clip(p.Root, 40), root)
	}
	return nil
}

// value is the first of the names that says something. Phones write null and
// N/A where they have nothing to say.
func (p Page) value(names ...string) string {
	for _, n := range names {
		if v := worded(p.Fields[n]); v != "" {
			return v
		}
	}
	return ""
}

// worded is a value that says something, or "".
func worded(v string) string {
	switch word(v) {
	case "null", "n/a", "(null)":
		return ""
	}
	return v
}

// registration is what the list of call servers comes to; nil where the state
// words are in a language that is not known here, which is no evidence at all.
func (n NetworkInfo) registration() *presence.Registration {
	if !n.Listed {
		return nil
	}
	strange := false
	for _, cm := range n.CallManagers {
		switch w := word(cm.State); {
		case slices.Contains(activeWords, w):
			return &presence.Registration{Registered: true, Server: cm.Server, Survivable: cm.SRST}
		case w != "" && !slices.Contains(standbyWords, w):
			strange = true
		}
	}
	if strange {
		return nil
	}
	return &presence.Registration{}
}

// callManager reads "10.0.0.5  Active". The survivable router carries a marker
// with SRST in it; where exactly differs, so it is looked for in every word.
func callManager(text string) (CallManager, bool) {
	var cm CallManager
	var state []string
	for _, f := range strings.Fields(text) {
		bare := strings.Trim(f, "()[]<>,;:")
		cm.SRST = cm.SRST || strings.Contains(word(bare), "srst")
		switch {
		case bare == "" || word(bare) == "srst":
		case cm.Server == "":
			cm.Server = bare
		default:
			state = append(state, bare)
		}
	}
	cm.State = strings.Join(state, " ")
	return cm, cm.Server != "" && word(cm.Server) != "null" && word(cm.Server) != "n/a"
}

// Words that phones show in the language of their user locale. Only English is
// from real pages (and " OUI" of a French 7940); the others are what the locale
// would say. A word that is not here counts as not told.
var (
	yesWords     = []string{"yes", "oui", "ja", "si", "sí", "sì", "sim", "da", "да", "tak", "ano", "áno", "igen", "evet", "kyllä", "ναι", "はい", "有", "是", "예", "true", "1", "on", "enabled", "activé", "aktiviert"}
	noWords      = []string{"no", "non", "nein", "nee", "não", "nao", "nej", "nei", "ne", "nu", "нет", "nie", "nem", "hayır", "ei", "όχι", "いいえ", "無", "无", "否", "아니요", "false", "0", "off", "disabled", "désactivé", "deaktiviert"}
	activeWords  = []string{"active", "actif", "aktiv", "activo", "activa", "attivo", "attiva", "ativo", "ativa", "actief", "aktywny", "aktywna", "aktivní", "aktívny", "активный", "активен", "активно", "etkin", "アクティブ", "活动", "激活", "使用中", "활성"}
	standbyWords = []string{"standby", "stand-by", "stand by", "veille", "en veille", "attente", "en attente", "bereitschaft", "en espera", "espera", "in attesa", "em espera", "beredskab", "vänteläge", "スタンバイ", "待机", "备用", "대기"}
	idleWords    = []string{"idle", "inactive", "not ready", "notready", "not in use", "inactif", "inaktiv", "inactivo", "inattivo", "inativo", "inactief", "non prêt", "nicht bereit", "アイドル"}
)

func word(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

func waiting(s string) *presence.Messages {
	if yes := truth(s); yes != nil {
		return &presence.Messages{Waiting: *yes}
	}
	return nil
}

func truth(s string) *bool {
	yes := slices.Contains(yesWords, word(s))
	if yes || slices.Contains(noWords, word(s)) {
		return &yes
	}
	return nil
}

// normalMAC makes twelve upper-case hex digits of what a phone writes bare or
// with separators, or "".
func normalMAC(s string) string {
	s = strings.ToUpper(strings.NewReplacer(":", "", "-", "", ".", "").Replace(s))
	if len(s) != 12 || strings.Trim(s, "0123456789ABCDEF") != "" {
		return ""
	}
	return s
}

// number is a directory number that can stand as the user of a URI, else "".
func number(s string) string {
	s = strings.TrimPrefix(s, `\`) // Unified CM writes \+33… for a number in E.164
	if len(s) > 32 {
		return ""
	}
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', strings.ContainsRune("+*._-", r):
		default:
			return ""
		}
	}
	return s
}

// endpoint reads "10.1.1.9/24576". An idle stream has 0.0.0.0/0.
func endpoint(s string) (at netip.AddrPort, nowhere bool) {
	host, port, _ := strings.Cut(s, "/")
	a, err := netip.ParseAddr(strings.TrimSpace(host))
	if err != nil {
		return netip.AddrPort{}, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(port), 10, 16)
	if err != nil {
		n = 0
	}
	if a.IsUnspecified() {
		return netip.AddrPort{}, true
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), false
}

func count(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// between is a number inside its range, else 0, which is "not told".
func between(s string, low, high float64) float64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) || v < low || v > high {
		return 0
	}
	return v
}

// clip makes one clean line of at most n characters of a phone's words: what is
// no text (control characters, line breaks, characters that turn the direction
// of writing, bytes that are no UTF-8) becomes single spaces.
func clip(s string, n int) string {
	line := strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, " "), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	if r := []rune(line); len(r) > n {
		return string(r[:n]) + "…"
	}
	return line
}
