/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Peers of datagram sockets that have none of their own. These hooks run before those of bytes.h, in the same
 * thread.
 *
 * Nearly every such socket has one peer: it is kept with the socket, never changes, and the hook has only to
 * compare. With the second peer the socket's threads note theirs each for itself, because two may use the
 * socket at the same time; a thread that has noted none was here before that, so its peer is the first. */
#pragma once

static void remember_peer(struct bpf_sock_addr *ctx, struct bpf_sock *sk, struct tracked *t,
			  const struct peer *peer)
{
	if (!t) {
		struct tracked fresh = { .peer = *peer };
		t = bpf_sk_storage_get(&sockets, sk, &fresh, BPF_SK_STORAGE_GET_F_CREATE);
		if (!t || (t->peer.port == peer->port && t->peer.addr[0] == peer->addr[0] &&
			   t->peer.addr[1] == peer->addr[1] && t->peer.addr[2] == peer->addr[2] &&
			   t->peer.addr[3] == peer->addr[3]))
			return;
	}
	if (t->dport)
		return; /* it is connected */
	t->many_peers = 1;
	t->owner = 0;
	__u64 thread = bpf_get_current_pid_tgid();
	struct thread_peer entry = { .cookie = bpf_get_socket_cookie(ctx), .peer = *peer };
	struct thread_peer *known = bpf_map_lookup_elem(&peers, &thread);
	/* Nobody else touches it, and putting one into the map again costs more than twice as much. */
	if (known)
		*known = entry;
	else
		bpf_map_update_elem(&peers, &thread, &entry, BPF_ANY);
}

static __always_inline int see_peer(struct bpf_sock_addr *ctx, const struct peer *peer)
{
	struct bpf_sock *sk = ctx->sk;
	if (!sk)
		return 1;
	struct tracked *t = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (!t || t->many_peers || t->peer.port != peer->port || t->peer.family != peer->family ||
	    t->peer.addr[0] != peer->addr[0] || t->peer.addr[1] != peer->addr[1] ||
	    t->peer.addr[2] != peer->addr[2] || t->peer.addr[3] != peer->addr[3])
		remember_peer(ctx, sk, t, peer);
	return 1; /* let the datagram pass */
}

static __always_inline int see_peer4(struct bpf_sock_addr *ctx)
{
	struct peer peer = { .family = AF_INET, .port = bpf_ntohs(ctx->user_port), .addr = { ctx->user_ip4 } };
	return see_peer(ctx, &peer);
}

static __always_inline int see_peer6(struct bpf_sock_addr *ctx)
{
	struct peer peer = { .family = AF_INET6, .port = bpf_ntohs(ctx->user_port) };
	peer.addr[0] = ctx->user_ip6[0];
	peer.addr[1] = ctx->user_ip6[1];
	peer.addr[2] = ctx->user_ip6[2];
	peer.addr[3] = ctx->user_ip6[3];
	if (is_mapped(peer.addr)) {
		peer.family = AF_INET;
		unmap(peer.addr);
	}
	return see_peer(ctx, &peer);
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	return see_peer4(ctx);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	return see_peer6(ctx);
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	return see_peer4(ctx);
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	return see_peer6(ctx);
}
