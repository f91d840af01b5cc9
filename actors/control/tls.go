package control

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/proctord/proctor/config"
)

// certificates are those of the supervisor and of those who certify clients, read
// again when their files have changed.
type certificates struct {
	cert, key, clientCA string

	mu      sync.Mutex // leaf I/O, shared by all handshakes
	stamps  [3]stamp
	current tls.Certificate
	pool    *x509.CertPool
}

// A stamp tells one content of a file from another.
type stamp struct {
	modified time.Time
	size     int64
}

func newCertificates(c config.Control) (*certificates, error) {
	certs := &certificates{cert: c.TLSCert, key: c.TLSKey, clientCA: c.TLSClientCA}
	_, _, err := certs.load()
	return certs, err
}

// load is what the files say now. If that cannot be used, it is an error: nobody
// is let in on the strength of what they said before.
func (c *certificates) load() (tls.Certificate, *x509.CertPool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var stamps [3]stamp
	for i, path := range []string{c.cert, c.key, c.clientCA} {
		info, err := os.Stat(path)
		if err != nil {
			return tls.Certificate{}, nil, err
		}
		stamps[i] = stamp{info.ModTime(), info.Size()}
	}
	if c.pool != nil && stamps == c.stamps {
		return c.current, c.pool, nil
	}
	current, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("control.tls_cert and control.tls_key: %w", err)
	}
	data, err := os.ReadFile(c.clientCA)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return tls.Certificate{}, nil, fmt.Errorf("control.tls_client_ca: there is no certificate in %s", c.clientCA)
	}
	c.current, c.pool, c.stamps = current, pool, stamps
	return current, pool, nil
}

// config is mutual TLS 1.3. A session is not resumed: who was let in once is
// looked at again.
func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ClientAuth: tls.RequireAndVerifyClientCert,
		NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			cert, pool, err := c.load()
			if err != nil {
				return nil, err
			}
			return &tls.Config{
				MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
				Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}, SessionTicketsDisabled: true,
			}, nil
		},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert, _, err := c.load()
			return &cert, err
		},
	}
}

// verify says whether the certificate that a connection was made with is still
// good: it may have expired since, or been removed from who is trusted.
func (c *certificates) verify(state *tls.ConnectionState) error {
	if c == nil || len(state.PeerCertificates) == 0 {
		return errors.New("there is none")
	}
	_, pool, err := c.load()
	if err != nil {
		return err
	}
	between := x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	_, err = state.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: pool, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err
}
