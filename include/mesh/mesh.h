/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmesh: join an Istio mesh from inside the process.
 *
 * A `struct mesh` is one workload: its certificate, its configuration, its control thread. Open one per process, in the
 * process that uses it (not across fork). Then make calls (call.h), open streams (stream.h), listen (listener.h), drive your own loop (worker.h),
 * look inside (admin.h).
 *
 * Conventions of every header: functions return >= 0 for good and < 0 for an `enum mesh_error`; option structs begin with
 * their size (set it with sizeof), zero means default; units are in the names; nothing is printed, no signal handler is
 * installed, SIGPIPE is never raised.
 */
#ifndef MESH_MESH_H
#define MESH_MESH_H

#include <mesh/call.h>
#include <mesh/error.h>
#include <mesh/explain.h>
#include <mesh/listener.h>
#include <mesh/stream.h>
#include <mesh/types.h>
#include <mesh/version.h>
#include <mesh/worker.h>

#ifdef __cplusplus
extern "C" {
#endif

enum mesh_log_level {
	MESH_LOG_ERROR = 1,
	MESH_LOG_WARNING = 2, /* the default */
	MESH_LOG_INFO = 3,
	MESH_LOG_DEBUG = 4,
};

/*
 * Receives one log line without line end. `subject` is the part of the library ("ads", "tls", ..).
 * Thread: any library or application thread that is inside libmesh; must not call back into libmesh.
 * Owns: both texts are borrowed for the duration of the call. Since: 0.1
 */
typedef void mesh_log_fn(void *user, enum mesh_log_level level, const char *subject, const char *text);

/* Memory functions for one mesh; all three or none. They may be called from any thread. Since: 0.1 */
struct mesh_allocator {
	void *(*alloc)(void *user, size_t bytes);
	void *(*resize)(void *user, void *memory, size_t bytes);
	void (*release)(void *user, void *memory);
	void *user;
};

enum mesh_xds_mode {
	MESH_XDS_DEFAULT = 0, /* environment LIBMESH_XDS_MODE, else delta */
	MESH_XDS_DELTA = 1,
	MESH_XDS_SOTW = 2, /* state of the world */
};

enum mesh_key_type {
	MESH_KEY_ECDSA_P256 = 0,
	MESH_KEY_RSA_2048 = 1,
};

/*
 * How to join. Every field may be left zero: then the environment Istio's injector sets is read (named behind each
 * field), then Istio's default paths. Strings are borrowed until mesh_open returns. Since: 0.1
 */
struct mesh_options {
	size_t size;                   /* sizeof(struct mesh_options) */
	const char *pod_name;          /* POD_NAME */
	const char *pod_namespace;     /* POD_NAMESPACE */
	const char *instance_ip;       /* INSTANCE_IP */
	const char *service_account;   /* SERVICE_ACCOUNT */
	const char *cluster_id;        /* ISTIO_META_CLUSTER_ID, else "Kubernetes" */
	const char *trust_domain;      /* TRUST_DOMAIN, else "cluster.local" */
	/* ISTIO_METAJSON_LABELS: a JSON object of strings; with ISTIO_META_ENABLE_SELF_DISCOVERY ("true") istio-locality is our zone */
	const char *labels_json;
	const char *labels_file;       /* downward-API file, else /etc/istio/pod/labels */
	const char *discovery_address; /* PROXY_CONFIG.discoveryAddress, else istiod.istio-system.svc:15012 */
	const char *ca_address;        /* CA_ADDR, else the discovery address */
	const char *discovery_name;    /* TLS server name of istiod; else istiod.istio-system.svc */
	const char *token_file;        /* LIBMESH_TOKEN_FILE, else /var/run/secrets/tokens/istio-token */
	const char *root_cert_file;    /* LIBMESH_ROOT_CERT_FILE, else /var/run/secrets/istio/root-cert.pem */
	const char *cert_file;         /* certificate chain (PEM) to use and watch instead of asking istiod for one */
	const char *key_file;          /* its private key (PEM) */
	enum mesh_xds_mode xds_mode;
	enum mesh_key_type key_type;
	uint32_t certificate_ttl_s; /* SECRET_TTL ("24h"), else 24 hours */
	uint32_t library_workers;   /* threads for listeners and asynchronous calls, started when first needed; 0 = 1 */
	mesh_log_fn *log;           /* NULL: nothing is logged */
	void *log_user;
	enum mesh_log_level log_level;
	const struct mesh_allocator *allocator; /* copied; NULL: the C library's */
	char *error_buffer;                     /* receives the words for a failed mesh_open: the field and what was expected */
	size_t error_buffer_bytes;
	/* of our own, off by default: */
	bool peak_ewma;            /* LIBMESH_PEAK_EWMA ("1"): where least request is configured, endpoints are chosen by latency too */
	uint32_t preconnect_count; /* LIBMESH_PRECONNECT: connections kept ready to each endpoint of a called cluster; 64 at most */
};

/*
 * Joins the mesh. Returns at once: connecting, the certificate and the configuration arrive in the background.
 * Thread: any. Owns: *mesh is the caller's, end it with mesh_close. `options` may be NULL.
 * Errors: BOOTSTRAP (words in options->error_buffer name the variable or file), INVALID, NOMEM, SYSTEM. Since: 0.1
 */
MESH_EXPORT int mesh_open(const struct mesh_options *options, struct mesh **mesh);

/*
 * Waits until the first whole configuration and the certificate are in force. timeout_ms < 0 waits for ever, 0 asks only.
 * Thread: any. Owns: nothing. Errors: TIMEOUT, or while it lasts: CONTROL_PLANE, CONTROL_AUTH or CERTIFICATE when the time
 * is up and that is why; DRAINING. Since: 0.1
 */
MESH_EXPORT int mesh_wait_ready(struct mesh *mesh, int64_t timeout_ms);

/*
 * Words for what the mesh is waiting for or last failed at, into `text` (cut and NUL-terminated). Returns its length.
 * Thread: any. Owns: copies into the caller's memory. Errors: INVALID. Since: 0.1
 */
MESH_EXPORT int mesh_status_text(struct mesh *mesh, char *text, size_t bytes);

/*
 * Stops taking work and lets what runs end: readiness turns false, listeners refuse new connections, keep-alive responses
 * carry "connection: close", then up to grace_ms are given to calls in flight and open streams. Blocks; what is on
 * borrowed workers that nobody drives cannot end meanwhile.
 * Thread: any but a library worker. Owns: nothing. Errors: TIMEOUT when calls or streams were left, STATE. Since: 0.1
 */
MESH_EXPORT int mesh_drain(struct mesh *mesh, uint32_t grace_ms);

/*
 * Leaves the mesh: cancels what is left, joins every library thread, frees everything. NULL is allowed. Free borrowed
 * workers, release calls and close streams first (those of library workers at the latest in their `closed`); implicit
 * workers of other threads are freed here and must not be in use.
 * Thread: any but a library worker. Owns: `mesh` is gone. Errors: none. Since: 0.1
 */
MESH_EXPORT void mesh_close(struct mesh *mesh);

#ifdef __cplusplus
}
#endif
#endif
