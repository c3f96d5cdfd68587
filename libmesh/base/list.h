/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive doubly linked list. The head is a link that points to itself when empty. */
#ifndef MESH_BASE_LIST_H
#define MESH_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct link {
	struct link *next;
	struct link *prev;
};

#define MESH_CONTAINER(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))
#define MESH_LIST_EACH(at, head) for (struct link *at = (head)->next; at != (head); at = at->next)
/* Allows unlinking `at` in the body. */
#define MESH_LIST_EACH_SAFE(at, head) \
	for (struct link *at = (head)->next, *at##_next = at->next; at != (head); at = at##_next, at##_next = at->next)

static inline void mesh_list_init(struct link *head)
{
	head->next = head->prev = head;
}

static inline bool mesh_list_empty(const struct link *head)
{
	return head->next == head;
}

static inline void mesh_list_insert_after(struct link *where, struct link *item)
{
	item->prev = where;
	item->next = where->next;
	where->next->prev = item;
	where->next = item;
}

static inline void mesh_list_push(struct link *head, struct link *item) /* at the end */
{
	mesh_list_insert_after(head->prev, item);
}

static inline void mesh_list_push_front(struct link *head, struct link *item)
{
	mesh_list_insert_after(head, item);
}

/* Leaves the item pointing to itself, so that removing twice is harmless. */
static inline void mesh_list_remove(struct link *item)
{
	item->prev->next = item->next;
	item->next->prev = item->prev;
	mesh_list_init(item);
}

#endif
