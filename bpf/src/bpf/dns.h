/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers of name servers, which tell the names of addresses without asking anyone. */
#pragma once

/* A datagram is freed here once its process has received it, in that process's context. Its data then begins
 * behind the UDP header; that of a packet being sent or forwarded does not. */
SEC("tp_btf/consume_skb")
int BPF_PROG(received, struct sk_buff *skb)
{
	const unsigned char *transport = skb->head + skb->transport_header;
	struct udp_header udp;
	if (skb->data != transport + sizeof(udp) ||
	    bpf_probe_read_kernel(&udp, sizeof(udp), transport) || udp.source != bpf_htons(53))
		return 0;
	__u32 len = skb->len - skb->data_len;
	if (bpf_ntohs(udp.length) != skb->len + sizeof(udp) || len > 0xffff)
		return 0;
	/* Whoever sends answers in floods must not push out announcements. */
	struct dns_answer *answer = NULL;
	if (bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) < ring_size / 2)
		answer = bpf_ringbuf_reserve(&events, sizeof(*answer), 0);
	if (!answer) {
		COUNT(dns_skipped);
		return 0;
	}
	answer->ns = bpf_ktime_get_boot_ns();
	answer->pid = bpf_get_current_pid_tgid() >> 32;
	answer->full_len = skb->len;
	__u32 kept = len < DNS_MAX ? len : DNS_MAX;
	answer->len = kept;
	bpf_probe_read_kernel(answer->payload, kept, skb->data);
	bpf_ringbuf_submit(answer, wakeup_flags(answer->ns));
	return 0;
}
