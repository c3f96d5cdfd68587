/* SPDX-License-Identifier: Apache-2.0 */
/* <mesh/mesh.h>: opens and closes: memory and log, bootstrap, the data path, then the control thread. */
#include <mesh/mesh.h>

#include <stdio.h>

#include "call/mesh.h"
#include "xds/bootstrap.h"
#include "xds/client.h"
#include "xds/node.h"

static const unsigned library_workers_max = 256;

static void say(const struct mesh_options *options, const char *text)
{
	if (options->error_buffer && options->error_buffer_bytes)
		snprintf(options->error_buffer, options->error_buffer_bytes, "%s", text);
}

static int choose_mem(const struct mesh_options *options, struct mesh_mem *mem)
{
	const struct mesh_allocator *own = options->allocator;

	*mem = mesh_mem_default;
	if (!own)
		return 0;
	if (!own->alloc || !own->resize || !own->release)
		return MESH_ERROR_INVALID;
	mem->alloc = own->alloc;
	mem->resize = own->resize;
	mem->release = own->release;
	mem->user = own->user;
	return 0;
}

static int start(struct mesh *mesh, const struct mesh_options *options, struct why *why)
{
	struct bootstrap *bootstrap;
	int rc = mesh_bootstrap_new(&mesh->mem, options, NULL, &bootstrap, why);
	struct xds_client_options control = {.mem = &mesh->mem, .log = &mesh->log, .publisher = &mesh->publisher};

	if (rc)
		return rc;
	snprintf(mesh->pod_ip, sizeof(mesh->pod_ip), "%s", bootstrap->instance_ip);
	snprintf(mesh->pod_namespace, sizeof(mesh->pod_namespace), "%s", bootstrap->pod_namespace);
	mesh->peak_ewma = bootstrap->peak_ewma;
	snprintf(mesh->locality, sizeof(mesh->locality), "%s", bootstrap->locality ? bootstrap->locality : "");
	mesh->warm = bootstrap->warm;
	rc = mesh_node_greeting(bootstrap, &mesh->greeting, why);
	if (rc) {
		mesh_bootstrap_free(bootstrap);
		return rc;
	}
	control.bootstrap = bootstrap; /* the client's from here on */
	return mesh_xds_client_start(&control, &mesh->control);
}

MESH_EXPORT int mesh_open(const struct mesh_options *given, struct mesh **mesh)
{
	struct mesh_options options = {0};
	struct mesh_mem mem;
	struct log log = {0};
	struct why why = {{0}};
	int rc;

	if (!mesh || (given && given->size < offsetof(struct mesh_options, pod_namespace)))
		return MESH_ERROR_INVALID;
	*mesh = NULL;
	if (given)
		memcpy(&options, given, given->size < sizeof(options) ? given->size : sizeof(options));
	rc = choose_mem(&options, &mem);
	if (!rc && options.library_workers > library_workers_max)
		rc = mesh_why(&why, MESH_ERROR_INVALID, "library_workers: %u: at most %u", options.library_workers,
			      library_workers_max);
	log.sink = options.log;
	log.user = options.log_user;
	log.level = options.log_level ? options.log_level : MESH_LOG_WARNING;
	if (!rc)
		rc = mesh_setup(&mem, &log, options.library_workers, mesh);
	if (!rc)
		rc = start(*mesh, &options, &why);
	if (rc) {
		say(&options, why.text[0] ? why.text : mesh_error_text(rc));
		mesh_teardown(*mesh);
		*mesh = NULL;
	}
	return rc;
}

MESH_EXPORT int mesh_wait_ready(struct mesh *mesh, int64_t timeout_ms)
{
	if (!mesh)
		return MESH_ERROR_INVALID;
	if (atomic_load(&mesh->draining))
		return MESH_ERROR_DRAINING;
	if (!mesh->control)
		return MESH_ERROR_NOT_READY;
	return mesh_xds_client_wait(mesh->control, timeout_ms, NULL);
}

MESH_EXPORT int mesh_status_text(struct mesh *mesh, char *text, size_t bytes)
{
	struct why why = {{0}};
	int rc;

	if (!mesh || !text || !bytes)
		return MESH_ERROR_INVALID;
	rc = mesh->control ? mesh_xds_client_status(mesh->control, &why) : MESH_ERROR_NOT_READY;
	if (!rc)
		mesh_why(&why, 0, "%s", atomic_load(&mesh->draining) ? "draining" : "ready");
	rc = snprintf(text, bytes, "%s", why.text[0] ? why.text : mesh_error_text(rc));
	return rc < 0 ? 0 : (size_t)rc < bytes ? rc : (int)bytes - 1;
}

MESH_EXPORT int mesh_drain(struct mesh *mesh, uint32_t grace_ms)
{
	if (!mesh)
		return MESH_ERROR_INVALID;
	if (atomic_exchange(&mesh->draining, true))
		return MESH_ERROR_STATE;
	return mesh_drain_all(mesh, grace_ms);
}

MESH_EXPORT void mesh_close(struct mesh *mesh)
{
	if (!mesh)
		return;
	atomic_store(&mesh->draining, true);
	mesh_xds_client_stop(mesh->control);
	mesh_teardown(mesh);
}
