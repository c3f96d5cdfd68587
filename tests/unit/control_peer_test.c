/* SPDX-License-Identifier: Apache-2.0 */
/* Which credential goes where: never one over plaintext, the token before a certificate, each as it is in its file now. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/slice.h"
#include "control/peer.h"
#include "support/file.h"
#include "support/scripted_control.h"
#include "support/wiped_mem.h"

#define ROOT  "-----BEGIN CERTIFICATE-----\nroot\n-----END CERTIFICATE-----\n"
#define CHAIN "-----BEGIN CERTIFICATE-----\nleaf\n-----END CERTIFICATE-----\n"
#define KEY   "-----BEGIN PRIVATE KEY-----\nkey\n-----END PRIVATE KEY-----\n"

struct fixture {
	char folder[64], token[96], root[96], cert[96], key[96];
	struct log log;
	struct loop *loop;
	struct scripted_control script;
	struct control *control;
	struct control_handler handler;
	struct control_peer peer;
	struct why why;
};

static void begin(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	snprintf(f->folder, sizeof(f->folder), "/tmp/mesh_peer_test_XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->token, sizeof(f->token), "%s/token", f->folder);
	snprintf(f->root, sizeof(f->root), "%s/root", f->folder);
	snprintf(f->cert, sizeof(f->cert), "%s/cert", f->folder);
	snprintf(f->key, sizeof(f->key), "%s/key", f->folder);
	file_write(f->token, WIPED_MEM_SECRET "\n");
	file_write(f->root, ROOT);
	file_write(f->cert, CHAIN);
	file_write(f->key, KEY);
	assert_int_equal(mesh_loop_new(&mesh_mem_default, &f->loop), 0);
	scripted_control_init(&f->script);
	assert_int_equal(f->script.ops.start(&f->script.ops, &wiped_mem, &f->log, f->loop, &f->control), 0);
	f->peer = (struct control_peer){.address = "istiod:15012", .server_name = "istiod.istio-system.svc", .root_file = f->root,
					.token_file = f->token, .cluster_id = "Kubernetes", .message_bytes_max = 1000};
}

static void end(struct fixture *f)
{
	mesh_control_ops(f->control)->stop(f->control);
	assert_true(scripted_control_clean(&f->script));
	scripted_control_free(&f->script);
	mesh_loop_free(f->loop);
	unlink(f->token);
	unlink(f->root);
	unlink(f->cert);
	unlink(f->key);
	assert_int_equal(rmdir(f->folder), 0);
}

static int open_peer(struct fixture *f, struct control_stream **stream)
{
	memset(&f->why, 0, sizeof(f->why));
	return mesh_control_peer_open(&f->peer, f->control, &wiped_mem, "/service/Method", 7, &f->handler, stream, &f->why);
}

/* Opens, compares what went with it, closes. */
static void opens(struct fixture *f, const char *headers, const char *roots, const char *chain, const char *key)
{
	struct control_stream *stream = NULL;

	if (open_peer(f, &stream))
		fail_msg("%s", f->why.text);
	assert_string_equal(stream->address, f->peer.address);
	assert_string_equal(stream->method, "/service/Method");
	assert_int_equal(stream->timeout_ms, 7);
	assert_int_equal(stream->message_bytes_max, 1000);
	assert_string_equal(stream->headers, headers);
	if (f->peer.server_name)
		assert_string_equal(stream->server_name, f->peer.server_name);
	else
		assert_null(stream->server_name);
	for (int i = 0; i < 3; i++) {
		const char *got = i == 0 ? stream->roots_pem : i == 1 ? stream->chain_pem : stream->key_pem;
		const char *expected = i == 0 ? roots : i == 1 ? chain : key;

		if (expected && got)
			assert_string_equal(got, expected);
		else
			assert_true(!got && !expected);
	}
	mesh_control_ops(f->control)->close(stream);
}

static void refuses(struct fixture *f, int error, const char *format, const char *path)
{
	struct control_stream *stream = NULL;
	unsigned opened = f->script.shared.opened;
	char words[320];

	assert_int_equal(open_peer(f, &stream), error);
	snprintf(words, sizeof(words), format, path);
	assert_string_equal(f->why.text, words);
	assert_null(stream);
	assert_int_equal(f->script.shared.opened, opened); /* nobody was talked to */
}

static void with_token(void **state)
{
	struct fixture f;

	begin(&f);
	opens(&f, "authorization: Bearer " WIPED_MEM_SECRET "\nclusterid: Kubernetes\n", ROOT, NULL, NULL);
	f.peer.cluster_id = NULL;
	file_write(f.token, "  leading"); /* not one word */
	refuses(&f, MESH_ERROR_BOOTSTRAP, "token file %s: holds no token (one word without spaces)", f.token);
	file_write(f.token, "new.token \r\n\t\n");
	opens(&f, "authorization: Bearer new.token\n", ROOT, NULL, NULL); /* read at every connect */
	file_write(f.root, ROOT ROOT);
	opens(&f, "authorization: Bearer new.token\n", ROOT ROOT, NULL, NULL);
	end(&f);
}

static void never_over_plaintext(void **state)
{
	struct fixture f;

	begin(&f);
	f.peer.server_name = NULL;
	opens(&f, "clusterid: Kubernetes\n", NULL, NULL, NULL);
	f.peer.cert_file = f.cert;
	f.peer.key_file = f.key;
	opens(&f, "clusterid: Kubernetes\n", NULL, NULL, NULL);
	unlink(f.token);
	unlink(f.root);
	opens(&f, "clusterid: Kubernetes\n", NULL, NULL, NULL); /* nor is a file needed */
	end(&f);
}

static void certificate_when_there_is_no_token(void **state)
{
	struct fixture f;

	begin(&f);
	f.peer.cert_file = f.cert;
	f.peer.key_file = f.key;
	opens(&f, "authorization: Bearer " WIPED_MEM_SECRET "\nclusterid: Kubernetes\n", ROOT, NULL, NULL); /* one of the two, not both */
	unlink(f.token);
	opens(&f, "clusterid: Kubernetes\n", ROOT, CHAIN, KEY);
	f.peer.token_file = NULL;
	opens(&f, "clusterid: Kubernetes\n", ROOT, CHAIN, KEY);
	unlink(f.key);
	refuses(&f, MESH_ERROR_BOOTSTRAP, "key file %s: cannot be opened: No such file or directory", f.key);
	unlink(f.cert);
	refuses(&f, MESH_ERROR_BOOTSTRAP, "certificate file %s: cannot be opened: No such file or directory", f.cert);
	end(&f);
}

static void unreadable(void **state)
{
	struct fixture f;

	begin(&f);
	file_write(f.token, "");
	refuses(&f, MESH_ERROR_BOOTSTRAP, "token file %s: is empty", f.token);
	file_write(f.token, "\n \n");
	refuses(&f, MESH_ERROR_BOOTSTRAP, "token file %s: is empty", f.token);
	file_write(f.token, WIPED_MEM_SECRET "\r\nx-injected: 1");
	refuses(&f, MESH_ERROR_BOOTSTRAP, "token file %s: holds no token (one word without spaces)", f.token);
	file_write(f.token, WIPED_MEM_SECRET "\x7f");
	refuses(&f, MESH_ERROR_BOOTSTRAP, "token file %s: holds no token (one word without spaces)", f.token);
	unlink(f.token);
	refuses(&f, MESH_ERROR_BOOTSTRAP, "token file %s: cannot be opened: No such file or directory", f.token);
	file_write(f.root, "no certificate");
	refuses(&f, MESH_ERROR_BOOTSTRAP, "root certificate file %s: no PEM certificate in it", f.root);
	unlink(f.root);
	refuses(&f, MESH_ERROR_BOOTSTRAP, "root certificate file %s: cannot be opened: No such file or directory", f.root);
	end(&f);
}

static void open_fails(void **state)
{
	struct fixture f;

	begin(&f);
	scripted_control_fail(&f.script, MESH_ERROR_INVALID, 0);
	refuses(&f, MESH_ERROR_INVALID, "%s: invalid argument", "istiod:15012");
	end(&f);
}

static void words_for_the_end(void **state)
{
	struct control_peer peer = {.address = "istiod:15012"};
	char text[400];
	struct why why = {{0}};

	assert_int_equal(mesh_control_peer_failed(&peer, "ADS", CONTROL_UNAUTHENTICATED, "who?", &why), MESH_ERROR_CONTROL_AUTH);
	assert_string_equal(why.text, "ADS to istiod:15012: refused our identity (status 16): who?");
	memset(&why, 0, sizeof(why));
	assert_int_equal(mesh_control_peer_failed(&peer, "ADS", CONTROL_PERMISSION_DENIED, "no", &why), MESH_ERROR_CONTROL_AUTH);
	assert_string_equal(why.text, "ADS to istiod:15012: refused our identity (status 7): no");
	memset(&why, 0, sizeof(why));
	assert_int_equal(mesh_control_peer_failed(&peer, "ADS", CONTROL_OK, "", &why), MESH_ERROR_CONTROL_PLANE);
	assert_string_equal(why.text, "ADS to istiod:15012: ended (status 0): ");
	memset(&why, 0, sizeof(why));
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(mesh_control_peer_failed(&peer, "ADS", CONTROL_INTERNAL, text, &why), MESH_ERROR_CONTROL_PLANE);
	assert_int_equal(strspn(strchr(why.text, 'x'), "x"), 200); /* bounded, whatever the peer says */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_token),
		cmocka_unit_test(never_over_plaintext),
		cmocka_unit_test(certificate_when_there_is_no_token),
		cmocka_unit_test(unreadable),
		cmocka_unit_test(open_fails),
		cmocka_unit_test(words_for_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
