/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who sent and received how much. */
#pragma once

static __noinline void announce_bytes(const void *sk, struct tracked *t, bool sent)
{
	if (!t)
		return;
	/* What TCP takes is only queued; else a send that succeeds says that the firewall lets it pass again. */
	enum state state = state_of(&t->conn);
	if ((state == BLOCKED && !(sent && t->conn.protocol == IPPROTO_TCP)) || (state == REFUSED && !sent))
		set_state(&t->conn, OPEN);
	announce(sk, t);
}

static __always_inline void add_bytes(const void *sk, struct tracked *t, int len, bool sent)
{
	__sync_fetch_and_add(sent ? &t->conn.tx : &t->conn.rx, len);
	__u64 now = bpf_jiffies64();
	if (UNLIKELY(due(&t->announced, now))) {
		announce_bytes(sk, t, sent);
		return;
	}
	t->seen = now;
	t->pending = 1;
}

/* The first bytes, or the first that a process with better claims moves. */
static __always_inline void begin(const void *sk, struct tracked *t, const struct peer *peer, bool sent)
{
	fill_current_process(&t->conn);
	fill_ends(t, sk, peer);
	/* A refusal may come back before the send that it answers returns. */
	if (!t->conn.ns)
		t->conn.fate = (sent ? OUTGOING : INCOMING) << 4 | (state_of(&t->conn) == REFUSED ? REFUSED : OPEN);
	t->announced = bpf_jiffies64() - update_interval_jiffies;
}

static __noinline int account_flow(void *sk, const struct peer *peer, __u32 pid, int len, bool sent)
{
	struct flow_key key = { .cookie = cookie_of(sk), .pid = pid, .peer = *peer };
	struct tracked *t = bpf_map_lookup_elem(&flows, &key);
	if (!t) {
		struct tracked fresh = {};
		begin(sk, &fresh, peer, sent);
		fresh.conn.ns = fresh.conn.ns_trx = bpf_ktime_get_boot_ns();
		fresh.shared = 1;
		/* Another thread of the process may be first: its entry stands, these bytes join it. */
		if (!bpf_map_update_elem(&flows, &key, &fresh, BPF_NOEXIST))
			COUNT(flows_added);
		t = bpf_map_lookup_elem(&flows, &key);
		if (!t)
			return 0;
	}
	add_bytes(sk, t, len, sent);
	return 0;
}

/* Whom this thread's datagram is for, or from. */
static __always_inline void note_thread_peer(__u64 cookie, const struct peer *peer)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct thread_peer entry = { .cookie = cookie, .peer = *peer };
	struct thread_peer *known = bpf_map_lookup_elem(&peers, &thread);
	/* Nobody else touches it, and putting one into the map again costs more than twice as much. */
	if (known)
		*known = entry;
	else
		bpf_map_update_elem(&peers, &thread, &entry, BPF_ANY);
}

static __always_inline const struct peer *noted_by_thread(__u64 cookie)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct thread_peer *known = bpf_map_lookup_elem(&peers, &thread);
	return known && known->cookie == cookie ? &known->peer : NULL;
}

/* A further peer of a socket that has none of its own. */
static void note_peer(struct tracked *t, __u64 cookie, const struct peer *peer)
{
	t->many_peers = 1;
	t->owner = 0;
	note_thread_peer(cookie, peer);
}

static __always_inline bool same_peer(const struct peer *one, const struct peer *other)
{
	return one->port == other->port && one->family == other->family && one->addr[0] == other->addr[0] &&
	       one->addr[1] == other->addr[1] && one->addr[2] == other->addr[2] && one->addr[3] == other->addr[3];
}

/* The address hooks know nothing of raw and ping sockets. Over IPv6 the destination stays behind in what
 * ip6_append_data() prepared (ip6_setup_cork); over IPv4 a hook of raw.h has noted it, or the sender of what was
 * received just now. */
static __noinline int note_raw_peer(void *sk, struct tracked *t, bool sent)
{
	struct peer peer = { .family = READABLE(struct sock, sk)->__sk_common.skc_family };
	if (peer.family == AF_INET6 && sent) {
		const struct inet_cork_full *cork = &READABLE(struct inet_sock, sk)->cork;
		/* The verifier takes a union for its first member. */
		const struct flowi6 *flow = READABLE(struct flowi6, &cork->fl.u.ip6);
		for (int i = 0; i < 4; i++)
			peer.addr[i] = flow->daddr.in6_u.u6_addr32[i];
		unmap_peer(&peer);
	} else {
		const struct peer *noted = noted_by_thread(sent ? (__u64)sk : RECEIVED_RAW);
		if (!noted)
			return 0;
		peer = *noted;
	}
	if (!t->peer.family) {
		t->peer = peer;
		if (t->conn.ns)
			fill_ends(t, sk, &peer);
	} else if (sent && !same_peer(&t->peer, &peer)) {
		note_peer(t, (__u64)sk, &peer);
	}
	return 0;
}

/* Everything but a process's next bytes over its own socket. */
static __noinline int account_slowly(void *socket, struct tracked *t, __u32 pid, int len, bool sent)
{
	const struct sock *sk = READABLE(struct sock, socket);
	__u16 protocol = sk->sk_protocol;
	if (!t)
		t = track(socket);
	if (!t)
		return 0;
	/* A datagram socket may connect to one peer after another. */
	if (t->conn.ns && !t->released && protocol != IPPROTO_TCP &&
	    (t->dport != sk->__sk_common.skc_dport || t->daddr != sk->__sk_common.skc_daddr)) {
		finish(socket, t, CLOSED);
		struct peer none = {};
		t->conn.ns = t->conn.rx = t->conn.tx = 0;
		t->owner = t->many_peers = t->shared = t->kept = 0;
		t->peer = none;
	}
	bool is_raw = protocol != IPPROTO_TCP && protocol != IPPROTO_UDP && protocol != IPPROTO_MPTCP &&
		      !sk->__sk_common.skc_dport && !sk->__sk_common.skc_daddr;
	if (is_raw)
		note_raw_peer(socket, t, sent);
	if (peers_by_probe && protocol == IPPROTO_UDP && !sk->__sk_common.skc_dport)
		t->many_peers = 1;
	struct peer peer = t->peer;
	if (t->many_peers) {
		const struct peer *noted = noted_by_thread(is_raw ? (__u64)socket : cookie_of(socket));
		if (noted)
			peer = *noted;
	}
	/* Sockets of a name server's clients always come here, to have its answers copied. */
	__u16 port = sk->__sk_common.skc_dport ? bpf_ntohs(sk->__sk_common.skc_dport) : peer.port;
	bool is_dns = copies_answers && protocol == IPPROTO_UDP && port == DNS_PORT;
	if (is_dns && !sent)
		copy_answer(len);
	if (t->many_peers) {
		if (pid != t->conn.pid || !same_peer(&peer, &t->peer)) {
			account_flow(socket, &peer, pid, len, sent);
			return 0;
		}
	} else if (!t->conn.ns || t->provisional || (!t->conn.rx && !t->conn.tx)) {
		if (t->conn.pid != pid || !t->conn.ns)
			begin(socket, t, &t->peer, sent);
		t->provisional = 0;
	} else if (t->conn.pid != pid) {
		struct peer own = {};
		t->shared = 1;
		account_flow(socket, &own, pid, len, sent);
		return 0;
	}
	if (!t->many_peers && !is_raw && !is_dns)
		t->owner = pid;
	add_bytes(socket, t, len, sent);
	return 0;
}

/* A send that a firewall refuses, or a datagram that the peer's host does. */
static __noinline int account_failure(void *sk, int error)
{
	if (error != -EPERM && error != -ECONNREFUSED)
		return 0;
	if (READABLE(struct sock, sk)->sk_protocol == IPPROTO_TCP)
		return 0; /* its state tells */
	struct tracked *t = track(sk);
	if (!t)
		return 0;
	enum state state = error == -EPERM ? BLOCKED : REFUSED;
	__u64 now = bpf_jiffies64();
	if (t->many_peers)
		return 0; /* which of them is not known for an error */
	if (!t->conn.ns)
		begin(sk, t, &t->peer, true);
	else if (state_of(&t->conn) == state && !due(&t->announced, now))
		return 0;
	t->announced = now;
	set_state(&t->conn, state);
	announce(sk, t);
	return 0;
}

static __always_inline int account(void *sk, const struct sock_common *common, int len, bool sent)
{
	__u16 family = common->skc_family;
	if ((family != AF_INET && family != AF_INET6) || UNLIKELY(!resident.is_counting))
		return 0;
	if (UNLIKELY(len <= 0))
		return len ? account_failure(sk, len) : 0;
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct tracked *t = tracked_of(sk, false);
	if (UNLIKELY(!t || t->owner != pid || t->dport != common->skc_dport || t->daddr != common->skc_daddr))
		return account_slowly(sk, t, pid, len, sent);
	add_bytes(sk, t, len, sent);
	return 0;
}

/* A peek is read again later, and the error queue returns what was sent. */
static __always_inline bool is_read_again(int flags)
{
	return flags & (MSG_PEEK | MSG_ERRQUEUE);
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(send_length, struct sock *sk, int ret, int flags)
{
	return account(sk, &sk->__sk_common, ret, true);
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(recv_length, struct sock *sk, int ret, int flags)
{
	return is_read_again(flags) ? 0 : account(sk, &sk->__sk_common, ret, false);
}

/* The same for kernels that refuse the above. */
SEC("tracepoint/sock/sock_send_length")
int send_length_tracepoint(struct trace_event_raw_sock_msg_length *ctx)
{
	void *sk = (void *)ctx->sk;
	return account(sk, &READABLE(struct sock, sk)->__sk_common, ctx->ret, true);
}

SEC("tracepoint/sock/sock_recv_length")
int recv_length_tracepoint(struct trace_event_raw_sock_msg_length *ctx)
{
	void *sk = (void *)ctx->sk;
	return is_read_again(ctx->flags) ? 0
					 : account(sk, &READABLE(struct sock, sk)->__sk_common, ctx->ret, false);
}
