/* SPDX-License-Identifier: Apache-2.0 */
/* What other threads post to a loop: a lock-free stack, and an eventfd written only when the loop may be asleep. */
#ifndef MESH_LOOP_MAILBOX_H
#define MESH_LOOP_MAILBOX_H

#include <stdatomic.h>

#include "loop/loop.h"

struct mailbox {
	_Atomic(struct loop_mail *) newest;
	atomic_bool asleep; /* who posts must wake the owner */
	int eventfd;	    /* polled edge-triggered, so never read */
};

int mesh_mailbox_open(struct mailbox *box); /* SYSTEM; close it in either case */
void mesh_mailbox_close(struct mailbox *box);
void mesh_mailbox_post(struct mailbox *box, struct loop_mail *mail); /* any thread */

/* The owner's. */
bool mesh_mailbox_empty(struct mailbox *box);
int mesh_mailbox_run(struct mailbox *box); /* in the order of posting; how many */
/* From now on whoever posts writes the descriptor. False: there is mail already, do not sleep. */
bool mesh_mailbox_sleep(struct mailbox *box);
void mesh_mailbox_awake(struct mailbox *box);
/* As sleep, but for an owner that sleeps elsewhere whatever is said: mail that is there shows on the descriptor. */
void mesh_mailbox_sleep_outside(struct mailbox *box);

#endif
