/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Maps, what the loader sets, and counters. */
#pragma once

/* Announce a connection at most once in so many jiffies. The loader knows the length of one. */
const volatile __u64 update_interval_jiffies = 300;
const volatile __u64 jiffy_ns = 10000000;
/* Bytes of the ring. */
const volatile __u64 ring_size = 256 * 1024;
/* Slots of `closed`. */
const volatile __u32 closed_slots = 8192;
/* Whether sock_release tells the end of every socket: else TCP's own state has to. */
const volatile bool has_release = true;

/* Where a kernel has plain tracepoints only, sockets have no storage: they are known by their address. */
const volatile bool keyed_by_pointer = false;
/* Where the peer of a datagram is known from a kprobe: it has no storage either. */
const volatile bool peers_by_probe = false;
/* Where the hooks of peers.h tell for each datagram whom it is for, or from. */
const volatile bool peers_by_hook = true;

/* Whether answers of name servers are copied to the ring. */
const volatile bool copies_answers = true;

/* Whether it is told who listens. */
const volatile bool tells_listeners = true;
/* What a process binds a datagram socket to and then leaves as it is for so long, it waits at. */
const volatile __u64 listen_wait_jiffies = 200;

/* Whether the names are read that processes send when they connect. */
const volatile bool reads_hellos = true;

/* The loader changes from one version to another by two writes to memory: no byte is counted by both. */
volatile struct loaded loaded SEC(".data.loaded") = { .magic = LOADED_MAGIC, .is_counting = 1 };

/* Wake the reader at once after a quiet moment, then leave it to its own timer for so long, or a tenth of that
 * where the ring fills: a wakeup costs more than all else about an announcement. The reader
 * looks again 10 ms after every non-empty look: it must not look sooner than this is long. */
#define WAKEUP_INTERVAL_NS 10000000ULL

/* Accepted sockets inherit what is known of their listener. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct tracked);
} sockets SEC(".maps");

/* Accepted sockets do not listen: nothing of this is inherited. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct listening);
} listening SEC(".maps");

/* What has no socket of its own: each process of a shared one, each peer of an unconnected one, and packets
 * that a firewall dropped before they reached a socket. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct flow_key);
	__type(value, struct tracked);
} flows SEC(".maps");

/* Connections whose socket is gone, for readers that come later: the latest stand where the oldest stood. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, struct closed_slot);
} closed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} events SEC(".maps");

/* Stands for the cookie where a packet was received and its socket is not known. */
#define RECEIVED_RAW 1

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct thread_peer);
} peers SEC(".maps");

/* Processes that use a socket which another one uses, too, and when they were started: their exit is told. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u64);
} sharers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct stats);
} stats SEC(".maps");

/* What was sent of a hello, by conn.ns of its connection, until the rest follows: the begin of struct moved_bytes. */
struct cut {
	__u64 conn_ns;
	__u32 len;
	__u32 padding;
	__u8 bytes[HELLO_BYTES];
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 64);
	__type(key, __u64);
	__type(value, struct cut);
} cuts SEC(".maps");

#define COUNT(what)                                                                                                    \
	do {                                                                                                           \
		__u32 zero = 0;                                                                                        \
		struct stats *counters = bpf_map_lookup_elem(&stats, &zero);                                           \
		if (counters)                                                                                          \
			__sync_fetch_and_add(&counters->what, 1);                                                      \
	} while (0)
