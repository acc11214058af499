/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is known of a connection, and how it is told. */
#pragma once

/* What is known of a socket; NULL where nothing is, or no memory was left for it. */
static __always_inline struct tracked *tracked_of(void *sk, bool create)
{
	if (!keyed_by_pointer)
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
	if (keyed_by_pointer)
		bpf_map_delete_elem(&flows, &key);
}

static __always_inline __u64 cookie_of(void *sk)
{
	return keyed_by_pointer || peers_by_probe ? (__u64)sk : bpf_get_socket_cookie(sk);
}

static __noinline struct tracked *track(void *sk)
{
	struct tracked *t = tracked_of(sk, true);
	/* Of two threads that come at the same time, one creates it, and the other is refused. */
	if (!t)
		t = tracked_of(sk, false);
	if (!t)
		COUNT(socks_skipped);
	return t;
}

__u64 last_wakeup_ns;

static __always_inline enum state state_of(const struct conn *c)
{
	return c->state_dir & 0xf;
}

static __always_inline __u8 direction_of(const struct conn *c)
{
	return c->state_dir >> 4;
}

static __always_inline void set_state(struct conn *c, enum state state)
{
	c->state_dir = (c->state_dir & 0xf0) | state;
}

__u64 latest_ns;

/* The clock, for a connection's first event. By it readers tell connections apart, so of several processors that ask
 * within the same nanosecond each gets another one. Where all tries fail, two may be taken for one. */
static __noinline __u64 unique_boot_ns(void)
{
	__u64 ns = 0;
	for (int tries = 0; tries < 16; tries++) {
		__u64 last = READ_ONCE(latest_ns);
		ns = bpf_ktime_get_boot_ns();
		if (ns <= last)
			ns = last + 1;
		if (__sync_val_compare_and_swap(&latest_ns, last, ns) == last)
			break;
	}
	return ns;
}

static __always_inline __u64 wakeup_flags(__u64 now)
{
	__u64 since = now - READ_ONCE(last_wakeup_ns);
	if (since < WAKEUP_INTERVAL_NS &&
	    (since < WAKEUP_INTERVAL_NS / 10 || bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) <= ring_size / 4))
		return BPF_RB_NO_WAKEUP;
	WRITE_ONCE(last_wakeup_ns, now);
	return BPF_RB_FORCE_WAKEUP;
}

/* The connection as it is told: what its calls returned, or what TCP says, where that is more. The two are never
 * added: a call that has not returned yet, and whatever passes the hooks by, is in what TCP says alone. */
static __always_inline void copy_conn(struct conn *to, const struct tracked *t)
{
	__builtin_memcpy(to, &t->conn, sizeof(*to));
	__u64 rx = READ_ONCE(t->conn.rx), tx = READ_ONCE(t->conn.tx);
	to->rx = rx > t->read ? rx : t->read;
	to->tx = tx > t->written ? tx : t->written;
}

/* The record is reserved before the clock is read: a reader that finds the ring empty after that has
 * seen the reservation, and one that found it empty before has slept for less than the interval. So no
 * record is left behind without a wakeup. */
static __always_inline void submit(struct tracked *t)
{
	struct conn *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);
	struct conn *c = &t->conn;
	__u64 now = c->ns ? bpf_ktime_get_boot_ns() : unique_boot_ns();
	WRITE_ONCE(c->ns_trx, now);
	/* Two threads may use a socket for the first time at once: it is one connection. */
	if (!c->ns)
		__sync_val_compare_and_swap(&c->ns, 0, now);
	if (!record) {
		COUNT(ring_dropped);
		return;
	}
	copy_conn(record, t);
	bpf_ringbuf_submit(record, wakeup_flags(now));
}

static __noinline void tell_ending(__u64 socket, __u32 pid, __u64 started)
{
	struct ending *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);
	__u64 now = bpf_ktime_get_boot_ns();
	if (!record) {
		COUNT(ring_dropped);
		return;
	}
	record->ns = now;
	record->socket = socket;
	record->started = started;
	record->pid = pid;
	record->padding = 0;
	bpf_ringbuf_submit(record, wakeup_flags(now));
}

/* Whether this call is the one to announce: of several CPUs only one moves the time forward. */
static __always_inline bool due(__u64 *announced, __u64 now)
{
	__u64 last = *announced;
	return now - last >= update_interval_jiffies && __sync_val_compare_and_swap(announced, last, now) == last;
}

/* CLOCK_BOOTTIME of bytes that were not announced when they came: of the tick's begin, so that nothing that came after
 * them, such as the end, is older. Those of the tick in which the connection was announced still came after that. */
static __always_inline __u64 pending_since(const struct tracked *t)
{
	__u64 ns = bpf_ktime_get_boot_ns() - (bpf_jiffies64() - READ_ONCE(t->seen) + 1) * jiffy_ns;
	return ns > t->conn.ns_trx ? ns : t->conn.ns_trx + 1;
}

/* Takes them for announced. */
static __always_inline void settle(struct tracked *t)
{
	t->announced = bpf_jiffies64();
	t->conn.ns_trx = pending_since(t);
}

static __always_inline void fill_process_of(struct conn *c, const struct task_struct *process)
{
	const struct task_struct *task = READABLE(struct task_struct, process);
	const struct task_struct *leader = task->group_leader;
	c->pid = task->tgid;
	c->uid = task->cred->euid.val;
	if (bpf_core_field_exists(task->cgroups))
		c->cgroup = task->cgroups->dfl_cgrp->kn->id;
	c->started = leader->start_boottime;
	c->exec = (__u16)task->self_exec_id;
	__u64 *comm = (__u64 *)c->comm;
	const __u64 *name = (const __u64 *)leader->comm;
	comm[0] = name[0];
	comm[1] = name[1];
}

/* A later process may have the number of one that is gone. */
static __always_inline bool is_current_process(const struct conn *c)
{
	const struct task_struct *task = READABLE(struct task_struct, bpf_get_current_task_btf());
	return c->pid == (__u32)task->tgid && c->started == task->group_leader->start_boottime;
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

static __always_inline bool same_peer(const struct peer *one, const struct peer *other)
{
	return one->port == other->port && one->family == other->family && one->addr[0] == other->addr[0] &&
	       one->addr[1] == other->addr[1] && one->addr[2] == other->addr[2] && one->addr[3] == other->addr[3];
}

/* Addresses of IPv6 sockets; a kernel may be built without. */
#define HAS_V6 bpf_core_field_exists(((struct sock_common *)0)->skc_v6_daddr)

/* The peer that the socket itself has, by connect() or accept(); of family 0 where it has none. Of a socket that was
 * disconnected the address may still be there, but not the port, which only raw sockets do without. */
static __always_inline void peer_of_socket(const struct sock *socket, struct peer *peer)
{
	const struct sock_common *sk = &socket->__sk_common;
	__builtin_memset(peer, 0, sizeof(*peer));
	peer->port = bpf_ntohs(sk->skc_dport);
	if (!peer->port && socket->sk_type != SOCK_RAW)
		return;
	if (sk->skc_family == AF_INET) {
		peer->addr[0] = sk->skc_daddr;
	} else if (HAS_V6) {
		for (int i = 0; i < 4; i++)
			peer->addr[i] = sk->skc_v6_daddr.in6_u.u6_addr32[i];
	}
	if (!peer->port && !(peer->addr[0] | peer->addr[1] | peer->addr[2] | peer->addr[3]))
		return;
	peer->family = sk->skc_family;
	unmap_peer(peer);
}

/* Whether a socket's own peer is another one than when counting began. IPv6 keeps its peers' addresses elsewhere, but
 * for mapped ones. TCP tells by its state when it connects again. */
static __always_inline bool has_other_peer(const struct tracked *t, const struct sock_common *sk)
{
	if (t->dport != sk->skc_dport || t->daddr != sk->skc_daddr)
		return true;
	if (!(t->caution & COMPARE_V6) || !HAS_V6)
		return false;
	const __u32 *known = t->peer.addr;
	const __be32 *now = sk->skc_v6_daddr.in6_u.u6_addr32;
	return known[0] != now[0] || known[1] != now[1] || known[2] != now[2] || known[3] != now[3];
}

/* Takes note of the peer that the socket has now, and of how to find out that it has another one. */
static __always_inline void note_socket(struct tracked *t, const struct sock *socket)
{
	const struct sock_common *sk = &socket->__sk_common;
	struct peer own;
	peer_of_socket(socket, &own);
	t->dport = sk->skc_dport;
	t->daddr = sk->skc_daddr;
	__u8 caution = 0;
	if (socket->sk_protocol != IPPROTO_TCP && socket->sk_protocol != IPPROTO_MPTCP) {
		caution = COMPARE_PEER;
		if (own.family == AF_INET6)
			caution |= COMPARE_V6;
		else if (!own.family && socket->sk_protocol == IPPROTO_UDP && peers_by_hook)
			caution |= ASK_SENDER;
	}
	if (own.family)
		t->peer = own;
	t->caution = caution;
}

/* Others may be copying the connection: what does not change is written as it was. */
static __always_inline void fill_ends(struct conn *c, const struct sock *socket, const struct peer *remote)
{
	const struct sock_common *sk = &socket->__sk_common;
	__u32 local[4] = {};
	if (sk->skc_family == AF_INET) {
		local[0] = sk->skc_rcv_saddr;
	} else if (bpf_core_field_exists(sk->skc_v6_rcv_saddr)) {
		for (int i = 0; i < 4; i++)
			local[i] = sk->skc_v6_rcv_saddr.in6_u.u6_addr32[i];
		if (remote->family == AF_INET)
			unmap(local);
	}
	c->family = remote->family ? remote->family : sk->skc_family;
	c->protocol = socket->sk_protocol;
	c->lport = sk->skc_num;
	c->rport = remote->port;
	__u32 *laddr = (__u32 *)c->laddr;
	__u32 *raddr = (__u32 *)c->raddr;
	for (int i = 0; i < 4; i++) {
		laddr[i] = local[i];
		raddr[i] = remote->addr[i];
	}
}

static __always_inline void fill_own_ends(struct tracked *t, const void *sk)
{
	const struct sock *socket = READABLE(struct sock, sk);
	note_socket(t, socket);
	fill_ends(&t->conn, socket, &t->peer);
}

static __always_inline void note_device(struct conn *c, const struct net_device *device)
{
	if (!device)
		return;
	__u64 *iface = (__u64 *)c->iface;
	const __u64 *name = (const __u64 *)device->name;
	iface[0] = name[0];
	iface[1] = name[1];
}

/* How TCP does and by which interface it sends, as of now: of what has ended the last that was known stays. A state is
 * told to the hooks just before the socket has it. */
static __always_inline void note_way(const void *sk, struct conn *c)
{
	const struct sock *socket = READABLE(struct sock, sk);
	if (c->protocol == IPPROTO_TCP) {
		const struct tcp_sock *tp = READABLE(struct tcp_sock, sk);
		c->srtt_us = tp->srtt_us >> 3;
		c->retrans = tp->total_retrans;
		c->cwnd = tp->snd_cwnd;
		__u8 state = socket->__sk_common.skc_state;
		if (state_of(c) == CONNECTING)
			state = TCP_SYN_SENT;
		else if (state == TCP_SYN_SENT || state == TCP_SYN_RECV)
			state = TCP_ESTABLISHED;
		c->tcp_state = state;
	}
	note_device(c, socket->sk_dst_cache->dev);
}

/* What the socket knows now and the hooks were not told. MPTCP learns its ends only after its state has changed. */
static __always_inline void bring_up_to_date(const void *sk, struct tracked *t)
{
	if (t->conn.protocol == IPPROTO_MPTCP && !t->dport)
		fill_own_ends(t, sk);
	ask_tcp(sk, t);
	note_way(sk, &t->conn);
}

/* The mark goes before the counters are read: bytes that come in between set it again. An exchange is ordered with
 * everything around it. */
static __always_inline void announce(const void *sk, struct tracked *t)
{
	__sync_lock_test_and_set(&t->pending, 0);
	bring_up_to_date(sk, t);
	submit(t);
}

/* The words of a connection and its number, mixed: what does not belong together has another sum but for one case in
 * 2^64. */
static __always_inline __u64 checksum(const struct conn *c, __u64 number)
{
	const __u64 *words = (const __u64 *)c;
	__u64 sum = number;
	for (unsigned int i = 0; i < sizeof(*c) / sizeof(*words); i++)
		sum = (sum ^ words[i]) * 0x9e3779b97f4a7c15ULL;
	return sum;
}

/* Kept for readers that come later. What is summed has to be what is written: nobody else changes this copy. */
static __always_inline int keep(const struct conn *last)
{
	__u32 zero = 0;
	struct stats *counters = bpf_map_lookup_elem(&stats, &zero);
	if (!counters)
		return 0;
	__u64 number = __sync_fetch_and_add(&counters->closed_added, 1);
	__u32 index = number % closed_slots;
	struct closed_slot *slot = bpf_map_lookup_elem(&closed, &index);
	if (!slot)
		return 0;
	slot->number = number + 1;
	slot->conn = *last;
	slot->check = checksum(last, number + 1);
	return 0;
}

static __noinline int keep_closed(struct tracked *t)
{
	if (!t)
		return 0;
	t->kept = 1;
	struct conn last;
	copy_conn(&last, t);
	return keep(&last);
}

/* Nothing of a hello is kept that is whole, or never will be. */
static __always_inline void forget_cut(struct tracked *t)
{
	__u64 ns = t->conn.ns;
	t->has_cut = 0;
	bpf_map_delete_elem(&cuts, &ns);
}

/* Makes room for another connection over the same socket. What ended by itself was told then. */
static void finish(void *sk, struct tracked *t, enum state state)
{
	if (t->kept && !t->pending)
		return;
	if (state_of(&t->conn) <= CONNECTING)
		set_state(&t->conn, state);
	announce(sk, t);
	keep_closed(t);
	if (UNLIKELY(t->has_cut)) {
		forget_cut(t);
		COUNT(hellos_skipped);
	}
	if (t->conn.socket)
		tell_ending(t->conn.socket, 0, 0);
}

/* What is known of a socket's connection, but for the socket itself. */
static __always_inline void start_anew(struct tracked *t)
{
	struct peer none = {};
	t->conn.ns = t->conn.ns_trx = t->conn.rx = t->conn.tx = t->conn.socket = 0;
	t->conn.state_dir = t->conn.tcp_state = 0;
	t->conn.srtt_us = t->conn.retrans = t->conn.cwnd = 0;
	*(__u64 *)t->conn.iface = 0;
	t->read = t->written = 0;
	t->owner = t->addressed = t->claimed = 0;
	t->sends_seen = t->recvs_seen = t->messages_seen = t->has_cut = 0;
	t->many_peers = t->shared = t->kept = t->has_base = t->is_older = t->released = t->provisional = 0;
	t->peer = none;
}
