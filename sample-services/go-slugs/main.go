// Slugs: texts as parts of addresses. Remembers those that the Python sample `quotes` keeps.
package main

import (
	"strings"
	"unicode"

	"isomer"
)

type makeParams struct {
	Text string `json:"text" isomer:"min=1,max=1000"`
	Max  int    `json:"max,omitempty" isomer:"min=1"`
}

type quote struct {
	Slug string `json:"slug"`
	By   string `json:"by"`
}

// known is the state of one instance.
var known = map[string]string{}

func init() {
	s := isomer.New("slugs")
	isomer.Action(s, "make", slug, isomer.Cache{})
	isomer.Action(s, "known", func(*isomer.Context, isomer.None) (map[string]string, error) {
		return known, nil
	})
	isomer.Event(s, "quote.added", func(ctx *isomer.Context, q quote) error {
		known[q.Slug] = q.By
		return nil
	}, isomer.Group("slugs"))
	isomer.Serve(s)
}

// slug keeps letters and digits, and puts one dash between words.
func slug(_ *isomer.Context, p makeParams) (string, error) {
	words := strings.FieldsFunc(strings.ToLower(p.Text), func(c rune) bool {
		return !unicode.IsLetter(c) && !unicode.IsDigit(c)
	})
	if len(words) == 0 {
		return "", isomer.ClientError(422, "NO_WORDS", "a slug needs letters or digits")
	}
	if p.Max > 0 && len(words) > p.Max {
		words = words[:p.Max]
	}
	return strings.Join(words, "-"), nil
}

func main() {}
