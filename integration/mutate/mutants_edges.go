// SPDX-License-Identifier: Apache-2.0

package main

// edgeMutants are about NATS, HTTP and the program.
func edgeMutants() []mutant {
	const options, api = "fabric/options.go", "api/api.go"
	return []mutant{
		in("MV-35 MV-37", "the certificate of the NATS server is verified", options,
			"&tls.Config{MinVersion: tls.VersionTLS13}", "&tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}"),
		in("MV-35", "TLS has version 1.3", options, "MinVersion: tls.VersionTLS13", "MinVersion: tls.VersionTLS12"),
		in("MV-35 MV-37", "the own certificate is shown", options, "opts = append(opts, nats.ClientCert(c.CertFile, c.KeyFile))", "_ = c.KeyFile"),
		in("MV-27 TH-2", "the body of a request is about what its headers name", "fabric/header.go",
			"if r.ID != h.request ||", "if false && r.ID != h.request ||").
			and("fabric/header.go", "r.Scheme != h.scheme ||", "false && r.Scheme != h.scheme ||"),
		in("MV-49", "an answer that refuses says no more than its code", "fabric/work.go",
			"micro.ErrorHeader: {code.Text()}", "micro.ErrorHeader: {code.Text() + leaked}").
			and("fabric/work.go", "d.log.Warn(\"no result\",", "if inner := errors.Unwrap(err); inner != nil {\n\t\t\tleaked = inner.Error()\n\t\t}\n\t\td.log.Warn(\"no result\",").
			and("fabric/work.go", "func (d *desk) refuse(", "var leaked string\n\nfunc (d *desk) refuse("),
		in("MV-49", "a refusal of a node has a code of the contract", "fabric/relay_service.go",
			"if errors.As(err, &refusal) && refusal.Code.Text() != \"\" {", "if errors.As(err, &refusal) {"),
		in("MV-49 MV-50", "HTTP does not repeat internal errors", api,
			"Detail: \"internal error\"}\n}\n\n// answer", "Detail: err.Error()}\n}\n\n// answer"),
		in("MV-49 MV-50", "HTTP does not repeat errors of the nonce store", api,
			"Detail: \"single use of nonces cannot be guaranteed now\"}", "Detail: err.Error()}"),
		in("MV-49 MV-50", "HTTP does not repeat why the node is not ready", api,
			"Detail: \"the node is not ready\"}", "Detail: err.Error()}"),
		never("MV-06", "a scheme without an anchor has no candidates", "cmd/assize/stack.go",
			"!s.trusted(\"\", scheme)"),
	}
}
