/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether a failed attempt may be tried again, as Envoy's router decides. Knows neither how many retries are left nor
 * whether the body can be sent again, nor how long to wait (retry_wait.c).
 */
#include "policy/retry.h"

#include <mesh/error.h>

#include "config/cluster.h"
#include "config/retry_on.h"
#include "policy/header_match.h"

#define NS_PER_MS 1000000
#define BACKOFF_BASE_NS (25 * (int64_t)NS_PER_MS)
#define HTTP_WORDS 0xffffu /* bits of retry_on that are not about gRPC */
#define TOO_EARLY 425
#define WORDS_MAX 256      /* status codes or header names taken from one text */

static size_t count_words(struct mesh_slice text)
{
	size_t count = 1;

	for (size_t i = 0; i < text.len; i++)
		count += text.data[i] == ',';
	return count < WORDS_MAX ? count : WORDS_MAX;
}

int mesh_retry_on_parse(struct mesh_slice text, struct arena *arena, uint32_t *on, uint32_t **codes, size_t *code_count)
{
	size_t room = count_words(text);
	uint64_t number;

	*on = 0;
	if (codes) {
		*codes = NULL;
		*code_count = 0;
	}
	while (text.data) {
		struct mesh_slice word = mesh_slice_trim(mesh_slice_cut(&text, ','));

		*on |= mesh_retry_on_bit(word);
		if (!codes || *code_count == room || !mesh_slice_to_u64(word, &number) || number < 100 || number > 599)
			continue;
		if (!*codes)
			*codes = mesh_arena_array(arena, room, sizeof(**codes));
		if (!*codes)
			return MESH_ERROR_NOMEM;
		(*codes)[(*code_count)++] = (uint32_t)number;
	}
	return MESH_OK;
}

/* What a request says of its own retries; absent: nothing. */
struct wishes {
	struct mesh_slice on, grpc_on, retries, codes, names, hedge;
};

/* One pass: most requests carry none of these. */
static bool find_wishes(const struct route_request *request, struct wishes *wishes)
{
	const struct {
		struct mesh_slice name;
		struct mesh_slice *value;
	} known[] = {
		{MESH_SLICE("x-envoy-retry-on"), &wishes->on},
		{MESH_SLICE("x-envoy-retry-grpc-on"), &wishes->grpc_on},
		{MESH_SLICE("x-envoy-max-retries"), &wishes->retries},
		{MESH_SLICE("x-envoy-retriable-status-codes"), &wishes->codes},
		{MESH_SLICE("x-envoy-retriable-header-names"), &wishes->names},
		{MESH_SLICE("x-envoy-hedge-on-per-try-timeout"), &wishes->hedge},
	};
	bool found = false;

	memset(wishes, 0, sizeof(*wishes));
	for (size_t i = 0; request->headers && i < request->headers->count; i++) {
		const struct mesh_header *header = &request->headers->items[i];

		if (header->name.len < known[0].name.len || (header->name.data[0] | 0x20) != 'x')
			continue;
		for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
			if (known[k].value->data || !mesh_slice_equal_fold(header->name, known[k].name))
				continue;
			*known[k].value = header->value.data ? header->value : MESH_SLICE("");
			found = true;
		}
	}
	return found;
}

static bool request_eligible(const struct retry_config *config, const struct route_request *request, struct arena *arena)
{
	for (size_t i = 0; i < config->retriable_request_header_count; i++) {
		if (mesh_header_matches(&config->retriable_request_headers[i], request, arena, false))
			return true;
	}
	return config->retriable_request_header_count == 0;
}

static int add_codes(struct retry_config *config, struct mesh_slice text, struct arena *arena)
{
	uint32_t on, *codes, *all;
	size_t count;
	int rc = mesh_retry_on_parse(text, arena, &on, &codes, &count);

	if (rc < 0 || !count)
		return rc;
	all = mesh_arena_array(arena, config->status_code_count + count, sizeof(*all));
	if (!all)
		return MESH_ERROR_NOMEM;
	if (config->status_code_count)
		memcpy(all, config->status_codes, config->status_code_count * sizeof(*all));
	memcpy(all + config->status_code_count, codes, count * sizeof(*all));
	config->status_codes = all;
	config->status_code_count += count;
	return MESH_OK;
}

/* Names whose presence in a response asks for a retry. */
static int add_names(struct retry_config *config, struct mesh_slice text, struct arena *arena)
{
	size_t room = config->retriable_header_count + count_words(text);
	struct header_match *all = mesh_arena_array(arena, room, sizeof(*all));

	if (!all)
		return MESH_ERROR_NOMEM;
	if (config->retriable_header_count)
		memcpy(all, config->retriable_headers, config->retriable_header_count * sizeof(*all));
	config->retriable_headers = all;
	while (text.data && config->retriable_header_count < room) {
		struct mesh_slice name = mesh_slice_trim(mesh_slice_cut(&text, ','));

		if (name.len)
			all[config->retriable_header_count++] =
				(struct header_match){.name = name, .kind = HEADER_MATCH_PRESENT};
	}
	return MESH_OK;
}

static int merge(struct retry_config *config, const struct wishes *wishes, struct arena *arena)
{
	uint32_t on;
	uint64_t retries;
	int rc = MESH_OK;

	if (wishes->on.data) {
		mesh_retry_on_parse(wishes->on, NULL, &on, NULL, NULL);
		config->on |= on & HTTP_WORDS;
	}
	if (wishes->grpc_on.data) {
		mesh_retry_on_parse(wishes->grpc_on, NULL, &on, NULL, NULL);
		config->on |= on & ~HTTP_WORDS;
	}
	if (wishes->retries.data && mesh_slice_to_u64(mesh_slice_trim(wishes->retries), &retries))
		config->retries = retries > UINT32_MAX ? UINT32_MAX : (uint32_t)retries;
	if (wishes->codes.data)
		rc = add_codes(config, wishes->codes, arena);
	if (rc == MESH_OK && wishes->names.data)
		rc = add_names(config, wishes->names, arena);
	return rc;
}

/* A request that may not be retried is hedged all the same, as in Envoy: it then asks for nothing but that. */
static int hedge_only(const struct retry_config *base, struct arena *arena, const struct retry_config **use)
{
	struct retry_config *own = mesh_arena_zalloc(arena, sizeof(*own));

	if (!own)
		return MESH_ERROR_NOMEM;
	*own = *base;
	own->on = 0;
	*use = own;
	return MESH_OK;
}

int mesh_retry_policy(const struct retry_config *base, const struct route_request *request, bool internal, bool *hedged,
		      struct arena *arena, const struct retry_config **use)
{
	struct retry_config *merged;
	struct wishes wishes;
	bool wished = internal && find_wishes(request, &wishes);
	int rc;

	*use = NULL;
	if (wished && mesh_slice_equal(wishes.hedge, MESH_SLICE("true")))
		*hedged = true;
	else if (wished && mesh_slice_equal(wishes.hedge, MESH_SLICE("false")))
		*hedged = false;
	if (base && !request_eligible(base, request, arena))
		return *hedged && base->on ? hedge_only(base, arena, use) : MESH_OK;
	if (!wished) {
		*use = base && base->on ? base : NULL;
		return MESH_OK;
	}
	merged = mesh_arena_zalloc(arena, sizeof(*merged));
	if (!merged)
		return MESH_ERROR_NOMEM;
	if (base)
		*merged = *base;
	else
		*merged = (struct retry_config){.retries = 1, .backoff_base_ns = BACKOFF_BASE_NS,
						.backoff_max_ns = 10 * BACKOFF_BASE_NS, .host_selection_attempts = 1};
	rc = merge(merged, &wishes, arena);
	if (rc == MESH_OK && merged->on)
		*use = merged;
	return rc;
}

static bool grpc_wanted(uint32_t on, const struct headers *headers)
{
	struct mesh_slice text = mesh_headers_get(headers, MESH_SLICE("grpc-status"));
	uint64_t status;

	if (!text.data || !mesh_slice_to_u64(text, &status))
		return false;
	switch (status) {
	case 1:
		return on & RETRY_GRPC_CANCELLED;
	case 4:
		return on & RETRY_GRPC_DEADLINE_EXCEEDED;
	case 8:
		return on & RETRY_GRPC_RESOURCE_EXHAUSTED;
	case 13:
		return on & RETRY_GRPC_INTERNAL;
	case 14:
		return on & RETRY_GRPC_UNAVAILABLE;
	default:
		return false;
	}
}

static bool retriable_header(const struct retry_config *config, const struct retry_outcome *outcome, struct arena *scratch)
{
	char digits[3] = {(char)('0' + outcome->status / 100 % 10), (char)('0' + outcome->status / 10 % 10),
			  (char)('0' + outcome->status % 10)};
	bool failed = false;

	for (size_t i = 0; i < config->retriable_header_count; i++) {
		const struct header_match *match = &config->retriable_headers[i];
		struct mesh_slice value = {NULL, 0};

		if (mesh_slice_equal(match->name, MESH_SLICE(":status")))
			value = mesh_slice_make(digits, sizeof(digits));
		else if (outcome->headers)
			value = mesh_headers_joined(outcome->headers, scratch, match->name, &failed);
		if (!failed && mesh_header_value_matches(match, value))
			return true;
		failed = false;
	}
	return false;
}

/* 425: another try at once, unless the application itself was early. */
static bool code_wanted(const struct retry_config *config, const struct retry_outcome *outcome, enum retry_decision *decision)
{
	for (size_t i = 0; i < config->status_code_count; i++) {
		if (config->status_codes[i] != (uint32_t)outcome->status)
			continue;
		if (outcome->status != TOO_EARLY || !outcome->early) {
			*decision = outcome->status == TOO_EARLY ? RETRY_AT_ONCE : RETRY_WITH_BACKOFF;
			return true;
		}
	}
	return false;
}

static enum retry_decision decide_response(const struct retry_config *config, const struct retry_outcome *outcome,
					   struct arena *scratch)
{
	enum retry_decision decision = RETRY_WITH_BACKOFF;
	uint32_t on = config->on;
	int status = outcome->status;

	if (outcome->headers && mesh_headers_get(outcome->headers, MESH_SLICE("x-envoy-ratelimited")).data)
		return on & RETRY_ENVOY_RATELIMITED ? decision : RETRY_NOT;
	if ((on & RETRY_5XX) && status >= 500 && status < 600)
		return decision;
	if ((on & RETRY_GATEWAY_ERROR) && status >= 502 && status <= 504)
		return decision;
	if ((on & RETRY_RETRIABLE_4XX) && status == 409)
		return decision;
	if ((on & RETRY_RETRIABLE_STATUS_CODES) && code_wanted(config, outcome, &decision))
		return decision;
	if ((on & RETRY_RETRIABLE_HEADERS) && retriable_header(config, outcome, scratch))
		return decision;
	if ((on & ~HTTP_WORDS) && outcome->headers && grpc_wanted(on, outcome->headers))
		return decision;
	return RETRY_NOT;
}

/* Did the attempt fail on its way to the peer or at the peer? Everything else was decided here and stays decided. */
static bool upstream_failure(const struct retry_outcome *outcome)
{
	switch (outcome->error) {
	case MESH_ERROR_CONNECT:
	case MESH_ERROR_CONNECT_TIMEOUT:
	case MESH_ERROR_TLS:
	case MESH_ERROR_PEER_IDENTITY:
	case MESH_ERROR_RESET:
	case MESH_ERROR_REMOTE_RESET:
	case MESH_ERROR_REFUSED:
	case MESH_ERROR_PROTOCOL:
		return true;
	case MESH_ERROR_TIMEOUT:
	case MESH_ERROR_IDLE_TIMEOUT:
		return outcome->per_try_timeout;
	case MESH_ERROR_CERTIFICATE:
		return outcome->connect_failed;
	default:
		return false;
	}
}

static bool reset_wanted(uint32_t on, const struct retry_outcome *outcome)
{
	if (!upstream_failure(outcome))
		return false;
	if ((on & RETRY_CONNECT_FAILURE) && outcome->connect_failed && !outcome->per_try_timeout)
		return true;
	if ((on & RETRY_RESET_BEFORE_REQUEST) && !outcome->request_sent)
		return true;
	if (on & (RETRY_RESET | RETRY_5XX | RETRY_GATEWAY_ERROR)) /* a reset is answered with a 503 */
		return true;
	/* Also what HTTP/2 says with GOAWAY instead of REFUSED_STREAM. */
	return (on & RETRY_REFUSED_STREAM) &&
	       (outcome->error == MESH_ERROR_REFUSED || (outcome->unprocessed && !outcome->connect_failed));
}

enum retry_decision mesh_retry_decide(const struct retry_config *config, const struct retry_outcome *outcome,
				      struct arena *scratch)
{
	if (!config || !config->on || outcome->head_received)
		return RETRY_NOT;
	if (outcome->error == MESH_OK)
		return decide_response(config, outcome, scratch);
	return reset_wanted(config->on, outcome) ? RETRY_WITH_BACKOFF : RETRY_NOT;
}

static bool labelled(const struct lb_label *labels, size_t count, struct mesh_slice key, struct mesh_slice value)
{
	for (size_t i = 0; i < count; i++) {
		if (!mesh_slice_equal(labels[i].key, key))
			continue;
		for (size_t k = 0; labels[i].list && k < labels[i].item_count; k++)
			if (mesh_slice_equal(labels[i].items[k], value))
				return true;
		return !labels[i].list && mesh_slice_equal(labels[i].value, value);
	}
	return false;
}

bool mesh_retry_omits(const struct retry_config *config, const struct lb_label *labels, size_t count)
{
	size_t found = 0;

	if (config->omit_canary && labelled(labels, count, MESH_SLICE("canary"), MESH_SLICE("true")))
		return true;
	while (found < config->omit_count && labelled(labels, count, config->omit[found].key, config->omit[found].value))
		found++;
	return found && found == config->omit_count;
}
