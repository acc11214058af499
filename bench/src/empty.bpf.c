/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Programs that do nothing, where LECO's are: what is measured of them is the measuring itself, and getting there. And two
 * that do the least that counting a socket's bytes takes. */
#include "../../bpf/src/bpf/kernel.h"
#include <bpf/bpf_helpers.h>

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
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64[2]);
} counted SEC(".maps");

static __always_inline int count(unsigned long long *ctx, int place)
{
	__u64 *bytes = bpf_sk_storage_get(&counted, (void *)ctx[0], 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (bytes)
		__sync_fetch_and_add(&bytes[place], ctx[1]);
	return 0;
}

SEC("tp_btf/sock_send_length")
int least_send(unsigned long long *ctx)
{
	return count(ctx, 0);
}

SEC("tp_btf/sock_recv_length")
int least_recv(unsigned long long *ctx)
{
	return count(ctx, 1);
}

char LICENSE[] SEC("license") = "GPL";
