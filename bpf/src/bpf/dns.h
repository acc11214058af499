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

/* A process has received something from a name server: it lies in the process's own memory now. Floods of
 * answers must not push out announcements. */
static __noinline int copy_answer(__u16 protocol, __u16 port, int len)
{
	__u32 zero = 0;
	struct moved_bytes *b = bpf_map_lookup_elem(&moved, &zero);
	if (len <= 0 || !b)
		return 0;
	/* Their page may not be there any more. */
	if (!gather(b, 0, len < DNS_MAX ? len : DNS_MAX, 0)) {
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
	__u32 kept = b->len < DNS_MAX ? b->len : DNS_MAX;
	answer->ns = now;
	fill_receiver(answer);
	answer->protocol = protocol;
	answer->is_multicast = port == MULTICAST_DNS_PORT;
	answer->full_len = len;
	answer->len = kept;
	bpf_probe_read_kernel(answer->payload, kept, b->bytes);
	bpf_ringbuf_submit(answer, wakeup_flags(now));
	return 0;
}
#else
static __always_inline int copy_answer(__u16 protocol, __u16 port, int len)
{
	return 0;
}
#endif
