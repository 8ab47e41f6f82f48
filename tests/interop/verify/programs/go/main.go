// Checks with Go's crypto/x509: a JSON list of jobs on stdin, one JSON line for each on stdout. See README.md.
package main

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
)

type job struct {
	ID     string   `json:"id"`
	Kind   string   `json:"kind"`
	File   string   `json:"file"`
	Issuer string   `json:"issuer"`
	Chain  []string `json:"chain"`
	Root   string   `json:"root"`
}

type answer struct {
	ID     string `json:"id"`
	Result string `json:"result"`
	Why    string `json:"why"`
}

var errNoCall = errors.New("there is no call for that")

func certificate(path string) (*x509.Certificate, error) {
	der, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func check(j job) error {
	switch j.Kind {
	case "certificate":
		one, err := certificate(j.File)
		if err != nil {
			return err
		}
		issuer, err := certificate(j.Issuer)
		if err != nil {
			return err
		}
		return one.CheckSignatureFrom(issuer)
	case "self-signed":
		one, err := certificate(j.File)
		if err != nil {
			return err
		}
		return one.CheckSignature(one.SignatureAlgorithm, one.RawTBSCertificate, one.Signature)
	case "chain":
		one, err := certificate(j.File)
		if err != nil {
			return err
		}
		options := x509.VerifyOptions{
			Roots:         x509.NewCertPool(),
			Intermediates: x509.NewCertPool(),
			KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		}
		root, err := certificate(j.Root)
		if err != nil {
			return err
		}
		options.Roots.AddCert(root)
		// Verify says of an algorithm that it does not know only that it found no chain.
		known := one.SignatureAlgorithm != x509.UnknownSignatureAlgorithm
		for _, path := range j.Chain {
			between, err := certificate(path)
			if err != nil {
				return err
			}
			options.Intermediates.AddCert(between)
			known = known && between.SignatureAlgorithm != x509.UnknownSignatureAlgorithm
		}
		if !known {
			return x509.ErrUnsupportedAlgorithm
		}
		_, err = one.Verify(options)
		return err
	case "crl":
		der, err := os.ReadFile(j.File)
		if err != nil {
			return err
		}
		crl, err := x509.ParseRevocationList(der)
		if err != nil {
			return err
		}
		issuer, err := certificate(j.Issuer)
		if err != nil {
			return err
		}
		return crl.CheckSignatureFrom(issuer)
	case "csr":
		der, err := os.ReadFile(j.File)
		if err != nil {
			return err
		}
		csr, err := x509.ParseCertificateRequest(der)
		if err != nil {
			return err
		}
		return csr.CheckSignature()
	}
	return errNoCall
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "--version" {
		fmt.Println(strings.TrimPrefix(runtime.Version(), "go"))
		return
	}
	var jobs []job
	if err := json.NewDecoder(os.Stdin).Decode(&jobs); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	out := json.NewEncoder(os.Stdout)
	for _, j := range jobs {
		a := answer{ID: j.ID, Result: "ok"}
		if err := check(j); err != nil {
			a.Result, a.Why = "refused", err.Error()
			if errors.Is(err, x509.ErrUnsupportedAlgorithm) || err == errNoCall {
				a.Result = "cannot"
			}
		}
		out.Encode(a)
	}
}
