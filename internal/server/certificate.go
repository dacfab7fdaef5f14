package server

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
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

// authorities returns the certificates of a PEM file, to be trusted to say who others are. All of it
// must be certificates of authorities: what was overlooked would be missed when it is needed.
func authorities(path string) (*x509.CertPool, error) {
	text, err := readBounded(path, maxConfig)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	n, begun := 0, bytes.Count(text, []byte("-----BEGIN")) // Decode passes over what is broken
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		n++
		cert, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			return nil, fmt.Errorf("%s: block %d is no certificate", path, n)
		}
		if !cert.BasicConstraintsValid || !cert.IsCA {
			return nil, fmt.Errorf("%s: certificate %d (%.80s) is no authority's", path, n, cert.Subject)
		}
		pool.AddCert(cert)
	}
	if n == 0 || n != begun {
		return nil, fmt.Errorf("%s has no certificate in PEM form, or a broken one", path)
	}
	return pool, nil
}
