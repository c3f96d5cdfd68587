/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transport moves bytes over one connected, non-blocking socket: plain or TLS. It knows no protocol above and no loop;
 * `wants` tells what the owner should poll for. The first of the three ops tables.
 */
#ifndef MESH_NET_TRANSPORT_H
#define MESH_NET_TRANSPORT_H

#include <sys/types.h>
#include <sys/uio.h>

#include "base/arena.h"
#include "base/why.h"

struct transport;
struct tls_context;
struct tls_session;

/* What is known of the peer once the handshake is done. Slices live as long as the transport. */
struct peer_info {
	bool tls;
	bool mutual;                    /* both showed a certificate, the peer's was verified */
	struct mesh_slice identity;     /* the first URI SAN of a verified peer certificate */
	struct mesh_slice *uri_sans;    /* all of them */
	size_t uri_san_count;
	struct mesh_slice *dns_sans;
	size_t dns_san_count;
	struct mesh_slice subject;      /* RFC 2253, as Envoy prints it; "" for an empty subject */
	struct mesh_slice sha256;       /* hex digest of the certificate */
	struct mesh_slice local_uri;    /* our own certificate's first URI SAN (XFCC "By") */
	struct mesh_slice sni;          /* server side: name the client asked for */
	struct mesh_slice alpn;         /* negotiated, absent when none */
	struct mesh_slice tls_version;  /* "TLSv1.3" */
	struct mesh_slice tls_cipher;
	bool resumed;
	struct mesh_slice pem[2];       /* mesh_transport_peer_pem's, once asked for: certificate, chain */
};

struct transport_ops {
	/* 0 done; AGAIN (see wants); CONNECT, TLS or PEER_IDENTITY with words in transport->why. Also finishes a connect() under way. */
	int (*handshake)(struct transport *transport);
	/* > 0 bytes; 0 orderly end; AGAIN; RESET or TLS. After a short read *drained is true: nothing more is waiting now. */
	ssize_t (*read)(struct transport *transport, char *data, size_t room, bool *drained);
	/* bytes taken (maybe fewer than given); AGAIN; RESET or TLS. One syscall where possible. */
	ssize_t (*write)(struct transport *transport, struct mesh_slice data);
	/* End of our direction alone, for who goes on reading: FIN, or close_notify and no FIN, as Envoy. 0; AGAIN; RESET or TLS. */
	int (*finish)(struct transport *transport);
	void (*shutdown)(struct transport *transport); /* the same and more, before the end of all: best effort, does not wait */
	void (*destroy)(struct transport *transport);  /* frees what is private; the socket is closed by mesh_transport_free */
};

struct transport {
	const struct transport_ops *ops;
	const struct mesh_mem *mem;
	int fd;
	unsigned wants;  /* LOOP_READ | LOOP_WRITE after AGAIN */
	bool ready;      /* handshake done */
	struct peer_info peer;
	struct why why;
	struct arena arena; /* peer_info's memory */
};

/* Each takes over fd, also on failure (it is closed then). NOMEM, TLS. */
int mesh_transport_plain_new(const struct mesh_mem *mem, int fd, struct transport **transport);

/* What a TLS client adds to its context for one connection. Borrowed for the call only, but `context` is retained. */
struct tls_client {
	struct tls_context *context;
	struct mesh_slice sni;            /* absent: none sent */
	struct mesh_slice alpn;           /* wire format, absent: none offered */
	const struct string_match *sans;  /* one must match a URI or DNS SAN; count 0: any certificate of the trusted roots */
	size_t san_count;
	struct mesh_slice name;           /* which a DNS SAN, or for an address an IP SAN, must show besides; absent: none */
	struct tls_session *resume;       /* may be NULL */
	/* called with each new ticket; retain what is kept. The transport may be in the middle of read. */
	void (*session_new)(void *user, struct tls_session *session);
	void *session_user;
};
int mesh_transport_tls_client_new(const struct mesh_mem *mem, int fd, const struct tls_client *client,
				  struct transport **transport);
/* `head`: bytes already read from the socket while sniffing (copied). SANs to accept are the context's. */
int mesh_transport_tls_server_new(const struct mesh_mem *mem, int fd, struct tls_context *context,
				  struct mesh_slice head, struct transport **transport);
/*
 * The peer's certificate, or with `chain` all it sent with its own first, in PEM and escaped as Envoy writes it into
 * x-forwarded-client-cert; absent when it showed none. A resumed session has kept the peer's own alone. Lives as long as
 * the transport. NOMEM.
 */
int mesh_transport_peer_pem(struct transport *transport, bool chain, struct mesh_slice *pem);
void mesh_transport_free(struct transport *transport); /* closes the socket; NULL allowed */

/* A resumable session of the peer it was made with; bound to the credentials of its context. */
struct tls_session *mesh_tls_session_retain(struct tls_session *session);
void mesh_tls_session_release(struct tls_session *session);

#endif
