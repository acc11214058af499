/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Peers of raw and ping sockets over IPv4, of which nothing stays behind in the socket. */
#pragma once

static void note_raw(__u64 cookie, __be32 addr)
{
	struct peer peer = { .family = AF_INET, .addr = { addr } };
	note_thread_peer(cookie, &peer);
}

static __always_inline bool is_neither_tcp_nor_udp(__u16 protocol)
{
	return protocol != IPPROTO_TCP && protocol != IPPROTO_UDP;
}

#ifdef HAS_REGISTERS
static void probe_raw_peer(void *sk, struct msghdr *msg)
{
	void *name = BPF_CORE_READ(msg, msg_name);
	struct sockaddr_in address;
	if (name && !bpf_probe_read_kernel(&address, sizeof(address), name))
		note_raw((__u64)sk, address.sin_addr);
}

SEC("kprobe/raw_sendmsg")
int BPF_KPROBE(raw_sendmsg, void *sk, struct msghdr *msg)
{
	probe_raw_peer(sk, msg);
	return 0;
}

SEC("kprobe/ping_v4_sendmsg")
int BPF_KPROBE(ping_v4_sendmsg, void *sk, struct msghdr *msg)
{
	probe_raw_peer(sk, msg);
	return 0;
}
#endif

/* Without kprobes: a packet is freed here once its process has received it, in that process's context, so what
 * answers tells who was asked. */
SEC("tp_btf/consume_skb")
int BPF_PROG(raw_received, struct sk_buff *skb)
{
	const unsigned char *network = skb->head + skb->network_header;
	if (skb->protocol != bpf_htons(0x0800) || !skb->skb_iif ||
	    (skb->data != network && skb->data != skb->head + skb->transport_header))
		return 0;
	const struct iphdr *ip = READABLE(struct iphdr, network);
	if (is_neither_tcp_nor_udp(ip->protocol))
		note_raw(RECEIVED_RAW, ip->saddr);
	return 0;
}

/* Without kprobes, and asked for, since it costs every packet that is sent. The kernel answers pings and the
 * like over sockets of its own, in whatever process it interrupts. */
SEC("cgroup_skb/egress")
int raw_egress(struct __sk_buff *skb)
{
	struct bpf_sock *socket = skb->sk;
	struct ipv4_header ip;
	if (!socket || socket->family != AF_INET)
		return 1;
	const struct sock *sk = READABLE(struct sock, socket);
	if (is_neither_tcp_nor_udp(sk->sk_protocol) && sk->sk_socket->file &&
	    !bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)))
		note_raw((__u64)socket, ip.dest);
	return 1; /* let it pass */
}
