/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who sent and received how much. */
#pragma once

static __noinline void announce_bytes(const struct sock *sk, struct tracked *t, bool sent)
{
	if (!t)
		return;
	/* What TCP takes is only queued; anything else says that packets pass again. */
	if (state_of(&t->conn) == BLOCKED && !(sent && t->conn.protocol == IPPROTO_TCP))
		set_state(&t->conn, OPEN);
	announce(sk, t);
}

static __always_inline void add_bytes(const struct sock *sk, struct tracked *t, int len, bool sent)
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
static void begin(const struct sock *sk, struct tracked *t, const struct peer *peer, bool sent)
{
	fill_current_process(&t->conn);
	fill_ends(t, sk, peer);
	if (!t->conn.ns)
		t->conn.fate = (sent ? OUTGOING : INCOMING) << 4 | OPEN;
	t->announced = bpf_jiffies64() - update_interval_jiffies;
	t->provisional = 0;
}

static void account_flow(struct sock *sk, const struct peer *peer, __u32 pid, int len, bool sent)
{
	struct flow_key key = { .cookie = bpf_get_socket_cookie(sk), .pid = pid, .peer = *peer };
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
			return;
	}
	add_bytes(sk, t, len, sent);
}

static struct tracked *track(struct sock *sk)
{
	struct tracked *t = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!t)
		COUNT(socks_skipped);
	return t;
}

/* Everything but a process's next bytes over its own socket. */
static __noinline int account_slowly(struct sock *sk, struct tracked *t, __u32 pid, int len, bool sent)
{
	if (!t)
		t = track(sk);
	if (!t)
		return 0;
	/* A datagram socket may connect to one peer after another. */
	if (t->conn.ns && !t->released && t->conn.protocol != IPPROTO_TCP &&
	    (t->dport != sk->__sk_common.skc_dport || t->daddr != sk->__sk_common.skc_daddr)) {
		finish(sk, t, CLOSED);
		struct peer none = {};
		t->conn.ns = t->conn.rx = t->conn.tx = 0;
		t->owner = t->many_peers = t->shared = 0;
		t->peer = none;
	}
	if (t->many_peers) {
		__u64 thread = bpf_get_current_pid_tgid();
		struct thread_peer *known = bpf_map_lookup_elem(&peers, &thread);
		struct peer peer = known && known->cookie == bpf_get_socket_cookie(sk) ? known->peer : t->peer;
		if (pid != t->conn.pid || peer.port != t->peer.port || peer.family != t->peer.family ||
		    peer.addr[0] != t->peer.addr[0] || peer.addr[1] != t->peer.addr[1] ||
		    peer.addr[2] != t->peer.addr[2] || peer.addr[3] != t->peer.addr[3]) {
			account_flow(sk, &peer, pid, len, sent);
			return 0;
		}
	} else if (!t->conn.ns || t->provisional || (!t->conn.rx && !t->conn.tx)) {
		if (t->conn.pid != pid || !t->conn.ns)
			begin(sk, t, &t->peer, sent);
		t->provisional = 0;
		t->owner = pid;
	} else if (t->conn.pid == pid) {
		t->owner = pid;
	} else {
		struct peer own = {};
		t->shared = 1;
		account_flow(sk, &own, pid, len, sent);
		return 0;
	}
	add_bytes(sk, t, len, sent);
	return 0;
}

/* A send that a firewall refuses, or a datagram that the peer's host does. */
static __noinline int account_failure(struct sock *sk, int error)
{
	if (error != -EPERM && error != -ECONNREFUSED)
		return 0;
	if (sk->sk_protocol == IPPROTO_TCP)
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

static __always_inline int account(struct sock *sk, int len, bool sent)
{
	__u16 family = sk->__sk_common.skc_family;
	if (family != AF_INET && family != AF_INET6)
		return 0;
	if (UNLIKELY(len <= 0))
		return len ? account_failure(sk, len) : 0;
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct tracked *t = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (UNLIKELY(!t || t->owner != pid || t->dport != sk->__sk_common.skc_dport ||
		     t->daddr != sk->__sk_common.skc_daddr))
		return account_slowly(sk, t, pid, len, sent);
	add_bytes(sk, t, len, sent);
	return 0;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(send_length, struct sock *sk, int ret, int flags)
{
	return account(sk, ret, true);
}

/* A peek is read again later, and the error queue returns what was sent. */
SEC("tp_btf/sock_recv_length")
int BPF_PROG(recv_length, struct sock *sk, int ret, int flags)
{
	if (flags & (MSG_PEEK | MSG_ERRQUEUE))
		return 0;
	return account(sk, ret, false);
}
