/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What user space asks for: live sockets, what was not announced yet, and sockets older than the programs. */
#pragma once

static __always_inline bool is_told(const struct tracked *t)
{
	return t->conn.ns && !t->listening && !t->released;
}

static __always_inline void tell_live(struct seq_file *seq, struct sock *sk, struct tracked *t)
{
	if (!is_told(t))
		return;
	correct_rx(sk, t);
	if (t->pending)
		settle(t);
	bpf_seq_write(seq, &t->conn, sizeof(t->conn));
}

static __always_inline void tell_pending(struct seq_file *seq, struct sock *sk, struct tracked *t)
{
	if (!is_told(t))
		return;
	__u64 rx = t->conn.rx;
	correct_rx(sk, t);
	if (rx != t->conn.rx && !t->pending) {
		t->pending = 1;
		t->seen = bpf_jiffies64();
	}
	if (t->pending) {
		settle(t);
		bpf_seq_write(seq, &t->conn, sizeof(t->conn));
	}
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
	if (!t || !t->pending)
		return 0;
	settle(t);
	bpf_seq_write(ctx->meta->seq, &t->conn, sizeof(t->conn));
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

/* Run once each by the loader, in this order, when the other programs are attached. */
SEC("iter/task_file")
int old_listeners(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct sock *sk = inet_socket(ctx->file);
	if (!task || !sk || sk->__sk_common.skc_state != TCP_LISTEN)
		return 0;
	struct listener key = { .netns = sk->__sk_common.skc_net.net->ns.inum,
				.port = sk->__sk_common.skc_num };
	__u32 pid = task->tgid;
	bpf_map_update_elem(&listeners, &key, &pid, BPF_ANY);
	struct tracked *t = tracked_of(sk, true);
	if (!t || t->listening || t->conn.ns)
		return 0;
	fill_process_of(&t->conn, task);
	t->listening = 1;
	return 0;
}

/* Of TCP the kernel knows what was sent and received before. */
SEC("iter/task_file")
int old_sockets(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct sock *sk = inet_socket(ctx->file);
	if (!task || !sk || sk->__sk_common.skc_state == TCP_LISTEN || !sk->__sk_common.skc_dport ||
	    sk->__sk_common.skc_state == TCP_CLOSE)
		return 0;
	struct tracked *t = tracked_of(sk, true);
	if (!t || t->conn.ns)
		return 0;
	struct listener key = { .netns = sk->__sk_common.skc_net.net->ns.inum,
				.port = sk->__sk_common.skc_num };
	bool incoming = sk->sk_protocol == IPPROTO_TCP && bpf_map_lookup_elem(&listeners, &key);
	fill_process_of(&t->conn, task);
	fill_ends(t, sk, &t->peer);
	bool is_connecting = sk->__sk_common.skc_state == TCP_SYN_SENT;
	t->conn.fate = (incoming ? INCOMING : OUTGOING) << 4 | (is_connecting ? CONNECTING : OPEN);
	t->provisional = 1;
	if (t->conn.protocol == IPPROTO_TCP && !is_connecting) {
		const struct tcp_sock *tp = READABLE(struct tcp_sock, sk);
		t->conn.tx = tp->bytes_sent - tp->bytes_retrans + (tp->write_seq - tp->snd_nxt);
		correct_rx(sk, t);
	}
	t->announced = bpf_jiffies64();
	t->conn.ns = t->conn.ns_trx = bpf_ktime_get_boot_ns();
	return 0;
}
