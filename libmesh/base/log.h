/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines to the application's sink. The level is tested before anything is formatted. Never pass secrets. */
#ifndef MESH_BASE_LOG_H
#define MESH_BASE_LOG_H

#include <mesh/mesh.h>

struct log {
	mesh_log_fn *sink; /* NULL: silent */
	void *user;
	enum mesh_log_level level;
};

void mesh_log_write(const struct log *log, enum mesh_log_level level, const char *subject, const char *format, ...)
	__attribute__((format(printf, 4, 5))); /* cut at 1 KiB; control characters become '?' */

#define MESH_LOG(log, level_, subject, ...) \
	do { \
		if ((log)->sink && (log)->level >= (level_)) \
			mesh_log_write((log), (level_), (subject), __VA_ARGS__); \
	} while (0)
#define MESH_LOG_E(log, subject, ...) MESH_LOG(log, MESH_LOG_ERROR, subject, __VA_ARGS__)
#define MESH_LOG_W(log, subject, ...) MESH_LOG(log, MESH_LOG_WARNING, subject, __VA_ARGS__)
#define MESH_LOG_I(log, subject, ...) MESH_LOG(log, MESH_LOG_INFO, subject, __VA_ARGS__)
#define MESH_LOG_D(log, subject, ...) MESH_LOG(log, MESH_LOG_DEBUG, subject, __VA_ARGS__)

#endif
