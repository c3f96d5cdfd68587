// SPDX-License-Identifier: Apache-2.0

// What gRPC through the mesh is compared with: grpc-go at both ends, mutual TLS, its defaults for everything else.
// `server DIR` prints its port and echoes until its input ends; `client DIR PORT IN_FLIGHT WARM CALLS SERVER_PID` calls it
// with 1 KiB over one connection and prints what measure.h says. DIR holds ca.pem and each side's .pem and .key.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	messageBytes = 1024
	method       = "/bench.Echo/Say"
	serverName   = "spiffe://cluster.local/ns/default/sa/bob"
)

func fail(what string, err error) {
	fmt.Fprintf(os.Stderr, "grpc_go: %s: %v\n", what, err)
	os.Exit(1)
}

// Both ends show a certificate and verify the other's; the names are SPIFFE's, as in the mesh.
func makeTLS(dir, who string) *tls.Config {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, who+".pem"), filepath.Join(dir, who+".key"))
	if err != nil {
		fail("certificate", err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		fail("roots", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	config := &tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: roots, ClientCAs: roots,
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}
	if who == "client" { // no DNS name to compare: the chain and the URI are verified here instead
		config.InsecureSkipVerify = true
		config.VerifyConnection = func(state tls.ConnectionState) error {
			leaf := state.PeerCertificates[0]
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots}); err != nil {
				return err
			}
			if len(leaf.URIs) != 1 || leaf.URIs[0].String() != serverName {
				return errors.New("another identity than the server's")
			}
			return nil
		}
	}
	return config
}

type echo interface {
	say(context.Context, *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error)
}

type echoServer struct{}

func (echoServer) say(_ context.Context, in *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
	return in, nil
}

// As protoc-gen-go-grpc writes it for `rpc Say(BytesValue) returns (BytesValue)`.
func handle(server any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	in := new(wrapperspb.BytesValue)
	if err := decode(in); err != nil {
		return nil, err
	}
	return server.(echo).say(ctx, in)
}

var service = grpc.ServiceDesc{
	ServiceName: "bench.Echo", HandlerType: (*echo)(nil), Methods: []grpc.MethodDesc{{MethodName: "Say", Handler: handle}},
}

func serve(dir string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail("listen", err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(makeTLS(dir, "server"))))
	server.RegisterService(&service, echoServer{})
	go server.Serve(listener)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	io.Copy(io.Discard, os.Stdin)
	server.Stop()
}

// Nanoseconds of every thread, as measure.c counts them.
func cpuOf(pid int) (total uint64) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		var ns uint64
		fmt.Sscan(string(text), &ns)
		total += ns
	}
	return total
}

func anonymousKB(pid int) (kb int64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, "Anonymous:"); found {
			fmt.Sscan(rest, &kb)
		}
	}
	return kb
}

type measure struct {
	warm, calls    int64
	started, ended atomic.Int64
	server         int
	took           []int64
	beginCPU       uint64
	begin          time.Time
}

func (m *measure) cpu() uint64 {
	total := cpuOf(os.Getpid())
	if m.server != 0 {
		total += cpuOf(m.server)
	}
	return total
}

func (m *measure) callEnded(since time.Time) {
	took := time.Since(since).Nanoseconds()
	at := m.ended.Add(1) - 1
	if at+1 == m.warm {
		m.beginCPU = m.cpu()
		m.begin = time.Now()
	}
	if at >= m.warm && at-m.warm < m.calls {
		m.took[at-m.warm] = took
	}
}

func (m *measure) close() {
	cpu, wall := m.cpu()-m.beginCPU, time.Since(m.begin)
	kb := anonymousKB(os.Getpid()) - m.calls*8/1024
	if m.server != 0 {
		kb += anonymousKB(m.server)
	}
	slices.Sort(m.took)
	calls := float64(m.calls)
	fmt.Printf("%.2f %.2f %.2f %d %.0f\n", float64(m.took[m.calls/2])/1e3, float64(m.took[m.calls*99/100])/1e3,
		float64(cpu)/1e3/calls, kb, calls/wall.Seconds())
}

func callUntilDone(conn *grpc.ClientConn, m *measure) {
	request := &wrapperspb.BytesValue{Value: []byte(strings.Repeat("x", messageBytes))}
	for m.started.Add(1) <= m.warm+m.calls {
		since := time.Now()
		reply := new(wrapperspb.BytesValue)
		if err := conn.Invoke(context.Background(), method, request, reply); err != nil {
			fail("call", err)
		}
		if len(reply.Value) != messageBytes {
			fail("call", fmt.Errorf("%d bytes came back", len(reply.Value)))
		}
		m.callEnded(since)
	}
}

func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		fail("usage", err)
	}
	return n
}

func client(dir string, arguments []string) {
	conn, err := grpc.NewClient("127.0.0.1:"+arguments[0], grpc.WithTransportCredentials(credentials.NewTLS(makeTLS(dir, "client"))))
	if err != nil {
		fail("connection", err)
	}
	defer conn.Close()
	m := &measure{warm: max(number(arguments[2]), 1), calls: number(arguments[3]), server: int(number(arguments[4]))}
	m.took = make([]int64, m.calls)
	for i := range m.took {
		m.took[i] = 1 // touched before it counts
	}
	var all sync.WaitGroup
	for range number(arguments[1]) {
		all.Go(func() { callUntilDone(conn, m) })
	}
	all.Wait()
	m.close()
}

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "server":
		serve(os.Args[2])
	case len(os.Args) == 8 && os.Args[1] == "client":
		client(os.Args[2], os.Args[3:])
	default:
		fail("usage", errors.New("server DIR | client DIR PORT IN_FLIGHT WARM CALLS SERVER_PID"))
	}
}
