/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Route configurations: virtual hosts and the index from a host name to one of them. A domain may be claimed once only.
 */
#include "xds/decode.h"

#include <stdlib.h>

#include "envoy/config/core/v3/base.pb-c.h"
#include "envoy/config/route/v3/route.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

#define BODY_MAX 4096 /* of a direct response, when the configuration sets none */

typedef Envoy__Config__Route__V3__RouteConfiguration config_message;
typedef Envoy__Config__Route__V3__VirtualHost host_message;

/* No request here is taken for one of the mesh's own, so what is asked of those from outside is asked of all. */
static void require_tls(struct decode *d, const host_message *message, struct virtual_host *host)
{
	switch ((int)message->require_tls) {
	case ENVOY__CONFIG__ROUTE__V3__VIRTUAL_HOST__TLS_REQUIREMENT_TYPE__NONE:
		return;
	case ENVOY__CONFIG__ROUTE__V3__VIRTUAL_HOST__TLS_REQUIREMENT_TYPE__EXTERNAL_ONLY:
	case ENVOY__CONFIG__ROUTE__V3__VIRTUAL_HOST__TLS_REQUIREMENT_TYPE__ALL:
		break;
	default:
		mesh_decode_fail_field(d, "require_tls", "%d: unknown", (int)message->require_tls);
	}
	host->tls_route = mesh_decode_array(d, 1, sizeof(*host->tls_route));
	if (host->tls_route)
		*host->tls_route = (struct route){.kind = ROUTE_REDIRECT, .redirect_to_tls = true, .redirect_status = 301,
						  .redirect_scheme = MESH_SLICE("https"), .timeout_ns = -1, .idle_timeout_ns = -1};
}

static void host_scope(struct decode *d, const host_message *message, struct virtual_host *host, struct route_scope *scope)
{
	struct mesh_slice reason = {NULL, 0};

	mesh_decode_mutations(d, MESH_DECODE_MUTATIONS(message), &host->mutations);
	for (size_t i = 0; i < message->n_typed_per_filter_config && d->rc == 0; i++)
		mesh_decode_per_filter(d, message->typed_per_filter_config[i]->key, message->typed_per_filter_config[i]->value,
				       scope);
	require_tls(d, message, host);
	if (message->n_rate_limits)
		reason = mesh_decode_note(d, "rate_limits: not supported");
	if (message->base.n_unknown_fields)
		reason = mesh_decode_note(d, "matcher or another unknown field: not supported");
	if (message->cors)
		mesh_decode_warning(d, "cors of a virtual host: passed over");
	scope->mirrors = mesh_decode_mirrors(d, message->n_request_mirror_policies, message->request_mirror_policies,
					     scope->mirrors);
	if (reason.data && !scope->reason.data)
		scope->reason = reason;
}

static void virtual_host(struct decode *d, const host_message *message, const struct route_scope *outer,
			 struct virtual_host *host)
{
	struct route_scope scope = *outer;

	host->name = mesh_decode_required(d, "name", message->name);
	host->domains = mesh_decode_array(d, message->n_domains, sizeof(*host->domains));
	host->domain_count = host->domains ? message->n_domains : 0;
	if (message->n_domains == 0)
		mesh_decode_fail_field(d, "domains", "must not be empty");
	for (size_t i = 0; i < host->domain_count && d->rc == 0; i++) {
		if (message->domains[i][0] == '\0') {
			mesh_decode_push_item(d, "domains", i);
			mesh_decode_fail(d, "must not be empty");
			mesh_decode_pop(d);
		}
		host->domains[i] = mesh_decode_lower(d, message->domains[i]);
	}
	host_scope(d, message, host, &scope);
	host->retry = mesh_decode_retry_any(d, message->retry_policy, message->retry_policy_typed_config);
	host->hedge = mesh_decode_hedge(d, message->hedge_policy);
	host->include_timeout_retry = message->include_is_timeout_retry_header;
	host->include_attempt_count = message->include_request_attempt_count;
	host->include_attempt_count_response = message->include_attempt_count_in_response;
	host->retry_shadow_buffer_bytes = mesh_decode_u32(message->per_request_buffer_limit_bytes, 0);
	if (message->request_body_buffer_limit)
		host->retry_shadow_buffer_bytes = message->request_body_buffer_limit->value > UINT32_MAX
							  ? UINT32_MAX
							  : (uint32_t)message->request_body_buffer_limit->value;
	host->routes = mesh_decode_array(d, message->n_routes, sizeof(*host->routes));
	host->route_count = host->routes ? message->n_routes : 0;
	for (size_t i = 0; i < host->route_count && d->rc == 0; i++) {
		mesh_decode_push_item(d, "routes", i);
		mesh_decode_route(d, message->routes[i], &scope, &host->routes[i]);
		mesh_decode_pop(d);
	}
}

enum domain_kind { DOMAIN_EXACT, DOMAIN_SUFFIX, DOMAIN_PREFIX, DOMAIN_ANY };

static enum domain_kind domain_kind(struct mesh_slice domain, struct mesh_slice *text)
{
	*text = domain;
	if (mesh_slice_equal(domain, MESH_SLICE("*")))
		return DOMAIN_ANY;
	if (domain.data[0] == '*') {
		*text = mesh_slice_make(domain.data + 1, domain.len - 1);
		return DOMAIN_SUFFIX;
	}
	if (domain.data[domain.len - 1] != '*')
		return DOMAIN_EXACT;
	*text = mesh_slice_make(domain.data, domain.len - 1);
	return DOMAIN_PREFIX;
}

static int by_text(const void *left, const void *right)
{
	return mesh_slice_compare(((const struct domain_entry *)left)->text, ((const struct domain_entry *)right)->text);
}

static int longest_first(const void *left, const void *right)
{
	const struct domain_entry *a = left, *b = right;

	if (a->text.len != b->text.len)
		return a->text.len > b->text.len ? -1 : 1;
	return mesh_slice_compare(a->text, b->text);
}

static void sort_domains(struct decode *d, struct domain_entry *entries, size_t count,
			 int (*order)(const void *, const void *), const char *before, const char *after)
{
	if (count > 1)
		qsort(entries, count, sizeof(*entries), order);
	for (size_t i = 1; i < count; i++) {
		if (order(&entries[i - 1], &entries[i]) == 0)
			mesh_decode_fail_field(d, "virtual_hosts", "domain \"%s%.*s%s\" is in two of them (\"%.*s\" and \"%.*s\")",
					       before, (int)entries[i].text.len, entries[i].text.data, after,
					       (int)entries[i - 1].host->name.len, entries[i - 1].host->name.data,
					       (int)entries[i].host->name.len, entries[i].host->name.data);
	}
}

static void put_domain(struct decode *d, struct route_config *config, struct virtual_host *host, struct mesh_slice domain)
{
	struct domain_entry entry = {.host = host};

	switch (domain_kind(domain, &entry.text)) {
	case DOMAIN_ANY:
		if (config->any)
			mesh_decode_fail_field(d, "virtual_hosts", "domain \"*\" is in two of them (\"%.*s\" and \"%.*s\")",
					       (int)config->any->name.len, config->any->name.data, (int)host->name.len,
					       host->name.data);
		config->any = host;
		return;
	case DOMAIN_SUFFIX:
		entry.hash = mesh_slice_hash(entry.text);
		config->suffix[config->suffix_count++] = entry;
		return;
	case DOMAIN_PREFIX:
		entry.hash = mesh_slice_hash(entry.text);
		config->prefix[config->prefix_count++] = entry;
		return;
	case DOMAIN_EXACT:
		entry.hash = mesh_slice_hash(entry.text);
		config->exact[config->exact_count++] = entry;
		return;
	}
}

static void index_domains(struct decode *d, struct route_config *config)
{
	size_t counts[4] = {0};
	struct mesh_slice text;

	for (size_t i = 0; i < config->host_count; i++) {
		for (size_t k = 0; k < config->hosts[i].domain_count; k++)
			counts[domain_kind(config->hosts[i].domains[k], &text)]++;
	}
	config->exact = mesh_decode_array(d, counts[DOMAIN_EXACT], sizeof(*config->exact));
	config->suffix = mesh_decode_array(d, counts[DOMAIN_SUFFIX], sizeof(*config->suffix));
	config->prefix = mesh_decode_array(d, counts[DOMAIN_PREFIX], sizeof(*config->prefix));
	if (d->rc < 0)
		return;
	for (size_t i = 0; i < config->host_count; i++) {
		for (size_t k = 0; k < config->hosts[i].domain_count; k++)
			put_domain(d, config, &config->hosts[i], config->hosts[i].domains[k]);
	}
	sort_domains(d, config->exact, config->exact_count, by_text, "", "");
	sort_domains(d, config->suffix, config->suffix_count, longest_first, "*", "");
	sort_domains(d, config->prefix, config->prefix_count, longest_first, "", "*");
}

static void internal_headers(struct decode *d, const config_message *message, struct route_config *config)
{
	config->internal_only_headers =
		mesh_decode_array(d, message->n_internal_only_headers, sizeof(*config->internal_only_headers));
	config->internal_only_header_count = config->internal_only_headers ? message->n_internal_only_headers : 0;
	for (size_t i = 0; i < config->internal_only_header_count; i++)
		config->internal_only_headers[i] = mesh_decode_lower(d, message->internal_only_headers[i]);
}

static void config_fields(struct decode *d, const config_message *message, struct route_config *config)
{
	struct route_scope scope = {.body_max = mesh_decode_u32(message->max_direct_response_body_size_bytes, BODY_MAX)};
	struct mesh_slice reason = {NULL, 0};

	config->ignore_port = message->ignore_port_in_host_matching;
	mesh_decode_mutations(d, MESH_DECODE_MUTATIONS(message), &config->mutations);
	internal_headers(d, message, config);
	scope.mirrors = mesh_decode_mirrors(d, message->n_request_mirror_policies, message->request_mirror_policies, NULL);
	for (size_t i = 0; i < message->n_typed_per_filter_config && d->rc == 0; i++)
		mesh_decode_per_filter(d, message->typed_per_filter_config[i]->key, message->typed_per_filter_config[i]->value,
				       &scope);
	if (message->vhds)
		reason = mesh_decode_note(d, "vhds: not supported");
	config->host_header = mesh_decode_lower(d, message->vhost_header);
	scope.no_parameters = message->ignore_path_parameters_in_path_matching;
	config->specific_wins = message->most_specific_header_mutations_wins;
	if (message->base.n_unknown_fields)
		reason = mesh_decode_note(d, "unknown field: not supported");
	if (!scope.reason.data)
		scope.reason = reason;
	config->hosts = mesh_decode_array(d, message->n_virtual_hosts, sizeof(*config->hosts));
	config->host_count = config->hosts ? message->n_virtual_hosts : 0;
	for (size_t i = 0; i < config->host_count && d->rc == 0; i++) {
		mesh_decode_push_item(d, "virtual_hosts", i);
		virtual_host(d, message->virtual_hosts[i], &scope, &config->hosts[i]);
		mesh_decode_pop(d);
	}
	if (d->rc == 0)
		index_domains(d, config);
}

struct route_config *mesh_decode_route_config(struct decode *d, const config_message *message)
{
	struct route_config *config = mesh_config_object_new(d->mem, sizeof(*config), mesh_slice_of(message->name));
	struct config_object *outer = d->object;

	if (!config) {
		mesh_decode_nomem(d);
		return NULL;
	}
	d->object = &config->object;
	config_fields(d, message, config);
	d->object = outer;
	if (d->rc == 0)
		return config;
	mesh_config_object_release(config);
	return NULL;
}

struct route_config *mesh_decode_routes(struct decode *d, struct mesh_slice bytes)
{
	struct route_config *config = NULL;
	config_message *message;

	mesh_decode_begin(d);
	message = mesh_decode_unpack(d, bytes, &envoy__config__route__v3__route_configuration__descriptor);
	if (message && message->name[0] == '\0')
		mesh_decode_fail_field(d, "name", "must not be empty");
	if (message && d->rc == 0)
		config = mesh_decode_route_config(d, message);
	return mesh_decode_end(d, config);
}
