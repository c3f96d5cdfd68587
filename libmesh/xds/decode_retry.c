/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Retry policies. Extensions that only choose where to try again are passed over with a warning when unknown: a retry
 * then goes to any endpoint, which costs no security.
 */
#include "xds/decode.h"

#include "base/header.h"
#include "config/retry_on.h"
#include "envoy/config/route/v3/route_components.pb-c.h"
#include "envoy/extensions/retry/host/omit_host_metadata/v3/omit_host_metadata_config.pb-c.h"
#include "envoy/extensions/retry/priority/previous_priorities/v3/previous_priorities_config.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

#define BACKOFF_BASE_NS (25 * 1000000ll)
#define BACKOFF_LEAST_NS 1000000ll
#define RESET_MAX_NS (300 * MESH_DECODE_NS)

typedef Envoy__Config__Route__V3__RetryPolicy retry_message;

/* Unknown words are ignored as Envoy does; status codes are told beside them. */
static void conditions(struct decode *d, const retry_message *message, struct retry_config *retry)
{
	struct mesh_slice rest = mesh_slice_of(message->retry_on);
	size_t count = message->n_retriable_status_codes;

	while (rest.data)
		retry->on |= mesh_retry_on_bit(mesh_slice_trim(mesh_slice_cut(&rest, ',')));
	retry->status_codes = mesh_decode_array(d, count, sizeof(*retry->status_codes));
	retry->status_code_count = retry->status_codes ? count : 0;
	if (retry->status_codes)
		memcpy(retry->status_codes, message->retriable_status_codes, count * sizeof(*retry->status_codes));
}

static void backoff(struct decode *d, const Envoy__Config__Route__V3__RetryPolicy__RetryBackOff *message,
		    struct retry_config *retry)
{
	retry->backoff_base_ns = BACKOFF_BASE_NS;
	if (message) {
		mesh_decode_push(d, "retry_back_off");
		if (!message->base_interval)
			mesh_decode_fail_field(d, "base_interval", "is required");
		retry->backoff_base_ns =
			mesh_decode_duration_positive(d, "base_interval", message->base_interval, BACKOFF_BASE_NS);
		if (retry->backoff_base_ns < BACKOFF_LEAST_NS)
			retry->backoff_base_ns = BACKOFF_LEAST_NS;
	}
	retry->backoff_max_ns = retry->backoff_base_ns > INT64_MAX / 10 ? INT64_MAX : retry->backoff_base_ns * 10;
	if (message) {
		retry->backoff_max_ns =
			mesh_decode_duration_positive(d, "max_interval", message->max_interval, retry->backoff_max_ns);
		if (retry->backoff_max_ns < BACKOFF_LEAST_NS) /* rounded as the base is, or it would be less */
			retry->backoff_max_ns = BACKOFF_LEAST_NS;
		if (retry->backoff_max_ns < retry->backoff_base_ns)
			mesh_decode_fail_field(d, "max_interval", "must not be less than base_interval");
		mesh_decode_pop(d);
	}
}

static void omit(struct decode *d, const Google__Protobuf__Any *any, struct retry_config *retry)
{
	const ProtobufCMessageDescriptor *type =
		&envoy__extensions__retry__host__omit_host_metadata__v3__omit_host_metadata_config__descriptor;
	Envoy__Extensions__Retry__Host__OmitHostMetadata__V3__OmitHostMetadataConfig *config =
		mesh_decode_any_open(d, "typed_config", any, type);

	if (config)
		retry->omit = mesh_decode_labels(d, mesh_decode_metadata(config->metadata_match, "envoy.lb"), &retry->omit_count);
	mesh_decode_any_close(d);
}

static bool of_type(const Envoy__Config__Route__V3__RetryPolicy__RetryHostPredicate *predicate, const char *name,
		    struct mesh_slice type)
{
	return strcmp(predicate->name, name) == 0 || mesh_slice_equal(mesh_decode_any_type(predicate->typed_config), type);
}

static void hosts(struct decode *d, const retry_message *message, struct retry_config *retry)
{
	for (size_t i = 0; i < message->n_retry_host_predicate; i++) {
		const Envoy__Config__Route__V3__RetryPolicy__RetryHostPredicate *predicate = message->retry_host_predicate[i];

		if (of_type(predicate, "envoy.retry_host_predicates.previous_hosts",
			    MESH_SLICE("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate")))
			retry->previous_hosts = true;
		else if (of_type(predicate, "envoy.retry_host_predicates.omit_canary_hosts",
				 MESH_SLICE("envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate")))
			retry->omit_canary = true;
		else if (mesh_slice_equal(
				 mesh_decode_any_type(predicate->typed_config),
				 MESH_SLICE("envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig")))
			omit(d, predicate->typed_config, retry);
		else
			mesh_decode_warning(d, "retry_host_predicate \"%.80s\": passed over", predicate->name);
	}
	retry->host_selection_attempts = 1;
	if (message->host_selection_retry_max_attempts > 0)
		retry->host_selection_attempts = message->host_selection_retry_max_attempts > UINT32_MAX
							 ? UINT32_MAX
							 : (uint32_t)message->host_selection_retry_max_attempts;
}

static void priorities(struct decode *d, const Envoy__Config__Route__V3__RetryPolicy__RetryPriority *message,
		       struct retry_config *retry)
{
	const ProtobufCMessageDescriptor *type =
		&envoy__extensions__retry__priority__previous_priorities__v3__previous_priorities_config__descriptor;
	Envoy__Extensions__Retry__Priority__PreviousPriorities__V3__PreviousPrioritiesConfig *config;

	if (!message)
		return;
	if (message->config_type_case != ENVOY__CONFIG__ROUTE__V3__RETRY_POLICY__RETRY_PRIORITY__CONFIG_TYPE_TYPED_CONFIG ||
	    !mesh_decode_any_is(message->typed_config, type)) {
		mesh_decode_warning(d, "retry_priority \"%.80s\": passed over", message->name);
		return;
	}
	mesh_decode_push(d, "retry_priority");
	config = mesh_decode_any_open(d, "typed_config", message->typed_config, type);
	if (config && config->update_frequency <= 0)
		mesh_decode_fail_field(d, "update_frequency", "must be greater than 0");
	retry->previous_priorities = true;
	retry->previous_priorities_update = config ? (uint32_t)config->update_frequency : 0;
	mesh_decode_any_close(d);
	mesh_decode_pop(d);
}

static struct header_match *headers(struct decode *d, const char *field, size_t n,
				    Envoy__Config__Route__V3__HeaderMatcher **messages, size_t *count)
{
	struct header_match *matches = mesh_decode_array(d, n, sizeof(*matches));

	*count = matches ? n : 0;
	for (size_t i = 0; i < *count && d->rc == 0; i++) {
		mesh_decode_push_item(d, field, i);
		if (!mesh_decode_header_match(d, messages[i], &matches[i]))
			mesh_decode_fail(d, "unknown kind of header matcher");
		mesh_decode_pop(d);
	}
	return matches;
}

static void rate_limited(struct decode *d, const Envoy__Config__Route__V3__RetryPolicy__RateLimitedRetryBackOff *message,
			 struct retry_config *retry)
{
	if (!message)
		return;
	mesh_decode_push(d, "rate_limited_retry_back_off");
	if (!message->n_reset_headers)
		mesh_decode_fail_field(d, "reset_headers", "must not be empty");
	if (mesh_decode_count(d, "reset_headers", message->n_reset_headers, MESH_DECODE_FILTERS))
		retry->reset_headers = mesh_decode_array(d, message->n_reset_headers, sizeof(*retry->reset_headers));
	retry->reset_max_ns = mesh_decode_duration_positive(d, "max_interval", message->max_interval, RESET_MAX_NS);
	for (size_t i = 0; retry->reset_headers && i < message->n_reset_headers && d->rc == 0; i++) {
		const Envoy__Config__Route__V3__RetryPolicy__ResetHeader *header = message->reset_headers[i];
		struct reset_header *own = &retry->reset_headers[retry->reset_header_count++];
		int format = (int)header->format;

		mesh_decode_push_item(d, "reset_headers", i);
		own->name = mesh_decode_lower(d, header->name);
		own->at = format == ENVOY__CONFIG__ROUTE__V3__RETRY_POLICY__RESET_HEADER_FORMAT__UNIX_TIMESTAMP;
		if (!mesh_header_name_valid(own->name))
			mesh_decode_fail_field(d, "name", "\"%.60s\": not a header name", header->name);
		if (format != ENVOY__CONFIG__ROUTE__V3__RETRY_POLICY__RESET_HEADER_FORMAT__SECONDS && !own->at)
			mesh_decode_fail_field(d, "format", "%d: unknown", format);
		mesh_decode_pop(d);
	}
	mesh_decode_pop(d);
}

/* initial_requests and additional_request_chance are checked, and not obeyed, as in Envoy. */
enum hedge mesh_decode_hedge(struct decode *d, const Envoy__Config__Route__V3__HedgePolicy *message)
{
	if (!message)
		return HEDGE_UNSET;
	mesh_decode_push(d, "hedge_policy");
	if (message->initial_requests && message->initial_requests->value < 1)
		mesh_decode_fail_field(d, "initial_requests", "must be at least 1");
	mesh_decode_pop(d);
	return message->hedge_on_per_try_timeout ? HEDGE_ON_PER_TRY_TIMEOUT : HEDGE_NEVER;
}

struct retry_config *mesh_decode_retry_any(struct decode *d, const retry_message *message, const Google__Protobuf__Any *any)
{
	const ProtobufCMessageDescriptor *type = &envoy__config__route__v3__retry_policy__descriptor;
	struct retry_config *retry = NULL;
	const retry_message *own;

	if (message || !any)
		return mesh_decode_retry(d, message);
	if (!mesh_decode_any_is(any, type)) {
		mesh_decode_warning(d, "retry_policy_typed_config of an unknown type: passed over");
		return NULL;
	}
	own = mesh_decode_any_open(d, "retry_policy_typed_config", any, type);
	if (own)
		retry = mesh_decode_retry(d, own);
	mesh_decode_any_close(d);
	return retry;
}

struct retry_config *mesh_decode_retry(struct decode *d, const retry_message *message)
{
	struct retry_config *retry = message ? mesh_decode_array(d, 1, sizeof(*retry)) : NULL;

	if (!retry)
		return NULL;
	mesh_decode_push(d, "retry_policy");
	conditions(d, message, retry);
	retry->retries = mesh_decode_u32(message->num_retries, 1);
	retry->per_try_timeout_ns = mesh_decode_duration(d, "per_try_timeout", message->per_try_timeout, 0);
	retry->per_try_idle_timeout_ns = mesh_decode_duration(d, "per_try_idle_timeout", message->per_try_idle_timeout, 0);
	backoff(d, message->retry_back_off, retry);
	hosts(d, message, retry);
	priorities(d, message->retry_priority, retry);
	retry->retriable_headers = headers(d, "retriable_headers", message->n_retriable_headers, message->retriable_headers,
					   &retry->retriable_header_count);
	retry->retriable_request_headers = headers(d, "retriable_request_headers", message->n_retriable_request_headers,
						   message->retriable_request_headers,
						   &retry->retriable_request_header_count);
	if (message->n_retry_options_predicates)
		mesh_decode_warning(d, "retry_options_predicates of a retry policy: passed over");
	rate_limited(d, message->rate_limited_retry_back_off, retry);
	mesh_decode_pop(d);
	return retry;
}
