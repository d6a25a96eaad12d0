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
package presence
