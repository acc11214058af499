/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sockets that wait for others to come. What is known of one lies in a storage of its own: TCP's sockets inherit the
 * other one, and a datagram socket has a connection with its first peer in it. */
#pragma once

/* Not where sockets have no storage: the loader leaves the feature out. */
static __always_inline struct listening *listening_of(void *sk, bool create)
{
	if (!tells_listeners)
		return NULL;
	return bpf_sk_storage_get(&listening, sk, 0, create ? BPF_SK_STORAGE_GET_F_CREATE : 0);
}

/* The record is reserved before the clock is read, as submit() does. */
static __noinline int tell_listening(struct listening *l)
{
	if (!l)
		return 0;
	struct conn *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);
	l->conn.ns_trx = bpf_ktime_get_boot_ns();
	if (!record) {
		COUNT(ring_dropped);
		return 0;
	}
	__builtin_memcpy(record, &l->conn, sizeof(*record));
	bpf_ringbuf_submit(record, wakeup_flags(l->conn.ns_trx));
	return 0;
}

static __always_inline void fill_listening_ends(struct listening *l, const void *sk)
{
	struct peer nobody = {};
	fill_ends(&l->conn, READABLE(struct sock, sk), &nobody);
	__u32 *laddr = (__u32 *)l->conn.laddr;
	if (l->conn.family == AF_INET6 && is_mapped(laddr)) {
		unmap(laddr);
		l->conn.family = AF_INET;
	}
}

/* All but its process. */
static __always_inline void fill_listening(struct listening *l, const void *sk, enum stage stage)
{
	l->conn.rx = l->conn.tx = l->conn.socket = 0;
	l->conn.state_dir = LISTENING << 4 | (stage == IS_LISTENING ? OPEN : CONNECTING);
	fill_listening_ends(l, sk);
	l->since = bpf_jiffies64();
	l->conn.ns = l->conn.ns_trx = unique_boot_ns();
}

/* In the context of the process. What is only bound is told to the pipe, which then looks whether it still waits when a
 * client would have gone on; nobody else hears of it. */
static __noinline int begin_listening(void *sk, bool is_sure)
{
	if (!tells_listeners)
		return 0;
	struct listening *l = listening_of(sk, true);
	if (!l) {
		COUNT(socks_skipped);
		return 0;
	}
	identify_process(&l->conn);
	/* The port may not be chosen yet: listen() without bind(). */
	enum stage stage = is_sure && READABLE(struct sock, sk)->__sk_common.skc_num ? IS_LISTENING : IS_BOUND;
	fill_listening(l, sk, stage);
	WRITE_ONCE(l->stage, stage);
	return tell_listening(l);
}

static __noinline int end_listening(void *sk)
{
	struct listening *l = listening_of(sk, false);
	if (!l || __sync_lock_test_and_set(&l->stage, IS_OVER) != IS_LISTENING)
		return 0;
	set_state(&l->conn, CLOSED);
	tell_listening(l);
	struct conn last = l->conn;
	return keep(&last);
}

/* The first bytes of a datagram socket: who receives before it sends was waiting, and who has a peer of its own does
 * not. */
static __noinline int listening_moves_bytes(void *sk, bool sent)
{
	struct listening *l = listening_of(sk, false);
	if (!l)
		return 0;
	if (READABLE(struct sock, sk)->__sk_common.skc_dport)
		return end_listening(sk);
	if (!sent && __sync_val_compare_and_swap(&l->stage, IS_BOUND, IS_LISTENING) == IS_BOUND) {
		set_state(&l->conn, OPEN);
		tell_listening(l);
	}
	return 0;
}

/* By bind() to a port that the process chose: not one that the kernel gave to a client. */
static __always_inline bool chose_port(const void *sk)
{
	const struct sock *socket = READABLE(struct sock, sk);
	return BPF_CORE_READ_BITFIELD(socket, sk_userlocks) & SOCK_BINDPORT_LOCK;
}

static __always_inline bool is_bound_to_wait(const void *sk)
{
	const struct sock *socket = READABLE(struct sock, sk);
	return socket->sk_protocol == IPPROTO_UDP && socket->__sk_common.skc_num && !socket->__sk_common.skc_dport &&
	       chose_port(sk);
}

static __always_inline bool still_waits(const struct listening *l, const void *sk)
{
	const struct sock *socket = READABLE(struct sock, sk);
	if (socket->__sk_common.skc_state == TCP_LISTEN)
		return socket->__sk_common.skc_num;
	return bpf_jiffies64() - l->since >= listen_wait_jiffies && is_bound_to_wait(sk);
}

/* For a reader that looks. */
static __always_inline void show_listening(struct seq_file *seq, void *sk, struct listening *l)
{
	if (READ_ONCE(l->stage) == IS_BOUND && still_waits(l, sk)) {
		fill_listening_ends(l, sk);
		set_state(&l->conn, OPEN);
		l->conn.ns_trx = bpf_ktime_get_boot_ns();
		__sync_val_compare_and_swap(&l->stage, IS_BOUND, IS_LISTENING);
	}
	if (READ_ONCE(l->stage) == IS_LISTENING) {
		struct conn record = l->conn;
		bpf_seq_write(seq, &record, sizeof(record));
	}
}

/* Older than the programs. */
static __always_inline void note_old_listening(struct task_struct *task, void *sk, bool is_listening)
{
	if (!is_listening && !is_bound_to_wait(sk))
		return;
	struct listening *l = listening_of(sk, true);
	if (!l || l->stage)
		return;
	fill_process_of(&l->conn, task);
	note_program(task);
	fill_listening(l, sk, IS_LISTENING);
	l->stage = IS_LISTENING;
}

/* After bind(): a port may have been chosen by the kernel. */
static __always_inline int bound(struct bpf_sock *sk)
{
	if (loaded.is_counting && sk->protocol == IPPROTO_UDP)
		begin_listening(sk, false);
	return 1; /* let it pass */
}

SEC("cgroup/post_bind4")
int post_bind4(struct bpf_sock *ctx)
{
	return bound(ctx);
}

SEC("cgroup/post_bind6")
int post_bind6(struct bpf_sock *ctx)
{
	return bound(ctx);
}
