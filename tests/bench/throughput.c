/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A report, not a test: how fast a stream carries bytes between two meshes over mutual TLS, next to what two plain OpenSSL
 * programs get out of the same machine: blocking sockets, SSL_write and SSL_read of 64 KiB, the same suite and kind of
 * certificates, one thread on each side. Rounds alternate; ratios are taken within a round, medians over rounds.
 *
 *     throughput [MiB per run: 1024] [rounds: 5] [apart]
 *
 * `apart`: each side has a CPU of its own. Else the scheduler decides, and its choice is what two runs differ by most.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "support/tcp_pair.h"

enum { CHUNK = 65536, ROUNDS_MAX = 101, MIB = 1048576 };

struct run {
	double mib_s;
	double cpu_ns_byte; /* of both sides */
};

static double seconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static struct run measured(double wall, double cpu, uint64_t bytes)
{
	return (struct run){(double)bytes / MIB / wall, cpu * 1e9 / (double)bytes};
}

static void need(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "throughput: %s failed\n", what);
	exit(1);
}

enum side { CLIENT, SERVER };

static bool apart;

/* This thread, and those it makes from here on. */
static void place(enum side side)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(side, &cpus);
	if (apart)
		need(!pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus), "a CPU for each side");
}

/* ---- plain OpenSSL */

struct plain {
	const struct secret *certificate, *roots;
	int fd;
	bool server, sends;
	uint64_t bytes;
	char *buffer;
};

static SSL_CTX *context(const struct plain *side)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());
	BIO *chain = BIO_new_mem_buf(side->certificate->chain_pem.data, (int)side->certificate->chain_pem.len);
	BIO *key = BIO_new_mem_buf(side->certificate->key_pem.data, (int)side->certificate->key_pem.len);
	BIO *roots = BIO_new_mem_buf(side->roots->roots_pem.data, (int)side->roots->roots_pem.len);
	X509 *leaf = PEM_read_bio_X509(chain, NULL, NULL, NULL), *root = PEM_read_bio_X509(roots, NULL, NULL, NULL);
	EVP_PKEY *pkey = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);

	need(SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256") && SSL_CTX_use_certificate(ctx, leaf) == 1 &&
		     SSL_CTX_use_PrivateKey(ctx, pkey) == 1 &&
		     X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), root) == 1,
	     "the certificate");
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	X509_free(leaf);
	X509_free(root);
	EVP_PKEY_free(pkey);
	BIO_free(chain);
	BIO_free(key);
	BIO_free(roots);
	return ctx;
}

static void *plain_side(void *argument)
{
	struct plain *side = argument;
	SSL_CTX *ctx = context(side);
	SSL *ssl = SSL_new(ctx);
	uint64_t done = 0;

	place(side->server ? SERVER : CLIENT);
	SSL_set_fd(ssl, side->fd);
	need((side->server ? SSL_accept(ssl) : SSL_connect(ssl)) == 1, "the handshake");
	while (done < side->bytes) {
		int n = side->sends ? SSL_write(ssl, side->buffer, CHUNK) : SSL_read(ssl, side->buffer, CHUNK);

		need(n > 0, side->sends ? "SSL_write" : "SSL_read");
		done += (uint64_t)n;
	}
	SSL_shutdown(ssl);
	while (side->sends &&
	       SSL_read(ssl, side->buffer, CHUNK) > 0) /* closing before the other side read all would reset */
		;
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(side->fd);
	return NULL;
}

static void loopback(int fds[2])
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	need(!bind(listener, (struct sockaddr *)&at, len) && !listen(listener, 1) &&
		     !getsockname(listener, (struct sockaddr *)&at, &len),
	     "listening");
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	need(!connect(fds[0], (struct sockaddr *)&at, len), "connecting");
	fds[1] = accept(listener, NULL, NULL);
	for (int i = 0; i < 2; i++)
		setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	close(listener);
}

static struct run run_plain(struct tcp_pair *pair, bool up, uint64_t bytes)
{
	static char buffers[2][CHUNK];
	struct plain sides[2];
	pthread_t server;
	double wall, cpu;
	int fds[2];

	loopback(fds);
	for (int i = 0; i < 2; i++)
		sides[i] = (struct plain){.certificate = i ? pair->server.certificate : pair->client.certificate,
					  .roots = pair->server.roots,
					  .fd = fds[i],
					  .server = i,
					  .sends = i ? !up : up,
					  .bytes = bytes,
					  .buffer = buffers[i]};
	wall = seconds(CLOCK_MONOTONIC);
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
	pthread_create(&server, NULL, plain_side, &sides[1]);
	plain_side(&sides[0]);
	pthread_join(server, NULL);
	return measured(seconds(CLOCK_MONOTONIC) - wall, seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu, bytes);
}

/* ---- two meshes */

struct served {
	struct tcp_pair *pair;
	uint64_t done, bytes;
	bool sends;
	char buffer[CHUNK];
};

static void served_over(struct mesh_stream *stream, struct served *served)
{
	struct tcp_pair *pair = served->pair;

	mesh_stream_close(stream);
	free(served);
	atomic_fetch_add(&pair->closed, 1);
}

static void served_closed(struct mesh_stream *stream, void *user)
{
	served_over(stream, user);
}

static void served_move(struct mesh_stream *stream, void *user)
{
	struct served *served = user;
	int64_t n;

	while (served->done < served->bytes) {
		n = served->sends ? mesh_stream_write(stream, (struct mesh_slice){served->buffer, CHUNK})
				  : mesh_stream_read(stream, served->buffer, CHUNK);
		if (n < 0)
			return;
		need(n > 0, "reading");
		served->done += (uint64_t)n;
	}
	served_over(stream, served);
}

static uint64_t run_bytes;
static bool run_up;

static void serve(struct mesh_stream *stream, void *user)
{
	static const struct mesh_stream_events events = {
		.size = sizeof(events), .readable = served_move, .writable = served_move, .closed = served_closed};
	struct served *served = calloc(1, sizeof(*served));

	served->pair = user;
	served->bytes = run_bytes;
	served->sends = !run_up;
	mesh_stream_on(stream, &events, served);
}

static struct run run_mesh(struct tcp_pair *pair, bool up, uint64_t bytes)
{
	static char buffer[CHUNK];
	struct mesh_stream *stream;
	double wall, cpu;
	int closed = atomic_load(&pair->closed);

	run_up = up;
	run_bytes = bytes;
	wall = seconds(CLOCK_MONOTONIC);
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
	stream = tcp_pair_dial(pair);
	for (uint64_t done = 0; done < bytes;) {
		int64_t n = up ? mesh_stream_write(stream, (struct mesh_slice){buffer, CHUNK})
			       : mesh_stream_read(stream, buffer, CHUNK);

		if (n == MESH_ERROR_AGAIN)
			n = mesh_stream_wait(stream, up ? MESH_STREAM_WRITABLE : MESH_STREAM_READABLE, 10000) > 0 ? 0
														  : -1;
		need(n >= 0, up ? "writing" : "reading");
		done += (uint64_t)n;
	}
	need(tcp_pair_until(&pair->closed, closed + 1), "the server's end");
	mesh_stream_close(stream);
	return measured(seconds(CLOCK_MONOTONIC) - wall, seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu, bytes);
}

/* ---- the report */

static int order(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return left < right ? -1 : left > right;
}

static double median(const double *values, unsigned count)
{
	double sorted[ROUNDS_MAX];

	memcpy(sorted, values, count * sizeof(*values));
	qsort(sorted, count, sizeof(*sorted), order);
	return sorted[count / 2];
}

static void report(struct tcp_pair *pair, bool up, uint64_t bytes, unsigned rounds)
{
	double plain[ROUNDS_MAX], mesh[ROUNDS_MAX], ratio[ROUNDS_MAX], plain_cpu[ROUNDS_MAX], mesh_cpu[ROUNDS_MAX];

	for (unsigned i = 0; i < rounds; i++) {
		struct run one = {0}, other = {0};

		if (i % 2)
			other = run_mesh(pair, up, bytes);
		one = run_plain(pair, up, bytes);
		if (!(i % 2))
			other = run_mesh(pair, up, bytes);
		plain[i] = one.mib_s;
		mesh[i] = other.mib_s;
		ratio[i] = other.mib_s / one.mib_s;
		plain_cpu[i] = one.cpu_ns_byte;
		mesh_cpu[i] = other.cpu_ns_byte;
	}
	printf("| %-16s | %13.0f | %13.0f | %5.2f | %19.3f | %19.3f |\n", up ? "client to server" : "server to client",
	       median(plain, rounds), median(mesh, rounds), median(ratio, rounds), median(plain_cpu, rounds),
	       median(mesh_cpu, rounds));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	uint64_t mib = argc > 1 ? strtoull(argv[1], NULL, 10) : 1024;
	unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 5;
	struct tcp_pair pair;

	apart = argc > 3 && !strcmp(argv[3], "apart");
	if (!mib || !rounds || rounds > ROUNDS_MAX || argc > 4 || (argc > 3 && !apart)) {
		fprintf(stderr, "usage: throughput [MiB per run] [rounds, at most %d] [apart]\n", ROUNDS_MAX);
		return 2;
	}
	place(SERVER); /* its workers begin here */
	tcp_pair_open(&pair, NULL);
	place(CLIENT);
	pair.handler = serve;
	pair.exchange = true;
	tcp_pair_publish(&pair);
	printf("%llu MiB a run, %u rounds, mutual TLS 1.3, one connection, two threads\n\n"
	       "| direction        | OpenSSL MiB/s | libmesh MiB/s | ratio | OpenSSL CPU ns/byte | libmesh CPU ns/byte "
	       "|\n"
	       "|------------------|--------------:|--------------:|------:|--------------------:|--------------------:"
	       "|\n",
	       (unsigned long long)mib, rounds);
	report(&pair, true, mib * MIB, rounds);
	report(&pair, false, mib * MIB, rounds);
	tcp_pair_close(&pair);
	return 0;
}
