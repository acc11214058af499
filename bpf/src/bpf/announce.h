/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is known of a connection, and how it is told. */
#pragma once

__u64 last_wakeup_ns;

static __always_inline enum state state_of(const struct conn *c)
{
	return c->fate & 0xf;
}

static __always_inline void set_state(struct conn *c, enum state state)
{
	c->fate = (c->fate & 0xf0) | state;
}

static __always_inline bool is_incoming(const struct conn *c)
{
	return c->fate >> 4 == INCOMING;
}

static __always_inline __u64 wakeup_flags(__u64 now)
{
	__u64 last = last_wakeup_ns;
	if (now - last < WAKEUP_INTERVAL_NS &&
	    bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) <= bpf_ringbuf_query(&events, BPF_RB_RING_SIZE) / 4)
		return BPF_RB_NO_WAKEUP;
	last_wakeup_ns = now;
	return BPF_RB_FORCE_WAKEUP;
}

/* The record is reserved before the clock is read: a reader that finds the ring empty after that has
 * seen the reservation, and one that found it empty before has slept for less than the interval. So no
 * record is left behind without a wakeup. */
static void submit(struct conn *c)
{
	struct conn *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);
	__u64 now = bpf_ktime_get_boot_ns();
	c->ns_trx = now;
	if (!c->ns)
		c->ns = now;
	if (!record) {
		COUNT(ring_dropped);
		return;
	}
	__builtin_memcpy(record, c, sizeof(*record));
	bpf_ringbuf_submit(record, wakeup_flags(now));
}

/* Bytes that TCP delivered to its process by whatever way: splice() and zero-copy receive pass the hook of
 * recv by. A record layer (kTLS, MPTCP) delivers fewer than TCP does. The stream's end counts as one byte in
 * the sequence numbers (RFC 9293, 3.4). */
static __always_inline void correct_rx(const void *sk, struct tracked *t)
{
	if (t->conn.protocol != IPPROTO_TCP || t->shared ||
	    BPF_CORE_READ((const struct inet_connection_sock *)sk, icsk_ulp_ops))
		return;
	const struct tcp_sock *tp = sk;
	__u32 unread = BPF_CORE_READ(tp, rcv_nxt) - BPF_CORE_READ(tp, copied_seq);
	bool ended = BPF_CORE_READ((const struct sock *)sk, __sk_common.skc_flags) &
		     (1UL << bpf_core_enum_value(enum sock_flags, SOCK_DONE));
	__s64 read = BPF_CORE_READ(tp, bytes_received) - unread - (ended && !unread);
	if (read > (__s64)t->conn.rx)
		t->conn.rx = read;
}

/* The mark goes before the counters are read: bytes that come in between set it again. */
static void announce(const void *sk, struct tracked *t)
{
	t->pending = 0;
	correct_rx(sk, t);
	submit(&t->conn);
}

/* Whether this call is the one to announce: of several CPUs only one moves the time forward. */
static __always_inline bool due(__u64 *announced, __u64 now)
{
	__u64 last = *announced;
	return now - last >= update_interval_jiffies && __sync_val_compare_and_swap(announced, last, now) == last;
}

/* Takes note of bytes that are not announced now. A tick is long: bytes of the one in which the connection
 * was announced still came after that. */
static void settle(struct tracked *t)
{
	t->pending = 0;
	t->announced = bpf_jiffies64();
	__u64 ns = bpf_ktime_get_boot_ns() - (t->announced - t->seen) * jiffy_ns;
	t->conn.ns_trx = ns > t->conn.ns_trx ? ns : t->conn.ns_trx + 1;
}

static void fill_current_process(struct conn *c)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	c->pid = bpf_get_current_pid_tgid() >> 32;
	c->uid = bpf_get_current_uid_gid();
	c->cgroup = bpf_get_current_cgroup_id();
	c->started = BPF_CORE_READ(task, group_leader, start_boottime);
	BPF_CORE_READ_INTO(&c->comm, task, group_leader, comm);
}

static void fill_process_of(struct conn *c, struct task_struct *task)
{
	c->pid = BPF_CORE_READ(task, tgid);
	c->uid = BPF_CORE_READ(task, cred, uid.val);
	c->cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
	c->started = BPF_CORE_READ(task, group_leader, start_boottime);
	BPF_CORE_READ_INTO(&c->comm, task, group_leader, comm);
}

/* An IPv6 socket may speak IPv4: its addresses then are IPv4-mapped ones (RFC 4291, 2.5.5.2). */
static __always_inline bool is_mapped(const __u32 *words)
{
	return !words[0] && !words[1] && words[2] == bpf_htonl(0xffff);
}

static __always_inline void unmap(__u8 *addr)
{
	__u32 *words = (__u32 *)addr;
	words[0] = words[3];
	words[1] = words[2] = words[3] = 0;
}

/* The socket's ends, or the given peer where the socket has none of its own. */
static void fill_ends(struct tracked *t, const struct sock *sk, const struct peer *peer)
{
	struct conn *c = &t->conn;
	c->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	c->protocol = BPF_CORE_READ(sk, sk_protocol);
	c->lport = BPF_CORE_READ(sk, __sk_common.skc_num);
	t->dport = BPF_CORE_READ(sk, __sk_common.skc_dport);
	t->daddr = BPF_CORE_READ(sk, __sk_common.skc_daddr);
	c->rport = bpf_ntohs(t->dport);
	__builtin_memset(c->laddr, 0, sizeof(c->laddr) + sizeof(c->raddr));
	if (c->family == AF_INET) {
		*(__u32 *)c->laddr = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
		*(__u32 *)c->raddr = t->daddr;
	} else {
		BPF_CORE_READ_INTO(&c->laddr, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8);
		BPF_CORE_READ_INTO(&c->raddr, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr8);
		if (is_mapped((__u32 *)c->raddr)) {
			c->family = AF_INET;
			unmap(c->laddr);
			unmap(c->raddr);
		}
	}
	if (!t->dport && peer->family) {
		if (c->family == AF_INET6 && peer->family == AF_INET)
			unmap(c->laddr);
		c->family = peer->family;
		c->rport = peer->port;
		__builtin_memcpy(c->raddr, peer->addr, sizeof(c->raddr));
	}
}

/* Kept for readers that come later. */
static void keep_closed(struct conn *c)
{
	if (!bpf_map_update_elem(&closed, &c->ns, c, BPF_NOEXIST))
		COUNT(closed_added);
	else
		bpf_map_update_elem(&closed, &c->ns, c, BPF_ANY);
}

/* Makes room for another connection over the same socket. */
static void finish(const void *sk, struct tracked *t, enum state state)
{
	if (state_of(&t->conn) <= CONNECTING)
		set_state(&t->conn, state);
	announce(sk, t);
	keep_closed(&t->conn);
}
