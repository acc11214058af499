/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What crosses from the kernel to user space. Mirrored by bpf/src/record.rs, which asserts the sizes. */
#pragma once

/* One connection as last announced: a value of `conns`, and a record of the `events` ring. */
struct conn {
	__u64 ns;     /* CLOCK_BOOTTIME of the first event: the key of a connection on the wire */
	__u64 ns_trx; /* CLOCK_BOOTTIME of the latest */
	__u64 rx;     /* bytes, as recv returned them */
	__u64 tx;     /* bytes, as send returned them */
	__u64 cookie; /* of the socket, unique since boot */
	__u64 cgroup; /* id of the cgroup2 folder: its inode number */
	__u64 started; /* CLOCK_BOOTTIME of the process's start: tells it from a later one with its pid */
	__u64 announced; /* jiffies of the last announcement; this and the next two are the kernel side's own */
	__u64 seen; /* jiffies of the latest bytes, where they were not announced */
	__u64 pending; /* bytes came since the last announcement */
	__u8 laddr[16]; /* IPv4 in the first four bytes */
	__u8 raddr[16];
	__u32 pid; /* thread group */
	__u32 uid;
	__u16 lport; /* host byte order */
	__u16 rport;
	__u16 protocol; /* IPPROTO_* */
	__u16 family;   /* AF_INET, AF_INET6 */
	char comm[16];  /* of the thread group's leader; any bytes */
};

/* Key of `conns`. The peer is zero where the socket itself has one: then the cookie says it all. */
struct conn_key {
	__u64 cookie;
	__u32 pid;
	__u16 peer_port;
	__u16 peer_family;
	__u8 peer_addr[16];
};

/* `stats`: one value, index 0. */
struct stats {
	__u64 ring_dropped;  /* announcements that found the ring full */
	__u64 socks_skipped; /* sockets whose storage could not be allocated */
	__u64 update_interval_ns; /* as loaded, for the reader's timer */
};
