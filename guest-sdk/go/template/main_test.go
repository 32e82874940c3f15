package main

import (
	"testing"

	"isomer"
)

func TestItGreetsAndTells(t *testing.T) {
	mock := isomer.NewMock()
	var answer string
	if err := mock.Call("hello", hello{"Ada"}, &answer); err != nil || answer != "Hello, Ada!" {
		t.Fatal(answer, err)
	}
	if mock.Events[0].Name != "{{name}}.greeted" {
		t.Fatal(mock.Events)
	}
}
