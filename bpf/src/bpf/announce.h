/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is known of a connection, and how it is told. */
#pragma once

/* A read through such a pointer needs no helper, which costs more than the read itself; what cannot be read
 * is zero. */
void *bpf_rdonly_cast(const void *, __u32) __ksym;
#define READABLE(type, pointer) ((const type *)bpf_rdonly_cast(pointer, bpf_core_type_id_kernel(type)))

/* What is known of a socket; NULL where nothing is, or no memory was left for it. */
static __always_inline struct tracked *tracked_of(void *sk, bool create)
{
	if (!by_address)
		return bpf_sk_storage_get(&sockets, sk, 0, create ? BPF_SK_STORAGE_GET_F_CREATE : 0);
	struct flow_key key = { .cookie = (__u64)sk };
	struct tracked *t = bpf_map_lookup_elem(&flows, &key);
	if (!t && create) {
		struct tracked fresh = {};
		if (!bpf_map_update_elem(&flows, &key, &fresh, BPF_NOEXIST))
			COUNT(flows_added);
		t = bpf_map_lookup_elem(&flows, &key);
	}
	return t;
}

/* Storage goes with its socket; what is known by address must not be taken for the next one there. */
static __always_inline void forget(void *sk)
{
	struct flow_key key = { .cookie = (__u64)sk };
	if (by_address)
		bpf_map_delete_elem(&flows, &key);
}

static __always_inline __u64 cookie_of(void *sk)
{
	return by_address || peers_by_probe ? (__u64)sk : bpf_get_socket_cookie(sk);
}

static __noinline struct tracked *track(void *sk)
{
	struct tracked *t = tracked_of(sk, true);
	if (!t)
		COUNT(socks_skipped);
	return t;
}

__u64 last_wakeup_ns;

static __always_inline enum state state_of(const struct conn *c)
{
	return c->fate & 0xf;
}

static __always_inline void set_state(struct conn *c, enum state state)
{
	c->fate = (c->fate & 0xf0) | state;
}

static __always_inline __u64 wakeup_flags(__u64 now)
{
	__u64 since = now - last_wakeup_ns;
	if (since < WAKEUP_INTERVAL_NS && (since < WAKEUP_INTERVAL_NS / 10 ||
					   bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) <= ring_size / 4))
		return BPF_RB_NO_WAKEUP;
	last_wakeup_ns = now;
	return BPF_RB_FORCE_WAKEUP;
}

/* The record is reserved before the clock is read: a reader that finds the ring empty after that has
 * seen the reservation, and one that found it empty before has slept for less than the interval. So no
 * record is left behind without a wakeup. */
static __always_inline void submit(struct conn *c)
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
	    READABLE(struct inet_connection_sock, sk)->icsk_ulp_ops)
		return;
	const struct tcp_sock *tp = READABLE(struct tcp_sock, sk);
	__u32 unread = tp->rcv_nxt - tp->copied_seq;
	bool ended = READABLE(struct sock, sk)->__sk_common.skc_flags &
		     (1UL << bpf_core_enum_value(enum sock_flags, SOCK_DONE));
	__s64 read = tp->bytes_received - unread - (ended && !unread);
	if (read > (__s64)t->conn.rx)
		t->conn.rx = read;
}

/* The mark goes before the counters are read: bytes that come in between set it again. */
static __always_inline void announce(const void *sk, struct tracked *t)
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
static __always_inline void settle(struct tracked *t)
{
	t->pending = 0;
	t->announced = bpf_jiffies64();
	__u64 ns = bpf_ktime_get_boot_ns() - (t->announced - t->seen) * jiffy_ns;
	t->conn.ns_trx = ns > t->conn.ns_trx ? ns : t->conn.ns_trx + 1;
}

static __always_inline void fill_process_of(struct conn *c, const struct task_struct *process)
{
	const struct task_struct *task = READABLE(struct task_struct, process);
	const struct task_struct *leader = task->group_leader;
	c->pid = task->tgid;
	c->uid = task->cred->euid.val;
	c->cgroup = task->cgroups->dfl_cgrp->kn->id;
	c->started = leader->start_boottime;
	__u64 *comm = (__u64 *)c->comm;
	const __u64 *name = (const __u64 *)leader->comm;
	comm[0] = name[0];
	comm[1] = name[1];
}

static __always_inline void fill_current_process(struct conn *c)
{
	fill_process_of(c, bpf_get_current_task_btf());
}

/* An IPv6 socket may speak IPv4: its addresses then are IPv4-mapped ones (RFC 4291, 2.5.5.2). */
static __always_inline bool is_mapped(const __u32 *words)
{
	return !words[0] && !words[1] && words[2] == bpf_htonl(0xffff);
}

static __always_inline void unmap(__u32 *words)
{
	words[0] = words[3];
	words[1] = words[2] = words[3] = 0;
}

static __always_inline void unmap_peer(struct peer *peer)
{
	if (peer->family == AF_INET6 && is_mapped(peer->addr)) {
		peer->family = AF_INET;
		unmap(peer->addr);
	}
}

/* The socket's ends, or the given peer where the socket has none of its own. */
static __always_inline void fill_ends(struct tracked *t, const void *socket, const struct peer *peer)
{
	const struct sock_common *sk = &READABLE(struct sock, socket)->__sk_common;
	struct conn *c = &t->conn;
	__u32 *laddr = (__u32 *)c->laddr;
	__u32 *raddr = (__u32 *)c->raddr;
	c->family = sk->skc_family;
	c->protocol = READABLE(struct sock, socket)->sk_protocol;
	c->lport = sk->skc_num;
	t->dport = sk->skc_dport;
	t->daddr = sk->skc_daddr;
	c->rport = bpf_ntohs(t->dport);
	__builtin_memset(c->laddr, 0, sizeof(c->laddr) + sizeof(c->raddr));
	if (c->family == AF_INET) {
		laddr[0] = sk->skc_rcv_saddr;
		raddr[0] = t->daddr;
	} else {
		for (int i = 0; i < 4; i++) {
			laddr[i] = sk->skc_v6_rcv_saddr.in6_u.u6_addr32[i];
			raddr[i] = sk->skc_v6_daddr.in6_u.u6_addr32[i];
		}
		if (is_mapped(raddr)) {
			c->family = AF_INET;
			unmap(laddr);
			unmap(raddr);
		}
	}
	if (!t->dport && peer->family) {
		if (c->family == AF_INET6 && peer->family == AF_INET)
			unmap(laddr);
		c->family = peer->family;
		c->rport = peer->port;
		for (int i = 0; i < 4; i++)
			raddr[i] = peer->addr[i];
	}
}

/* Kept for readers that come later. */
static __always_inline void keep_closed(struct tracked *t)
{
	t->kept = 1;
	__u32 zero = 0;
	struct stats *counters = bpf_map_lookup_elem(&stats, &zero);
	if (!counters)
		return;
	__u64 number = __sync_fetch_and_add(&counters->closed_added, 1);
	__u32 index = number % closed_slots;
	struct closed_slot *slot = bpf_map_lookup_elem(&closed, &index);
	if (!slot)
		return;
	/* Exchanges are ordered with everything around them. */
	__sync_lock_test_and_set(&slot->tail, number + 1);
	slot->conn = t->conn;
	__sync_lock_test_and_set(&slot->head, number + 1);
}

/* Makes room for another connection over the same socket. */
static void finish(const void *sk, struct tracked *t, enum state state)
{
	if (state_of(&t->conn) <= CONNECTING)
		set_state(&t->conn, state);
	announce(sk, t);
	keep_closed(t);
}
