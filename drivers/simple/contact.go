package simple

import (
	"net/netip"
	"strings"

	"pilotlight/drivers/internal/sip"
)

// target is where the Contact of a SUBSCRIBE wants to be told, "" without one. It
// is refused where that is nowhere, or this very server: who is told by himself
// would never hear the end of it.
func target(in *sip.Incoming) (string, *refusal) {
	list := in.Header.List("Contact")
	switch {
	case len(list) == 0:
		return "", nil
	case len(list) > 1:
		return "", &refusal{status: 400}
	}
	contact, err := sip.ParseAddress(list[0])
	if err != nil {
		return "", &refusal{status: 400}
	}
	to, err := sip.ParseURI(contact.URI)
	if err != nil || !served(to, in.Transport) {
		return "", &refusal{status: 400}
	}
	// A route set decides instead (RFC 3261 §12.2.1.1).
	if route := in.Header.List("Record-Route"); len(route) > 0 {
		first, err := sip.ParseAddress(route[0])
		if err != nil {
			return "", &refusal{status: 400}
		}
		if to, err = sip.ParseURI(first.URI); err != nil || !served(to, in.Transport) {
			return "", &refusal{status: 400}
		}
	}
	if status := nowhere(to, in.Source, in.Local); status != 0 {
		return "", &refusal{status: status}
	}
	return contact.URI, nil
}

// served reports whether somebody at a URI can be told, who came by a transport: by
// TLS where that was it, too.
func served(u sip.URI, came string) bool {
	switch t := strings.ToLower(u.Params["transport"]); {
	case u.Scheme == "sips", t == "tls":
		return came == "tls" && (u.Scheme == "sip" || u.Scheme == "sips") && t != "udp"
	case u.Scheme == "sip":
		return t == "" || t == "udp" || t == "tcp"
	}
	return false
}

// nowhere says why nobody can be told at to, of a SUBSCRIBE from source to local; 0
// where somebody may. Of a host name only the endpoint finds out.
func nowhere(to sip.URI, source, local netip.AddrPort) int {
	host, port := to.Host, uint16(to.Port)
	if maddr := to.Params["maddr"]; maddr != "" {
		host = maddr
	}
	if port == 0 {
		port = 5060
	}
	at, err := netip.ParseAddr(host)
	if err != nil {
		return 0
	}
	at = at.Unmap()
	switch {
	case at.IsUnspecified(), at.IsMulticast():
		return 400
	case at.IsLoopback() && !source.Addr().Unmap().IsLoopback():
		return 400 // this machine's own services are nobody's watchers
	case at == local.Addr().Unmap() && port == local.Port():
		return 482
	}
	return 0
}

// transport is that of the requests of a dialog: by the next hop's word, else as the
// SUBSCRIBE came.
func (r *record) transport() string {
	next := r.Target
	if len(r.Route) > 0 {
		if first, err := sip.ParseAddress(r.Route[0]); err == nil {
			next = first.URI
		}
	}
	u, err := sip.ParseURI(next)
	switch {
	case err == nil && u.Scheme == "sips":
		return "tls"
	case err == nil && u.Params["transport"] != "":
		return strings.ToLower(u.Params["transport"])
	}
	return r.Transport
}
