/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How connections begin and end. */
#pragma once

/* MPTCP tells its state before it knows its peer: the connection is told when it is known. */
static __always_inline void wait_for_ends(struct tracked *t)
{
	t->conn.ns = unique_boot_ns();
	t->seen = bpf_jiffies64();
	t->pending = 1;
}

/* In the context of the process that connects. The local port is not chosen yet. */
static __always_inline void connecting(void *sk)
{
	struct tracked *t = track(sk);
	if (!t)
		return;
	if (t->conn.ns && !t->released)
		finish(sk, t, CLOSED); /* a socket that was disconnected is used again */
	start_anew(t);
	t->listening = 0;
	identify_process(&t->conn);
	fill_own_ends(t, sk);
	t->conn.state_dir = OUTGOING << 4 | CONNECTING;
	/* Else its first sends are looked at. */
	if (!reads_hellos)
		t->owner = t->conn.pid;
	t->announced = bpf_jiffies64();
	if (t->dport)
		announce(sk, t);
	else
		wait_for_ends(t);
}

/* The local end is known now; it is told with the next bytes, or without any at the pipe's next look. */
static __always_inline void connected(void *sk, struct tracked *t)
{
	fill_own_ends(t, sk);
	if (t->conn.protocol == IPPROTO_TCP)
		note_base(sk, t);
	set_state(&t->conn, OPEN);
	t->seen = bpf_jiffies64();
	t->pending = 1;
	if (!t->conn.ns_trx)
		announce(sk, t);
}

/* In no process's context: the listener's owner stands in until a process accepts. A connection whose
 * listener is not known waits for that. */
static __always_inline void arrived(void *sk, struct tracked *t)
{
	if (!t)
		t = track(sk);
	if (!t)
		return;
	bool is_owned = t->listening;
	start_anew(t);
	t->listening = 0;
	t->provisional = 1;
	fill_own_ends(t, sk);
	if (t->conn.protocol == IPPROTO_TCP)
		note_base(sk, t);
	t->conn.state_dir = INCOMING << 4 | OPEN;
	t->announced = bpf_jiffies64();
	if (is_owned && t->dport)
		announce(sk, t);
	else if (is_owned)
		wait_for_ends(t);
	else
		t->conn.ns = unique_boot_ns();
}

static void listens(void *sk)
{
	begin_listening(sk, true);
	struct tracked *t = track(sk);
	if (!t)
		return;
	start_anew(t);
	identify_process(&t->conn);
	t->listening = 1;
}

/* What an error of the way tells; else what it would have been without. */
static __always_inline enum state state_after(int error, enum state otherwise)
{
	if (error == ETIMEDOUT)
		return TIMED_OUT;
	if (error == EHOSTUNREACH || error == ENETUNREACH)
		return UNREACHABLE;
	return otherwise;
}

static __always_inline void ended(void *sk, struct tracked *t, int from)
{
	if (!t->conn.ns || t->listening || t->released)
		return;
	int error = READABLE(struct sock, sk)->sk_err;
	/* Why an MPTCP connection ended is said afterwards. */
	if (!error && t->conn.protocol == IPPROTO_MPTCP && has_release && !t->provisional)
		return;
	enum state state = CLOSED;
	if (state_of(&t->conn) == BLOCKED)
		state = BLOCKED;
	else if (from == TCP_SYN_SENT)
		state = state_after(error, error ? REFUSED : UNANSWERED);
	else
		state = state_after(error, error == ECONNRESET || error == EPIPE ? RESET : CLOSED);
	t->announced = bpf_jiffies64();
	set_state(&t->conn, state);
	announce(sk, t);
	keep_closed(t);
	if (t->conn.socket)
		tell_ending(t->conn.socket, 0, 0);
	if (!has_release)
		forget(sk);
}

/* What carries a part of a multipath connection is no connection of its own. A kernel may be built without. */
static __always_inline bool is_subflow(const void *sk)
{
	return bpf_core_field_exists(((struct tcp_sock *)0)->is_mptcp) &&
	       READABLE(struct sock, sk)->sk_protocol == IPPROTO_TCP && READABLE(struct tcp_sock, sk)->is_mptcp;
}

static __always_inline int state_changed(void *sk, int from, int to)
{
	if (UNLIKELY(!loaded.is_counting))
		return 0;
	if ((to == TCP_SYN_SENT || to == TCP_LISTEN || from == TCP_SYN_RECV) && is_subflow(sk))
		return 0;
	if (to == TCP_SYN_SENT) {
		connecting(sk);
	} else if (to == TCP_LISTEN) {
		listens(sk);
	} else if (to == TCP_ESTABLISHED || to == TCP_CLOSE) {
		if (from == TCP_LISTEN && to == TCP_CLOSE)
			end_listening(sk);
		struct tracked *t = tracked_of(sk, false);
		if (to == TCP_CLOSE) {
			if (t)
				ended(sk, t, from);
		} else if (t && state_of(&t->conn) == CONNECTING && t->conn.ns) {
			connected(sk, t);
		} else if (from == TCP_SYN_RECV || from == TCP_LISTEN) {
			arrived(sk, t); /* MPTCP's socket was its listener before */
		}
	}
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(set_socket_state, struct sock *sk, int from, int to)
{
	return state_changed(sk, from, to);
}

/* The same for kernels that refuse the above. */
SEC("tracepoint/sock/inet_sock_set_state")
int set_socket_state_tracepoint(struct trace_event_raw_inet_sock_set_state *ctx)
{
	return state_changed((void *)ctx->skaddr, ctx->oldstate, ctx->newstate);
}

/* accept() asks for the peer's name in the context of the process that accepts, unless that has no use for
 * it: then the first bytes tell. */
static __always_inline int accepted(struct bpf_sock *sk)
{
	if (UNLIKELY(!loaded.is_counting))
		return 1;
	struct tracked *t = sk ? tracked_of(sk, false) : NULL;
	if (!t || !t->provisional || !t->conn.ns)
		return 1;
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	t->provisional = 0;
	t->owner = pid;
	__u32 uid = t->conn.uid;
	bool is_told = t->conn.pid == pid && t->conn.ns_trx;
	identify_process(&t->conn);
	if (is_told && t->conn.uid == uid)
		return 1;
	t->announced = bpf_jiffies64();
	announce(sk, t);
	return 1; /* let it pass */
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *ctx)
{
	return accepted(ctx->sk);
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *ctx)
{
	return accepted(ctx->sk);
}

/* The last process has closed the socket: these counts are final. */
SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *ctx)
{
	if (UNLIKELY(!loaded.is_counting))
		return 1;
	if (tells_listeners && ctx->protocol == IPPROTO_UDP)
		end_listening(ctx);
	struct tracked *t = tracked_of(ctx, false);
	if (!t || t->listening || t->released)
		return 1;
	t->released = 1;
	enum state state = state_of(&t->conn);
	if (!t->conn.ns) {
		/* It was used for other peers than its own alone. */
		if (t->conn.socket) {
			t->conn.ns_trx = bpf_ktime_get_boot_ns();
			tell_ending(t->conn.socket, 0, 0);
			keep_closed(t);
		}
	} else if (state <= CONNECTING || t->pending || (t->conn.socket && !t->kept)) {
		finish(ctx, t, state == CONNECTING ? UNANSWERED : CLOSED);
	} else if (!t->kept) {
		keep_closed(t); /* what became of it was told */
	}
	forget(ctx);
	return 1;
}

/* A process has ended that used sockets together with others, which may go on. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	__u32 pid = task->tgid;
	__u64 *started = bpf_map_lookup_elem(&sharers, &pid);
	if (!started || !loaded.is_counting || task->signal->live.counter)
		return 0; /* others of its threads go on */
	tell_ending(0, pid, *started);
	bpf_map_delete_elem(&sharers, &pid);
	return 0;
}

/* A datagram was refused; its process may never ask. Or MPTCP says why it has ended. */
SEC("tp_btf/inet_sk_error_report")
int BPF_PROG(error_report, const struct sock *sk)
{
	if (UNLIKELY(!loaded.is_counting))
		return 0;
	int error = sk->sk_err;
	bool is_mptcp = sk->sk_protocol == IPPROTO_MPTCP;
	if (!is_mptcp && (error != ECONNREFUSED || sk->sk_protocol != IPPROTO_UDP))
		return 0;
	struct tracked *t = is_mptcp ? tracked_of((void *)sk, false) : track((void *)sk);
	if (!t || t->many_peers || t->released || state_of(&t->conn) == REFUSED)
		return 0;
	if (is_mptcp) {
		if (sk->__sk_common.skc_state != TCP_CLOSE || !t->conn.ns || t->kept)
			return 0;
		set_state(&t->conn, state_after(error, state_of(&t->conn) == CONNECTING ? REFUSED : RESET));
		finish((void *)sk, t, RESET);
		return 0;
	}
	set_state(&t->conn, REFUSED);
	if (!t->conn.ns)
		return 0; /* the send has not returned yet */
	t->announced = bpf_jiffies64();
	announce(sk, t);
	return 0;
}
