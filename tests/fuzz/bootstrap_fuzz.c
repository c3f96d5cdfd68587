/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any lines as the environment, but for the names of files, which are ours: refused in words, or a bootstrap that can
 * be introduced to the control plane and dumped as JSON.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <jansson.h>

#include "fuzz/decoder.h"
#include "xds/metadata.h"
#include "xds/node.h"

enum { LINES_MAX = 64, TEXT_MAX = 8192 };

static const char *const files[] = {"LIBMESH_TOKEN_FILE", "LIBMESH_ROOT_CERT_FILE"};

enum { FILES = sizeof(files) / sizeof(files[0]) };

/* A file that is there, with a name of this process alone. */
static const char *some_file(void)
{
	static char name[64];
	int fd;

	if (!name[0]) {
		fd = memfd_create("bootstrap", 0);
		promise(fd >= 0 && write(fd, "a=\"b\"\n", 6) == 6);
		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	}
	return name;
}

static void introduce(const struct bootstrap *bootstrap)
{
	struct why why = {""};
	struct buf out;
	json_t *json;
	int rc;

	promise(bootstrap->pod_name && bootstrap->pod_namespace && bootstrap->service_account &&
		bootstrap->instance_ip);
	promise(bootstrap->discovery_address && json_is_object(bootstrap->metadata));
	promise(!bootstrap->cert_file == !bootstrap->key_file);
	mesh_buf_init(&out, &mesh_mem_default, 0);
	rc = mesh_node_encode(bootstrap, &out, &why);
	promise(rc == 0 ? mesh_buf_len(&out) > 0 : rc == MESH_ERROR_INVALID && why.text[0]);
	mesh_buf_clear(&out);
	if (rc == 0) {
		promise(!mesh_node_dump(bootstrap, &out));
		json = json_loadb(mesh_buf_slice(&out).data, mesh_buf_len(&out), JSON_ALLOW_NUL, NULL);
		promise(json);
		json_decref(json);
	}
	mesh_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mesh_options options = {.size = sizeof(options)};
	const char *environment[LINES_MAX + FILES + 1] = {NULL};
	struct bootstrap *bootstrap = NULL;
	struct why why = {""};
	char named[FILES][128];
	size_t count = 0;
	char *text, *line, *save = NULL;
	int rc;

	if (size > TEXT_MAX || !(text = malloc(size + 1)))
		return 0;
	for (size_t i = 0; i < size; i++)
		text[i] = (char)data[i];
	text[size] = '\0';
	for (; count < FILES; count++) { /* the first of a name counts */
		snprintf(named[count], sizeof(named[count]), "%s=%s", files[count], some_file());
		environment[count] = named[count];
	}
	for (line = strtok_r(text, "\n", &save); line && count < LINES_MAX + FILES;
	     line = strtok_r(NULL, "\n", &save)) {
		if (!strstr(line, "_FILE="))
			environment[count++] = line;
	}
	if (!mesh_environment_get(environment, "ISTIO_METAJSON_LABELS"))
		options.labels_file = some_file();
	rc = mesh_bootstrap_new(&mesh_mem_default, &options, environment, &bootstrap, &why);
	promise(rc == 0 ? bootstrap != NULL : rc == MESH_ERROR_BOOTSTRAP && why.text[0]);
	if (rc == 0)
		introduce(bootstrap);
	mesh_bootstrap_free(bootstrap);
	free(text);
	return 0;
}
