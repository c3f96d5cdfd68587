// SPDX-License-Identifier: Apache-2.0

// Command mtls runs the cases of grpc-go's interop package, unmodified, with what its own programs have no flags for: mutual
// TLS between workload identities, and gzip.
//
//	mtls -listen ADDRESS [-cert F -key F -ca F -peer URI]             a server
//	mtls -connect ADDRESS -case NAME [-cert F -key F -ca F -peer URI] one case, exit status 0 when it passed
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

var (
	listen   = flag.String("listen", "", "address to serve")
	connect  = flag.String("connect", "", "address to call")
	testCase = flag.String("case", "", "name of the case")
	cert     = flag.String("cert", "", "certificate chain; without it plaintext")
	key      = flag.String("key", "", "its private key")
	ca       = flag.String("ca", "", "roots of the peer")
	peer     = flag.String("peer", "", "URI in the peer's certificate")
)

// verify checks a chain against the roots and the name in it, as a workload does: the URI, never a host name.
func verify(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		intermediates := x509.NewCertPool()
		for _, one := range state.PeerCertificates[1:] {
			intermediates.AddCert(one)
		}
		leaf := state.PeerCertificates[0]
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates,
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
			return err
		}
		for _, uri := range leaf.URIs {
			if uri.String() == *peer {
				return nil
			}
		}
		return errors.New("the peer is somebody else")
	}
}

func transport() credentials.TransportCredentials {
	if *cert == "" {
		return insecure.NewCredentials()
	}
	pair, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		log.Fatal(err)
	}
	pem, err := os.ReadFile(*ca)
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert,
		InsecureSkipVerify: true, VerifyConnection: verify(roots), MinVersion: tls.VersionTLS12})
}

func serve() {
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(transport()))
	testgrpc.RegisterTestServiceServer(server, interop.NewTestServer())
	fmt.Println("ready")
	log.Fatal(server.Serve(listener))
}

func payload(size int) *testgrpc.Payload {
	return interop.ClientNewPayload(testgrpc.PayloadType_COMPRESSABLE, size)
}

// Compressed messages must arrive as such, plain ones as plain: the server is asked to look.
func clientCompressed(ctx context.Context, tc testgrpc.TestServiceClient) {
	in := &testgrpc.SimpleRequest{ResponseSize: 314159, Payload: payload(271828), ExpectCompressed: &testgrpc.BoolValue{Value: true}}
	if _, err := tc.UnaryCall(ctx, in); status.Code(err) != codes.InvalidArgument {
		log.Fatalf("a plain message where a compressed one is due: %v", err)
	}
	if _, err := tc.UnaryCall(ctx, in, grpc.UseCompressor(gzip.Name)); err != nil {
		log.Fatal(err)
	}
	in.ExpectCompressed.Value = false
	if _, err := tc.UnaryCall(ctx, in); err != nil {
		log.Fatal(err)
	}
}

func serverCompressed(ctx context.Context, tc testgrpc.TestServiceClient) {
	for _, compressed := range []bool{true, false} {
		reply, err := tc.UnaryCall(ctx, &testgrpc.SimpleRequest{ResponseSize: 314159, Payload: payload(271828),
			ResponseCompressed: &testgrpc.BoolValue{Value: compressed}})
		if err != nil || len(reply.GetPayload().GetBody()) != 314159 {
			log.Fatal("server_compressed_unary: ", err)
		}
	}
}

func run(ctx context.Context, conn *grpc.ClientConn) {
	tc := testgrpc.NewTestServiceClient(conn)
	cases := map[string]func(){
		"empty_unary":                 func() { interop.DoEmptyUnaryCall(ctx, tc) },
		"large_unary":                 func() { interop.DoLargeUnaryCall(ctx, tc) },
		"client_streaming":            func() { interop.DoClientStreaming(ctx, tc) },
		"server_streaming":            func() { interop.DoServerStreaming(ctx, tc) },
		"ping_pong":                   func() { interop.DoPingPong(ctx, tc) },
		"empty_stream":                func() { interop.DoEmptyStream(ctx, tc) },
		"timeout_on_sleeping_server":  func() { interop.DoTimeoutOnSleepingServer(ctx, tc) },
		"cancel_after_begin":          func() { interop.DoCancelAfterBegin(ctx, tc) },
		"cancel_after_first_response": func() { interop.DoCancelAfterFirstResponse(ctx, tc) },
		"status_code_and_message":     func() { interop.DoStatusCodeAndMessage(ctx, tc) },
		"special_status_message":      func() { interop.DoSpecialStatusMessage(ctx, tc) },
		"custom_metadata":             func() { interop.DoCustomMetadata(ctx, tc) },
		"unimplemented_method":        func() { interop.DoUnimplementedMethod(ctx, conn) },
		"unimplemented_service": func() {
			interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(conn))
		},
		"client_compressed_unary": func() { clientCompressed(ctx, tc) },
		"server_compressed_unary": func() { serverCompressed(ctx, tc) },
	}
	chosen, ok := cases[*testCase]
	if !ok {
		log.Fatalf("no such case: %q", *testCase)
	}
	chosen()
}

func main() {
	flag.Parse()
	if *listen != "" {
		serve()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+*connect, grpc.WithTransportCredentials(transport()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	run(ctx, conn)
}
