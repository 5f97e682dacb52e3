// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/assize/assize/fabric"
)

// cluster is three NATS servers with JetStream, each a process that can be
// killed and comes back with its port and its store.
type cluster struct {
	t       *testing.T
	binary  string
	clients []int // ports
	monitor []int
	servers []*process
}

// newCluster builds the NATS server from the module that the project uses.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	dir := t.TempDir()
	c := &cluster{t: t, binary: filepath.Join(dir, "nats-server"), servers: make([]*process, 3)}
	out, err := exec.Command("go", "build", "-o", c.binary, "github.com/nats-io/nats-server/v2").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	n := len(c.servers)
	ports := freePorts(t, 3*n)
	c.clients, c.monitor = ports[:n], ports[n:2*n]
	var routes []string
	for _, port := range ports[2*n:] {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", port))
	}
	for i := range c.servers {
		text := fmt.Sprintf("server_name: n%d\nlisten: 127.0.0.1:%d\nhttp: 127.0.0.1:%d\nmax_payload: 1MB\n", i, c.clients[i], c.monitor[i]) +
			fmt.Sprintf("jetstream { store_dir: %q, max_mem: 16MB, max_file: 64MB }\n", filepath.Join(dir, fmt.Sprint("store", i))) +
			fmt.Sprintf("cluster { name: test, listen: 127.0.0.1:%d, routes: [%s] }\n", ports[2*n+i], strings.Join(routes, ", "))
		must(t, os.WriteFile(c.config(i), []byte(text), 0o600))
		c.begin(i)
	}
	t.Cleanup(func() {
		for i := range c.servers {
			c.kill(i)
		}
	})
	return c
}

// freePorts finds loopback ports, all at once so that all are different.
func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	var held []net.Listener
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		held = append(held, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	for _, l := range held {
		must(t, l.Close())
	}
	return ports
}

func (c *cluster) config(i int) string {
	return filepath.Join(filepath.Dir(c.binary), fmt.Sprintf("n%d.conf", i))
}

func (c *cluster) begin(i int) {
	c.t.Helper()
	p := &process{cmd: exec.Command(c.binary, "-c", c.config(i)), done: make(chan error, 1)}
	p.log = &lines{found: make(chan string, 1), want: regexp.MustCompile("Server is ready"), end: make(chan struct{})}
	pipe, err := p.cmd.StderrPipe()
	must(c.t, err)
	must(c.t, p.cmd.Start())
	c.servers[i] = p
	go p.log.read(pipe)
	go func(cmd *exec.Cmd) {
		<-p.log.end
		p.done <- cmd.Wait()
	}(p.cmd)
	select {
	case <-p.log.found:
	case <-time.After(10 * time.Second):
		c.t.Fatal("a NATS server does not come up")
	}
}

func (c *cluster) kill(i int) {
	if p := c.servers[i]; p != nil && p.cmd != nil {
		p.kill(c.t)
	}
}

// healthy: the server is part of the cluster, and its store has what those of
// the others have.
func (c *cluster) healthy(i int) bool {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/healthz", c.monitor[i]))
	if err != nil {
		return false
	}
	return res.Body.Close() == nil && res.StatusCode == http.StatusOK
}

// leader is the server that orders the uses of nonces, -1 if there is none.
func (c *cluster) leader() int {
	c.t.Helper()
	nc, err := nats.Connect(c.url(0))
	must(c.t, err)
	defer nc.Close()
	js, err := nc.JetStream()
	must(c.t, err)
	info, err := js.StreamInfo(storeOfNonces)
	if err != nil {
		return -1
	}
	return slices.IndexFunc([]string{"n0", "n1", "n2"}, func(name string) bool { return name == info.Cluster.Leader })
}

const storeOfNonces = "KV_" + fabric.DefaultSpentBucket

// depose has another server lead the store of nonces.
func (c *cluster) depose(t *testing.T, server int) {
	t.Helper()
	nc, err := nats.Connect(c.url(0))
	must(t, err)
	defer nc.Close()
	until(t, "the store of nonces gets no other leader", func() bool {
		switch c.leader() {
		case server:
			_, err := nc.Request("$JS.API.STREAM.LEADER.STEPDOWN."+storeOfNonces, nil, 2*time.Second)
			must(t, err)
			return false
		case -1:
			return false
		}
		return true
	})
}

// revive starts a server again and waits until it has what the others have:
// only then may the next one go.
func (c *cluster) revive(t *testing.T, server int) {
	t.Helper()
	c.begin(server)
	until(t, "a NATS server does not catch up", func() bool { return c.healthy(server) })
}

// url is that of one server; clients learn the others from it.
func (c *cluster) url(i int) string { return fmt.Sprintf("nats://127.0.0.1:%d", c.clients[i]) }
