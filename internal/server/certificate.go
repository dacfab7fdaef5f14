package server

import (
	"crypto/x509"
	"fmt"
)

// certificates returns the certificates of a PEM file, to be trusted.
func certificates(path string) (*x509.CertPool, error) {
	pem, err := readBounded(path, maxConfig)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in PEM form", path)
	}
	return pool, nil
}
