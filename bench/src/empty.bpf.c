/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Programs that do nothing, where LECO's are: what is measured of them is the measuring itself, and getting there. And
 * some that do the least that knowing every socket and counting its bytes takes. */
#include "../../bpf/src/bpf/kernel.h"
#include <bpf/bpf_helpers.h>
#include "../../bpf/src/bpf/leco.h"

#define NOTHING(section, name, result)                                                                                 \
	SEC(section)                                                                                                   \
	int empty_##name(unsigned long long *ctx)                                                                      \
	{                                                                                                              \
		return result;                                                                                         \
	}

NOTHING("tp_btf/sock_send_length", send, 0)
NOTHING("tp_btf/sock_recv_length", recv, 0)
NOTHING("tp_btf/inet_sock_set_state", state, 0)
NOTHING("tp_btf/inet_sk_error_report", error, 0)
NOTHING("tp_btf/kfree_skb", drop, 0)
NOTHING("tp_btf/consume_skb", consume, 0)
NOTHING("tp_btf/sched_process_exit", exit, 0)
NOTHING("cgroup/sock_release", release, 1)
NOTHING("cgroup/post_bind4", bind, 1)
NOTHING("cgroup/getpeername4", peer, 1)
NOTHING("cgroup/sendmsg4", sendmsg, 1)
NOTHING("cgroup/recvmsg4", recvmsg, 1)

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct tracked);
} counted SEC(".maps");

static __always_inline int count(unsigned long long *ctx, int is_send)
{
	struct tracked *t = bpf_sk_storage_get(&counted, (void *)ctx[0], 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (t)
		__sync_fetch_and_add(is_send ? &t->conn.tx : &t->conn.rx, ctx[1]);
	return 0;
}

/* What connects, and what listens: accepted sockets have what their listener has. */
SEC("tp_btf/inet_sock_set_state")
int least_state(unsigned long long *ctx)
{
	if (ctx[2] == TCP_SYN_SENT || ctx[2] == TCP_LISTEN)
		bpf_sk_storage_get(&counted, (void *)ctx[0], 0, BPF_SK_STORAGE_GET_F_CREATE);
	return 0;
}

SEC("tp_btf/sock_send_length")
int least_send(unsigned long long *ctx)
{
	return count(ctx, 1);
}

SEC("tp_btf/sock_recv_length")
int least_recv(unsigned long long *ctx)
{
	return count(ctx, 0);
}

char LICENSE[] SEC("license") = "GPL";
