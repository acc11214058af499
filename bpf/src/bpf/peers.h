/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whom a datagram over a UDP socket is for, or from. These hooks run before those of bytes.h, in the same thread.
 *
 * Nearly every such socket has one peer: it is kept with the socket, does not change, and the hook has only to
 * compare. With the second peer the socket's threads note theirs each for itself, because two may use the
 * socket at the same time. A connected socket may send elsewhere, too. */
#pragma once

static void remember_peer(struct bpf_sock_addr *ctx, struct bpf_sock *sk, struct tracked *t, const struct peer *peer,
			  bool received)
{
	if (!t)
		t = track(sk);
	if (!t)
		return;
	struct peer own;
	peer_of_socket(READABLE(struct sock, sk), &own);
	if (own.family) {
		if (same_peer(&own, peer) && !t->many_peers)
			return;
	} else if (!t->conn.ns && claims_socket(t)) {
		t->peer = *peer;
		if (received)
			t->addressed = bpf_get_current_pid_tgid();
		return;
	}
	note_peer(t, keyed_by_pointer ? (__u64)sk : bpf_get_socket_cookie(ctx), peer);
}

static __always_inline int see_peer(struct bpf_sock_addr *ctx, const struct peer *peer, bool received)
{
	struct bpf_sock *sk = ctx->sk;
	if (!sk)
		return 1;
	struct tracked *t = tracked_of(sk, false);
	if (!t || t->many_peers || !same_peer(&t->peer, peer) ||
	    has_other_peer(t, &READABLE(struct sock, sk)->__sk_common))
		remember_peer(ctx, sk, t, peer, received);
	else if (received)
		t->addressed = bpf_get_current_pid_tgid();
	return 1; /* let the datagram pass */
}

static __always_inline int see_peer4(struct bpf_sock_addr *ctx, bool received)
{
	struct peer peer = { .family = AF_INET, .port = bpf_ntohs(ctx->user_port), .addr = { ctx->user_ip4 } };
	return see_peer(ctx, &peer, received);
}

static __always_inline int see_peer6(struct bpf_sock_addr *ctx, bool received)
{
	struct peer peer = { .family = AF_INET6, .port = bpf_ntohs(ctx->user_port) };
	peer.addr[0] = ctx->user_ip6[0];
	peer.addr[1] = ctx->user_ip6[1];
	peer.addr[2] = ctx->user_ip6[2];
	peer.addr[3] = ctx->user_ip6[3];
	unmap_peer(&peer);
	return see_peer(ctx, &peer, received);
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	return see_peer4(ctx, false);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	return see_peer6(ctx, false);
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	return see_peer4(ctx, true);
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	return see_peer6(ctx, true);
}

#ifdef HAS_REGISTERS
/* For kernels that refuse the above: a datagram that is received then counts for the peer that its thread has
 * sent to last. */
static void probe_peer(void *sk, struct msghdr *msg)
{
	void *name = BPF_CORE_READ(msg, msg_name);
	struct sockaddr_in6 address = {};
	if (!name || bpf_probe_read_kernel(&address, sizeof(struct sockaddr_in), name))
		return;
	struct peer peer = { .family = address.sin6_family, .port = bpf_ntohs(address.sin6_port) };
	if (peer.family == AF_INET) {
		peer.addr[0] = ((struct sockaddr_in *)&address)->sin_addr;
	} else if (peer.family == AF_INET6 && !bpf_probe_read_kernel(&address, sizeof(address), name)) {
		__builtin_memcpy(peer.addr, address.sin6_addr, sizeof(peer.addr));
		unmap_peer(&peer);
	} else {
		return;
	}
	note_thread_peer((__u64)sk, &peer);
}

SEC("kprobe/udp_sendmsg")
int BPF_KPROBE(udp_sendmsg, void *sk, struct msghdr *msg)
{
	probe_peer(sk, msg);
	return 0;
}

SEC("kprobe/udpv6_sendmsg")
int BPF_KPROBE(udpv6_sendmsg, void *sk, struct msghdr *msg)
{
	probe_peer(sk, msg);
	return 0;
}
#endif
