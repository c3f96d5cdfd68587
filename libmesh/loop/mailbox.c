/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mail between threads without a lock. Decides when a wake-up is worth a system call: the owner says that it goes to
 * sleep and then looks for mail, a sender puts mail and then looks whether the owner sleeps; one of them sees the
 * other.
 */
#include "loop/mailbox.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <mesh/error.h>

int mesh_mailbox_open(struct mailbox *box)
{
	atomic_init(&box->newest, NULL);
	atomic_init(&box->asleep, false);
	box->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return box->eventfd < 0 ? MESH_ERROR_SYSTEM : 0;
}

void mesh_mailbox_close(struct mailbox *box)
{
	if (box->eventfd >= 0)
		close(box->eventfd);
	box->eventfd = -1;
}

/* Only one sender of all wakes: who turns `asleep` off. */
static void wake(struct mailbox *box)
{
	uint64_t one = 1;

	if (!atomic_load(&box->asleep) || !atomic_exchange(&box->asleep, false))
		return;
	while (write(box->eventfd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void mesh_mailbox_post(struct mailbox *box, struct loop_mail *mail)
{
	struct loop_mail *newest = atomic_load_explicit(&box->newest, memory_order_relaxed);

	do
		mail->next = newest;
	while (!atomic_compare_exchange_weak_explicit(&box->newest, &newest, mail, memory_order_seq_cst,
						      memory_order_relaxed));
	wake(box);
}

bool mesh_mailbox_empty(struct mailbox *box)
{
	return !atomic_load(&box->newest);
}

int mesh_mailbox_run(struct mailbox *box)
{
	struct loop_mail *mail, *oldest = NULL;
	int count = 0;

	if (mesh_mailbox_empty(box)) /* a load is cheaper than an exchange */
		return 0;
	mail = atomic_exchange(&box->newest, NULL);
	while (mail) {
		struct loop_mail *next = mail->next;

		mail->next = oldest;
		oldest = mail;
		mail = next;
	}
	while (oldest) {
		struct loop_mail *next = oldest->next;

		oldest->run(oldest);
		oldest = next;
		count++;
	}
	return count;
}

bool mesh_mailbox_sleep(struct mailbox *box)
{
	atomic_store(&box->asleep, true);
	return mesh_mailbox_empty(box);
}

void mesh_mailbox_awake(struct mailbox *box)
{
	atomic_store_explicit(&box->asleep, false, memory_order_relaxed);
}

void mesh_mailbox_sleep_outside(struct mailbox *box)
{
	if (!mesh_mailbox_sleep(box))
		wake(box);
}
