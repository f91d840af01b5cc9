//go:build unix

package control_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/proctord/proctor/actors/control"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

// authority certifies, for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	return authority{}.certify(t, template)
}

var serial int64

// certify signs template; an authority without a certificate signs its own.
func (a authority) certify(t *testing.T, template *x509.Certificate) authority {
	t.Helper()
	serial++
	template.SerialNumber = big.NewInt(serial)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	template.NotBefore = template.NotAfter.Add(-2 * time.Hour)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key}
}

func (a authority) client(t *testing.T, name string, until time.Time) tls.Certificate {
	c := a.certify(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return tls.Certificate{Certificate: [][]byte{c.cert.Raw}, PrivateKey: c.key}
}

// write writes the certificate and its key as PEM files.
func (a authority) write(t *testing.T, cert, key string) {
	t.Helper()
	writePEM(t, cert, "CERTIFICATE", a.cert.Raw)
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, key, "PRIVATE KEY", der)
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestOverTCPOnlyAGoodCertificateWithARoleLetsIn(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	ours.certify(t, &x509.Certificate{Subject: pkix.Name{CommonName: "proctor"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}).write(t, file("cert.pem"), file("key.pem"))
	writePEM(t, file("ca.pem"), "CERTIFICATE", ours.cert.Raw)
	_, server, _ := serve(t, config.Control{
		Listen: "127.0.0.1:0", TLSCert: file("cert.pem"), TLSKey: file("key.pem"), TLSClientCA: file("ca.pem"),
		Roles: config.Roles{Viewer: []string{"cert:viewer"}, Admin: []string{"cert:admin"}},
	})
	address := "https://" + server.Listen().String()
	roots := x509.NewCertPool()
	roots.AddCert(ours.cert)
	dial := func(c *tls.Config) (*control.Client, error) {
		c.RootCAs = roots
		return control.Dial(t.Context(), address, control.WithTLS(c))
	}
	// list is what a client with that certificate hears.
	list := func(certs ...tls.Certificate) error {
		client, err := dial(&tls.Config{Certificates: certs})
		if err != nil {
			return err
		}
		defer client.Close()
		_, err = client.List(t.Context())
		return err
	}
	hour := time.Now().Add(time.Hour)
	for _, name := range []string{"viewer", "admin"} {
		if err := list(ours.client(t, name, hour)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := list(ours.client(t, "somebody", hour)); !errors.Is(err, messages.PermissionDenied) {
		t.Errorf("without a role: %v", err)
	}
	for name, certs := range map[string][]tls.Certificate{
		"none":                    nil,
		"of another authority":    {others.client(t, "admin", hour)},
		"that signed itself":      {authority{}.client(t, "admin", hour)},
		"that has expired":        {ours.client(t, "admin", time.Now().Add(-time.Minute))},
		"that is not for clients": {serverOnly(t, ours)},
	} {
		if err := list(certs...); err == nil {
			t.Errorf("a certificate %s lets in", name)
		}
	}
	if client, err := dial(&tls.Config{Certificates: []tls.Certificate{ours.client(t, "admin", hour)}, MaxVersion: tls.VersionTLS12}); err == nil {
		if _, err = client.List(t.Context()); err == nil {
			t.Error("TLS 1.2 is spoken")
		}
	}

	// A connection that is there is looked at again when its authority is not
	// trusted any more, and the new one is trusted without a restart.
	admin := ours.client(t, "admin", hour)
	client, err := dial(&tls.Config{Certificates: []tls.Certificate{admin}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Reset(t.Context(), "web-1"); err != nil {
		t.Fatal(err)
	}
	writePEM(t, file("ca.pem"), "CERTIFICATE", others.cert.Raw)
	if err := client.Reset(t.Context(), "web-1"); err == nil {
		t.Error("a certificate of an authority that was removed lets in")
	}
	if err := list(others.client(t, "admin", hour)); err != nil {
		t.Errorf("the new authority: %v", err)
	}
	// Files that cannot be used let nobody in.
	if err := os.WriteFile(file("ca.pem"), []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := list(others.client(t, "admin", hour)); err == nil {
		t.Error("without a known authority somebody is let in")
	}
}

func serverOnly(t *testing.T, a authority) tls.Certificate {
	c := a.certify(t, &x509.Certificate{Subject: pkix.Name{CommonName: "admin"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return tls.Certificate{Certificate: [][]byte{c.cert.Raw}, PrivateKey: c.key}
}
