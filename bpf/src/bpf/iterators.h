/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What user space asks for: live sockets, what was not announced yet, and sockets older than the programs. */
#pragma once

static __always_inline bool is_told(const struct tracked *t)
{
	return t->conn.ns && !t->listening && !t->released;
}

/* A record that does not fit any more is asked for again, with the same socket: until then nothing was told. */
static __always_inline long tell(struct seq_file *seq, const struct tracked *t, __u64 ns_trx)
{
	struct conn record;
	copy_conn(&record, t);
	record.ns_trx = ns_trx;
	return bpf_seq_write(seq, &record, sizeof(record));
}

/* Takes what is pending for told, if it can be. */
static __always_inline void tell_and_settle(struct seq_file *seq, struct tracked *t)
{
	settle(t);
	if (tell(seq, t, t->conn.ns_trx))
		WRITE_ONCE(t->pending, 1);
}

/* A reader of what goes on takes nothing from the one that waits for what is pending. */
static __always_inline void tell_live(struct seq_file *seq, struct sock *sk, struct tracked *t)
{
	/* Of a socket that was used for other peers than its own alone there is nothing to tell but that it is there. */
	if (!is_told(t) && (!t->conn.socket || t->listening || t->released))
		return;
	bring_up_to_date(sk, t);
	tell(seq, t, t->pending ? pending_since(t) : t->conn.ns_trx);
}

static __always_inline void tell_pending(struct seq_file *seq, struct sock *sk, struct tracked *t)
{
	if (!is_told(t))
		return;
	__u64 read = t->read, written = t->written;
	bring_up_to_date(sk, t);
	/* What passes the hooks by leaves no mark. */
	if (!t->pending &&
	    ((t->read != read && t->read > t->conn.rx) || (t->written != written && t->written > t->conn.tx))) {
		WRITE_ONCE(t->seen, bpf_jiffies64());
		WRITE_ONCE(t->pending, 1);
	}
	if (t->pending && __sync_lock_test_and_set(&t->pending, 0))
		tell_and_settle(seq, t);
}

/* Every live connection, for a reader that comes later or missed something. */
SEC("iter/bpf_sk_storage_map")
int live_sockets(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock *sk = ctx->sk;
	struct tracked *t = ctx->value;
	if (sk && t)
		tell_live(ctx->meta->seq, sk, t);
	return 0;
}

/* Read by the pipe one interval after the last announcement: what came since then, of live sockets … */
SEC("iter/bpf_sk_storage_map")
int pending_sockets(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock *sk = ctx->sk;
	struct tracked *t = ctx->value;
	if (sk && t)
		tell_pending(ctx->meta->seq, sk, t);
	return 0;
}

/* … and of flows. */
SEC("iter/bpf_map_elem")
int pending_flows(struct bpf_iter__bpf_map_elem *ctx)
{
	struct tracked *t = ctx->value;
	if (t && t->pending && __sync_lock_test_and_set(&t->pending, 0))
		tell_and_settle(ctx->meta->seq, t);
	return 0;
}

/* Who listens, and what has become a listener since it was bound. */
SEC("iter/bpf_sk_storage_map")
int listening_sockets(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock *sk = ctx->sk;
	struct listening *l = ctx->value;
	if (sk && l)
		show_listening(ctx->meta->seq, sk, l);
	return 0;
}

/* Ports with a listener, by network namespace: what came in at one of them is incoming. */
struct listener {
	__u32 netns;
	__u32 port;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct listener);
	__type(value, __u32);
} listeners SEC(".maps");

/* A kernel may be built without: then there is one. */
static __always_inline __u32 netns_of(const struct sock *sk)
{
	return bpf_core_field_exists(((struct sock_common *)0)->skc_net.net) ? sk->__sk_common.skc_net.net->ns.inum : 0;
}

static __always_inline struct sock *inet_socket(struct file *file)
{
	struct socket *socket = file ? bpf_sock_from_file(file) : NULL;
	struct sock *sk = socket ? socket->sk : NULL;
	if (!sk)
		return NULL;
	__u16 family = sk->__sk_common.skc_family;
	return family == AF_INET || family == AF_INET6 ? sk : NULL;
}

/* Both by the files of all tasks, where a kernel lets nobody go through maps. */
SEC("iter/task_file")
int live_files(struct bpf_iter__task_file *ctx)
{
	struct sock *sk = inet_socket(ctx->file);
	struct tracked *t = sk ? tracked_of(sk, false) : NULL;
	if (t)
		tell_live(ctx->meta->seq, sk, t);
	return 0;
}

SEC("iter/task_file")
int pending_files(struct bpf_iter__task_file *ctx)
{
	struct sock *sk = inet_socket(ctx->file);
	struct tracked *t = sk ? tracked_of(sk, false) : NULL;
	if (t)
		tell_pending(ctx->meta->seq, sk, t);
	return 0;
}

SEC("iter/task_file")
int listening_files(struct bpf_iter__task_file *ctx)
{
	struct sock *sk = inet_socket(ctx->file);
	struct listening *l = sk ? listening_of(sk, false) : NULL;
	if (l)
		show_listening(ctx->meta->seq, sk, l);
	return 0;
}

/* Run once each by the loader, in this order, when the other programs are attached. */
SEC("iter/task_file")
int old_listeners(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct sock *sk = inet_socket(ctx->file);
	if (!task || !sk)
		return 0;
	bool is_listening = sk->__sk_common.skc_state == TCP_LISTEN;
	note_old_listening(task, sk, is_listening);
	if (!is_listening)
		return 0;
	struct listener key = { .netns = netns_of(sk), .port = sk->__sk_common.skc_num };
	__u32 pid = task->tgid;
	bpf_map_update_elem(&listeners, &key, &pid, BPF_ANY);
	struct tracked *t = tracked_of(sk, true);
	if (!t || t->listening || t->conn.ns)
		return 0;
	fill_process_of(&t->conn, task);
	t->listening = 1;
	return 0;
}

/* The base of a connection that others are using at this moment: once what it is made of stays the same while it is
 * read. */
static __always_inline void note_old_base(const void *sk, struct tracked *t)
{
	const struct tcp_sock *tp = READABLE(struct tcp_sock, sk);
	for (int tries = 0; tries < 8; tries++) {
		__u64 received = READ_ONCE(tp->bytes_received), sent = READ_ONCE(tp->bytes_sent);
		note_base(sk, t);
		__u32 read_base = t->read_base, written_base = t->written_base;
		full_barrier(t);
		note_base(sk, t);
		if (t->read_base == read_base && t->written_base == written_base &&
		    received == READ_ONCE(tp->bytes_received) && sent == READ_ONCE(tp->bytes_sent))
			break;
	}
	t->is_older = 1;
	/* Where several hold it, it is a guess which of them it was. */
	if (!READABLE(struct inet_connection_sock, sk)->icsk_ulp_ops)
		take_from_tcp(sk, t);
}

/* Of TCP the kernel knows what was sent and received before. Some have been used since the programs were attached. */
SEC("iter/task_file")
int old_sockets(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct sock *sk = inet_socket(ctx->file);
	if (!task || !sk || sk->__sk_common.skc_state == TCP_LISTEN || !sk->__sk_common.skc_dport ||
	    sk->__sk_common.skc_state == TCP_CLOSE)
		return 0;
	struct tracked *t = tracked_of(sk, true);
	if (!t || t->has_base)
		return 0;
	bool is_new = !t->conn.ns;
	bool is_tcp = sk->sk_protocol == IPPROTO_TCP;
	bool is_connecting = sk->__sk_common.skc_state == TCP_SYN_SENT;
	if (!is_new && (!is_tcp || is_connecting))
		return 0;
	struct listener key = { .netns = netns_of(sk), .port = sk->__sk_common.skc_num };
	__u8 direction = is_tcp && bpf_map_lookup_elem(&listeners, &key) ? INCOMING : OUTGOING;
	enum state state = is_connecting ? CONNECTING : OPEN;
	if (is_new) {
		fill_process_of(&t->conn, task);
		note_program(task);
		fill_own_ends(t, sk);
		t->provisional = 1;
	} else {
		state = state_of(&t->conn);
	}
	t->conn.state_dir = direction << 4 | state;
	if (is_tcp && !is_connecting)
		note_old_base(sk, t);
	if (is_new) {
		t->announced = bpf_jiffies64();
		t->conn.ns = t->conn.ns_trx = unique_boot_ns();
	} else {
		WRITE_ONCE(t->seen, bpf_jiffies64());
		WRITE_ONCE(t->pending, 1);
	}
	return 0;
}
