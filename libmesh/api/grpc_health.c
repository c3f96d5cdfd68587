/* SPDX-License-Identifier: Apache-2.0 */
/*
 * <mesh/grpc.h>, grpc.health.v1: decides what is known of the health of services and who is told when it changes.
 * Refuses to judge it: the application says.
 */
#include "api/grpc_server.h"

#include "grpc/health/v1/health.pb-c.h"

static const size_t names_max = 1000, name_bytes_max = 1024;

#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

struct health_entry {
	char *name;
	int status;
};

/* A Watch call. Freed on its worker, once it ended and no mail to it is on its way. */
struct health_watcher {
	struct link link; /* health->watchers */
	struct grpc_health *health;
	struct mesh_grpc_call *call;
	char *name; /* NULL: the request did not come yet */
	struct loop_mail mail;
	bool posted; /* under the lock */
	bool ended;
	int told; /* -1: nothing yet */
};

struct grpc_health {
	Grpc__Health__V1__Health_Service service;
	const struct mesh_mem *mem;
	pthread_mutex_t lock;
	struct map entries;
	struct link watchers;
};

static int status_of(struct grpc_health *health, const char *name)
{
	const struct health_entry *entry;
	int status = -1;

	pthread_mutex_lock(&health->lock);
	entry = mesh_map_get(&health->entries, mesh_slice_of(name));
	if (entry)
		status = entry->status;
	pthread_mutex_unlock(&health->lock);
	return status;
}

static void check(Grpc__Health__V1__Health_Service *service, const Grpc__Health__V1__HealthCheckRequest *request,
		  Grpc__Health__V1__HealthCheckResponse_Closure closure, void *closure_data)
{
	Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
	struct mesh_grpc_result unknown = {
		.size = sizeof(unknown), .code = MESH_GRPC_NOT_FOUND, .message = MESH_SLICE("unknown service")};
	int status = status_of(MESH_CONTAINER(service, struct grpc_health, service), request->service);

	if (status < 0) {
		mesh_grpc_finish(closure_data, &unknown);
		return;
	}
	response.status = (Grpc__Health__V1__HealthCheckResponse__ServingStatus)status;
	closure(&response, closure_data);
}

/* Copies of all, so that the lock is not held while they are sent. */
static bool list_entries(struct grpc_health *health, struct arena *arena,
			 Grpc__Health__V1__HealthListResponse *response)
{
	bool failed = false;

	response->statuses = mesh_arena_array(arena, health->entries.count + 1, sizeof(*response->statuses));
	if (!response->statuses)
		return false;
	MESH_MAP_EACH(slot, &health->entries) {
		const struct health_entry *entry = slot->value;
		Grpc__Health__V1__HealthListResponse__StatusesEntry *one = mesh_arena_alloc(arena, sizeof(*one));
		Grpc__Health__V1__HealthCheckResponse *value = mesh_arena_alloc(arena, sizeof(*value));

		if (!one || !value)
			return false;
		grpc__health__v1__health_list_response__statuses_entry__init(one);
		grpc__health__v1__health_check_response__init(value);
		one->key = (char *)mesh_arena_slice(arena, mesh_slice_of(entry->name), &failed).data;
		value->status = (Grpc__Health__V1__HealthCheckResponse__ServingStatus)entry->status;
		one->value = value;
		response->statuses[response->n_statuses++] = one;
	}
	return !failed;
}

static void list(Grpc__Health__V1__Health_Service *service, const Grpc__Health__V1__HealthListRequest *request,
		 Grpc__Health__V1__HealthListResponse_Closure closure, void *closure_data)
{
	struct grpc_health *health = MESH_CONTAINER(service, struct grpc_health, service);
	Grpc__Health__V1__HealthListResponse response = GRPC__HEALTH__V1__HEALTH_LIST_RESPONSE__INIT;
	struct arena arena;
	bool all;

	mesh_arena_init(&arena, health->mem, 0);
	pthread_mutex_lock(&health->lock);
	all = list_entries(health, &arena, &response);
	pthread_mutex_unlock(&health->lock);
	closure(all ? &response : NULL, closure_data);
	mesh_arena_free(&arena);
}

/* ---- watching ---- */

static void watcher_tell(struct health_watcher *watcher)
{
	Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
	int status;

	if (watcher->ended || !watcher->name)
		return;
	status = status_of(watcher->health, watcher->name);
	response.status =
		status < 0 ? STATUS(SERVICE_UNKNOWN) : (Grpc__Health__V1__HealthCheckResponse__ServingStatus)status;
	if (watcher->told == (int)response.status)
		return;
	if (!mesh_grpc_send(watcher->call, &response.base)) /* AGAIN: `writable` looks again */
		watcher->told = (int)response.status;
}

static void watcher_free(struct health_watcher *watcher)
{
	const struct mesh_mem *mem = watcher->health->mem;

	mesh_mem_free(mem, watcher->name);
	mesh_mem_free(mem, watcher);
}

static void watcher_mail(struct loop_mail *mail)
{
	struct health_watcher *watcher = MESH_CONTAINER(mail, struct health_watcher, mail);

	pthread_mutex_lock(&watcher->health->lock);
	watcher->posted = false;
	pthread_mutex_unlock(&watcher->health->lock);
	if (watcher->ended)
		watcher_free(watcher);
	else
		watcher_tell(watcher);
}

static void watch_message(struct mesh_grpc_call *call, const struct ProtobufCMessage *message, struct mesh_slice bytes,
			  void *user)
{
	const Grpc__Health__V1__HealthCheckRequest *request = (const void *)message;
	struct mesh_grpc_result failed = {.size = sizeof(failed), .code = MESH_GRPC_RESOURCE_EXHAUSTED};
	struct health_watcher *watcher = user;

	if (watcher->name) /* one is enough */
		return;
	if (strlen(request->service) <= name_bytes_max)
		watcher->name = mesh_mem_text(watcher->health->mem, mesh_slice_of(request->service));
	if (!watcher->name)
		mesh_grpc_finish(call, &failed);
	watcher_tell(watcher);
}

static void watch_writable(struct mesh_grpc_call *call, void *user)
{
	watcher_tell(user);
}

static void watch_done(struct mesh_grpc_call *call, void *user)
{
	struct health_watcher *watcher = user;
	bool posted;

	pthread_mutex_lock(&watcher->health->lock);
	mesh_list_remove(&watcher->link);
	watcher->ended = true;
	posted = watcher->posted;
	pthread_mutex_unlock(&watcher->health->lock);
	if (!posted)
		watcher_free(watcher);
}

static void watch(struct mesh_grpc_call *call, void *user)
{
	static const struct mesh_grpc_events events = {
		.size = sizeof(events), .message = watch_message, .writable = watch_writable, .done = watch_done};
	struct grpc_health *health = user;
	struct health_watcher *watcher = mesh_mem_zalloc(health->mem, sizeof(*watcher));

	if (!watcher)
		return; /* unanswered, it fails */
	watcher->health = health;
	watcher->call = call;
	watcher->told = -1;
	watcher->mail.run = watcher_mail;
	mesh_grpc_on(call, &events, watcher);
	pthread_mutex_lock(&health->lock);
	mesh_list_push(&health->watchers, &watcher->link);
	pthread_mutex_unlock(&health->lock);
}

/* ---- for the application ---- */

static int put(struct grpc_health *health, const char *name, int status)
{
	struct health_entry *entry = mesh_map_get(&health->entries, mesh_slice_of(name));
	int rc;

	if (entry) {
		entry->status = status;
		return 0;
	}
	if (health->entries.count >= names_max)
		return MESH_ERROR_TOO_LARGE;
	entry = mesh_mem_zalloc(health->mem, sizeof(*entry));
	if (!entry)
		return MESH_ERROR_NOMEM;
	entry->name = mesh_mem_text(health->mem, mesh_slice_of(name));
	entry->status = status;
	rc = entry->name ? mesh_map_put(&health->entries, mesh_slice_of(entry->name), entry, NULL) : MESH_ERROR_NOMEM;
	if (rc) {
		mesh_mem_free(health->mem, entry->name);
		mesh_mem_free(health->mem, entry);
	}
	return rc;
}

MESH_EXPORT int mesh_grpc_health_set(struct mesh_grpc_server *server, const char *service, enum mesh_grpc_health status)
{
	struct grpc_health *health = server ? server->health : NULL;
	int rc;

	if (!server || !service || strlen(service) > name_bytes_max || status < 0 ||
	    status > MESH_GRPC_HEALTH_NOT_SERVING)
		return MESH_ERROR_INVALID;
	if (!health)
		return MESH_ERROR_STATE;
	pthread_mutex_lock(&health->lock);
	rc = put(health, service, (int)status);
	if (!rc) {
		MESH_LIST_EACH(at, &health->watchers) {
			struct health_watcher *watcher = MESH_CONTAINER(at, struct health_watcher, link);

			if (!watcher->posted)
				mesh_loop_post(watcher->call->transport->worker->env.loop, &watcher->mail);
			watcher->posted = true;
		}
	}
	pthread_mutex_unlock(&health->lock);
	return rc;
}

void mesh_grpc_health_free(struct grpc_health *health)
{
	if (!health)
		return;
	MESH_MAP_EACH(slot, &health->entries) {
		struct health_entry *entry = slot->value;

		mesh_mem_free(health->mem, entry->name);
		mesh_mem_free(health->mem, entry);
	}
	mesh_map_free(&health->entries);
	pthread_mutex_destroy(&health->lock);
	mesh_mem_free(health->mem, health);
}

static int add(struct mesh_grpc_server *server, struct grpc_health *health)
{
	const ProtobufCServiceDescriptor *descriptor = &grpc__health__v1__health__descriptor;
	int rc = put(health, "", MESH_GRPC_HEALTH_SERVING);

	if (!rc)
		rc = mesh_grpc_server_add(server, &health->service.base);
	return rc ? rc : mesh_grpc_server_on(server, descriptor, "Watch", watch, health);
}

MESH_EXPORT int mesh_grpc_health_add(struct mesh_grpc_server *server)
{
	struct grpc_health *health;

	if (!server)
		return MESH_ERROR_INVALID;
	if (server->health)
		return MESH_ERROR_STATE;
	health = mesh_mem_zalloc(&server->mesh->mem, sizeof(*health));
	if (!health)
		return MESH_ERROR_NOMEM;
	health->service.base =
		(ProtobufCService){&grpc__health__v1__health__descriptor, protobuf_c_service_invoke_internal, NULL};
	health->service.check = check;
	health->service.list = list;
	health->mem = &server->mesh->mem;
	pthread_mutex_init(&health->lock, NULL);
	mesh_map_init(&health->entries, health->mem);
	mesh_list_init(&health->watchers);
	server->health = health; /* freed with it: methods may refer to it, also after an error */
	return add(server, health);
}
