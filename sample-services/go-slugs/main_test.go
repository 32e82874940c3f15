package main

import (
	"testing"

	"isomer"
)

func TestSlugs(t *testing.T) {
	var made string
	for text, expected := range map[string]string{"Hello, World!": "hello-world", "  Ü 2 ": "ü-2"} {
		if err := isomer.NewMock().Call("make", makeParams{Text: text}, &made); err != nil || made != expected {
			t.Fatal(text, made, err)
		}
	}
	if isomer.NewMock().Call("make", makeParams{Text: "!"}, &made) == nil {
		t.Fatal("nothing is no slug")
	}
}
