/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers of name servers, which tell the names of addresses without asking anyone. */
#pragma once

#define DNS_PORT 53

#ifdef HAS_REGISTERS
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct user_namespace {
	int level;
};

struct cred___of_receiver {
	kuid_t euid;
	struct user_namespace *user_ns;
};

#pragma clang attribute pop

/* Whose the answer is, and whether it may count for others: root of a container is no more than its user. */
static __always_inline void fill_receiver(struct dns_answer *answer)
{
	const struct task_struct *task = READABLE(struct task_struct, bpf_get_current_task_btf());
	const struct cred___of_receiver *cred = READABLE(struct cred___of_receiver, task->cred);
	answer->pid = task->tgid;
	answer->started = task->group_leader->start_boottime;
	answer->cgroup = task->cgroups->dfl_cgrp->kn->id;
	answer->uid = cred->euid.val;
	answer->user_ns_level = cred->user_ns->level;
}

/* Where the running system call has put what it received. Of several buffers or messages only the first. */
static __always_inline bool receive_buffer(struct iovec *buffer)
{
	struct pt_regs *regs = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	void *arg = (void *)SYSCALL_ARG2(regs);
	struct user_msghdr header = { .msg_iov = arg };
	switch (SYSCALL_NUMBER(regs)) {
	case SYS_READ:
	case SYS_RECVFROM:
		buffer->base = arg;
		buffer->len = DNS_MAX;
		return true;
	case SYS_RECVMSG:
	case SYS_RECVMMSG:
		if (bpf_probe_read_user(&header, sizeof(header), arg))
			return false;
		/* fallthrough */
	case SYS_READV:
		return !bpf_probe_read_user(buffer, sizeof(*buffer), header.msg_iov);
	}
	return false;
}

/* A process has received a datagram from a name server: it lies in the process's own memory now. Whoever sends
 * answers in floods must not push out announcements. */
static __noinline int copy_answer(int len)
{
	struct iovec buffer;
	if (len <= 0 || !receive_buffer(&buffer))
		return 0;
	struct dns_answer *answer = NULL;
	if (bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) < ring_size / 2)
		answer = bpf_ringbuf_reserve(&events, sizeof(*answer), 0);
	if (!answer) {
		COUNT(dns_skipped);
		return 0;
	}
	__u64 now = bpf_ktime_get_boot_ns();
	__u32 kept = len < DNS_MAX ? len : DNS_MAX;
	if (kept > buffer.len)
		kept = buffer.len;
	if (kept > DNS_MAX)
		kept = DNS_MAX;
	answer->ns = now;
	fill_receiver(answer);
	answer->full_len = len;
	answer->len = kept;
	if (bpf_probe_read_user(answer->payload, kept, buffer.base)) {
		bpf_ringbuf_discard(answer, BPF_RB_NO_WAKEUP);
		return 0;
	}
	bpf_ringbuf_submit(answer, wakeup_flags(now));
	return 0;
}
#else
static __always_inline int copy_answer(int len)
{
	return 0;
}
#endif
