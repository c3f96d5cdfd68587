/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames from a line of words, so that a table of what a peer may say stays a table. Commands end with ";":
 *   preface            settings ID=VALUE ..     ack           ping              goaway LAST CODE
 *   get S [PATH]       headers S FLAGS FIELDS   data S FLAGS TEXT               rst S CODE
 *   window S BYTES     priority S PARENT        frame TYPE FLAGS S HEX          claim LENGTH TYPE FLAGS S HEX
 *   pad S FLAGS COUNT (that many DATA bytes)    long S FLAGS COUNT FIELDS (and a field "x-long" of that many bytes)
 * FIELDS are "name: value" with "|" between them; S is a number, "+" the next odd one, "=" the last used; FLAGS a number;
 * HEX "-" for none. "N*(..)" says N times what it holds. Another word ends the test.
 */
#ifndef MESH_TESTS_SUPPORT_H2_SCRIPT_H
#define MESH_TESTS_SUPPORT_H2_SCRIPT_H

#include "support/h2_frames.h"

struct h2_script {
	struct buf *out;
	uint32_t last; /* stream used last, "+" goes on behind it */
};

void h2_script(struct h2_script *script, const char *line);
/* From a connection that is new: "+" begins with 1. */
void h2_say(struct buf *out, const char *line);

#endif
