/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Active health checks of a cluster. A kind of check that is not known leaves a cluster that no call can use: its endpoints
 * would be unhealthy until something checked them. Refuses to know when an endpoint is healthy.
 */
#include "xds/decode.h"

#include <stdlib.h>

#include "config/route.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "envoy/config/core/v3/health_check.pb-c.h"
#include "envoy/type/v3/range.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

#define PAYLOADS_MAX 64      /* pieces of an expected answer */
#define PAYLOAD_MAX  65536   /* bytes of one */
#define RESPONSE_USUAL 1024  /* bytes of a body that are looked at, as in Envoy */

typedef Envoy__Config__Core__V3__HealthCheck check_message;
typedef Envoy__Config__Core__V3__HealthCheck__Payload payload_message;

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static struct mesh_slice unhex(struct decode *d, const char *text)
{
	size_t len = strlen(text) / 2;
	char *bytes = mesh_decode_array(d, len, 1);
	bool sound = len && strlen(text) % 2 == 0;

	for (size_t i = 0; sound && bytes && i < len; i++) {
		int high = hex(text[2 * i]), low = hex(text[2 * i + 1]);

		sound = high >= 0 && low >= 0;
		bytes[i] = (char)(high * 16 + low);
	}
	if (!sound)
		mesh_decode_fail_field(d, "text", "\"%.60s\": not hexadecimal", text);
	return mesh_slice_make(bytes, bytes ? len : 0);
}

static struct mesh_slice payload(struct decode *d, const payload_message *message)
{
	struct mesh_slice bytes = {NULL, 0};

	if (message->payload_case == ENVOY__CONFIG__CORE__V3__HEALTH_CHECK__PAYLOAD__PAYLOAD_TEXT)
		bytes = unhex(d, message->text);
	else if (message->payload_case == ENVOY__CONFIG__CORE__V3__HEALTH_CHECK__PAYLOAD__PAYLOAD_BINARY)
		bytes = mesh_decode_bytes(d, mesh_slice_make((const char *)message->binary.data, message->binary.len));
	if (d->rc == 0 && !bytes.len)
		mesh_decode_fail(d, "must not be empty");
	if (bytes.len > PAYLOAD_MAX)
		mesh_decode_fail(d, "longer than %d bytes", PAYLOAD_MAX);
	return bytes;
}

static void payloads(struct decode *d, const payload_message *send, size_t count, payload_message *const *receive,
		     struct health_check_config *check)
{
	mesh_decode_push(d, "send");
	if (send)
		check->send = payload(d, send);
	mesh_decode_pop(d);
	if (!mesh_decode_count(d, "receive", count, PAYLOADS_MAX))
		return;
	check->receive = mesh_decode_array(d, count, sizeof(*check->receive));
	check->receive_count = check->receive ? count : 0;
	for (size_t i = 0; i < check->receive_count && d->rc == 0; i++) {
		mesh_decode_push_item(d, "receive", i);
		check->receive[i] = payload(d, receive[i]);
		mesh_decode_pop(d);
	}
}

static struct status_range *ranges(struct decode *d, const char *field, size_t count, Envoy__Type__V3__Int64Range *const *messages,
				   size_t *result)
{
	struct status_range *items;

	if (!mesh_decode_count(d, field, count, PAYLOADS_MAX))
		return NULL;
	items = mesh_decode_array(d, count, sizeof(*items));
	*result = items ? count : 0;
	for (size_t i = 0; i < *result && d->rc == 0; i++) {
		int64_t start = messages[i]->start, end = messages[i]->end;

		mesh_decode_push_item(d, field, i);
		if (start < 100 || end > 600 || start >= end)
			mesh_decode_fail(d, "%lld..%lld: must be 100 <= start < end <= 600", (long long)start, (long long)end);
		else
			items[i] = (struct status_range){(int)start, (int)end - 1};
		mesh_decode_pop(d);
	}
	return items;
}

/* Header changes are those of a route that changes nothing else. */
static void changes(struct decode *d, Envoy__Config__Core__V3__HeaderValueOption **add, size_t add_count, char **removed,
		    size_t remove_count, struct health_check_config *check)
{
	struct decode_mutations from = {add, add_count, removed, remove_count, NULL, 0, NULL, 0};

	if (!add_count && !remove_count)
		return;
	check->changes = mesh_decode_array(d, 1, sizeof(*check->changes));
	if (check->changes)
		mesh_decode_mutations(d, &from, &check->changes->mutations);
}

static const char *method(struct decode *d, int number)
{
	static const char *const names[] = {"GET", "GET", "HEAD", "POST", "PUT", "DELETE", NULL, "OPTIONS", "TRACE", "PATCH"};

	if (number >= 0 && number < (int)(sizeof(names) / sizeof(names[0])) && names[number])
		return names[number];
	mesh_decode_fail_field(d, "method", "%d: %s", number,
			       number == ENVOY__CONFIG__CORE__V3__REQUEST_METHOD__CONNECT ? "must not be CONNECT" : "unknown");
	return "GET";
}

static bool has_body(const char *name)
{
	return name[0] == 'P' || name[0] == 'O';
}

static void http_payload(struct decode *d, const Envoy__Config__Core__V3__HealthCheck__HttpHealthCheck *message,
			 const char *name, struct health_check_config *check)
{
	size_t sum = 0;

	if (message->send && !has_body(name))
		mesh_decode_fail_field(d, "send", "must not be set for method %s", name);
	payloads(d, message->send, message->n_receive, message->receive, check);
	check->response_max = RESPONSE_USUAL;
	if (message->response_buffer_size)
		check->response_max = (size_t)message->response_buffer_size->value;
	for (size_t i = 0; i < check->receive_count; i++)
		sum += check->receive[i].len;
	if (check->response_max && sum > check->response_max)
		mesh_decode_fail_field(d, "receive", "%zu bytes: more than response_buffer_size %zu", sum, check->response_max);
}

static void http(struct decode *d, const Envoy__Config__Core__V3__HealthCheck__HttpHealthCheck *message,
		 struct health_check_config *check, struct cluster_config *cluster)
{
	const char *name;

	mesh_decode_push(d, "http_health_check");
	name = method(d, (int)message->method);
	check->authority = mesh_decode_text(d, message->host);
	check->path = mesh_decode_required(d, "path", message->path);
	check->method = mesh_slice_of(name);
	http_payload(d, message, name, check);
	changes(d, message->request_headers_to_add, message->n_request_headers_to_add, message->request_headers_to_remove,
		message->n_request_headers_to_remove, check);
	check->expected =
		ranges(d, "expected_statuses", message->n_expected_statuses, message->expected_statuses, &check->expected_count);
	check->retriable = ranges(d, "retriable_statuses", message->n_retriable_statuses, message->retriable_statuses,
				  &check->retriable_count);
	check->http2 = message->codec_client_type == ENVOY__TYPE__V3__CODEC_CLIENT_TYPE__HTTP2;
	if ((int)message->codec_client_type > ENVOY__TYPE__V3__CODEC_CLIENT_TYPE__HTTP2) {
		mesh_decode_note(d, "codec_client_type %d: not supported", (int)message->codec_client_type);
		cluster->kind = CLUSTER_UNSUPPORTED;
	}
	if (message->service_name_matcher) {
		mesh_decode_push(d, "service_name_matcher");
		check->service_name = mesh_decode_array(d, 1, sizeof(*check->service_name));
		if (check->service_name && !mesh_decode_string_match(d, message->service_name_matcher, check->service_name)) {
			mesh_decode_note(d, "unknown kind of matcher");
			cluster->kind = CLUSTER_UNSUPPORTED;
		}
		mesh_decode_pop(d);
	}
	mesh_decode_pop(d);
}

static void tcp(struct decode *d, const Envoy__Config__Core__V3__HealthCheck__TcpHealthCheck *message,
		struct health_check_config *check, struct cluster_config *cluster)
{
	mesh_decode_push(d, "tcp_health_check");
	payloads(d, message->send, message->n_receive, message->receive, check);
	if (message->proxy_protocol_config) {
		mesh_decode_note(d, "proxy_protocol_config: not supported");
		cluster->kind = CLUSTER_UNSUPPORTED;
	}
	mesh_decode_pop(d);
}

static void grpc(struct decode *d, const Envoy__Config__Core__V3__HealthCheck__GrpcHealthCheck *message,
		 struct health_check_config *check, struct cluster_config *cluster)
{
	mesh_decode_push(d, "grpc_health_check");
	check->service = mesh_decode_text(d, message->service_name);
	check->authority = mesh_decode_text(d, message->authority);
	check->http2 = true;
	check->method = mesh_slice_of("POST");
	check->path = mesh_slice_of("/grpc.health.v1.Health/Check");
	if (check->service.len > PAYLOAD_MAX)
		mesh_decode_fail_field(d, "service_name", "longer than %d bytes", PAYLOAD_MAX);
	changes(d, message->initial_metadata, message->n_initial_metadata, NULL, 0, check);
	if (cluster->protocol != UPSTREAM_HTTP2)
		mesh_decode_fail(d, "needs a cluster that speaks HTTP/2");
	mesh_decode_pop(d);
}

static void kind(struct decode *d, const check_message *message, struct health_check_config *check,
		 struct cluster_config *cluster)
{
	switch (message->health_checker_case) {
	case ENVOY__CONFIG__CORE__V3__HEALTH_CHECK__HEALTH_CHECKER_HTTP_HEALTH_CHECK:
		check->kind = HEALTH_CHECK_HTTP;
		http(d, message->http_health_check, check, cluster);
		break;
	case ENVOY__CONFIG__CORE__V3__HEALTH_CHECK__HEALTH_CHECKER_TCP_HEALTH_CHECK:
		check->kind = HEALTH_CHECK_TCP;
		tcp(d, message->tcp_health_check, check, cluster);
		break;
	case ENVOY__CONFIG__CORE__V3__HEALTH_CHECK__HEALTH_CHECKER_GRPC_HEALTH_CHECK:
		check->kind = HEALTH_CHECK_GRPC;
		grpc(d, message->grpc_health_check, check, cluster);
		break;
	case ENVOY__CONFIG__CORE__V3__HEALTH_CHECK__HEALTH_CHECKER_CUSTOM_HEALTH_CHECK:
		mesh_decode_note(d, "custom_health_check \"%.80s\": unknown health checker", message->custom_health_check->name);
		cluster->kind = CLUSTER_UNSUPPORTED;
		break;
	default:
		mesh_decode_fail(d, "one of http_health_check, tcp_health_check, grpc_health_check is required");
	}
}

static int64_t required(struct decode *d, const char *field, const struct Google__Protobuf__Duration *duration)
{
	if (!duration)
		mesh_decode_fail_field(d, field, "is required");
	return mesh_decode_duration_positive(d, field, duration, MESH_DECODE_NS);
}

static uint32_t threshold(struct decode *d, const char *field, const Google__Protobuf__UInt32Value *value)
{
	if (!value)
		mesh_decode_fail_field(d, field, "is required");
	return mesh_decode_u32(value, 1);
}

static void times(struct decode *d, const check_message *message, struct health_check_config *check)
{
	check->timeout_ns = required(d, "timeout", message->timeout);
	check->interval_ns = required(d, "interval", message->interval);
	check->initial_jitter_ns = mesh_decode_duration(d, "initial_jitter", message->initial_jitter, 0);
	check->interval_jitter_ns = mesh_decode_duration(d, "interval_jitter", message->interval_jitter, 0);
	check->interval_jitter_percent = message->interval_jitter_percent;
	check->no_traffic_ns =
		mesh_decode_duration_positive(d, "no_traffic_interval", message->no_traffic_interval, 60 * MESH_DECODE_NS);
	check->no_traffic_healthy_ns = mesh_decode_duration_positive(d, "no_traffic_healthy_interval",
								     message->no_traffic_healthy_interval, check->no_traffic_ns);
	check->unhealthy_ns =
		mesh_decode_duration_positive(d, "unhealthy_interval", message->unhealthy_interval, check->interval_ns);
	check->unhealthy_edge_ns = mesh_decode_duration_positive(d, "unhealthy_edge_interval", message->unhealthy_edge_interval,
								 check->unhealthy_ns);
	check->healthy_edge_ns =
		mesh_decode_duration_positive(d, "healthy_edge_interval", message->healthy_edge_interval, check->interval_ns);
	check->unhealthy_threshold = threshold(d, "unhealthy_threshold", message->unhealthy_threshold);
	check->healthy_threshold = threshold(d, "healthy_threshold", message->healthy_threshold);
}

/* In the form of TLS: each name behind its length. */
static void alpn(struct decode *d, const Envoy__Config__Core__V3__HealthCheck__TlsOptions *message,
		 struct health_check_config *check)
{
	char *list;
	size_t sum = 0;

	for (size_t i = 0; message && i < message->n_alpn_protocols; i++) {
		size_t len = strlen(message->alpn_protocols[i]);

		if (!len || len > 255)
			mesh_decode_fail_field(d, "tls_options.alpn_protocols", "a name of %zu bytes: must be 1..255", len);
		sum += len + 1;
	}
	if (sum > UINT16_MAX)
		mesh_decode_fail_field(d, "tls_options.alpn_protocols", "too long");
	list = d->rc == 0 ? mesh_decode_array(d, sum, 1) : NULL;
	if (!list)
		return;
	check->alpn = mesh_slice_make(list, sum);
	for (size_t i = 0; i < message->n_alpn_protocols; i++) {
		size_t len = strlen(message->alpn_protocols[i]);

		*list++ = (char)len;
		memcpy(list, message->alpn_protocols[i], len);
		list += len;
	}
}

static void one(struct decode *d, const check_message *message, struct health_check_config *check,
		struct cluster_config *cluster)
{
	times(d, message, check);
	if (message->alt_port)
		check->alt_port = mesh_decode_port(d, "alt_port", message->alt_port->value);
	check->reuse_connection = mesh_decode_bool(message->reuse_connection, true);
	alpn(d, message->tls_options, check);
	check->has_criteria = message->transport_socket_match_criteria != NULL;
	if (check->has_criteria) {
		mesh_decode_push(d, "transport_socket_match_criteria");
		check->criteria = mesh_decode_labels(d, message->transport_socket_match_criteria, &check->criteria_count);
		mesh_decode_pop(d);
	}
	kind(d, message, check, cluster);
}

void mesh_decode_health_checks(struct decode *d, size_t count, check_message *const *messages, struct cluster_config *cluster)
{
	if (!count)
		return;
	if (count > 1)
		mesh_decode_fail_field(d, "health_checks", "%zu of them: there must not be more than one", count);
	cluster->health_check = mesh_decode_array(d, 1, sizeof(*cluster->health_check));
	if (!cluster->health_check || d->rc)
		return;
	mesh_decode_push_item(d, "health_checks", 0);
	one(d, messages[0], cluster->health_check, cluster);
	mesh_decode_pop(d);
}
