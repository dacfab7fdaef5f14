// Package route makes a request to a decision point of an HTTP request, by a table of routes.
package route
