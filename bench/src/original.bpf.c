// SPDX-License-Identifier: GPL-2.0-or-later
/* How the first LECO counted bytes: plain tracepoints, one LRU hash by a socket's address and its process, and an event
 * of a connection at most every 3 s. */
#include "../../bpf/src/bpf/kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define INTERVAL_NS 3000000000ULL
#define PEEK 2

/* As tracefs says in events/sock/sock_send_length/format. */
struct length {
	__u64 common;
	const struct sock *sock;
	__u16 family, protocol;
	int ret, flags;
};

struct key {
	const struct sock *sock;
	__u64 process;
};

struct original_conn {
	__u64 ns, announced, rx, tx;
	__u32 remote, local, uid;
	__u16 remote_port, local_port, family, protocol;
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct key);
	__type(value, struct original_conn);
} conns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} announced SEC(".maps");

static __always_inline int count(const struct length *call, bool is_send)
{
	const struct sock *sock = call->sock;
	int bytes = call->ret;

	if (bytes <= 0 || (!is_send && call->flags & PEEK))
		return 0;
	struct key key = { sock, bpf_get_current_pid_tgid() >> 32 };
	__u64 now = bpf_ktime_get_boot_ns();
	struct original_conn *conn = bpf_map_lookup_elem(&conns, &key);
	if (!conn) {
		struct original_conn first = { .ns = now, .family = call->family, .protocol = call->protocol };
		first.uid = bpf_get_current_uid_gid();
		bpf_get_current_comm(first.comm, sizeof(first.comm));
		first.remote = BPF_CORE_READ(sock, __sk_common.skc_daddr);
		first.local = BPF_CORE_READ(sock, __sk_common.skc_rcv_saddr);
		first.remote_port = BPF_CORE_READ(sock, __sk_common.skc_dport);
		first.local_port = BPF_CORE_READ(sock, __sk_common.skc_num);
		bpf_map_update_elem(&conns, &key, &first, BPF_ANY);
		conn = bpf_map_lookup_elem(&conns, &key);
		if (!conn)
			return 0;
	}
	__sync_fetch_and_add(is_send ? &conn->tx : &conn->rx, bytes);
	if (now - conn->announced >= INTERVAL_NS) {
		conn->announced = now;
		bpf_ringbuf_output(&announced, conn, sizeof(*conn), 0);
	}
	return 0;
}

SEC("tracepoint/sock/sock_send_length")
int original_send(const struct length *call)
{
	return count(call, true);
}

SEC("tracepoint/sock/sock_recv_length")
int original_recv(const struct length *call)
{
	return count(call, false);
}

char LICENSE[] SEC("license") = "GPL";
