/* SPDX-License-Identifier: Apache-2.0 */
/* <mesh/grpc.h>, the server: decides which path is which method. Refuses to know how a call to it runs (grpc_serve.c). */
#include "api/grpc_server.h"

MESH_EXPORT int mesh_grpc_server_new(struct mesh *mesh, const struct mesh_grpc_server_options *options,
				     struct mesh_grpc_server **result)
{
	struct mesh_grpc_server *server;

	if (!mesh || !result || (options && !options->size))
		return MESH_ERROR_INVALID;
	*result = NULL;
	server = mesh_mem_zalloc(&mesh->mem, sizeof(*server));
	if (!server)
		return MESH_ERROR_NOMEM;
	server->mesh = mesh;
	if (options)
		memcpy(&server->options, options,
		       options->size < sizeof(server->options) ? options->size : sizeof(server->options));
	mesh_arena_init(&server->arena, &mesh->mem, 0);
	mesh_map_init(&server->methods, &mesh->mem);
	*result = server;
	return 0;
}

MESH_EXPORT void mesh_grpc_server_free(struct mesh_grpc_server *server)
{
	struct mesh *mesh;

	if (!server)
		return;
	mesh = server->mesh;
	mesh_grpc_health_free(server->health);
	mesh_map_free(&server->methods);
	mesh_arena_free(&server->arena);
	mesh_mem_free(&mesh->mem, server);
}

/* One of its own takes the place of a service's, never the other way round. */
static int put(struct mesh_grpc_server *server, const struct grpc_method *method)
{
	struct grpc_method *there = mesh_map_get(&server->methods, method->path);
	struct grpc_method *own;

	if (there && (there->handler || !method->handler))
		return MESH_ERROR_STATE;
	if (there) {
		*there = *method;
		return 0;
	}
	own = mesh_arena_alloc(&server->arena, sizeof(*own));
	if (!own)
		return MESH_ERROR_NOMEM;
	*own = *method;
	return mesh_map_put(&server->methods, own->path, own, NULL);
}

static struct mesh_slice path_of(struct mesh_grpc_server *server, const ProtobufCServiceDescriptor *service,
				 const ProtobufCMethodDescriptor *method)
{
	return mesh_arena_printf(&server->arena, "/%s/%s", service->name, method->name);
}

/* Methods with handlers of their own stay; that it was done before is seen at any other. */
MESH_EXPORT int mesh_grpc_server_add(struct mesh_grpc_server *server, struct ProtobufCService *service)
{
	const ProtobufCServiceDescriptor *descriptor = service ? service->descriptor : NULL;
	int rc = 0;

	if (!server || !descriptor)
		return MESH_ERROR_INVALID;
	for (unsigned i = 0; i < descriptor->n_methods && !rc; i++) {
		struct grpc_method method = {.descriptor = &descriptor->methods[i], .service = service, .index = i};
		const struct grpc_method *there;

		method.path = path_of(server, descriptor, method.descriptor);
		if (!method.path.data)
			return MESH_ERROR_NOMEM;
		there = mesh_map_get(&server->methods, method.path);
		if (!there || !there->handler)
			rc = put(server, &method);
	}
	return rc;
}

MESH_EXPORT int mesh_grpc_server_on(struct mesh_grpc_server *server, const struct ProtobufCServiceDescriptor *service,
				    const char *name, mesh_grpc_method_fn *handler, void *user)
{
	struct grpc_method method = {.handler = handler, .user = user};

	if (!server || !service || !name || !handler)
		return MESH_ERROR_INVALID;
	method.descriptor = protobuf_c_service_descriptor_get_method_by_name(service, name);
	if (!method.descriptor)
		return MESH_ERROR_INVALID;
	method.path = path_of(server, service, method.descriptor);
	return method.path.data ? put(server, &method) : MESH_ERROR_NOMEM;
}

MESH_EXPORT int mesh_grpc_server_on_path(struct mesh_grpc_server *server, struct mesh_slice path,
					 mesh_grpc_method_fn *handler, void *user)
{
	struct grpc_method method = {.handler = handler, .user = user};
	bool failed = false;

	if (!server || !handler || path.len < 2 || path.data[0] != '/')
		return MESH_ERROR_INVALID;
	method.path = mesh_arena_slice(&server->arena, path, &failed);
	return failed ? MESH_ERROR_NOMEM : put(server, &method);
}
