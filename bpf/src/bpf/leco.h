/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What crosses from the kernel to user space, mirrored by bpf/src/read/record.rs and messages.rs, which assert the
 * layout; and what maps hold that another version of the programs takes over, if this file is the same but for its
 * comments. */
#pragma once

/* Which end opened the connection. */
enum direction {
	OUTGOING,
	INCOMING,
	LISTENING, /* none yet: a socket waits for others to open some */
};

/* How a connection stands, or how it ended. */
enum state {
	OPEN,
	CONNECTING,  /* waits for the peer's answer */
	CLOSED,      /* by its process, in good order */
	REFUSED,     /* nobody listens there */
	RESET,       /* the peer broke it off */
	TIMED_OUT,   /* the peer stopped answering, or never did */
	UNREACHABLE, /* a router or the peer's host says that there is no way */
	UNANSWERED,  /* the process gave up before the peer answered */
	BLOCKED,     /* a firewall of this machine drops its packets */
};

/* One connection: a record of the `events` ring and of the iterators. */
struct conn {
	__u64 rx;       /* bytes, as recv returned them; in a record: or as TCP handed them over, if more */
	__u64 tx;       /* bytes, as send returned them */
	__u64 ns;       /* CLOCK_BOOTTIME of the first event: the key of a connection on the wire */
	__u64 ns_trx;   /* CLOCK_BOOTTIME of the latest */
	__u64 cgroup;   /* id of the cgroup2 folder: its inode number */
	__u64 started;  /* CLOCK_BOOTTIME of the process's start: tells it from a later one with its pid */
	__u64 socket;   /* cookie of a socket over which there are several connections, else 0 */
	__u8 laddr[16]; /* IPv4 in the first four bytes */
	__u8 raddr[16];
	__u32 pid;   /* thread group; 0: no process is known */
	__u32 uid;   /* effective */
	__u16 lport; /* host byte order */
	__u16 rport;
	__u16 protocol; /* IPPROTO_* */
	__u8 family;    /* AF_INET, AF_INET6; AF_PACKET, which has neither addresses nor ports */
	__u8 state_dir; /* enum state in the low half, enum direction above */
	char comm[16];  /* of the thread group's leader; any bytes */
	__u32 srtt_us;  /* TCP's smoothed round-trip time; 0: none was measured, as in what follows */
	__u32 retrans;  /* segments that TCP sent again */
	__u32 cwnd;     /* segments that TCP may have under way */
	__u8 tcp_state; /* TCP_* */
	__u8 padding;
	__u16 exec;     /* tells what the process runs from what it ran before: a count */
	char iface[16]; /* of the socket's route, or that it is bound to, in its network namespace; any bytes */
};

/* Readers copy a slot while it may be written: `check` tells whether all parts of a copy belong together, in
 * whatever order a processor copies them. */
struct closed_slot {
	__u64 number;     /* of the connection among all that were closed, from 1; 0: never used */
	struct conn conn; /* conn.ns is 0 where only conn.socket counts: all connections over it have ended */
	__u64 check;
};

/* Several connections have ended at once: those over a socket, or the parts that a process had in sockets which
 * other processes still use. A record of the `events` ring. */
struct ending {
	__u64 ns;      /* CLOCK_BOOTTIME */
	__u64 socket;  /* as in struct conn; 0: a process has ended */
	__u64 started; /* of that process, as in struct conn */
	__u32 pid;
	__u32 padding;
};
/* The skeleton, which record.rs compares itself with, knows only what a map holds. */
_Static_assert(sizeof(struct ending) == 32, "not as record.rs reads it");

/* A peer's address; IPv4 in the first word, the others zero. Family 0: none is known. */
struct peer {
	__u16 family;
	__u16 port; /* host byte order */
	__u32 addr[4];
};

/* What makes the fast path look twice, at sockets that may change their peer: TCP's state tells if one does. */
enum caution {
	COMPARE_PEER = 1,
	COMPARE_V6 = 2, /* the peer is told by its IPv6 address alone */
	ASK_SENDER = 4, /* anybody may have sent what is received */
};

/* What is counted about a socket, or about one of several flows over it: the value of `sockets` and `flows`.
 * What a send or recv touches, up to conn.tx, lies in the cache line that finding it has touched already: the
 * kernel puts 8 bytes of its own in front (struct bpf_local_storage_data). */
struct tracked {
	__u32 owner;   /* process whose bytes belong here without a further question; 0: ask */
	__u32 daddr;   /* the socket's own peer when counting began: it may connect again */
	__u32 pending; /* bytes came since the last announcement */
	__u16 dport;
	__u8 listening;
	__u8 shared;      /* another process uses the socket, too */
	__u64 announced;  /* jiffies */
	__u64 seen;       /* jiffies of the latest bytes that were not announced */
	__u32 addressed;  /* thread that is receiving from `peer` right now, and has asked who it is */
	__u8 provisional; /* the process is a guess until one uses the socket */
	__u8 released;    /* closed by its processes */
	union {
		struct {
			__u8 caution; /* enum caution */
			__u8 many_peers;
		};
		__u16 is_special; /* any of these two, in one look */
	};
	struct conn conn; /* conn.ns is 0 until it is announced */
	__u64 read;       /* bytes that TCP says it handed over, by whatever call */
	__u64 written;    /* bytes that TCP says it took; 0 unless `is_older` */
	__u32 read_base;  /* sequence numbers of the first bytes */
	__u32 written_base;
	__u32 claimed;    /* a thread has found the first peer of a socket that has none of its own */
	struct peer peer; /* the socket's own, or that one */
	__u8 kept;        /* in `closed`, as it ended */
	__u8 has_base;
	__u8 is_older;      /* than the programs */
	__u8 sends_seen;    /* in which a name was looked for */
	__u8 recvs_seen;    /* before that came to an end */
	__u8 has_cut;       /* the begin of a hello is in `cuts` */
	__u8 messages_seen; /* of a call that sends several */
	__u8 padding[1];
};

/* How far a socket has come that others may connect or send to. */
enum stage {
	IS_NONE,
	IS_BOUND, /* it may be a client's: told to nobody yet */
	IS_LISTENING,
	IS_OVER,
};

/* A socket that waits for others: the value of `listening`. */
struct listening {
	__u32 stage; /* enum stage */
	__u32 padding;
	__u64 since;      /* jiffies of its bind() or listen() */
	struct conn conn; /* without a peer */
};

/* Key of `flows`. A peer of family 0 is not known. */
struct flow_key {
	__u64 cookie;
	__u32 pid;
	struct peer peer;
};

/* Where a thread's latest datagram went to or came from, over a socket with many peers. */
struct thread_peer {
	__u64 thread; /* its ids: an entry may have become another thread's while it is written */
	__u64 cookie; /* a raw socket's address */
	struct peer peer;
	__u32 is_fresh; /* noted in the call that is running */
};

/* Key of `programs`. */
struct program_key {
	__u64 started; /* as in struct conn */
	__u32 pid;
	__u16 exec;
	__u16 padding;
};

#define PROGRAM_PARENTS 6
/* A name that begins within so many bytes is kept, up to so many bytes of it with the NUL. */
#define PATH_BYTES 256
#define PATH_NAME_BYTES 128

/* What a process ran when it first had to do with a connection, and who had started it. */
struct program {
	__u32 path_len; /* bytes of `path` that count */
	__u8 is_whole;  /* else it is being written */
	__u8 is_cut;    /* the path is longer */
	__u8 parent_count;
	__u8 padding;
	char parents[PROGRAM_PARENTS][16];       /* names, the nearest first; any bytes */
	char path[PATH_BYTES + PATH_NAME_BYTES]; /* names, the file's first, each with a NUL behind it; any bytes */
};

/* An answer of a name server that a process received: a record of the `events` ring. */
#define DNS_MAX 512
struct dns_answer {
	__u64 ns;            /* CLOCK_BOOTTIME */
	__u64 started;       /* CLOCK_BOOTTIME of the start of the process that received it */
	__u64 cgroup;        /* id of its cgroup2 folder */
	__u32 pid;           /* thread group */
	__u32 uid;           /* effective */
	__u16 len;           /* bytes of `payload` that count */
	__u16 full_len;      /* of the answer, as it was received */
	__u8 protocol;       /* IPPROTO_*; over TCP the length of a message goes before it */
	__u8 is_multicast;   /* by multicast DNS, where any host may answer */
	__u16 user_ns_level; /* 0: the initial user namespace, where uid means what it says */
	__u8 payload[DNS_MAX];
};
/* The skeleton, which messages.rs cannot compare itself with, knows only what a map holds. */
_Static_assert(sizeof(struct dns_answer) == 552 && __builtin_offsetof(struct dns_answer, payload) == 40,
	       "not as messages.rs reads it");

/* Whose word a name is. */
enum hello_source {
	FROM_TLS,
	FROM_CONNECT,       /* a request to an HTTP proxy */
	FROM_SOCKS,         /* one to a proxy of SOCKS version 5 */
	FROM_SOCKS_ADDRESS, /* the same, to an address, of which the name is the 4 or 16 bytes */
};

/* Bytes that are looked at of what a connection begins with. */
#define HELLO_BYTES 4096
#define NAME_MAX 255
#define ALPN_MAX 32

/* Whom a process said that it connects to: a record of the `events` ring. */
struct hello {
	__u64 conn_ns; /* conn.ns of the connection */
	__u16 port;    /* host byte order; behind a proxy of SOCKS */
	__u8 source;   /* enum hello_source */
	__u8 has_ech;  /* the name may be a cover for another one */
	__u8 name_len;
	__u8 alpn_len;
	__u16 padding;
	__u8 alpn[ALPN_MAX]; /* the first protocol that it offers */
	__u8 name[NAME_MAX + 1];
};
/* The skeleton, which messages.rs cannot compare itself with, knows only what a map holds. */
_Static_assert(sizeof(struct hello) == 304 && __builtin_offsetof(struct hello, name) == 48,
	       "not as messages.rs reads it");

/* Initial packets of QUIC fill datagrams of this length at least (RFC 9000, 14.1). */
#define QUIC_DATAGRAM_MIN 1200
/* What a process sends, or has received, in one piece. Of what begins like an Initial packet of QUIC it is, up to `len` bytes, a record of
 * the `events` ring: one datagram, or several that are sent in one call. */
struct moved_bytes {
	__u64 conn_ns; /* conn.ns of the connection */
	__u32 len;     /* bytes that count */
	__u32 padding;
	/* Behind the first half there is room for one more read of as much. */
	__u8 bytes[2 * HELLO_BYTES];
};

/* What loaded programs are known by, to those of another version that take their place: so it never changes. */
struct loaded {
	char magic[8];      /* LOADED_MAGIC */
	__u32 is_counting;  /* 0: another set of programs counts, or will */
	char identity[244]; /* text for the loader */
};
#define LOADED_MAGIC "LECO\0\0\0\1"

/* `stats`: one value, index 0. */
struct stats {
	__u64 ring_dropped;       /* announcements that found the ring full */
	__u64 socks_skipped;      /* sockets whose storage could not be allocated */
	__u64 flows_added;        /* to `flows`, which forgets the least recently used */
	__u64 closed_added;       /* to `closed`, which forgets the oldest */
	__u64 blocked_skipped;    /* packets dropped on their way in that came too fast to be told one by one */
	__u64 dns_skipped;        /* answers not copied: the ring was full, or their page not there */
	__u64 hellos_skipped;     /* not read: the ring was full, their page not there, or their call not known */
	__u64 update_interval_ns; /* as loaded, for the reader's timer */
	__u64 reads_hellos;       /* as loaded: else nobody waits for names */
};
