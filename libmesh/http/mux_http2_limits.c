/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides when a peer asks for more work than its requests are worth: it counts frames on their way to nghttp2, also
 * those that nghttp2 passes over in silence, and ends the connection. Also finds streams used after their end or out of
 * order. Refuses to know what frames mean for messages. Bounds without an own default are Envoy's.
 */
#include "http/mux_http2.h"

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
	return value ? value : fallback;
}

static void calm(struct http2 *http2, const char *why)
{
	mesh_mux_http2_fail(http2, http2_peer_error(http2), NGHTTP2_ENHANCE_YOUR_CALM, why);
}

static void wrong(struct http2 *http2, uint32_t code, const char *why)
{
	mesh_mux_http2_fail(http2, http2_peer_error(http2), code, why);
}

uint32_t mesh_mux_http2_continuations_max(const struct http2 *http2)
{
	return (uint32_t)(http2->base.limits.head_bytes_max / 16384) + 8;
}

static bool was_ended(const struct http2_frames *frames, int32_t id)
{
	for (unsigned i = 0; id && i < HTTP2_ENDED_KEPT; i++)
		if (frames->ended[i] == id)
			return true;
	return false;
}

static bool was_skipped(const struct http2_frames *frames, int32_t id)
{
	for (unsigned i = 0; i < HTTP2_ENDED_KEPT; i++)
		if (frames->skipped[i].from && id >= frames->skipped[i].from && id <= frames->skipped[i].to)
			return true;
	return false;
}

static void note_ended(struct http2_frames *frames, int32_t id)
{
	if (!was_ended(frames, id))
		frames->ended[frames->ended_at++ % HTTP2_ENDED_KEPT] = id;
}

static void note_opened(struct http2 *http2, int32_t id)
{
	struct http2_frames *frames = &http2->frames;

	if (!http2->base.server || !(id & 1))
		return;
	if (id <= frames->highest) {
		if (was_skipped(frames, id))
			wrong(http2, NGHTTP2_PROTOCOL_ERROR, "HTTP/2: stream number smaller than those before");
		return;
	}
	if (id > frames->highest + 2) {
		unsigned at = frames->skipped_at++ % HTTP2_ENDED_KEPT;

		frames->skipped[at].from = frames->highest ? frames->highest + 2 : 1;
		frames->skipped[at].to = id - 2;
	}
	frames->highest = id;
	frames->opened++;
}

static void check_window_updates(struct http2 *http2)
{
	struct http2_frames *frames = &http2->frames;
	uint64_t opened = http2->base.server ? frames->opened : http2->base.carried;
	uint64_t each = or_default(http2->base.limits.http2.window_updates_max, 10);

	if (++frames->window_updates > 5 + 2 * (opened + each * frames->data_sent))
		calm(http2, "HTTP/2: flood of WINDOW_UPDATE");
}

static void check_priority(struct http2 *http2, int32_t id)
{
	struct http2_frames *frames = &http2->frames;
	uint64_t opened = http2->base.server ? frames->opened : http2->base.carried;
	const unsigned char *lead = frames->lead;
	int32_t on = (int32_t)((lead[0] & 0x7fu) << 24 | (uint32_t)lead[1] << 16 | (uint32_t)lead[2] << 8 | lead[3]);

	if (++frames->priorities > or_default(http2->base.limits.http2.priority_frames_max, 100) * (1 + opened))
		calm(http2, "HTTP/2: flood of PRIORITY");
	else if (!id || id == on)
		wrong(http2, NGHTTP2_PROTOCOL_ERROR,
		      id ? "HTTP/2: stream depends on itself" : "HTTP/2: PRIORITY without a stream");
}

/* The frame is known as far as it is looked at: its head, and the first bytes of a PRIORITY or of a padded DATA. */
static void check_frame(struct http2 *http2, uint32_t len)
{
	struct http2_frames *frames = &http2->frames;
	const unsigned char *head = frames->head;
	int32_t id = (int32_t)((head[5] & 0x7fu) << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 | head[8]);
	uint8_t type = head[3], flags = head[4];
	bool carries = type == NGHTTP2_DATA || type == NGHTTP2_HEADERS;

	if (type == NGHTTP2_DATA && flags & NGHTTP2_FLAG_PADDED && len && len == 1u + frames->lead[0])
		len = 0;
	if (carries && id && was_ended(frames, id)) {
		wrong(http2, NGHTTP2_STREAM_CLOSED, "HTTP/2: frame on a stream that its sender ended");
		return;
	}
	if (type == NGHTTP2_HEADERS) {
		note_opened(http2, id);
		frames->in_block = true;
		frames->continuations = 0;
	} else if (type == NGHTTP2_CONTINUATION && ++frames->continuations > mesh_mux_http2_continuations_max(http2)) {
		calm(http2, "HTTP/2: flood of CONTINUATION");
	}
	if ((carries && flags & NGHTTP2_FLAG_END_STREAM) || type == NGHTTP2_RST_STREAM)
		note_ended(frames, id);
	if (carries || type == NGHTTP2_CONTINUATION) {
		bool ends = type == NGHTTP2_CONTINUATION ? flags & NGHTTP2_FLAG_END_HEADERS
							 : flags & NGHTTP2_FLAG_END_STREAM;

		frames->empty = len || ends ? 0 : frames->empty + 1;
		if (frames->empty > or_default(http2->base.limits.http2.empty_frames_max, 1))
			calm(http2, "HTTP/2: flood of empty frames");
	} else if (type == NGHTTP2_PRIORITY && len == 5) {
		check_priority(http2, id);
	} else if (type == NGHTTP2_WINDOW_UPDATE) {
		check_window_updates(http2);
	} else if ((type == NGHTTP2_PING || type == NGHTTP2_SETTINGS) && !(flags & NGHTTP2_FLAG_ACK)) {
		if (++frames->control > or_default(http2->base.limits.http2.outbound_control_frames_max, 1000))
			calm(http2, "HTTP/2: flood of PING or SETTINGS");
	}
}

static void take_lead(struct http2_frames *frames, struct mesh_slice *bytes, uint32_t want)
{
	while (frames->lead_have < want && bytes->len) {
		frames->lead[frames->lead_have++] = (unsigned char)*bytes->data++;
		bytes->len--;
	}
}

static void take_head(struct http2_frames *frames, struct mesh_slice *bytes)
{
	size_t want = sizeof(frames->head) - frames->have, len = want < bytes->len ? want : bytes->len;

	memcpy(frames->head + frames->have, bytes->data, len);
	frames->have += len;
	bytes->data += len;
	bytes->len -= len;
}

/* As much of one frame as there is. */
static void see_frame(struct http2 *http2, struct mesh_slice *bytes)
{
	struct http2_frames *frames = &http2->frames;
	uint32_t len, want = 0;
	size_t pass;
	bool fresh = frames->have < sizeof(frames->head);

	take_head(frames, bytes);
	if (frames->have < sizeof(frames->head))
		return;
	len = (uint32_t)frames->head[0] << 16 | (uint32_t)frames->head[1] << 8 | frames->head[2];
	if (fresh)
		frames->left = len;
	if (frames->head[3] == NGHTTP2_PRIORITY && len == 5)
		want = 5;
	else if (frames->head[3] == NGHTTP2_DATA && frames->head[4] & NGHTTP2_FLAG_PADDED && len)
		want = 1;
	if (frames->left == len && frames->lead_have <= want) {
		take_lead(frames, bytes, want);
		if (frames->lead_have < want)
			return;
		frames->left -= want;
		check_frame(http2, len);
		frames->lead_have = sizeof(frames->lead) + 1; /* was checked */
	}
	pass = frames->left < bytes->len ? frames->left : bytes->len;
	bytes->data += pass;
	bytes->len -= pass;
	frames->left -= (uint32_t)pass;
	if (frames->left)
		return;
	if (frames->head[4] & NGHTTP2_FLAG_END_HEADERS &&
	    (frames->head[3] == NGHTTP2_HEADERS || frames->head[3] == NGHTTP2_CONTINUATION))
		frames->in_block = false;
	frames->have = frames->lead_have = 0;
}

bool mesh_mux_http2_frames_seen(struct http2 *http2, struct mesh_slice bytes)
{
	size_t magic = http2->frames.magic_left < bytes.len ? http2->frames.magic_left : bytes.len;

	bytes.data += magic;
	bytes.len -= magic;
	http2->frames.magic_left -= (uint32_t)magic;
	while (bytes.len && !http2->dead)
		see_frame(http2, &bytes);
	return !http2->dead;
}

void mesh_mux_http2_queue_checked(struct http2 *http2)
{
	if (!http2->dead && nghttp2_session_get_outbound_queue_size(http2->session) >
				    or_default(http2->base.limits.http2.outbound_frames_max, 10000))
		calm(http2, "HTTP/2: too many frames wait for a peer that does not read");
}

void mesh_mux_http2_reset_seen(struct http2 *http2, bool answered)
{
	struct http2_frames *frames = &http2->frames;

	if (!http2->base.server || answered ||
	    ++frames->resets <= or_default(http2->base.limits.http2.reset_burst, 200))
		return;
	if (frames->resets > frames->completed)
		calm(http2, "HTTP/2: flood of RST_STREAM");
}

void mesh_mux_http2_wrong_seen(struct http2 *http2)
{
	struct http2_frames *frames = &http2->frames;

	if (++frames->provoked > or_default(http2->base.limits.http2.reset_burst, 200) &&
	    frames->provoked > frames->completed)
		calm(http2, "HTTP/2: flood of wrong frames");
}
