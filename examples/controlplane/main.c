/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mesh-controlplane: serves the xDS resources of a directory and certificates of a development root, as istiod would.
 * Decides options, start, reload and end. Refuses to know protocols.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "files.h"
#include "server.h"
#include "token.h"
#include "watch.h"

#define STEP_MS		25 /* how soon a changed file or a signal is seen */
#define QUIET_STEPS	2  /* a reload waits until nothing has changed for so long */
#define QUIET_STEPS_MAX 40 /* but not longer than this */
#define LEAVE_MS_MAX	1000

struct settings {
	struct cp_options options;
	const char *dir, *ca_dir, *trust_domain, *ready_file, *make_token;
	int64_t token_ttl_s, cert_ttl_max_s;
};

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
	(void)number;
	ended = 1;
}

static int usage(FILE *to, int rc)
{
	fputs("usage: mesh-controlplane --port P --dir DIR [--tls-port P --ca-dir DIR] [options]\n"
	      "       mesh-controlplane --make-token NAMESPACE/SERVICEACCOUNT --ca-dir DIR [--token-ttl SECONDS]\n"
	      "  --port P                plaintext ADS; 0 takes any free port\n"
	      "  --tls-port P            ADS and certificates by TLS with a token or client certificate\n"
	      "  --dir DIR               resources: DIR/*.{json,yaml,yml} and DIR/common/ for all nodes,\n"
	      "                          DIR/nodes/<app label | pod name | node id>/ for some; reread when changed\n"
	      "  --ca-dir DIR            root-cert.pem, ca-key.pem and token-key.pem, made when missing\n"
	      "  --address A             to listen on (127.0.0.1)\n"
	      "  --trust-domain TD       of the certificates (cluster.local)\n"
	      "  --cert-ttl-max SECONDS  longest certificate (86400)\n"
	      "  --max-connection-age SECONDS  close connections of that age, as istiod does\n"
	      "  --ready-file FILE       write the line `ready port=.. tls_port=..` there, too\n",
	      to);
	return rc;
}

static bool take_number(const char *text, int64_t min, int64_t max, int64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoll(text, &end, 10);
	if (errno == 0 && end != text && *end == '\0' && *value >= min && *value <= max)
		return true;
	fprintf(stderr, "mesh-controlplane: \"%s\" is not a number from %lld to %lld\n", text, (long long)min,
		(long long)max);
	return false;
}

static bool take_option(struct settings *s, int option, const char *value)
{
	int64_t number = 0;
	bool ok = true;

	switch (option) {
	case 'p':
	case 't':
		ok = take_number(value, 0, 65535, &number);
		*(option == 'p' ? &s->options.port : &s->options.tls_port) = (int)number;
		break;
	case 'g':
		ok = take_number(value, 1, 86400 * 365, &number);
		s->options.max_connection_age_s = (int)number;
		break;
	case 'l':
		ok = take_number(value, 1, 86400 * 365, &s->cert_ttl_max_s);
		break;
	case 'k':
		ok = take_number(value, -86400, 86400 * 365, &s->token_ttl_s);
		break;
	case 'a':
		s->options.address = value;
		break;
	case 'd':
		s->dir = value;
		break;
	case 'c':
		s->ca_dir = value;
		break;
	case 'D':
		s->trust_domain = value;
		break;
	case 'r':
		s->ready_file = value;
		break;
	case 'm':
		s->make_token = value;
		break;
	default:
		ok = false;
	}
	return ok;
}

static bool complain(const char *what, const char *about)
{
	fprintf(stderr, "mesh-controlplane: %s: %s\n", what, about);
	return false;
}

static bool take_options(struct settings *s, int argc, char **argv)
{
	static const struct option options[] = {
		{"port", required_argument, NULL, 'p'},
		{"tls-port", required_argument, NULL, 't'},
		{"dir", required_argument, NULL, 'd'},
		{"ca-dir", required_argument, NULL, 'c'},
		{"address", required_argument, NULL, 'a'},
		{"trust-domain", required_argument, NULL, 'D'},
		{"cert-ttl-max", required_argument, NULL, 'l'},
		{"max-connection-age", required_argument, NULL, 'g'},
		{"ready-file", required_argument, NULL, 'r'},
		{"make-token", required_argument, NULL, 'm'},
		{"token-ttl", required_argument, NULL, 'k'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int option;

	*s = (struct settings){.options = {.address = "127.0.0.1", .port = -1, .tls_port = -1},
			       .trust_domain = "cluster.local",
			       .token_ttl_s = 43200,
			       .cert_ttl_max_s = 86400};
	while ((option = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
		if (option == 'h')
			exit(usage(stdout, 0));
		if (!take_option(s, option, optarg))
			return false;
	}
	if (optind < argc)
		return complain("unexpected argument", argv[optind]);
	if ((s->make_token || s->options.tls_port >= 0) && !s->ca_dir)
		return complain("an option is missing", "--ca-dir");
	if (!s->make_token && !s->dir)
		return complain("an option is missing", "--dir");
	if (!s->make_token && s->options.port < 0 && s->options.tls_port < 0)
		return complain("an option is missing", "--port or --tls-port");
	return true;
}

static int print_token(const struct settings *s)
{
	struct mesh_slice account = mesh_slice_of(s->make_token);
	struct mesh_slice namespace_name = mesh_slice_cut(&account, '/');
	struct cp_identity identity = {"", ""};
	struct why why = {""};
	struct buf token;
	EVP_PKEY *key;
	int rc = MESH_ERROR_INVALID;

	if (namespace_name.len == 0 || account.len == 0 || namespace_name.len >= CP_NAME_BYTES ||
	    account.len >= CP_NAME_BYTES) {
		fprintf(stderr, "mesh-controlplane: --make-token wants NAMESPACE/SERVICEACCOUNT\n");
		return 2;
	}
	memcpy(identity.namespace_name, namespace_name.data, namespace_name.len);
	memcpy(identity.account, account.data, account.len);
	mesh_buf_init(&token, &mesh_mem_default, 0);
	key = cp_file_key(s->ca_dir, CP_TOKEN_KEY, &why);
	if (key)
		rc = cp_token_make(&token, key, &identity, (int64_t)time(NULL), s->token_ttl_s);
	if (rc == MESH_ERROR_INVALID)
		mesh_why(&why, rc, "--make-token: \"%s\" are no names that Kubernetes allows", s->make_token);
	if (rc == 0)
		printf("%.*s%s", (int)mesh_buf_len(&token), mesh_buf_slice(&token).data,
		       isatty(STDOUT_FILENO) ? "\n" : "");
	else
		fprintf(stderr, "mesh-controlplane: %s\n", why.text[0] ? why.text : "cannot make a token");
	EVP_PKEY_free(key);
	mesh_buf_free(&token);
	return rc == 0 ? 0 : 1;
}

static int load(struct cp_server *server, const char *dir, struct why *why)
{
	struct cp_catalog catalog;
	int rc = cp_catalog_load(&catalog, dir, why);

	if (rc < 0) {
		cp_catalog_free(&catalog);
		return rc;
	}
	fprintf(stderr, "loaded %zu resources\n", catalog.count);
	cp_server_set_catalog(server, &catalog);
	return 0;
}

static int tell_ready(const struct settings *s, const struct cp_server *server, struct why *why)
{
	char line[80];
	int len = snprintf(line, sizeof(line), "ready port=%d tls_port=%d\n", server->port, server->tls_port);

	fputs(line, stdout);
	fflush(stdout);
	return s->ready_file ? cp_file_write(s->ready_file, mesh_slice_make(line, (size_t)len), 0644, why) : 0;
}

static void serve(const struct settings *s, struct cp_server *server, int watch)
{
	unsigned quiet = 0, waited = 0;
	bool dirty = false;

	while (!ended) {
		struct why why = {""};

		cp_server_step(server, STEP_MS);
		if (cp_watch_changed(watch, s->dir)) {
			dirty = true;
			quiet = 0;
		} else {
			quiet++;
		}
		if (!dirty || (quiet < QUIET_STEPS && ++waited < QUIET_STEPS_MAX))
			continue;
		dirty = false;
		waited = 0;
		if (load(server, s->dir, &why) < 0)
			fprintf(stderr, "what was loaded before stays: %s\n", why.text);
	}
}

/* Connections are freed on gRPC's own threads and keep it up until then. */
static void leave_grpc(void)
{
	grpc_shutdown_blocking();
	for (int ms = 0; ms < LEAVE_MS_MAX && grpc_is_initialized(); ms++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

int main(int argc, char **argv)
{
	struct sigaction end = {.sa_handler = on_signal};
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct cp_server server = {.grpc = NULL};
	struct why why = {""};
	struct settings s;
	struct cp_ca ca;
	int watch = -1;
	int rc = 0;

	if (!take_options(&s, argc, argv))
		return usage(stderr, 2);
	if (s.make_token)
		return print_token(&s);
	sigaction(SIGTERM, &end, NULL);
	sigaction(SIGINT, &end, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	grpc_init();
	if (s.ca_dir) {
		server.ca = &ca;
		rc = cp_ca_open(&ca, s.ca_dir, s.trust_domain, s.cert_ttl_max_s, &why);
		server.token_key = rc == 0 ? cp_file_key(s.ca_dir, CP_TOKEN_KEY, &why) : NULL;
		rc = server.token_key ? 0 : MESH_ERROR_SYSTEM;
	}
	if (rc == 0)
		rc = watch = cp_watch_open(s.dir, &why);
	if (rc >= 0)
		rc = cp_server_start(&server, &s.options, &why);
	if (rc == 0)
		rc = load(&server, s.dir, &why);
	if (rc == 0)
		rc = tell_ready(&s, &server, &why);
	if (rc == 0)
		serve(&s, &server, watch);
	else
		fprintf(stderr, "mesh-controlplane: %s\n", why.text);
	cp_server_stop(&server);
	if (watch >= 0)
		close(watch);
	if (server.ca)
		cp_ca_close(&ca);
	EVP_PKEY_free(server.token_key);
	leave_grpc();
	return rc == 0 ? 0 : 1;
}
