// Package house holds the rules of the house, as tests: who may look into
// which room, how long a file may grow, what each package and each driver says
// of itself, and which modules the product is made of.
//
// A rule that is only written down is a wish. These fail a build, and say what
// to do instead.
package house
