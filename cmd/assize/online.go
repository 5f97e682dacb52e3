// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/assize/assize/cmd/assize/internal/config"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/endorsements/check"
	"github.com/assize/assize/endorsements/kds"
	"github.com/assize/assize/endorsements/nvidia"
	"github.com/assize/assize/endorsements/pcs"
	collateral "github.com/assize/assize/endorsements/source"
	"github.com/assize/assize/verifiers"
)

// The collateral of a node, satisfied by the source; its fetchers by the clients.
var (
	_ verifiers.Collateral = (*collateral.Source)(nil)
	_ collateral.Fetcher   = (*pcs.Client)(nil)
	_ collateral.Fetcher   = (*kds.Client)(nil)
	_ collateral.Fetcher   = (*nvidia.Client)(nil)
)

// online gives the node a source of collateral, if fetching is allowed. What was
// fetched by an earlier process counts from the start.
func (s *stack) online(o *verifiers.NodeOptions, oneShot bool) error {
	if !s.config.Online.Enabled {
		return nil
	}
	src, stop, err := openSource(s.config, s.cache(), o.Deps.Endorsements, s.roots.Schemes, s.log)
	if err != nil {
		return err
	}
	s.stop = append(s.stop, func(context.Context) error { return stop() })
	o.Deps.Endorsements, o.Collateral = src.Bundle(), src
	// In a service every appraisal that lacks something would say so; what was tried
	// in vain has been reported once already.
	level := slog.LevelDebug
	if oneShot { // one appraisal of somebody who waits for it
		level = slog.LevelWarn
	}
	o.CollateralFault = func(scheme string, err error) {
		s.log.Log(context.Background(), level, "collateral is missing", "scheme", scheme, "error", err)
	}
	s.log.Info("collateral is fetched", "intel", s.config.Online.Intel, "amd", s.config.Online.AMD,
		"nvidia_rim", s.config.Online.NVIDIA.RIM, "nvidia_ocsp", s.config.Online.NVIDIA.OCSP, "cache", s.cache())
	return nil
}

// workers is how many appraisals of a scheme run at a time, 0 for what the fabric
// takes for granted. Those that wait for collateral have places of their own.
func workers(sc verifiers.Scheme, c verifiers.Collateral) int {
	if c == nil || sc.Needs == nil {
		return 0
	}
	return 2*runtime.GOMAXPROCS(0) + verifiers.MaxCollateralWaits
}

// cache is the folder of what was fetched.
func (s *stack) cache() string { return cacheFolder(s.config) }

func cacheFolder(c config.Config) string {
	if c.Online.Cache != "" {
		return c.Online.Cache
	}
	return filepath.Join(c.StateDir, "endorsements")
}

// openSource makes clients and source. stop ends what is on its way.
func openSource(c config.Config, dir string, base *endorsements.Bundle, roots map[string][]*x509.Certificate, log *slog.Logger) (*collateral.Source, func() error, error) {
	client, err := fetchClient(c.Online)
	if err != nil {
		return nil, nil, err
	}
	services, err := fetchServices(c.Online, client)
	if err != nil {
		return nil, nil, err
	}
	checker, err := check.New(vendorRoots(roots)...)
	if err != nil {
		return nil, nil, err
	}
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, nil, err
	}
	src, err := collateral.New(collateral.Options{
		Base: base, Services: services, Dir: dir, Now: time.Now, Spread: binary.BigEndian.Uint64(seed[:]),
		Check: checker.Document, MaxAge: c.Online.MaxAge, Timeout: c.Online.Timeout,
		Report: func(i endorsements.Item, err error) {
			level := slog.LevelWarn
			if errors.Is(err, collateral.ErrNotKept) {
				log.Warn("collateral is used, and lost with this process", "document", i.String(), "error", err)
				return
			}
			if errors.Is(err, collateral.ErrBusy) { // as often as somebody sends evidence
				level = slog.LevelDebug
			}
			log.Log(context.Background(), level, "collateral could not be had", "document", i.String(), "error", err)
		},
	})
	if err != nil {
		return nil, nil, err
	}
	return src, func() error {
		err := src.Close()
		client.CloseIdleConnections()
		return err
	}, nil
}

// vendorRoots are the extra roots of the schemes whose collateral is fetched.
func vendorRoots(roots map[string][]*x509.Certificate) []*x509.Certificate {
	var out []*x509.Certificate
	for _, scheme := range []string{"intel-tdx", "intel-sgx", "amd-snp", "nvidia-gpu", "nvidia-nvswitch"} {
		out = append(out, roots[scheme]...)
	}
	return out
}

func fetchServices(o config.Online, client *http.Client) (map[endorsements.Vendor]collateral.Service, error) {
	out := map[endorsements.Vendor]collateral.Service{}
	if o.Intel != config.None {
		c, err := pcs.New(pcs.Options{URL: o.Intel, RootCRL: o.IntelRootCRL, Client: client, Update: o.IntelUpdate})
		if err != nil {
			return nil, fmt.Errorf("endorsements_online.intel: %w", err)
		}
		out[endorsements.VendorIntel] = collateral.Service{Fetcher: c, Every: o.IntelInterval}
	}
	if o.AMD != config.None {
		c, err := kds.New(kds.Options{URL: o.AMD, Client: client})
		if err != nil {
			return nil, fmt.Errorf("endorsements_online.amd: %w", err)
		}
		out[endorsements.VendorAMD] = collateral.Service{Fetcher: c, Every: o.AMDInterval}
	}
	sv, err := nvidiaService(o.NVIDIA, client)
	if err != nil {
		return nil, fmt.Errorf("endorsements_online.nvidia: %w", err)
	}
	if sv.Fetcher != nil {
		out[endorsements.VendorNVIDIA] = sv
	}
	if len(out) == 0 {
		return nil, errors.New("endorsements_online: enabled, but nobody is to be asked")
	}
	return out, nil
}

// nvidiaService asks NVIDIA's two services, or the one that there is; without a
// fetcher if there is none.
func nvidiaService(o config.OnlineNVIDIA, client *http.Client) (collateral.Service, error) {
	sv := collateral.Service{Every: o.Interval}
	options := nvidia.Options{Client: client, Random: rand.Reader}
	for _, s := range []struct {
		url  string
		to   *string
		kind endorsements.ItemKind
	}{{o.RIM, &options.RIM, endorsements.ItemNVRIM}, {o.OCSP, &options.OCSP, endorsements.ItemNVOCSP}} {
		if s.url == config.None {
			sv.Without = append(sv.Without, s.kind)
			continue
		}
		*s.to = s.url
	}
	if options.RIM == "" && options.OCSP == "" {
		return sv, nil
	}
	if o.KeyFile != "" {
		raw, err := readFile(o.KeyFile, nvidia.MaxKey)
		if err != nil {
			return sv, fmt.Errorf("service_key_file: %w", err)
		}
		if options.Key = strings.TrimSpace(string(raw)); options.Key == "" {
			return sv, fmt.Errorf("service_key_file: %s is empty", o.KeyFile)
		}
	}
	c, err := nvidia.New(options)
	if err != nil {
		return sv, err
	}
	sv.Fetcher = c
	return sv, nil
}

// fetchClient is the HTTP client of the fetchers, with a time-out for every step.
// HTTPS_PROXY and its like are honoured.
func fetchClient(o config.Online) (*http.Client, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("roots of TLS: %w", err)
	}
	if o.CA != "" {
		raw, err := readFile(o.CA, maxPEM)
		if err != nil {
			return nil, fmt.Errorf("endorsements_online.ca: %w", err)
		}
		if !roots.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("endorsements_online.ca: %s has no certificate", o.CA)
		}
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &http.Client{
		Timeout: 20 * time.Second,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, TLSHandshakeTimeout: 5 * time.Second,
			ResponseHeaderTimeout: 15 * time.Second, MaxResponseHeaderBytes: 64 << 10,
			MaxConnsPerHost: 8, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second,
		},
	}, nil
}
