// Package httpproxy is a reverse proxy that has every request decided before it passes.
package httpproxy
