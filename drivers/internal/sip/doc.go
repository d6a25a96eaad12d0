// Package sip is Pilotlight's one SIP endpoint: it owns the sockets, and every
// driver that speaks SIP shares it.
//
// The endpoint stands on sipgo for what sipgo is good at: the transaction
// state machines of RFC 3261 §17 with their timers, for INVITE and for what Do
// sends. What comes and goes in thousands has leaner ones: requests in dialogs
// (Send), and the server transactions of any method but INVITE. Sockets,
// framing, reading of messages, order and dispatch are its own, because sipgo's
// traps are there: a datagram that does not parse is logged whole and never answered, a
// read error ends the listener, each source address is remembered for ever,
// sends over 1,300 octets are refused, each message runs in a goroutine of its
// own without recover, and header parameters with blanks lose their values.
//
// A request passes, in this order: size and sanity (sane), the source filter,
// the reading of headers (read), the rules of RFC 3261 §8.2 (examine), the
// claims, and only then a transaction and a handler. Whatever falls out before
// is answered without state, the same answer to each retransmission, so that
// rubbish costs neither memory nor a goroutine.
//
// Requests of one Call-ID reach their handlers one after the other, in the
// order of arrival. Who owns a dialog holds its CSeq with a Sequence.
package sip
