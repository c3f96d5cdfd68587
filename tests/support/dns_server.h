/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A name server on loopback, UDP and TCP, that says what a test tells it to and can be told otherwise at any time. Names it
 * was told nothing of do not exist. All calls from any thread.
 */
#ifndef MESH_TESTS_SUPPORT_DNS_SERVER_H
#define MESH_TESTS_SUPPORT_DNS_SERVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"

enum dns_manner {
	DNS_ANSWERS,
	DNS_SILENT,
	DNS_FAILS,     /* SERVFAIL */
	DNS_REFUSES,
	DNS_TRUNCATES, /* over UDP nothing but the flag; over TCP the whole */
	DNS_GARBLES,   /* an answer that points beyond its own end */
	DNS_WRONG_ID,  /* as somebody who guesses would answer; nothing else comes */
	DNS_OTHER_NAME, /* the right number, an answer to another question */
};

enum { DNS_SERVER_NAMES = 32, DNS_SERVER_ADDRESSES = 512 };

struct dns_server_name {
	char name[256];
	enum dns_manner manner;
	uint32_t ttl_s;
	char alias_of[256];   /* a CNAME with a TTL of its own; "": none */
	uint32_t alias_ttl_s;
	struct address addresses[DNS_SERVER_ADDRESSES];
	size_t count;
	unsigned asked;       /* of any type, over anything */
	unsigned asked_tcp;
};

struct dns_server {
	uint16_t port;
	int udp, tcp, wake[2];
	pthread_t thread;
	struct {
		pthread_mutex_t lock;
		struct dns_server_name names[DNS_SERVER_NAMES];
		size_t count;
	} shared;
};

void dns_server_start(struct dns_server *server);
void dns_server_stop(struct dns_server *server);
/* "10.0.0.1 10.0.0.2 ::1": all it has from now on, "" none; it answers. */
void dns_server_set(struct dns_server *server, const char *name, const char *addresses, uint32_t ttl_s);
void dns_server_alias(struct dns_server *server, const char *name, const char *alias_of, uint32_t ttl_s);
void dns_server_behave(struct dns_server *server, const char *name, enum dns_manner manner);
void dns_server_forget(struct dns_server *server, const char *name); /* it does not exist any more; counts stay */
unsigned dns_server_asked(struct dns_server *server, const char *name, bool tcp_alone);
struct address dns_server_address(const struct dns_server *server);

#endif
