// Package presence holds the vocabulary, and composition: from what many
// sources saw of devices and lines, and from what people said, to one document
// a presentity (RFC 4479 §2).
//
// Everything here is a value or a pure function: no clock, no lock, no I/O.
// The present time is an argument, and each result comes with the moment at
// which ageing alone may change it, so that whoever keeps the state needs one
// timer and no sweep.
//
// Two steps make a document. [Fuse] turns the observations about one device
// into one [Device]; [Compose] turns devices, lines and publications into one
// [Document]. Both take sets: the order of arrival never changes a result.
// [Roster] knows which device and line belong to whom.
//
// Who is believed, where sources contradict each other: a live word before one
// that has grown old; whoever sees each call (a call server's dialog events, the
// phone's own keys) before whoever sees only that audio flows; of two that see
// each call, the later, with some seconds in favour of the event ([Settling]). A
// device that answers on any way is not down, whatever its port says; a refusal
// or an interface that is not there is no evidence of down; silence is, once it
// lasts ([Misses]), or at once beside a port without link or a device without an
// address. What each word rests on keeps its own source and age, as [Evidence].
package presence
