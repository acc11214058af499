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
	/* With its result it is ordered before the mark that says that there is something to tell. */
	__u64 before = __sync_fetch_and_add(sent ? &t->conn.tx : &t->conn.rx, len);
	asm volatile("" ::"r"(before));
	__u64 now = bpf_jiffies64();
	if (UNLIKELY(due(&t->announced, now))) {
		announce_bytes(sk, t, sent);
		return;
	}
	WRITE_ONCE(t->seen, now);
	WRITE_ONCE(t->pending, 1);
}

/* The first bytes, or the first that a process with better claims moves. */
static __always_inline void begin(const void *sk, struct tracked *t, bool sent)
{
	identify_process(&t->conn);
	fill_own_ends(t, sk);
	/* A refusal may come back before the send that it answers returns. */
	if (!t->conn.ns)
		t->conn.state_dir = (sent ? OUTGOING : INCOMING) << 4 |
				    (state_of(&t->conn) == REFUSED ? REFUSED : OPEN);
	t->announced = bpf_jiffies64() - update_interval_jiffies;
}

/* The socket has several connections from now on: their end is told by its cookie. */
static __always_inline void have_parts(struct tracked *t, __u64 cookie)
{
	if (t->conn.socket != cookie)
		WRITE_ONCE(t->conn.socket, cookie);
}

static __always_inline void tell_exit_of(const struct conn *c)
{
	__u32 pid = c->pid;
	__u64 started = c->started;
	bpf_map_update_elem(&sharers, &pid, &started, BPF_ANY);
}

/* Where a socket is shared, what each process received is not to be told apart by what TCP says any more. A look may
 * have taken what this process is receiving for the other's: these bytes of all that was received are not. */
static __always_inline void note_sharing(const void *sk, struct tracked *t, const struct conn *sharer, int received)
{
	if (!t->shared && received && t->conn.protocol == IPPROTO_TCP && t->has_base) {
		__u64 read = read_by_process(sk, t);
		__u64 others = read > (__u64)received ? read - received : 0;
		if (t->read > others)
			WRITE_ONCE(t->read, others);
	}
	/* From now on each call asks whose it is: the owner's number may become another process's. */
	t->shared = 1;
	t->owner = 0;
	tell_exit_of(&t->conn);
	tell_exit_of(sharer);
}

/* Values of an LRU map may become another key's at any moment. Just before it is used, it was this one's. */
static __always_inline bool is_flow_of(const struct tracked *flow, const struct flow_key *key)
{
	return flow->conn.socket == key->cookie && flow->conn.pid == key->pid && flow->conn.rport == key->peer.port;
}

/* What a process with the same number did before is over. */
static __always_inline bool is_flow_of_former(const struct tracked *flow, const struct flow_key *key)
{
	return is_flow_of(flow, key) && !is_current_process(&flow->conn);
}

/* One socket has one direction for all who use it; of a peer that comes late, the first datagram tells. By itself, so
 * that its key is not on the stack below begin_flow(). */
static __noinline int direction_of_flow(const struct tracked *t, const struct flow_key *key, bool sent)
{
	if (!t || !key)
		return OUTGOING;
	if (t->conn.ns && (!key->peer.family || same_peer(&key->peer, &t->peer)))
		return direction_of(&t->conn);
	if (t->conn.ns && !is_current_process(&t->conn)) {
		struct flow_key first = { .cookie = key->cookie, .pid = t->conn.pid, .peer = key->peer };
		struct tracked *known = bpf_map_lookup_elem(&flows, &first);
		if (known && is_flow_of(known, &first))
			return direction_of(&known->conn);
	}
	return sent ? OUTGOING : INCOMING;
}

/* By itself, so that its large entry is not on the stack when bytes are announced: all calls that are running have 512
 * bytes together, and each counts as 32 at least. */
static __noinline int begin_flow(void *sk, struct tracked *t, const struct flow_key *key, int received,
				 enum direction direction)
{
	if (!t || !key)
		return 0;
	struct tracked fresh = {};
	fill_current_process(&fresh.conn);
	fill_ends(&fresh.conn, READABLE(struct sock, sk), &key->peer);
	fresh.conn.state_dir = direction << 4 | OPEN;
	fresh.conn.socket = key->cookie;
	fresh.conn.ns = fresh.conn.ns_trx = unique_boot_ns();
	fresh.announced = bpf_jiffies64() - update_interval_jiffies;
	fresh.shared = 1;
	/* Another thread of the process may be first: its entry stands, these bytes join it. */
	struct tracked *there = bpf_map_lookup_elem(&flows, key);
	bool has_former = there && is_flow_of_former(there, key);
	if (!bpf_map_update_elem(&flows, key, &fresh, has_former ? BPF_ANY : BPF_NOEXIST))
		COUNT(flows_added);
	if (t->conn.ns && !is_current_process(&t->conn))
		note_sharing(sk, t, &fresh.conn, received);
	return 0;
}

/* What a socket's further process, or further peer, does is a connection of its own. */
static __noinline int account_flow(void *sk, struct tracked *t, const struct peer *peer, int len, bool sent)
{
	if (!t)
		return 0;
	struct flow_key key = { .cookie = cookie_of(sk), .pid = bpf_get_current_pid_tgid() >> 32, .peer = *peer };
	struct tracked *flow = bpf_map_lookup_elem(&flows, &key);
	have_parts(t, key.cookie);
	if (!flow || !is_flow_of(flow, &key) || !is_current_process(&flow->conn)) {
		note_program(bpf_get_current_task_btf());
		begin_flow(sk, t, &key, sent ? 0 : len, direction_of_flow(t, &key, sent));
		flow = bpf_map_lookup_elem(&flows, &key);
		if (!flow)
			return 0;
	}
	add_bytes(sk, flow, len, sent);
	if (READABLE(struct sock, sk)->sk_protocol == IPPROTO_UDP && !is_name_server(IPPROTO_UDP, peer->port) &&
	    is_at_begin(flow))
		look_at_begin(flow, IPPROTO_UDP, len, sent);
	return 0;
}

/* Whom this thread's datagram is for, or from. */
static __always_inline void note_thread_peer(__u64 cookie, const struct peer *peer)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct thread_peer entry = { .thread = thread, .cookie = cookie, .peer = *peer, .is_fresh = 1 };
	struct thread_peer *known = bpf_map_lookup_elem(&peers, &thread);
	/* Putting one into the map again costs more than twice as much. */
	if (known && known->thread == thread)
		*known = entry;
	else
		bpf_map_update_elem(&peers, &thread, &entry, BPF_ANY);
}

static __always_inline struct thread_peer *noted_by_thread(__u64 cookie)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct thread_peer *known = bpf_map_lookup_elem(&peers, &thread);
	return known && known->thread == thread && known->cookie == cookie ? known : NULL;
}

/* Of several threads that find a first peer at the same time, one has the socket itself. */
static __always_inline bool claims_socket(struct tracked *t)
{
	return !t->claimed && !__sync_val_compare_and_swap(&t->claimed, 0, 1);
}

/* Further datagrams of the socket have peers of their own, of which each thread takes note by itself. */
static void note_peer(struct tracked *t, __u64 cookie, const struct peer *peer)
{
	WRITE_ONCE(t->many_peers, 1);
	note_thread_peer(cookie, peer);
}

/* The address hooks know nothing of raw and ping sockets. Over IPv6 the destination stays behind in what
 * ip6_append_data() prepared (ip6_setup_cork); over IPv4 a hook of raw.h has noted it, or the sender of what was
 * received just now. */
static __noinline int note_raw_peer(void *sk, struct tracked *t, bool sent)
{
	if (!t)
		return 0;
	struct peer peer = { .family = READABLE(struct sock, sk)->__sk_common.skc_family };
	if (peer.family == AF_INET6 && sent) {
		const struct inet_cork_full *cork = &READABLE(struct inet_sock, sk)->cork;
		/* The verifier takes a union for its first member. */
		const struct flowi6 *flow = READABLE(struct flowi6, &cork->fl.u.ip6);
		for (int i = 0; i < 4; i++)
			peer.addr[i] = flow->daddr.in6_u.u6_addr32[i];
		unmap_peer(&peer);
	} else {
		const struct thread_peer *noted = noted_by_thread(sent ? (__u64)sk : RECEIVED_RAW);
		if (!noted)
			return 0;
		peer = noted->peer;
	}
	if (!t->peer.family) {
		t->claimed = 1;
		t->peer = peer;
		if (t->conn.ns)
			fill_ends(&t->conn, READABLE(struct sock, sk), &peer);
	} else if (sent && !same_peer(&t->peer, &peer)) {
		note_peer(t, (__u64)sk, &peer);
	}
	return 0;
}

/* Whose datagram it is, over a UDP socket. */
enum whose {
	OWN,     /* of the peer that the socket has, or of its first one */
	OTHERS,  /* of the peer that was written to `peer` */
	NOBODYS, /* of a sender for whom the process did not ask */
};

static __noinline int whose_datagram(void *socket, struct tracked *t, struct peer *peer, bool sent)
{
	if (!t || !peer)
		return OWN;
	struct peer own;
	peer_of_socket(READABLE(struct sock, socket), &own);
	struct thread_peer *noted = t->many_peers || peers_by_probe ? noted_by_thread(cookie_of(socket)) : NULL;
	bool is_fresh = noted && noted->is_fresh;
	bool was_asked = t->addressed == (__u32)bpf_get_current_pid_tgid();
	if (was_asked)
		t->addressed = 0;
	if (is_fresh)
		noted->is_fresh = 0;
	/* A datagram that is sent in pieces is addressed with the first of them. */
	if (is_fresh || (noted && !own.family && (sent || peers_by_probe))) {
		*peer = noted->peer;
		if (own.family)
			return same_peer(peer, &own) ? OWN : OTHERS;
		if (!t->conn.ns && claims_socket(t)) {
			t->peer = *peer;
			return OWN;
		}
		return same_peer(peer, &t->peer) ? OWN : OTHERS;
	}
	if (own.family || sent || !peers_by_hook || was_asked)
		return OWN;
	/* Another thread may have asked since, or had found the first peer before there were others. */
	return t->peer.family && has_asked_for_sender() ? OWN : NOBODYS;
}

/* Everything but a process's next bytes over its own socket. */
static __noinline int account_slowly(void *socket, struct tracked *t, int len, bool sent)
{
	const struct sock *sk = READABLE(struct sock, socket);
	__u16 protocol = sk->sk_protocol;
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	if (!t)
		t = track(socket);
	if (!t)
		return 0;
	bool had_many_peers = t->many_peers;
	/* A datagram socket may connect to one peer after another, or to none. */
	if (t->conn.ns && !t->released && protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP &&
	    has_other_peer(t, &sk->__sk_common)) {
		struct peer own;
		peer_of_socket(sk, &own);
		if (own.family && same_peer(&own, &t->peer)) {
			note_socket(t, sk); /* it is the one that it had to do with before */
		} else {
			finish(socket, t, CLOSED);
			start_anew(t);
			t->many_peers = had_many_peers;
		}
	}
	bool is_raw = protocol != IPPROTO_TCP && protocol != IPPROTO_UDP && protocol != IPPROTO_MPTCP &&
		      !sk->__sk_common.skc_dport && !sk->__sk_common.skc_daddr;
	struct peer peer = {};
	int whose = OWN;
	if (is_raw) {
		note_raw_peer(socket, t, sent);
		const struct thread_peer *noted = t->many_peers ? noted_by_thread((__u64)socket) : NULL;
		if (noted && !same_peer(&noted->peer, &t->peer)) {
			peer = noted->peer;
			whose = OTHERS;
		}
	} else if (protocol == IPPROTO_UDP) {
		whose = whose_datagram(socket, t, &peer, sent);
	}
	/* Sockets of a name server's clients always come here, to have its answers copied. */
	__u16 port = whose == OTHERS ? peer.port : t->peer.family ? t->peer.port : bpf_ntohs(sk->__sk_common.skc_dport);
	bool is_dns = copies_answers && is_name_server(protocol, port);
	if (is_dns && !sent)
		copy_answer(protocol, port, len);
	if (whose == OTHERS || (whose == NOBODYS && t->peer.family)) {
		account_flow(socket, t, &peer, len, sent);
		return 0;
	}
	if (!t->conn.ns || t->provisional || (!t->conn.rx && !t->conn.tx)) {
		/* What stood in for it was a listener, of the same process maybe, but as another user. */
		if (!t->conn.ns || t->provisional || !is_current_process(&t->conn))
			begin(socket, t, sent);
		t->provisional = 0;
		if (protocol == IPPROTO_UDP)
			listening_moves_bytes(socket, sent);
	} else if (!is_current_process(&t->conn)) {
		peer = t->peer;
		account_flow(socket, t, &peer, len, sent);
		return 0;
	}
	/* Where a probe notes peers, it is for each datagram to be looked up. */
	bool is_probed = peers_by_probe && protocol == IPPROTO_UDP && !t->dport;
	bool is_looked_at = !is_raw && !is_dns && is_at_begin(t);
	if (!is_raw && !is_dns && !is_probed && !t->shared && !is_looked_at)
		t->owner = pid;
	add_bytes(socket, t, len, sent);
	if (is_looked_at)
		look_at_begin(t, protocol, len, sent);
	return 0;
}

/* A send that a firewall refuses, or a datagram that the peer's host does. */
static __noinline int account_failure(void *sk, int error)
{
	if (READABLE(struct sock, sk)->sk_protocol == IPPROTO_TCP)
		return 0; /* its state tells */
	struct tracked *t = tracked_of(sk, false);
	struct peer peer;
	/* What the hook has noted of this call is not for the next one. */
	int whose = t ? whose_datagram(sk, t, &peer, true) : OWN;
	if (error != -EPERM && error != -ECONNREFUSED)
		return 0;
	if (!t)
		t = track(sk);
	if (!t || t->many_peers || whose != OWN)
		return 0; /* which of them is not known for an error */
	enum state state = error == -EPERM ? BLOCKED : REFUSED;
	__u64 now = bpf_jiffies64();
	if (!t->conn.ns)
		begin(sk, t, true);
	else if (state_of(&t->conn) == state && !due(&t->announced, now))
		return 0;
	t->announced = now;
	set_state(&t->conn, state);
	announce(sk, t);
	return 0;
}

/* A datagram may have no bytes; of a stream that means that nothing was moved, or its end. */
static __always_inline int account_nothing(void *sk, int len, bool sent)
{
	if (len < 0)
		return account_failure(sk, len);
	__u16 type = READABLE(struct sock, sk)->sk_type;
	if (type == SOCK_DGRAM || type == SOCK_RAW)
		account_slowly(sk, tracked_of(sk, false), 0, sent);
	return 0;
}

/* Whether a socket that may change its peer, or has several, has not done so with this call. */
static __always_inline bool is_as_known(struct tracked *t, const struct sock_common *common, __u32 thread, bool sent)
{
	if (UNLIKELY(t->many_peers || has_other_peer(t, common)))
		return false;
	if (!sent && t->caution & ASK_SENDER) {
		if (UNLIKELY(t->addressed != thread))
			return false;
		t->addressed = 0;
	}
	return true;
}

/* A packet socket has no storage that iterators would find by its connection, and nobody tells of its close: it is a
 * flow of its process, which ends with that. A kernel may be built without, or have them in a module. */
static __noinline int begin_packets(void *sk, const struct flow_key *key, bool sent)
{
	if (!key)
		return 0;
	struct tracked fresh = {};
	struct conn *c = &fresh.conn;
	fill_current_process(c);
	c->family = AF_PACKET;
	c->state_dir = (sent ? OUTGOING : INCOMING) << 4 | OPEN;
	if (bpf_core_type_exists(struct packet_sock))
		note_device(c, READABLE(struct packet_sock, sk)->prot_hook.dev);
	c->ns = c->ns_trx = unique_boot_ns();
	fresh.announced = bpf_jiffies64() - update_interval_jiffies;
	fresh.shared = 1;
	if (!bpf_map_update_elem(&flows, key, &fresh, BPF_ANY))
		COUNT(flows_added);
	tell_exit_of(c);
	return 0;
}

static __noinline int account_packets(void *sk, int len, bool sent)
{
	struct flow_key key = { .cookie = cookie_of(sk),
				.pid = bpf_get_current_pid_tgid() >> 32,
				.peer = { .family = AF_PACKET } };
	struct tracked *flow = bpf_map_lookup_elem(&flows, &key);
	if (!flow || flow->conn.family != AF_PACKET || !is_current_process(&flow->conn)) {
		note_program(bpf_get_current_task_btf());
		begin_packets(sk, &key, sent);
		flow = bpf_map_lookup_elem(&flows, &key);
		if (!flow)
			return 0;
	}
	add_bytes(sk, flow, len, sent);
	return 0;
}

static __always_inline int account(void *sk, const struct sock_common *common, int len, bool sent)
{
	__u16 family = common->skc_family;
	if (family != AF_INET && family != AF_INET6)
		return family == AF_PACKET && len > 0 && loaded.is_counting ? account_packets(sk, len, sent) : 0;
	if (UNLIKELY(!loaded.is_counting))
		return 0;
	if (UNLIKELY(len <= 0))
		return account_nothing(sk, len, sent);
	__u64 thread = bpf_get_current_pid_tgid();
	struct tracked *t = tracked_of(sk, false);
	if (UNLIKELY(!t || t->owner != thread >> 32 || (t->is_special && !is_as_known(t, common, thread, sent))))
		return account_slowly(sk, t, len, sent);
	add_bytes(sk, t, len, sent);
	return 0;
}

/* A peek is read again later, and the error queue returns what was sent. */
#define READ_AGAIN (MSG_PEEK | MSG_ERRQUEUE)

/* What the hooks of addresses have noted of a call that does not count. */
static __noinline int forget_call(void *sk)
{
	struct tracked *t = tracked_of(sk, false);
	struct peer peer;
	if (t && READABLE(struct sock, sk)->sk_protocol == IPPROTO_UDP)
		whose_datagram(sk, t, &peer, false);
	return 0;
}

/* With MSG_TRUNC a datagram's whole length is returned: the process got what its buffers hold. */
static __noinline int received_length(void *sk, int ret)
{
	__u16 type = READABLE(struct sock, sk)->sk_type;
	if (ret <= 0 || (type != SOCK_DGRAM && type != SOCK_RAW))
		return ret;
	int room = receive_room();
	return room >= 0 && room < ret ? room : ret;
}

static __always_inline int account_received(void *sk, const struct sock_common *common, int ret, int flags)
{
	if (UNLIKELY(flags & (READ_AGAIN | MSG_TRUNC))) {
		if (flags & READ_AGAIN)
			return forget_call(sk);
		ret = received_length(sk, ret);
	}
	return account(sk, common, ret, false);
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(send_length, struct sock *sk, int ret, int flags)
{
	return account(sk, &sk->__sk_common, ret, true);
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(recv_length, struct sock *sk, int ret, int flags)
{
	return account_received(sk, &sk->__sk_common, ret, flags);
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
	return account_received(sk, &READABLE(struct sock, sk)->__sk_common, ctx->ret, ctx->flags);
}
