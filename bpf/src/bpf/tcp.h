/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What TCP itself says was sent and received. */
#pragma once

/* Where the bytes of a connection begin in TCP's sequence numbers. While the socket's state changes nobody else
 * changes these counters. */
static __always_inline void note_base(const void *sk, struct tracked *t)
{
	const struct tcp_sock *tp = READABLE(struct tcp_sock, sk);
	t->read_base = tp->rcv_nxt - (__u32)tp->bytes_received;
	t->written_base = tp->snd_nxt - (__u32)(tp->bytes_sent - tp->bytes_retrans);
	t->has_base = 1;
}

/* BPF has no instruction for it, but atomic ones that return something are ordered with everything around them. */
static __always_inline void full_barrier(struct tracked *t)
{
	__u32 pending = __sync_fetch_and_or(&t->pending, 0);
	asm volatile("" ::"r"(pending));
}

/* Bytes that TCP delivered to its process by whatever way: splice() and zero-copy receive pass the hook of
 * recv by. A record layer (kTLS, MPTCP) delivers fewer than TCP does. The stream's end counts as one byte in
 * the sequence numbers (RFC 9293, 3.4).
 *
 * Other processors may be receiving: `copied_seq` is read before all that it cannot pass, so that the result may
 * be late but is never too much. */
static __always_inline __u64 read_by_process(const void *sk, struct tracked *t)
{
	const struct tcp_sock *tp = READABLE(struct tcp_sock, sk);
	__u32 copied = READ_ONCE(tp->copied_seq);
	full_barrier(t);
	__u64 received = READ_ONCE(tp->bytes_received);
	full_barrier(t);
	bool ended = READABLE(struct sock, sk)->__sk_common.skc_flags &
		     (1UL << bpf_core_enum_value(enum sock_flags, SOCK_DONE));
	__u32 unread = t->read_base + (__u32)received - copied;
	if (unread > received)
		return 0;
	return received - unread - (ended && !unread && received);
}

/* The same for what the process sent, of a connection older than the programs. */
static __always_inline __u64 written_by_process(const void *sk, struct tracked *t)
{
	const struct tcp_sock *tp = READABLE(struct tcp_sock, sk);
	__u32 written = READ_ONCE(tp->write_seq);
	full_barrier(t);
	unsigned char state = READABLE(struct sock, sk)->__sk_common.skc_state;
	bool has_fin = state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 || state == TCP_CLOSING ||
		       state == TCP_LAST_ACK || state == TCP_TIME_WAIT;
	/* What was sent tells which of the values that are 2^32 apart it is. */
	__u64 sent = tp->bytes_sent - tp->bytes_retrans;
	__s32 queued = written - t->written_base - (__u32)sent;
	/* Where the connection is gone already, whether its end was sent is not known any more. */
	return state == TCP_CLOSE ? 0 : sent + queued - has_fin;
}

/* Whether a socket has been inherited or passed on, or several threads use it right now. */
static __always_inline bool is_held_by_several(const void *sk)
{
	const struct file *file = READABLE(struct sock, sk)->sk_socket->file;
	if (bpf_core_field_exists(file->f_ref))
		return file->f_ref.refcnt.counter > 0;
	return ((const struct file___counted *)file)->f_count.counter > 1;
}

static __always_inline void take_from_tcp(const void *sk, struct tracked *t)
{
	__u64 read = read_by_process(sk, t);
	if (read > t->read)
		WRITE_ONCE(t->read, read);
	if (!t->is_older)
		return;
	__u64 written = written_by_process(sk, t);
	if ((__s64)written > (__s64)t->written)
		WRITE_ONCE(t->written, written);
}

/* Which process TCP's bytes are for is known only where there is one. */
static __always_inline void ask_tcp(const void *sk, struct tracked *t)
{
	if (t->conn.protocol == IPPROTO_TCP && !t->shared && t->has_base && !is_held_by_several(sk) &&
	    !READABLE(struct inet_connection_sock, sk)->icsk_ulp_ops)
		take_from_tcp(sk, t);
}
