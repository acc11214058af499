/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers of name servers, which tell the names of addresses without asking anyone. */
#pragma once

#define DNS_PORT 53
#define MULTICAST_DNS_PORT 5353

/* Whether a peer's port is a name server's. */
static __always_inline bool is_name_server(__u16 protocol, __u16 port)
{
	return (protocol == IPPROTO_UDP && (port == DNS_PORT || port == MULTICAST_DNS_PORT)) ||
	       (protocol == IPPROTO_TCP && port == DNS_PORT);
}

#ifdef HAS_REGISTERS
/* Whose the answer is, and whether it may count for others: root of a container is no more than its user. */
static __always_inline void fill_receiver(struct dns_answer *answer)
{
	const struct task_struct *task = READABLE(struct task_struct, bpf_get_current_task_btf());
	const struct cred *cred = task->cred;
	answer->pid = task->tgid;
	answer->started = task->group_leader->start_boottime;
	answer->cgroup = bpf_core_field_exists(task->cgroups) ? task->cgroups->dfl_cgrp->kn->id : 0;
	answer->uid = cred->euid.val;
	answer->user_ns_level = cred->user_ns->level;
}

/* Where the running system call has put what it received. Of several buffers or messages only the first. */
static __always_inline bool receive_buffer(struct iovec *buffer)
{
	struct call call;
	if (!running_call(&call))
		return false;
	void *arg = (void *)call.args[1];
	struct user_msghdr header = { .msg_iov = arg };
	switch (call.number) {
	case SYS_READ:
	case SYS_RECVFROM:
		buffer->base = arg;
		buffer->len = call.args[2];
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

/* A process has received something from a name server: it lies in the process's own memory now. Whoever sends
 * answers in floods must not push out announcements. */
static __noinline int copy_answer(__u16 protocol, int len)
{
	struct iovec buffer;
	if (len <= 0)
		return 0;
	if (!receive_buffer(&buffer)) {
		COUNT(dns_skipped);
		return 0;
	}
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
	answer->protocol = protocol;
	answer->full_len = len;
	answer->len = kept;
	if (bpf_probe_read_user(answer->payload, kept, buffer.base)) {
		/* Its page is not there any more. */
		bpf_ringbuf_discard(answer, BPF_RB_NO_WAKEUP);
		COUNT(dns_skipped);
		return 0;
	}
	bpf_ringbuf_submit(answer, wakeup_flags(now));
	return 0;
}
#else
static __always_inline int copy_answer(__u16 protocol, int len)
{
	return 0;
}
#endif
