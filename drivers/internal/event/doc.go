// Package event is the subscriber's side of RFC 6665, and the event packages as
// values: what it takes to know from a call server which lines are in use, and to
// tell others.
//
// A Subscriber claims NOTIFY for one event package, once, and shares it among
// any number of subscriptions; each is a dialog of its own, found by Call-ID
// and tag. A Subscription has no goroutine: whoever waits in Next also carries
// it on, sending the refreshes that are due. Its mailbox is bounded, and its
// NOTIFYs are taken in the order of CSeq only.
//
// FollowLine subscribes to a line for ever: anew after each end, by the pause
// that the notifier's reason asks for (RFC 6665 §4.1.3).
//
// DecodeDialogs reads application/dialog-info+xml (RFC 4235) into values, and
// a DialogTable makes of full and partial documents the state of one line.
//
// For the notifier's side it has what is pure: the bodies of the dialog package
// (LineDialogs, Virtual, Told, RenderDialogs), of watcher information (RFC 3858),
// of resource lists (RFC 4662) and of message-summary (RFC 3842), each with its
// reader; the values of Event and Subscription-State; and Choose, for Accept. They
// open nothing and read no clock, and equal values give equal octets, so that a
// body can be kept and compared.
package event
