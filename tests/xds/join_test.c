/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joining as an application does it: mesh_open against mesh-controlplane in a process of its own, over TLS with a token.
 * What is refused, in which words, and that a mesh can be closed at any moment.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mesh/admin.h>
#include <mesh/mesh.h>

static const char program[] = MESH_TEST_BINARY_DIR "/examples/controlplane/mesh-controlplane";

struct fixture {
	char dir[64], resources[96], ca[96], root[128], token[96], ready[96];
	pid_t server;
	char address[32]; /* its port with TLS */
};

static void path(char *into, size_t bytes, const struct fixture *f, const char *name)
{
	assert_in_range(snprintf(into, bytes, "%s/%s", f->dir, name), 1, bytes - 1);
}

/* The program dies with the test, however that ends. */
static pid_t run(char *const argv[], const char *output)
{
	int out = open(output, O_WRONLY | O_CREAT | O_TRUNC, 0600), nothing = open("/dev/null", O_WRONLY);
	pid_t pid = fork();

	assert_true(pid >= 0 && out >= 0 && nothing >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(out, STDOUT_FILENO);
		dup2(nothing, STDERR_FILENO);
		execv(argv[0], argv);
		_exit(127);
	}
	close(out);
	close(nothing);
	return pid;
}

static void make_token(const struct fixture *f, const char *who, const char *file)
{
	char *const argv[] = {(char *)program, "--make-token", (char *)who, "--ca-dir", (char *)f->ca, NULL};
	int status;

	assert_true(waitpid(run(argv, file), &status, 0) > 0);
	assert_int_equal(status, 0);
}

static void start_server(struct fixture *f)
{
	char *const argv[] = {(char *)program, "--port", "0", "--tls-port", "0", "--dir", f->resources, "--ca-dir", f->ca,
			      "--ready-file", f->ready, NULL};
	int port = 0;

	f->server = run(argv, "/dev/null");
	for (int i = 0; i < 1000 && !port; i++) {
		FILE *file = fopen(f->ready, "r");

		if (file && fscanf(file, "ready port=%*d tls_port=%d", &port) != 1)
			port = 0;
		if (file)
			fclose(file);
		usleep(10000);
	}
	assert_in_range(port, 1, 65535);
	snprintf(f->address, sizeof(f->address), "127.0.0.1:%d", port);
}

static int open_fixture(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/libmesh-join-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	path(f->resources, sizeof(f->resources), f, "resources");
	path(f->ca, sizeof(f->ca), f, "ca");
	path(f->root, sizeof(f->root), f, "ca/root-cert.pem");
	path(f->token, sizeof(f->token), f, "token");
	path(f->ready, sizeof(f->ready), f, "ready");
	assert_int_equal(mkdir(f->resources, 0700), 0);
	make_token(f, "shop/web", f->token);
	start_server(f);
	*state = f;
	return 0;
}

static int close_fixture(void **state)
{
	struct fixture *f = *state;
	char *const argv[] = {"/bin/rm", "-rf", f->dir, NULL};

	kill(f->server, SIGTERM);
	waitpid(f->server, NULL, 0);
	waitpid(run(argv, "/dev/null"), NULL, 0);
	free(f);
	return 0;
}

static struct mesh_options options_for(const struct fixture *f)
{
	return (struct mesh_options){
		.size = sizeof(struct mesh_options),
		.pod_name = "web-1",
		.pod_namespace = "shop",
		.instance_ip = "127.0.0.1",
		.service_account = "web",
		.labels_json = "{\"app\": \"web\"}",
		.discovery_address = f->address,
		.ca_address = f->address,
		.token_file = f->token,
		.root_cert_file = f->root,
	};
}

static int append(void *user, struct mesh_slice text)
{
	char **all = user;

	*all = malloc(text.len + 1);
	assert_non_null(*all);
	memcpy(*all, text.data, text.len);
	(*all)[text.len] = '\0';
	return 0;
}

static void test_joins_with_a_token(void **state)
{
	const struct fixture *f = *state;
	struct mesh_options options = options_for(f);
	char text[256], *dump = NULL;
	struct mesh *mesh;

	for (int mode = MESH_XDS_DELTA; mode <= MESH_XDS_SOTW; mode++) {
		options.xds_mode = mode;
		assert_int_equal(mesh_open(&options, &mesh), 0);
		assert_int_equal(mesh_wait_ready(mesh, 20000), 0);
		assert_int_equal(mesh_status_text(mesh, text, sizeof(text)), 5);
		assert_string_equal(text, "ready");
		assert_int_equal(mesh_admin_config_dump(mesh, append, &dump), 0);
		assert_non_null(strstr(dump, "sidecar~127.0.0.1~web-1.shop~shop.svc.cluster.local"));
		assert_null(strstr(dump, "PRIVATE KEY"));
		free(dump);
		mesh_close(mesh);
	}
}

/* Opens, fails to get ready and tells in which words. */
static int refused(const struct mesh_options *options, char text[512])
{
	struct mesh *mesh;
	int rc = mesh_open(options, &mesh);

	if (rc)
		return rc;
	rc = mesh_wait_ready(mesh, 3000);
	mesh_status_text(mesh, text, 512);
	mesh_close(mesh);
	return rc;
}

static void test_token_of_another(void **state)
{
	const struct fixture *f = *state;
	struct mesh_options options = options_for(f);
	char other[96], text[512] = "";

	path(other, sizeof(other), f, "other-token");
	make_token(f, "shop/other", other);
	options.token_file = other;
	assert_int_equal(refused(&options, text), MESH_ERROR_CONTROL_AUTH);
	assert_non_null(strstr(text, f->address));
}

static void test_roots_of_another(void **state)
{
	const struct fixture *f = *state;
	struct mesh_options options = options_for(f);
	struct fixture other = {.server = 0};
	char text[512] = "";

	memcpy(other.dir, f->dir, sizeof(other.dir));
	path(other.resources, sizeof(other.resources), f, "resources");
	path(other.ca, sizeof(other.ca), f, "other-ca");
	path(other.root, sizeof(other.root), f, "other-ca/root-cert.pem");
	path(other.ready, sizeof(other.ready), f, "other-ready");
	start_server(&other); /* makes its roots */
	options.root_cert_file = other.root;
	assert_int_equal(refused(&options, text), MESH_ERROR_CONTROL_PLANE);
	assert_non_null(strstr(text, f->address));
	kill(other.server, SIGTERM);
	waitpid(other.server, NULL, 0);
}

/* Messages may be waiting to be sent, answers may be under way: neither may outlive the mesh or touch what is gone. */
static void test_closes_at_any_moment(void **state)
{
	const struct fixture *f = *state;
	struct mesh_options options = options_for(f);
	struct mesh *mesh;

	for (unsigned i = 0; i < 60; i++) {
		assert_int_equal(mesh_open(&options, &mesh), 0);
		usleep(i * 500);
		if (i % 3 == 0)
			mesh_wait_ready(mesh, 20000);
		mesh_close(mesh);
	}
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_joins_with_a_token),
		CASE(test_token_of_another),
		CASE(test_roots_of_another),
		CASE(test_closes_at_any_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
