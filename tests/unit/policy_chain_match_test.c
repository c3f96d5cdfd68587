/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which chain a connection takes, of the listeners a real istiod sent: everything a peer may speak, on ports of every kind
 * and mode; then each criterion alone, and the order they are asked in. Envoy 1.40 chooses the same for all of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "net/sniff.h"
#include "policy/chain_match.h"
#include "support/decode_fixture.h"

#define SAMPLE(name) MESH_TEST_SOURCE_DIR "/tests/xds/samples/" name

/* What a peer speaks first. */
enum speech {
	ISTIO_HTTP1, /* TLS, ALPN as a sidecar offers it for HTTP/1.1 */
	ISTIO_HTTP2,
	ISTIO_TCP,     /* TLS, with exchange of metadata */
	ISTIO_TCP_OLD, /* TLS, "istio" alone */
	FOREIGN_TLS,   /* TLS of the application's own */
	FOREIGN_H2,    /* the same, ALPN h2 */
	PLAIN_HTTP1,
	PLAIN_HTTP10,
	PLAIN_H2C,
	RAW,
	SILENT,     /* the time for looking is over */
	BROKEN_TLS, /* begins like a ClientHello and is none */
	SPEECHES,
};

static const char *const speech_names[SPEECHES] = {
	"istio http/1.1", "istio h2", "istio tcp", "istio alone", "foreign TLS", "foreign TLS h2",
	"HTTP/1.1",       "HTTP/1.0", "h2c",       "raw bytes",   "silence",     "broken TLS"};

static size_t put16(unsigned char *at, size_t value)
{
	at[0] = (unsigned char)(value >> 8);
	at[1] = (unsigned char)value;
	return 2;
}

/* A ClientHello with these names in ALPN, and a server name where one is given. */
static size_t hello(unsigned char *to, const char *const *alpn, const char *server_name)
{
	unsigned char body[1024] = {3, 3};
	size_t at = 2 + 32, list, extension, start;

	body[at++] = 0; /* session id */
	at += put16(body + at, 2) + put16(body + at + 2, 0x1301);
	body[at++] = 1;
	body[at++] = 0; /* compression */
	start = at;
	at += 2;
	if (server_name) {
		size_t len = strlen(server_name);

		at += put16(body + at, 0);
		at += put16(body + at, len + 5);
		at += put16(body + at, len + 3);
		body[at++] = 0;
		at += put16(body + at, len);
		memcpy(body + at, server_name, len);
		at += len;
	}
	if (alpn) {
		at += put16(body + at, 16);
		extension = at;
		at += 2;
		list = at;
		at += 2;
		for (; *alpn; alpn++) {
			body[at++] = (unsigned char)strlen(*alpn);
			memcpy(body + at, *alpn, strlen(*alpn));
			at += strlen(*alpn);
		}
		put16(body + list, at - list - 2);
		put16(body + extension, at - extension - 2);
	}
	put16(body + start, at - start - 2);
	to[0] = 0x16;
	to[1] = 3;
	to[2] = 1;
	put16(to + 3, at + 4);
	to[5] = 1;
	to[6] = 0;
	put16(to + 7, at);
	memcpy(to + 9, body, at);
	return at + 9;
}

/* The first bytes of that speech; how many. */
static size_t say(enum speech speech, unsigned char *to)
{
	static const char *const h1[] = {"istio-http/1.1", "istio", "http/1.1", "http/1.0", NULL};
	static const char *const h2[] = {"istio-h2", "istio", "h2", NULL};
	static const char *const tcp[] = {"istio-peer-exchange", "istio", NULL};
	static const char *const old[] = {"istio", NULL}, *const foreign[] = {"h2", "http/1.1", NULL};
	const char *text = "";

	switch (speech) {
	case ISTIO_HTTP1:
		return hello(to, h1, "outbound_.9080_._.reviews.default.svc.cluster.local");
	case ISTIO_HTTP2:
		return hello(to, h2, "outbound_.9080_._.reviews.default.svc.cluster.local");
	case ISTIO_TCP:
		return hello(to, tcp, "outbound_.9080_._.reviews.default.svc.cluster.local");
	case ISTIO_TCP_OLD:
		return hello(to, old, NULL);
	case FOREIGN_TLS:
		return hello(to, NULL, "reviews.example.com");
	case FOREIGN_H2:
		return hello(to, foreign, "reviews.example.com");
	case PLAIN_HTTP1:
		text = "GET / HTTP/1.1\r\n";
		break;
	case PLAIN_HTTP10:
		text = "GET / HTTP/1.0\r\n";
		break;
	case PLAIN_H2C:
		text = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
		break;
	case RAW:
		text = "\x05\x01 hello";
		break;
	case BROKEN_TLS:
		memcpy(to, "\x16\x03\x01\0\x05hello", 10);
		return 10;
	case SILENT:
	case SPEECHES:
		break;
	}
	memcpy(to, text, strlen(text));
	return strlen(text);
}

/* As inbound_chain.c does it. */
static const struct chain *choose(const struct listener_config *listener, uint16_t port, struct mesh_slice bytes)
{
	static const struct mesh_slice h11[] = {{"http/1.1", 8}}, h10[] = {{"http/1.0", 8}}, h2c[] = {{"h2c", 3}};
	unsigned looks = mesh_chain_looks_for(listener, port);
	struct sniff sniff = {.tls_only = !(looks & CHAIN_LOOKS_FOR_HTTP), .http_only = !(looks & CHAIN_LOOKS_FOR_TLS)};
	struct chain_request request = {.port = port};
	struct address at;
	struct arena arena;
	const struct chain *chain;

	assert_int_equal(mesh_address_parse(&at, MESH_SLICE("10.1.2.3"), port), 0);
	request.source = request.destination = &at;
	mesh_arena_init(&arena, &mesh_mem_default, 0);
	if (looks && bytes.len) {
		assert_int_equal(mesh_sniff(bytes, &arena, &sniff), 0);
		if (sniff.kind == SNIFF_MORE)
			fail_msg("%zu bytes do not tell what they are", bytes.len);
		request.tls = sniff.kind == SNIFF_TLS;
		request.server_name = sniff.server_name;
		request.alpn = sniff.kind == SNIFF_TLS     ? sniff.alpn
			       : sniff.kind == SNIFF_HTTP2 ? h2c
			       : sniff.http_10             ? h10
							   : h11;
		request.alpn_count =
			request.tls ? sniff.alpn_count : sniff.kind == SNIFF_HTTP1 || sniff.kind == SNIFF_HTTP2;
	}
	chain = mesh_chain_find(listener, &request);
	mesh_arena_free(&arena);
	return chain;
}

struct row {
	const char *chains[SPEECHES]; /* "<name> <number among those of that name>", "-": none */
};

struct port_case {
	const char *what, *file;
	uint16_t port;
	unsigned looks;
	struct row row;
};

#define CATCH_ALL "virtualInbound-catchall-http"
/* HTTP/1.0 is not among istiod's protocols for found-out HTTP: it is bytes there */
static const struct port_case port_cases[] = {
	{"PERMISSIVE, a port with no service",
	 "k8s-sidecar.lds.json",
	 7777,
	 CHAIN_LOOKS_FOR_TLS | CHAIN_LOOKS_FOR_HTTP,
	 {{CATCH_ALL " 0", CATCH_ALL " 0", "virtualInbound 0", "virtualInbound 0", "virtualInbound 2",
	   "virtualInbound 2", CATCH_ALL " 1", "virtualInbound 1", CATCH_ALL " 1", "virtualInbound 1",
	   "virtualInbound 1", "virtualInbound 1"}}},
	{"PERMISSIVE, HTTP",
	 "k8s-sidecar.lds.json",
	 9080,
	 CHAIN_LOOKS_FOR_TLS,
	 {{"0.0.0.0_9080 0", "0.0.0.0_9080 0", "0.0.0.0_9080 0", "0.0.0.0_9080 0", "-", "-", "0.0.0.0_9080 1",
	   "0.0.0.0_9080 1", "0.0.0.0_9080 1", "0.0.0.0_9080 1", "0.0.0.0_9080 1", "0.0.0.0_9080 1"}}},
	{"STRICT, a port with no service",
	 "strict.reviews-v1.sotw.lds.pb",
	 7777,
	 CHAIN_LOOKS_FOR_TLS,
	 {{CATCH_ALL " 0", CATCH_ALL " 0", "virtualInbound 0", "virtualInbound 0", "virtualInbound 0",
	   "virtualInbound 0", "-", "-", "-", "-", "-", "-"}}},
	{"STRICT, HTTP",
	 "strict.reviews-v1.sotw.lds.pb",
	 9080,
	 CHAIN_LOOKS_FOR_TLS,
	 {{"0.0.0.0_9080 0", "0.0.0.0_9080 0", "0.0.0.0_9080 0", "0.0.0.0_9080 0", "0.0.0.0_9080 0", "0.0.0.0_9080 0",
	   "-", "-", "-", "-", "-", "-"}}},
	/* no tls_inspector: TLS is bytes like others */
	{"DISABLE, a port with no service",
	 "disable.echo-v1.delta.lds.pb",
	 7777,
	 CHAIN_LOOKS_FOR_HTTP,
	 {{"virtualInbound 0", "virtualInbound 0", "virtualInbound 0", "virtualInbound 0", "virtualInbound 0",
	   "virtualInbound 0", CATCH_ALL " 0", "virtualInbound 0", CATCH_ALL " 0", "virtualInbound 0",
	   "virtualInbound 0", "virtualInbound 0"}}},
	{"DISABLE, HTTP",
	 "disable.echo-v1.delta.lds.pb",
	 8080,
	 0,
	 {{"0.0.0.0_8080 0", "0.0.0.0_8080 0", "0.0.0.0_8080 0", "0.0.0.0_8080 0", "0.0.0.0_8080 0", "0.0.0.0_8080 0",
	   "0.0.0.0_8080 0", "0.0.0.0_8080 0", "0.0.0.0_8080 0", "0.0.0.0_8080 0", "0.0.0.0_8080 0",
	   "0.0.0.0_8080 0"}}},
	/* the proxy's own port: it would call itself */
	{"PERMISSIVE, 15006",
	 "k8s-sidecar.lds.json",
	 15006,
	 0,
	 {{"virtualInbound-blackhole 0", "virtualInbound-blackhole 0", "virtualInbound-blackhole 0",
	   "virtualInbound-blackhole 0", "virtualInbound-blackhole 0", "virtualInbound-blackhole 0",
	   "virtualInbound-blackhole 0", "virtualInbound-blackhole 0", "virtualInbound-blackhole 0",
	   "virtualInbound-blackhole 0", "virtualInbound-blackhole 0", "virtualInbound-blackhole 0"}}},
};

static void describe(const struct listener_config *listener, const struct chain *chain, char *text, size_t size)
{
	unsigned number = 0;

	snprintf(text, size, "-");
	for (size_t i = 0; chain && i < listener->chain_count; i++) {
		const struct chain *at = &listener->chains[i];

		if (at == chain)
			snprintf(text, size, "%.*s %u", (int)at->name.len, at->name.data, number);
		number += mesh_slice_equal(at->name, chain->name);
	}
}

static void check_port(const struct port_case *port)
{
	struct decode_fixture f;
	struct listener_config *listener;
	char path[512];

	snprintf(path, sizeof(path), SAMPLE("%s"), port->file);
	decode_fixture_begin(&f);
	listener = decode_fixture_listener(&f, path, "virtualInbound");
	assert_int_equal(mesh_chain_looks_for(listener, port->port), port->looks);
	for (unsigned i = 0; i < SPEECHES; i++) {
		unsigned char bytes[2048];
		size_t len = say((enum speech)i, bytes);
		char got[256];

		describe(listener, choose(listener, port->port, mesh_slice_make(bytes, len)), got, sizeof(got));
		if (strcmp(got, port->row.chains[i]) != 0)
			fail_msg("%s, %s: expected %s, got %s", port->what, speech_names[i], port->row.chains[i], got);
	}
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

static void recorded_listeners(void **state)
{
	for (size_t i = 0; i < sizeof(port_cases) / sizeof(port_cases[0]); i++)
		check_port(&port_cases[i]);
}

/* Ports as istiod configures them that no sample has: without a protocol ("auto"), and TCP. */
static struct mesh_slice http_names[] = {{"istio-http/1.0", 14}, {"istio-http/1.1", 14}, {"istio-h2", 8}};
static struct mesh_slice tcp_names[] = {{"istio-peer-exchange", 19}, {"istio", 5}};
static struct mesh_slice plain_names[] = {{"http/1.1", 8}, {"h2c", 3}};

#define NAMED(text) .name = {text, sizeof(text) - 1}
#define SECURE      .transport = {"tls", 3}
#define PLAIN       .transport = {"raw_buffer", 10}
#define NAMES(list) .alpn = list, .alpn_count = sizeof(list) / sizeof(list[0])
#define CHAIN_OF(...)                                                                                                  \
	{                                                                                                              \
		.match = { __VA_ARGS__ }                                                                               \
	}

static struct chain mode_chains[] = {
	{NAMED("auto http mtls"), .match = {.destination_port = 1, SECURE, NAMES(http_names)}},
	{NAMED("auto http"), .match = {.destination_port = 1, PLAIN, NAMES(plain_names)}},
	{NAMED("auto tcp mtls"), .match = {.destination_port = 1, SECURE, NAMES(tcp_names)}},
	{NAMED("auto tcp"), .match = {.destination_port = 1, PLAIN}},
	{NAMED("auto tls"), .match = {.destination_port = 1, SECURE}},
	{NAMED("tcp mtls"), .match = {.destination_port = 2, SECURE, NAMES(tcp_names)}},
	{NAMED("tcp tls"), .match = {.destination_port = 2, SECURE}},
	{NAMED("tcp plain"), .match = {.destination_port = 2, PLAIN}},
	{NAMED("strict auto http"), .match = {.destination_port = 3, SECURE, NAMES(http_names)}},
	{NAMED("strict auto tcp"), .match = {.destination_port = 3, SECURE}},
	{NAMED("strict tcp"), .match = {.destination_port = 4, SECURE}},
	{NAMED("disable auto http"), .match = {.destination_port = 5, PLAIN, NAMES(plain_names)}},
	{NAMED("disable auto tcp"), .match = {.destination_port = 5, PLAIN}},
	{NAMED("disable tcp"), .match = {.destination_port = 6}},
};

static void modes_and_kinds(void **state)
{
	static const struct {
		uint16_t port;
		unsigned looks;
		const char *chains[SPEECHES]; /* ISTIO_HTTP1 .. SILENT */
	} cases[] = {
		{1,
		 CHAIN_LOOKS_FOR_TLS | CHAIN_LOOKS_FOR_HTTP,
		 {"auto http mtls", "auto http mtls", "auto tcp mtls", "auto tcp mtls", "auto tls", "auto tls",
		  "auto http", "auto tcp", "auto http", "auto tcp", "auto tcp", "auto tcp"}},
		{2,
		 CHAIN_LOOKS_FOR_TLS,
		 {"tcp mtls", "tcp mtls", "tcp mtls", "tcp mtls", "tcp tls", "tcp tls", "tcp plain", "tcp plain",
		  "tcp plain", "tcp plain", "tcp plain", "tcp plain"}},
		{3,
		 CHAIN_LOOKS_FOR_TLS,
		 {"strict auto http", "strict auto http", "strict auto tcp", "strict auto tcp", "strict auto tcp",
		  "strict auto tcp", "-", "-", "-", "-", "-", "-"}},
		{4,
		 CHAIN_LOOKS_FOR_TLS,
		 {"strict tcp", "strict tcp", "strict tcp", "strict tcp", "strict tcp", "strict tcp", "-", "-", "-",
		  "-", "-", "-"}},
		/* the inspector is there for the other ports, and names TLS that no chain is for: Envoy closes it, too */
		{5,
		 CHAIN_LOOKS_FOR_TLS | CHAIN_LOOKS_FOR_HTTP,
		 {"-", "-", "-", "-", "-", "-", "disable auto http", "disable auto tcp", "disable auto http",
		  "disable auto tcp", "disable auto tcp", "disable auto tcp"}},
		{6,
		 0,
		 {"disable tcp", "disable tcp", "disable tcp", "disable tcp", "disable tcp", "disable tcp",
		  "disable tcp", "disable tcp", "disable tcp", "disable tcp", "disable tcp", "disable tcp"}},
		/* no chain at all */
		{7, 0, {"-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"}},
	};
	struct listener_config listener = {.chains = mode_chains,
					   .chain_count = sizeof(mode_chains) / sizeof(mode_chains[0]),
					   .tls_inspector = true,
					   .http_inspector = true};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(mesh_chain_looks_for(&listener, cases[i].port), cases[i].looks);
		for (unsigned j = 0; j < SPEECHES; j++) {
			unsigned char bytes[2048];
			size_t len = say((enum speech)j, bytes);
			const struct chain *chain = choose(&listener, cases[i].port, mesh_slice_make(bytes, len));
			struct mesh_slice name = chain ? chain->name : MESH_SLICE("-");

			if (!mesh_slice_equal(name, mesh_slice_of(cases[i].chains[j])))
				fail_msg("port %u, %s: expected %s, got %.*s", cases[i].port, speech_names[j],
					 cases[i].chains[j], (int)name.len, name.data);
		}
	}
}

struct asked {
	const char *server_name, *source, *destination;
	uint16_t port, source_port;
	bool tls;
};

/* Number of the chain, -1: none. */
static int chosen(struct chain *chains, size_t count, const struct asked *asked)
{
	struct listener_config listener = {.chains = chains, .chain_count = count};
	struct address source, destination;
	struct chain_request request = {
		.port = asked->port, .tls = asked->tls, .source = &source, .destination = &destination};
	const struct chain *chain;

	assert_int_equal(mesh_address_parse(&source, mesh_slice_of(asked->source ? asked->source : "10.0.0.1"),
					    asked->source_port ? asked->source_port : 40000),
			 0);
	assert_int_equal(mesh_address_parse(&destination,
					    mesh_slice_of(asked->destination ? asked->destination : "10.0.0.2"),
					    asked->port),
			 0);
	if (asked->server_name)
		request.server_name = mesh_slice_of(asked->server_name);
	chain = mesh_chain_find(&listener, &request);
	return chain ? (int)(chain - chains) : -1;
}

#define CHOSEN(chains, ...) chosen(chains, sizeof(chains) / sizeof(chains[0]), &(struct asked){__VA_ARGS__})

static void server_names(void **state)
{
	struct mesh_slice exact[] = {{"www.example.com", 15}}, narrow[] = {{"*.b.example.com", 15}},
			  wide[] = {{"*.example.com", 13}};
	struct chain chains[] = {
		CHAIN_OF(.server_names = wide, .server_name_count = 1),
		CHAIN_OF(.server_names = exact, .server_name_count = 1),
		CHAIN_OF(.server_names = narrow, .server_name_count = 1),
		CHAIN_OF(PLAIN),
	};

	assert_int_equal(CHOSEN(chains, .server_name = "www.example.com"), 1);
	assert_int_equal(CHOSEN(chains, .server_name = "WWW.Example.COM"), 1);
	assert_int_equal(CHOSEN(chains, .server_name = "a.example.com"), 0);
	assert_int_equal(CHOSEN(chains, .server_name = "a.b.example.com"), 2);
	assert_int_equal(CHOSEN(chains, .server_name = "b.example.com"), 0);
	assert_int_equal(CHOSEN(chains, .server_name = "example.com"), 3);
	assert_int_equal(CHOSEN(chains, .server_name = ".example.com"), 3);
	assert_int_equal(CHOSEN(chains, .server_name = "example.org"), 3);
	assert_int_equal(CHOSEN(chains, .server_name = NULL), 3);
	/* a name is asked for before the transport, and there is no way back */
	chains[1].match.transport = mesh_slice_of("raw_buffer");
	assert_int_equal(CHOSEN(chains, .server_name = "www.example.com", .tls = true), -1);
}

static struct cidr range(const char *ip, uint8_t bits)
{
	struct address address;
	struct cidr cidr = {.bits = bits};

	assert_int_equal(mesh_address_parse(&address, mesh_slice_of(ip), 0), 0);
	memcpy(cidr.bytes, &address.v4.sin_addr, 4);
	return cidr;
}

static void addresses(void **state)
{
	struct cidr wide[] = {range("10.0.0.0", 8)}, narrow[] = {range("10.0.0.0", 24)};
	uint16_t ports[] = {1000, 1001};
	struct chain destinations[] = {
		CHAIN_OF(.destinations = wide, .destination_count = 1),
		CHAIN_OF(.destinations = narrow, .destination_count = 1),
	};
	struct chain direct[] = {
		CHAIN_OF(.direct_sources = wide, .direct_source_count = 1),
		CHAIN_OF(.sources = narrow, .source_count = 1),
	};
	struct chain types[] = {CHAIN_OF(.source_type = 1), CHAIN_OF(.source_type = 2),
				CHAIN_OF(.destination_port = 0)};
	struct chain sources[] = {
		CHAIN_OF(.sources = wide, .source_count = 1),
		CHAIN_OF(.sources = narrow, .source_count = 1),
		CHAIN_OF(.sources = narrow, .source_count = 1, .source_ports = ports, .source_port_count = 2),
	};

	assert_int_equal(CHOSEN(destinations, .destination = "10.0.0.9"), 1);
	assert_int_equal(CHOSEN(destinations, .destination = "10.9.0.9"), 0);
	assert_int_equal(CHOSEN(destinations, .destination = "11.0.0.1"), -1);
	/* who connected is asked for before whom it speaks for */
	assert_int_equal(CHOSEN(direct, .source = "10.0.0.9"), 0);
	assert_int_equal(CHOSEN(direct, .source = "11.0.0.9"), -1);
	assert_int_equal(CHOSEN(types, .source = "127.0.0.1"), 0);
	assert_int_equal(CHOSEN(types, .source = "10.0.0.2", .destination = "10.0.0.2"), 0);
	assert_int_equal(CHOSEN(types, .source = "10.0.0.1"), 1);
	types[1].match.destination_port = 9; /* none is for the outside: any */
	assert_int_equal(CHOSEN(types, .source = "10.0.0.1", .port = 8), 2);
	assert_int_equal(CHOSEN(sources, .source = "10.0.0.9"), 1);
	assert_int_equal(CHOSEN(sources, .source = "10.0.0.9", .source_port = 1001), 2);
	assert_int_equal(CHOSEN(sources, .source = "10.0.9.9", .source_port = 1001), 0);
}

/* Each criterion outranks all behind it: two chains, of which one fits by the first and the other by all the rest. */
static void order(void **state)
{
	struct cidr ten[] = {range("10.0.0.0", 8)};
	struct mesh_slice name[] = {{"a.b", 3}}, alpn[] = {{"x", 1}};
	uint16_t ports[] = {40000};
	const struct chain_match all = {.destination_port = 7,
					.destinations = ten,
					.destination_count = 1,
					.server_names = name,
					.server_name_count = 1,
					SECURE,
					.alpn = alpn,
					.alpn_count = 1,
					.direct_sources = ten,
					.direct_source_count = 1,
					.source_type = 2,
					.sources = ten,
					.source_count = 1,
					.source_ports = ports,
					.source_port_count = 1};
	struct chain chains[2] = {{.match = {0}}, {.match = all}};
	struct chain_match *one = &chains[0].match, *rest = &chains[1].match;
	struct address source, destination;
	struct mesh_slice offered[] = {{"x", 1}};
	struct chain_request request = {.port = 7,
					.tls = true,
					.source = &source,
					.destination = &destination,
					.server_name = name[0],
					.alpn = offered,
					.alpn_count = 1};
	struct listener_config listener = {.chains = chains, .chain_count = 2};

	assert_int_equal(mesh_address_parse(&source, MESH_SLICE("10.0.0.1"), 40000), 0);
	assert_int_equal(mesh_address_parse(&destination, MESH_SLICE("10.0.0.2"), 7), 0);
	for (unsigned i = 0; i < 9; i++) {
		memset(one, 0, sizeof(*one));
		switch (i) {
		case 0:
			one->destination_port = 7;
			rest->destination_port = 0;
			break;
		case 1:
			one->destinations = ten;
			one->destination_count = 1;
			rest->destination_count = 0;
			break;
		case 2:
			one->server_names = name;
			one->server_name_count = 1;
			rest->server_name_count = 0;
			break;
		case 3:
			one->transport = all.transport;
			rest->transport = mesh_slice_make(NULL, 0);
			break;
		case 4:
			one->alpn = alpn;
			one->alpn_count = 1;
			rest->alpn_count = 0;
			break;
		case 5:
			one->direct_sources = ten;
			one->direct_source_count = 1;
			rest->direct_source_count = 0;
			break;
		case 6:
			one->source_type = 2;
			rest->source_type = 0;
			break;
		case 7:
			one->sources = ten;
			one->source_count = 1;
			rest->source_count = 0;
			break;
		case 8:
			one->source_ports = ports;
			one->source_port_count = 1;
			rest->source_port_count = 0;
			break;
		}
		if (mesh_chain_find(&listener, &request) != &chains[0])
			fail_msg("criterion %u does not come before those behind it", i);
	}
}

/* The client's own order of names decides, not the chains'. */
static void offered_names(void **state)
{
	struct mesh_slice a[] = {{"a", 1}}, b[] = {{"b", 1}}, offer[] = {{"z", 1}, {"b", 1}, {"a", 1}};
	struct chain chains[] = {CHAIN_OF(NAMES(a)), CHAIN_OF(NAMES(b)), CHAIN_OF(.destination_port = 0)};
	struct listener_config listener = {.chains = chains, .chain_count = 3};
	struct chain_request request = {.alpn = offer, .alpn_count = 3};

	assert_ptr_equal(mesh_chain_find(&listener, &request), &chains[1]);
	request.alpn = offer + 2;
	request.alpn_count = 1;
	assert_ptr_equal(mesh_chain_find(&listener, &request), &chains[0]);
	request.alpn = offer;
	assert_ptr_equal(mesh_chain_find(&listener, &request), &chains[2]);
}

static void default_chain(void **state)
{
	struct chain chain = CHAIN_OF(.destination_port = 1), otherwise = CHAIN_OF(.destination_port = 0);
	struct listener_config listener = {.chains = &chain, .chain_count = 1, .default_chain = &otherwise};
	struct chain_request request = {.port = 1};

	assert_ptr_equal(mesh_chain_find(&listener, &request), &chain);
	request.port = 2;
	assert_ptr_equal(mesh_chain_find(&listener, &request), &otherwise);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recorded_listeners),
		cmocka_unit_test(modes_and_kinds),
		cmocka_unit_test(server_names),
		cmocka_unit_test(addresses),
		cmocka_unit_test(order),
		cmocka_unit_test(offered_names),
		cmocka_unit_test(default_chain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
