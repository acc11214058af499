/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Headers on the wire: RFC 791, RFC 8200. */
#pragma once

struct ports {
	__be16 source;
	__be16 dest;
};

struct ipv4_header {
	__u8 version_and_length;
	__u8 tos;
	__be16 total;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__u16 check;
	__be32 source;
	__be32 dest;
};

struct ipv6_header {
	__be32 version_and_flow;
	__be16 length;
	__u8 protocol;
	__u8 hops;
	__u32 source[4];
	__u32 dest[4];
};

/* The first on the wire. */
static __always_inline __u8 first_byte(__be32 word)
{
	return bpf_ntohl(word) >> 24;
}
