// Package consoletest runs the console's pages in a real browser against the real service. All of it is tests.
package consoletest
