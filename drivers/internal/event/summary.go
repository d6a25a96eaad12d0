package event

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// SummaryType is the content type of RFC 3842 §3.5.
const SummaryType = "application/simple-message-summary"

// Summary is what waits in a mailbox (RFC 3842 §5.2).
type Summary struct {
	Waiting bool
	Account string  // whose, as a URI; needed where the subscription's is a group's
	Counts  []Count // one for each class that is told
}

// Count is the messages of one class. The urgent ones are counted among New and
// Old, too.
type Count struct {
	Class                MessageClass
	New, Old             uint32
	UrgentNew, UrgentOld uint32
}

// MessageClass is a message-context-class (RFC 3458 §6.2).
type MessageClass string

// The classes, as they are written.
const (
	VoiceMessage      MessageClass = "Voice-Message"
	FaxMessage        MessageClass = "Fax-Message"
	PagerMessage      MessageClass = "Pager-Message"
	MultimediaMessage MessageClass = "Multimedia-Message"
	TextMessage       MessageClass = "Text-Message"
	NoClass           MessageClass = "None"
)

var messageClasses = []MessageClass{VoiceMessage, FaxMessage, PagerMessage, MultimediaMessage, TextMessage, NoClass}

// Of is the count of a class, and whether it is told.
func (s Summary) Of(class MessageClass) (Count, bool) {
	for _, c := range s.Counts {
		if c.Class == class {
			return c, true
		}
	}
	return Count{}, false
}

// RenderSummary writes a document. The headers of single messages, which RFC 3842
// §3.5 allows behind it, are never told (MWI-02). An account that can't stand on a
// line and a class that is none are left out.
func RenderSummary(s Summary) []byte {
	b := append(make([]byte, 0, 128), "Messages-Waiting: no\r\n"...)
	if s.Waiting {
		b = append(b[:0], "Messages-Waiting: yes\r\n"...)
	}
	if s.Account != "" && isLineWord(s.Account) {
		b = append(append(append(b, "Message-Account: "...), s.Account...), "\r\n"...)
	}
	for _, c := range s.Counts {
		if !slices.Contains(messageClasses, c.Class) {
			continue
		}
		b = append(append(b, c.Class...), ": "...)
		b = appendPair(b, c.New, c.Old)
		if c.UrgentNew > 0 || c.UrgentOld > 0 {
			b = append(appendPair(append(b, " ("...), c.UrgentNew, c.UrgentOld), ')')
		}
		b = append(b, "\r\n"...)
	}
	return b
}

func appendPair(b []byte, x, y uint32) []byte {
	b = strconv.AppendUint(b, uint64(x), 10)
	return strconv.AppendUint(append(b, '/'), uint64(y), 10)
}

// isLineWord: no blank and no control character, as in every URI.
func isLineWord(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// Limits of a summary: seven lines are all that it can need.
const (
	maxSummary      = 64 << 10
	maxSummaryLines = 64
)

// ParseSummary reads a document. Names go by any case, lines in any order and by
// LF alone; the first of two equal ones counts; lines that it does not know, and
// what follows the first empty line, are left out (MWI-01, MWI-02).
func ParseSummary(b []byte) (Summary, error) {
	if len(b) > maxSummary {
		return Summary{}, fmt.Errorf("message-summary: %d octets are too many", len(b))
	}
	var s Summary
	status := ""
	n := 0
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" && n > 0 {
			break // the headers of messages follow
		}
		if n++; n > maxSummaryLines {
			return Summary{}, errors.New("message-summary: too many lines")
		}
		name, value, _ := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case strings.EqualFold(name, "Messages-Waiting"):
			if status == "" {
				status = strings.ToLower(value)
			}
		case strings.EqualFold(name, "Message-Account"):
			if account := bareID(value); s.Account == "" && isLineWord(account) {
				s.Account = account
			}
		default:
			if err := s.count(name, value); err != nil {
				return Summary{}, fmt.Errorf("message-summary: %w", err)
			}
		}
	}
	if status != "yes" && status != "no" {
		return Summary{}, fmt.Errorf("message-summary: Messages-Waiting is %.20q", status)
	}
	s.Waiting = status == "yes"
	return s, nil
}

// count takes a line of a class: new/old, and the urgent ones in brackets.
func (s *Summary) count(name, value string) error {
	i := slices.IndexFunc(messageClasses, func(c MessageClass) bool { return strings.EqualFold(name, string(c)) })
	if i < 0 {
		return nil
	}
	c := Count{Class: messageClasses[i]}
	if _, twice := s.Of(c.Class); twice {
		return nil
	}
	all, urgent, bracket := strings.Cut(value, "(")
	var ok bool
	if c.New, c.Old, ok = readPair(all); !ok {
		return fmt.Errorf("%s is %.40q", c.Class, value)
	}
	if bracket {
		urgent, _, closed := strings.Cut(urgent, ")")
		if c.UrgentNew, c.UrgentOld, ok = readPair(urgent); !ok || !closed {
			return fmt.Errorf("%s is %.40q", c.Class, value)
		}
	}
	s.Counts = append(s.Counts, c)
	return nil
}

func readPair(s string) (x, y uint32, ok bool) {
	a, b, slash := strings.Cut(s, "/")
	x, ok1 := readCount(a)
	y, ok2 := readCount(b)
	return x, y, slash && ok1 && ok2
}

// readCount is a number; one beyond 2^32-1 counts as that (MWI-01).
func readCount(s string) (uint32, bool) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
	return uint32(n), err == nil || errors.Is(err, strconv.ErrRange)
}
