/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another protocol on the same connection: who asked for which, when both sides have agreed (101), and that from then on
 * bytes go as they come, each direction to its own end. Nothing is sent behind a request for another protocol before
 * the answer to it: where it is refused, those bytes would be the next request. Refuses to know what the bytes mean.
 */
#include "http/mux_http1.h"

#include <mesh/error.h>

#include "net/transport.h"

int mesh_mux_http1_ask(struct http1 *http1, const struct http_head *head)
{
	char *token;

	http1->asked = (struct mesh_slice){NULL, 0};
	if (!head->upgrade.len)
		return 0;
	if (head->content_length > 0 || !mesh_header_value_valid(head->upgrade))
		return MESH_ERROR_INVALID; /* a body and what follows the change could not be told apart */
	token = mesh_arena_alloc(http1->exchange->arena, head->upgrade.len);
	if (!token)
		return MESH_ERROR_NOMEM;
	for (size_t i = 0; i < head->upgrade.len; i++)
		token[i] = mesh_char_lower(head->upgrade.data[i]);
	http1->asked = mesh_slice_make(token, head->upgrade.len);
	return 0;
}

int mesh_mux_http1_agree(struct http1 *http1, struct http_head *head)
{
	if (head->status != 101)
		return head->upgrade.len ? MESH_ERROR_INVALID : 0;
	if (!http1->asked.len)
		return MESH_ERROR_STATE;
	if (head->upgrade.len && !mesh_slice_equal_fold(head->upgrade, http1->asked))
		return MESH_ERROR_INVALID;
	head->upgrade = http1->asked;
	return 0;
}

bool mesh_mux_http1_answered(struct http1 *http1)
{
	struct exchange *exchange = http1->exchange;

	if (http1->head.status != 101) {
		if (http1->asked.len)
			exchange->sent_end = true; /* the request was all there is to send */
		http1->asked = (struct mesh_slice){NULL, 0};
		return true;
	}
	if (!mesh_slice_equal(http1->head.upgrade, http1->asked)) {
		mesh_mux_http1_fail(http1, MESH_ERROR_PROTOCOL,
				    http1->asked.len ? "HTTP/1.1: 101 to another protocol than was asked for"
						     : "HTTP/1.1: 101 that nobody asked for");
		return false;
	}
	http1->upgraded = true;
	http1->body = HTTP1_BODY_CLOSE;
	http1_make_dirty(http1); /* `writable`, or the end of our direction */
	return true;
}

void mesh_mux_http1_end_direction(struct http1 *http1)
{
	if (!http1->upgraded || http1->shut || http1->dead || !http1->exchange || !http1->exchange->sent_end ||
	    mesh_buf_len(&http1->out))
		return;
	http1->shut = true;
	http1->base.transport->ops->shutdown(http1->base.transport);
}

void mesh_mux_http1_settle_upgraded(struct http1 *http1)
{
	if (!http1->exchange->sent_end || !http1->exchange->received_end || mesh_buf_len(&http1->out))
		return;
	mesh_mux_http1_exchange_over(http1, 0, "", false);
	mesh_mux_http1_doom(http1, 0, "");
}
