/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packets that a firewall of this machine drops. */
#pragma once

/* Packets from outside are dropped as fast as others send them: so many of these a second are told. */
#define STRANGERS_PER_SECOND 100

__u64 strangers_second;
__u64 strangers_told;

/* The ends of a packet on its way in; false where it is not for this machine alone: forwarded, broadcast. */
static __always_inline bool read_headers(struct sk_buff *skb, struct conn *c)
{
	const unsigned char *head = BPF_CORE_READ(skb, head);
	const unsigned char *network = head + BPF_CORE_READ(skb, network_header);
	const unsigned char *transport;
	const void *route = (const void *)(BPF_CORE_READ(skb, _skb_refdst) & ~1UL);
	if (BPF_CORE_READ(skb, protocol) == bpf_htons(0x0800)) {
		struct ipv4_header ip;
		if (bpf_probe_read_kernel(&ip, sizeof(ip), network))
			return false;
		if (route && BPF_CORE_READ((const struct rtable *)route, rt_type) != RTN_LOCAL)
			return false;
		if (first_byte(ip.dest) >= 224)
			return false;
		c->family = AF_INET;
		c->protocol = ip.protocol;
		*(__be32 *)c->raddr = ip.source;
		*(__be32 *)c->laddr = ip.dest;
		transport = network + (ip.version_and_length & 0xf) * 4;
	} else if (BPF_CORE_READ(skb, protocol) == bpf_htons(0x86dd)) {
		struct ipv6_header ip;
		if (bpf_probe_read_kernel(&ip, sizeof(ip), network))
			return false;
		if (route && bpf_core_field_exists(((struct rt6_info *)0)->rt6i_flags) &&
		    !(BPF_CORE_READ((const struct rt6_info *)route, rt6i_flags) & RTF_LOCAL))
			return false;
		if (first_byte(ip.dest[0]) == 0xff)
			return false;
		c->family = AF_INET6;
		c->protocol = ip.protocol;
		__builtin_memcpy(c->raddr, ip.source, sizeof(c->raddr));
		__builtin_memcpy(c->laddr, ip.dest, sizeof(c->laddr));
		transport = network + sizeof(ip);
	} else {
		return false;
	}
	if (c->protocol == IPPROTO_TCP || c->protocol == IPPROTO_UDP) {
		struct ports ports;
		if (bpf_probe_read_kernel(&ports, sizeof(ports), transport))
			return false;
		c->rport = bpf_ntohs(ports.source);
		c->lport = bpf_ntohs(ports.dest);
	}
	return true;
}

static __always_inline bool may_tell_stranger(__u64 now)
{
	__u64 second = now / 1000000000;
	if (strangers_second != second) {
		strangers_second = second;
		strangers_told = 0;
	}
	return __sync_fetch_and_add(&strangers_told, 1) < STRANGERS_PER_SECOND;
}

/* No socket, so no process: the current one is any. What one host tries at one port is one line. */
static __always_inline void stranger(struct sk_buff *skb)
{
	struct tracked fresh = { .conn = { .state_dir = INCOMING << 4 | BLOCKED } };
	struct conn *c = &fresh.conn;
	if (!BPF_CORE_READ(skb, skb_iif) || !read_headers(skb, c))
		return;
	struct flow_key key = { .cookie = c->protocol, .peer = { .family = c->family, .port = c->lport } };
	__builtin_memcpy(key.peer.addr, c->raddr, sizeof(key.peer.addr));
	struct tracked *t = bpf_map_lookup_elem(&flows, &key);
	__u64 now = bpf_jiffies64();
	if (t) {
		if (due(&t->announced, now))
			submit(t);
		return;
	}
	if (!may_tell_stranger(bpf_ktime_get_boot_ns())) {
		COUNT(blocked_skipped);
		return;
	}
	fresh.announced = now;
	submit(&fresh);
	if (!bpf_map_update_elem(&flows, &key, &fresh, BPF_NOEXIST))
		COUNT(flows_added);
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(dropped, struct sk_buff *skb, void *location, enum skb_drop_reason reason)
{
	if (reason != bpf_core_enum_value(enum skb_drop_reason, SKB_DROP_REASON_NETFILTER_DROP) || !loaded.is_counting)
		return 0;
	struct sock *sk = skb->sk;
	if (!sk) {
		stranger(skb);
		return 0;
	}
	struct tracked *t = tracked_of(sk, false);
	/* Of a first datagram the failed send tells, and of one to one peer of many. */
	if (!t || !t->conn.ns || t->many_peers || t->released)
		return 0;
	__u64 now = bpf_jiffies64();
	if (state_of(&t->conn) == BLOCKED && !due(&t->announced, now))
		return 0;
	set_state(&t->conn, BLOCKED);
	t->announced = now;
	announce(sk, t);
	return 0;
}
