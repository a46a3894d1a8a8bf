package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRoutes(t *testing.T) {
	t.Setenv("GREETING", "Ahoy")
	for path, want := range map[string]struct {
		code int
		text string
	}{"/": {200, "Ahoy from "}, "/healthz": {200, "ok"}, "/nothing": {404, "not found"}} {
		w := httptest.NewRecorder()
		routes().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want.code || !strings.Contains(w.Body.String(), want.text) {
			t.Errorf("%s: %d %q, want %d %q", path, w.Code, w.Body, want.code, want.text)
		}
	}
}
