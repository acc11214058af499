// SPDX-License-Identifier: GPL-2.0-or-later
/* Counts the bytes of every IPv4 and IPv6 socket, and announces connections.
 *
 * The hot path, a send or recv on a known socket with no update due, is one storage lookup and one add. */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>
#include "leco.h"

char LICENSE[] SEC("license") = "GPL";

/* Announce a connection at most once in so many jiffies. The loader knows the length of one. */
const volatile __u64 update_interval_jiffies = 300;
const volatile __u64 jiffy_ns = 10000000;

/* Wake the reader at once after a quiet moment, then leave it to its own timer for so long. The reader
 * looks again 10 ms after every non-empty look: it must not look sooner than this is long. */
#define WAKEUP_INTERVAL_NS 10000000ULL

/* A socket's state while one process uses it and it has one peer: nearly always. */
struct sock_state {
	__u64 ns;
	__u64 rx;
	__u64 tx;
	__u64 announced; /* jiffies */
	__u64 seen;      /* jiffies of the latest bytes that were not announced */
	__u64 cookie;
	__u32 owner;     /* thread group that used the socket first */
	__u16 lport;     /* a socket that was reset has none any more */
	__u8 is_udp;
	__u8 pending; /* bytes came since the last announcement */
};

/* Where a thread's latest datagram went to or came from. */
struct peer {
	__u64 cookie;
	__u16 port;
	__u16 family;
	__u8 addr[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct sock_state);
} sockets SEC(".maps");

/* Last announced state of every connection: what a new reader is told first. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct conn_key);
	__type(value, struct conn);
} conns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} events SEC(".maps");

/* By thread, because two threads may use one socket with different peers at the same time. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct peer);
} peers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct stats);
} stats SEC(".maps");

__u64 last_wakeup_ns;

enum counter { RING_DROPPED, SOCKS_SKIPPED };

static void count(enum counter what)
{
	__u32 zero = 0;
	struct stats *s = bpf_map_lookup_elem(&stats, &zero);
	if (!s)
		return;
	__sync_fetch_and_add(what == RING_DROPPED ? &s->ring_dropped : &s->socks_skipped, 1);
}

/* Whether this call is the one to announce: of several CPUs only one moves the time forward. */
static __always_inline bool due(__u64 *announced, __u64 now)
{
	__u64 last = *announced;
	return now - last >= update_interval_jiffies && __sync_val_compare_and_swap(announced, last, now) == last;
}

/* The record is reserved before the clock is read: a reader that finds the ring empty after that has
 * seen the reservation, and one that found it empty before has slept for less than the interval. So no
 * record is left behind without a wakeup. */
static void submit(const struct conn *c)
{
	struct conn *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);
	if (!record) {
		count(RING_DROPPED);
		return;
	}
	__builtin_memcpy(record, c, sizeof(*record));
	__u64 now = bpf_ktime_get_boot_ns(), last = last_wakeup_ns;
	__u64 flags = BPF_RB_NO_WAKEUP;
	if (now - last >= WAKEUP_INTERVAL_NS ||
	    bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) > bpf_ringbuf_query(&events, BPF_RB_RING_SIZE) / 4) {
		last_wakeup_ns = now;
		flags = BPF_RB_FORCE_WAKEUP;
	}
	bpf_ringbuf_submit(record, flags);
}

/* When bytes came that were noted by the tick alone. */
static __u64 ns_of(__u64 seen)
{
	return bpf_ktime_get_boot_ns() - (bpf_jiffies64() - seen) * jiffy_ns;
}

/* A tick is long: bytes of the one in which the connection was announced still came after that. */
static void advance(struct conn *c, __u64 seen)
{
	__u64 ns = ns_of(seen);
	c->ns_trx = ns > c->ns_trx ? ns : c->ns_trx + 1;
}

/* Brings the map's entry of a socket up to what the socket counted since its last announcement. The mark
 * goes before the counters are read: bytes that come in between set it again. */
static struct conn *settle(struct sock_state *s)
{
	if (!s->pending)
		return NULL;
	s->pending = 0;
	struct conn_key key = { .cookie = s->cookie, .pid = s->owner };
	struct conn *c = bpf_map_lookup_elem(&conns, &key);
	if (!c)
		return NULL;
	c->rx = s->rx;
	c->tx = s->tx;
	advance(c, s->seen);
	return c;
}

static void fill_process(struct conn *c)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	c->pid = bpf_get_current_pid_tgid() >> 32;
	c->uid = bpf_get_current_uid_gid();
	c->cgroup = bpf_get_current_cgroup_id();
	c->started = BPF_CORE_READ(task, group_leader, start_boottime);
	BPF_CORE_READ_INTO(&c->comm, task, group_leader, comm);
}

static void fill_socket(struct conn *c, struct sock *sk)
{
	c->cookie = bpf_get_socket_cookie(sk);
	c->family = sk->__sk_common.skc_family;
	c->protocol = sk->sk_protocol;
	c->lport = sk->__sk_common.skc_num;
	c->rport = bpf_ntohs(sk->__sk_common.skc_dport);
	if (c->family == AF_INET) {
		*(__be32 *)c->laddr = sk->__sk_common.skc_rcv_saddr;
		*(__be32 *)c->raddr = sk->__sk_common.skc_daddr;
	} else {
		BPF_CORE_READ_INTO(&c->laddr, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8);
		BPF_CORE_READ_INTO(&c->raddr, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr8);
	}
}

/* An IPv6 socket may send over IPv4: its address then is an IPv4-mapped one. */
static __always_inline void unmap(__u8 *addr)
{
	__u32 *words = (__u32 *)addr;
	words[0] = words[3];
	words[1] = words[2] = words[3] = 0;
}

/* A socket shared with its owner by another process, or one without a peer of its own: counted in
 * `conns` itself, by process and peer, so that nobody is charged for another's bytes. */
static int account_flow(struct sock *sk, __u32 pid, int len, bool sent, bool by_peer)
{
	struct conn_key key = { .cookie = bpf_get_socket_cookie(sk), .pid = pid };
	if (by_peer) {
		__u64 thread = bpf_get_current_pid_tgid();
		struct peer *p = bpf_map_lookup_elem(&peers, &thread);
		if (p && p->cookie == key.cookie) {
			key.peer_port = p->port;
			key.peer_family = p->family;
			__builtin_memcpy(key.peer_addr, p->addr, sizeof(key.peer_addr));
		}
	}
	__u64 jiffies = bpf_jiffies64();
	struct conn *known = bpf_map_lookup_elem(&conns, &key);
	if (known) {
		__sync_fetch_and_add(sent ? &known->tx : &known->rx, len);
		if (!due(&known->announced, jiffies)) {
			known->seen = jiffies;
			known->pending = 1;
			return 0;
		}
		known->pending = 0;
		known->ns_trx = bpf_ktime_get_boot_ns();
		submit(known);
		return 0;
	}
	struct conn c = { .announced = jiffies };
	fill_process(&c);
	fill_socket(&c, sk);
	if (key.peer_family) {
		if (c.family == AF_INET6 && key.peer_family == AF_INET)
			unmap(c.laddr);
		c.family = key.peer_family;
		c.rport = key.peer_port;
		__builtin_memcpy(c.raddr, key.peer_addr, sizeof(c.raddr));
	}
	c.ns = c.ns_trx = bpf_ktime_get_boot_ns();
	*(sent ? &c.tx : &c.rx) = len;
	if (bpf_map_update_elem(&conns, &key, &c, BPF_NOEXIST)) {
		/* Another thread of the process was first: its announcement stands, these bytes join it. */
		known = bpf_map_lookup_elem(&conns, &key);
		if (known) {
			__sync_fetch_and_add(sent ? &known->tx : &known->rx, len);
			known->seen = jiffies;
			known->pending = 1;
		}
		return 0;
	}
	submit(&c);
	return 0;
}

static __always_inline int account(struct sock *sk, int len, bool sent)
{
	if (len <= 0)
		return 0;
	__u16 family = sk->__sk_common.skc_family;
	if (family != AF_INET && family != AF_INET6)
		return 0;
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct sock_state *s = bpf_sk_storage_get(&sockets, sk, 0, 0);
	__u64 jiffies = bpf_jiffies64();
	if (!s) {
		bool is_udp = sk->sk_protocol == IPPROTO_UDP;
		if (is_udp && !sk->__sk_common.skc_dport)
			return account_flow(sk, pid, len, sent, true);
		struct sock_state fresh = {
			.ns = bpf_ktime_get_boot_ns(),
			.announced = jiffies - update_interval_jiffies,
			.cookie = bpf_get_socket_cookie(sk),
			.owner = pid,
			.is_udp = is_udp,
		};
		s = bpf_sk_storage_get(&sockets, sk, &fresh, BPF_SK_STORAGE_GET_F_CREATE);
		if (!s) {
			count(SOCKS_SKIPPED);
			return 0;
		}
	}
	bool by_peer = s->is_udp && !sk->__sk_common.skc_dport;
	if (by_peer || s->owner != pid)
		return account_flow(sk, pid, len, sent, by_peer);

	__sync_fetch_and_add(sent ? &s->tx : &s->rx, len);
	if (!due(&s->announced, jiffies)) {
		s->seen = jiffies;
		s->pending = 1;
		return 0;
	}
	s->pending = 0;
	struct conn c = {
		.ns = s->ns,
		.ns_trx = bpf_ktime_get_boot_ns(),
		.rx = s->rx,
		.tx = s->tx,
		.announced = jiffies,
	};
	fill_process(&c);
	fill_socket(&c, sk);
	if (c.lport)
		s->lport = c.lport;
	else
		c.lport = s->lport;
	struct conn_key key = { .cookie = c.cookie, .pid = pid };
	bpf_map_update_elem(&conns, &key, &c, BPF_ANY);
	submit(&c);
	return 0;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(send_length, struct sock *sk, int ret, int flags)
{
	return account(sk, ret, true);
}

/* A peek is read again later, and the error queue returns what was sent. */
SEC("tp_btf/sock_recv_length")
int BPF_PROG(recv_length, struct sock *sk, int ret, int flags)
{
	if (flags & (MSG_PEEK | MSG_ERRQUEUE))
		return 0;
	return account(sk, ret, false);
}

/* A closed socket has its last word: what came since its last announcement. */
SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *ctx)
{
	struct sock_state *s = bpf_sk_storage_get(&sockets, ctx, 0, 0);
	struct conn *c = s ? settle(s) : NULL;
	if (c)
		submit(c);
	return 1;
}

/* Read by the pipe one interval after the last announcement: what came since then, of live sockets … */
SEC("iter/bpf_sk_storage_map")
int pending_sockets(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock_state *s = ctx->value;
	if (!ctx->sk || !s)
		return 0;
	struct conn *c = settle(s);
	if (c) {
		s->announced = bpf_jiffies64();
		bpf_seq_write(ctx->meta->seq, c, sizeof(*c));
	}
	return 0;
}

/* … and of what is counted in `conns` itself. */
SEC("iter/bpf_map_elem")
int pending_flows(struct bpf_iter__bpf_map_elem *ctx)
{
	struct conn *c = ctx->value;
	if (!c || !c->pending)
		return 0;
	c->pending = 0;
	c->announced = bpf_jiffies64();
	advance(c, c->seen);
	bpf_seq_write(ctx->meta->seq, c, sizeof(*c));
	return 0;
}

static __always_inline void fill_peer(struct peer *p, struct bpf_sock_addr *ctx, __u16 family)
{
	p->cookie = bpf_get_socket_cookie(ctx);
	p->port = bpf_ntohs(ctx->user_port);
	p->family = family;
	__u32 *words = (__u32 *)p->addr;
	words[0] = family == AF_INET ? ctx->user_ip4 : ctx->user_ip6[0];
	words[1] = family == AF_INET ? 0 : ctx->user_ip6[1];
	words[2] = family == AF_INET ? 0 : ctx->user_ip6[2];
	words[3] = family == AF_INET ? 0 : ctx->user_ip6[3];
}

/* These run before the tracepoints above, in the same thread. A known thread's entry is written in place,
 * since nobody else touches it, and putting one into the map again costs more than twice as much. */
static __always_inline int remember_peer(struct bpf_sock_addr *ctx, __u16 family)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct peer *known = bpf_map_lookup_elem(&peers, &thread);
	if (known) {
		fill_peer(known, ctx, family);
	} else {
		struct peer p = {};
		fill_peer(&p, ctx, family);
		bpf_map_update_elem(&peers, &thread, &p, BPF_ANY);
	}
	return 1; /* let the datagram pass */
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	return remember_peer(ctx, AF_INET);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	return remember_peer(ctx, AF_INET6);
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	return remember_peer(ctx, AF_INET);
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	return remember_peer(ctx, AF_INET6);
}
