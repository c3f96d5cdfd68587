/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which ports there are, who a caller is (a token, or a client certificate of our own), and which service a
 * method belongs to. Refuses to know what the services do.
 */
#include "server.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>

#include "services.h"
#include "token.h"

#define ADS		     "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
#define PING_INTERVAL_MIN_MS 5000
#define STOP_STEPS_MAX	     100

static const struct mesh_mem *const mem = &mesh_mem_default;

struct accept {
	struct cp_event event;
	struct cp_server *server;
	grpc_call *call;
	grpc_call_details details;
	grpc_metadata_array metadata;
};

static struct mesh_slice slice_of(const grpc_slice *slice)
{
	return mesh_slice_make(GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
}

/* ---- who calls ---- */

static bool is_tls(grpc_auth_context *context)
{
	grpc_auth_property_iterator it =
		grpc_auth_context_find_properties_by_name(context, GRPC_TRANSPORT_SECURITY_TYPE_PROPERTY_NAME);
	const grpc_auth_property *property = grpc_auth_property_iterator_next(&it);

	return property && mesh_slice_equal(mesh_slice_make(property->value, property->value_length),
					    MESH_SLICE(GRPC_SSL_TRANSPORT_SECURITY_TYPE));
}

static bool copy_name(struct mesh_slice name, char out[CP_NAME_BYTES])
{
	if (name.len == 0 || name.len >= CP_NAME_BYTES || mesh_slice_find(name, '/') >= 0)
		return false;
	memcpy(out, name.data, name.len);
	out[name.len] = '\0';
	return true;
}

/* spiffe://<trust domain>/ns/<namespace>/sa/<account> of a certificate that gRPC verified against our root */
static bool parse_spiffe(struct mesh_slice uri, const char *trust_domain, struct cp_identity *identity)
{
	static const char scheme[] = "spiffe://";

	if (!mesh_slice_prefix(uri, MESH_SLICE(scheme)))
		return false;
	uri = mesh_slice_make(uri.data + sizeof(scheme) - 1, uri.len - sizeof(scheme) + 1);
	if (!mesh_slice_equal(mesh_slice_cut(&uri, '/'), mesh_slice_of(trust_domain)) ||
	    !mesh_slice_equal(mesh_slice_cut(&uri, '/'), MESH_SLICE("ns")) ||
	    !copy_name(mesh_slice_cut(&uri, '/'), identity->namespace_name) ||
	    !mesh_slice_equal(mesh_slice_cut(&uri, '/'), MESH_SLICE("sa")))
		return false;
	return copy_name(uri, identity->account);
}

static bool by_certificate(grpc_auth_context *context, const struct cp_server *server, struct cp_identity *identity)
{
	grpc_auth_property_iterator it =
		grpc_auth_context_find_properties_by_name(context, GRPC_PEER_SPIFFE_ID_PROPERTY_NAME);
	const grpc_auth_property *property = grpc_auth_property_iterator_next(&it);

	return property && parse_spiffe(mesh_slice_make(property->value, property->value_length),
					server->ca->trust_domain, identity);
}

static bool by_token(const grpc_metadata_array *metadata, const struct cp_server *server, struct cp_identity *identity,
		     struct why *why)
{
	static const char scheme[] = "Bearer ";

	for (size_t i = 0; i < metadata->count; i++) {
		struct mesh_slice value = slice_of(&metadata->metadata[i].value);

		if (!mesh_slice_equal(slice_of(&metadata->metadata[i].key), MESH_SLICE("authorization")) ||
		    !mesh_slice_prefix_fold(value, MESH_SLICE(scheme)))
			continue;
		value = mesh_slice_trim(
			mesh_slice_make(value.data + sizeof(scheme) - 1, value.len - sizeof(scheme) + 1));
		return cp_token_check(server->token_key, value, (int64_t)time(NULL), identity, why) == 0;
	}
	mesh_why(why, MESH_ERROR_CONTROL_AUTH, "neither a bearer token nor a client certificate");
	return false;
}

static void find_caller(struct accept *accept, struct cp_caller *caller)
{
	grpc_auth_context *context = grpc_call_auth_context(accept->call);
	struct cp_server *server = accept->server;

	*caller = (struct cp_caller){.secure = is_tls(context)};
	if (caller->secure && server->ca)
		caller->known = by_certificate(context, server, &caller->identity) ||
				by_token(&accept->metadata, server, &caller->identity, &caller->why);
	else
		mesh_why(&caller->why, MESH_ERROR_CONTROL_AUTH, "no identity without TLS");
	grpc_auth_context_release(context);
}

/* ---- calls ---- */

static void dispatch(struct accept *accept)
{
	struct mesh_slice method = slice_of(&accept->details.method);
	struct cp_caller caller;

	find_caller(accept, &caller);
	if (mesh_slice_equal(method, MESH_SLICE(ADS "StreamAggregatedResources"))) {
		cp_ads_start(accept->server, accept->call, &caller, false);
	} else if (mesh_slice_equal(method, MESH_SLICE(ADS "DeltaAggregatedResources"))) {
		cp_ads_start(accept->server, accept->call, &caller, true);
	} else if (mesh_slice_equal(method, MESH_SLICE("/istio.v1.auth.IstioCertificateService/CreateCertificate"))) {
		cp_csr_start(accept->server, accept->call, &caller);
	} else {
		grpc_call_cancel_with_status(accept->call, GRPC_STATUS_UNIMPLEMENTED, "no such method", NULL);
		grpc_call_unref(accept->call);
	}
}

static void free_accept(struct accept *accept)
{
	grpc_call_details_destroy(&accept->details);
	grpc_metadata_array_destroy(&accept->metadata);
	mesh_mem_free(mem, accept);
}

static void accept_next(struct cp_server *server);

static void on_accepted(struct cp_event *event, bool ok)
{
	struct accept *accept = MESH_CONTAINER(event, struct accept, event);

	if (ok && !accept->server->stopping) {
		accept_next(accept->server);
		dispatch(accept);
	} else if (ok) {
		grpc_call_unref(accept->call);
	}
	free_accept(accept);
}

static void accept_next(struct cp_server *server)
{
	struct accept *accept = mesh_mem_zalloc(mem, sizeof(*accept));

	if (!accept)
		return;
	accept->event.done = on_accepted;
	accept->server = server;
	grpc_call_details_init(&accept->details);
	grpc_metadata_array_init(&accept->metadata);
	if (grpc_server_request_call(server->grpc, &accept->call, &accept->details, &accept->metadata, server->queue,
				     server->queue, &accept->event) != GRPC_CALL_OK)
		free_accept(accept);
}

/* ---- the server ---- */

static int add_port(struct cp_server *server, const char *address, int port, grpc_server_credentials *credentials,
		    struct why *why)
{
	char text[320];
	int bound = 0;

	snprintf(text, sizeof(text), "%s:%d", address, port);
	if (credentials)
		bound = grpc_server_add_http2_port(server->grpc, text, credentials);
	grpc_server_credentials_release(credentials);
	return bound > 0 ? bound : mesh_why(why, MESH_ERROR_BIND, "cannot listen on %s", text);
}

static int add_tls_port(struct cp_server *server, const struct cp_options *options, struct why *why)
{
	grpc_ssl_pem_key_cert_pair pair = {NULL, NULL};
	char *root = mesh_mem_text(mem, mesh_buf_slice(&server->ca->root_pem));
	struct buf key, chain;
	int rc;

	mesh_buf_init(&key, mem, 0);
	mesh_buf_init(&chain, mem, 0);
	rc = cp_ca_serve(server->ca, &key, &chain, why);
	if (rc == 0) {
		pair.private_key = mesh_mem_text(mem, mesh_buf_slice(&key));
		pair.cert_chain = mesh_mem_text(mem, mesh_buf_slice(&chain));
	}
	if (rc == 0 && pair.private_key && pair.cert_chain && root)
		rc = add_port(server, options->address, options->tls_port,
			      grpc_ssl_server_credentials_create_ex(
				      root, &pair, 1, GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY, NULL),
			      why);
	else if (rc == 0)
		rc = mesh_why(why, MESH_ERROR_NOMEM, "out of memory");
	if (pair.private_key)
		mesh_mem_wipe((char *)pair.private_key, mesh_buf_len(&key));
	if (key.data)
		mesh_mem_wipe(key.data, key.room);
	mesh_mem_free(mem, (char *)pair.private_key);
	mesh_mem_free(mem, (char *)pair.cert_chain);
	mesh_mem_free(mem, root);
	mesh_buf_free(&key);
	mesh_buf_free(&chain);
	return rc;
}

static grpc_arg integer_arg(const char *key, int value)
{
	grpc_arg arg = {.type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value};

	return arg;
}

int cp_server_start(struct cp_server *server, const struct cp_options *options, struct why *why)
{
	grpc_arg args[] = {
		integer_arg(GRPC_ARG_ALLOW_REUSEPORT, 0), /* two servers on one port would each get half of the calls */
		integer_arg(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, PING_INTERVAL_MIN_MS),
		integer_arg(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0),
		integer_arg(GRPC_ARG_MAX_CONNECTION_AGE_MS, options->max_connection_age_s * 1000),
		integer_arg(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, 1000),
	};
	grpc_channel_args all = {options->max_connection_age_s > 0 ? 5 : 3, args};
	int rc = 0;

	mesh_list_init(&server->streams);
	server->queue = grpc_completion_queue_create_for_next(NULL);
	server->grpc = grpc_server_create(&all, NULL);
	grpc_server_register_completion_queue(server->grpc, server->queue, NULL);
	if (options->port >= 0)
		rc = server->port = add_port(server, options->address, options->port,
					     grpc_insecure_server_credentials_create(), why);
	if (rc >= 0 && options->tls_port >= 0)
		rc = server->tls_port = add_tls_port(server, options, why);
	grpc_server_start(server->grpc);
	if (rc >= 0)
		accept_next(server);
	return rc < 0 ? rc : 0;
}

static void run_until(struct cp_server *server, gpr_timespec deadline)
{
	grpc_event event = grpc_completion_queue_next(server->queue, deadline, NULL);

	while (event.type == GRPC_OP_COMPLETE) {
		struct cp_event *done = event.tag;

		done->done(done, event.success != 0);
		event = grpc_completion_queue_next(server->queue, deadline, NULL);
	}
}

void cp_server_step(struct cp_server *server, int ms)
{
	run_until(server, gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN)));
}

void cp_server_set_catalog(struct cp_server *server, struct cp_catalog *catalog)
{
	struct cp_catalog old = server->catalog;

	server->catalog = *catalog;
	snprintf(server->version, sizeof(server->version), "%" PRId64 "/%" PRIu64, (int64_t)time(NULL),
		 ++server->generation);
	cp_ads_push(server);
	cp_catalog_free(&old);
}

static void on_stopped(struct cp_event *event, bool ok)
{
	(void)event;
	(void)ok;
}

void cp_server_stop(struct cp_server *server)
{
	struct cp_event stopped = {on_stopped};

	if (!server->grpc)
		return;
	server->stopping = true;
	grpc_server_shutdown_and_notify(server->grpc, server->queue, &stopped);
	grpc_server_cancel_all_calls(server->grpc);
	for (int i = 0; i < STOP_STEPS_MAX && server->calls > 0; i++)
		cp_server_step(server, 20);
	grpc_completion_queue_shutdown(server->queue);
	run_until(server, gpr_inf_future(GPR_CLOCK_MONOTONIC)); /* until the queue says it is empty */
	grpc_server_destroy(server->grpc);
	grpc_completion_queue_destroy(server->queue);
	cp_catalog_free(&server->catalog);
}
