/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The name of its peer that a program sends in the open when a connection begins: in the hello of TLS (RFC 8446,
 * 4.1.2), or to a proxy (RFC 9110, 9.3.6; RFC 1928). Of what else it sends nothing leaves the programs, but for the
 * first datagrams of QUIC, which only user space can open (RFC 9001, 5). */
#pragma once

/* Sends of a connection that are looked at, and receives until then. */
#define SENDS_SEEN_MAX 3
#define RECVS_SEEN_MAX 8

#ifdef HAS_REGISTERS
/* Tells which protocol it is. */
#define HEAD_BYTES 16
#define EXTENSIONS_MAX 64

#define TLS_HANDSHAKE 22
#define TLS_RECORD_HEADER 5
#define TLS_CLIENT_HELLO 1
/* Of the handshake message: its type and length, a version, random bytes; then the length of the session's id. */
#define SESSION_ID_AT 38
/* Types of extensions (RFC 6066, 3; RFC 7301, 3.1; RFC 9849). */
#define TLS_SERVER_NAME 0
#define TLS_ALPN 16
#define TLS_ENCRYPTED_CLIENT_HELLO 0xfe0d

#define QUIC_VERSION_1 1
#define QUIC_VERSION_2 0x6b3343cf

/* Where things stand in them; 0 where they are not. */
struct found {
	__u32 name_at;
	__u32 name_len;
	__u32 alpn_at;
	__u32 alpn_len;
	__u32 port;
	__u32 source; /* enum hello_source */
	__u32 has_ech;
	__u32 names;
};

static __always_inline __u32 byte_at(const struct moved_bytes *b, __u32 at)
{
	return b->bytes[at & (HELLO_BYTES - 1)];
}

static __always_inline __u32 two_bytes_at(const struct moved_bytes *b, __u32 at)
{
	return byte_at(b, at) << 8 | byte_at(b, at + 1);
}

/* One extension, which lies in these bytes whole. */
static __always_inline void look_at_extension(const struct moved_bytes *b, __u32 type, __u32 at, __u32 len,
					      struct found *f)
{
	if (type == TLS_ENCRYPTED_CLIENT_HELLO) {
		f->has_ech = true;
	} else if (type == TLS_SERVER_NAME) {
		/* A list of one host's name; there is no other kind. Of two lists nobody can say which the server takes. */
		__u32 name_len = two_bytes_at(b, at + 3);
		bool is_name = len >= 5 && two_bytes_at(b, at) + 2 == len && !byte_at(b, at + 2) &&
			       name_len <= NAME_MAX && name_len + 5 == len;
		f->name_at = at + 5;
		f->name_len = is_name && !f->names ? name_len : 0;
		f->names = 1;
	} else if (type == TLS_ALPN && len >= 3) {
		__u32 alpn_len = byte_at(b, at + 2), first = byte_at(b, at + 3);
		/* Some offer one that is none first, lest servers get used to what there is (RFC 8701). */
		if (alpn_len == 2 && len >= 6 && first == byte_at(b, at + 4) && (first & 0xf) == 0xa) {
			at += 3;
			len -= 3;
			alpn_len = byte_at(b, at + 2);
		}
		if (alpn_len <= ALPN_MAX && alpn_len + 3 <= len) {
			f->alpn_at = at + 3;
			f->alpn_len = alpn_len;
		}
	}
}

/* Whether all of the record that these bytes begin with is there, or as much of it as is looked at. */
static __always_inline bool is_whole(const struct moved_bytes *b)
{
	return b->len >= HELLO_BYTES ||
	       (b->len >= TLS_RECORD_HEADER && b->len >= TLS_RECORD_HEADER + two_bytes_at(b, 3));
}

/* A hello in one record. False where it is none, where lengths lie, or where it is cut off before a name. */
__noinline int find_in_hello(struct moved_bytes *b, struct found *f)
{
	if (!b || !f)
		return false;
	__u32 len = b->len, at = TLS_RECORD_HEADER;
	if (at + SESSION_ID_AT >= len || byte_at(b, at) != TLS_CLIENT_HELLO)
		return false;
	__u32 hello_len = byte_at(b, at + 1) << 16 | two_bytes_at(b, at + 2);
	__u32 hello_end = at + 4 + hello_len;
	/* What follows is another record, in whose header it would go on. */
	if (TLS_RECORD_HEADER + two_bytes_at(b, 3) < hello_end)
		return false;
	at += SESSION_ID_AT;
	at += 1 + byte_at(b, at);
	if (at + 2 > len)
		return false;
	at += 2 + two_bytes_at(b, at); /* ciphers */
	if (at + 1 > len)
		return false;
	at += 1 + byte_at(b, at); /* ways of compression */
	f->source = FROM_TLS;
	if (at == hello_end)
		return true;
	if (at + 2 > len)
		return false;
	__u32 end = at + 2 + two_bytes_at(b, at);
	at += 2;
	if (end != hello_end)
		return false;
	for (int i = 0; i < EXTENSIONS_MAX && at + 4 <= end && at + 4 <= len; i++) {
		__u32 type = two_bytes_at(b, at), size = two_bytes_at(b, at + 2);
		at += 4;
		if (at + size > end)
			return false;
		if (at + size > len)
			break;
		look_at_extension(b, type, at, size, f);
		at += size;
	}
	return f->name_len || at >= end;
}

/* `CONNECT host:port HTTP/1.1`: all of the target, which user space takes apart. */
__noinline int find_in_connect(struct moved_bytes *b, struct found *f)
{
	if (!b || !f)
		return false;
	__u32 len = 0;
	while (len < NAME_MAX && 8 + len < b->len && byte_at(b, 8 + len) > ' ')
		len++;
	if (8 + len >= b->len || byte_at(b, 8 + len) != ' ')
		return false;
	f->source = FROM_CONNECT;
	f->name_at = 8;
	f->name_len = len;
	return len > 0;
}

/* A greeting to a proxy of SOCKS version 5, and nothing else. */
static __always_inline bool is_socks_greeting(const struct moved_bytes *b)
{
	return b->len == 2 + byte_at(b, 1);
}

/* A request of SOCKS version 5 to connect; a client that needs no answer sends it behind its greeting. */
static __always_inline bool find_in_socks(const struct moved_bytes *b, struct found *f)
{
	__u32 at = 0, methods = byte_at(b, 1);
	if (b->len > 2 + methods && byte_at(b, 2 + methods) == 5)
		at = 2 + methods;
	if (at + 5 > b->len || byte_at(b, at + 1) != 1 || byte_at(b, at + 2))
		return false;
	__u32 kind = byte_at(b, at + 3), len = kind == 1 ? 4 : 16;
	at += 4;
	if (kind == 3)
		len = byte_at(b, at++);
	else if (kind != 1 && kind != 4)
		return false;
	if (at + len + 2 > b->len)
		return false;
	f->source = kind == 3 ? FROM_SOCKS : FROM_SOCKS_ADDRESS;
	f->name_at = at;
	f->name_len = len;
	f->port = two_bytes_at(b, at + len);
	return len > 0;
}

/* No record is reserved that would push out announcements. */
static __always_inline bool has_room(void)
{
	return bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) < ring_size / 2;
}

static __always_inline void tell_hello(const struct moved_bytes *b, const struct found *f, __u64 conn_ns)
{
	struct hello *hello = has_room() ? bpf_ringbuf_reserve(&events, sizeof(*hello), 0) : NULL;
	if (!hello) {
		COUNT(hellos_skipped);
		return;
	}
	__u64 now = bpf_ktime_get_boot_ns();
	hello->conn_ns = conn_ns;
	hello->port = f->port;
	hello->source = f->source;
	hello->has_ech = f->has_ech;
	__u32 name_len = f->name_len & 0xff, alpn_len = f->alpn_len & (ALPN_MAX * 2 - 1);
	if (alpn_len > ALPN_MAX)
		alpn_len = 0;
	hello->name_len = name_len;
	hello->alpn_len = alpn_len;
	hello->padding = 0;
	bpf_probe_read_kernel(hello->name, name_len, b->bytes + (f->name_at & (HELLO_BYTES - 1)));
	bpf_probe_read_kernel(hello->alpn, alpn_len, b->bytes + (f->alpn_at & (HELLO_BYTES - 1)));
	bpf_ringbuf_submit(hello, wakeup_flags(now));
}

/* What begins like an Initial packet of QUIC (RFC 9000, 17.2.2; RFC 9369, 3.2). */
static __always_inline bool is_quic(const struct moved_bytes *b, int len)
{
	__u32 version = two_bytes_at(b, 1) << 16 | two_bytes_at(b, 3), first = byte_at(b, 0);
	if (b->len < HEAD_BYTES || len < QUIC_DATAGRAM_MIN || (first & 0xc0) != 0xc0)
		return false;
	return version == QUIC_VERSION_1 ? !(first & 0x30) : version == QUIC_VERSION_2 && (first & 0x30) == 0x10;
}

static __always_inline bool tell_datagram(struct moved_bytes *b, __u64 conn_ns)
{
	__u32 len = b->len;
	/* Readers tell records apart by their length: of several buffers the first may hold less than was sent. */
	if (len < QUIC_DATAGRAM_MIN)
		return false;
	/* Both limits in one comparison would be too much for the verifier of Linux 6.12. */
	asm volatile("" : "+r"(len));
	if (len > HELLO_BYTES || !has_room())
		return false;
	b->conn_ns = conn_ns;
	__u64 size = __builtin_offsetof(struct moved_bytes, bytes) + (__u64)len;
	return !bpf_ringbuf_output(&events, b, size, wakeup_flags(bpf_ktime_get_boot_ns()));
}

/* Looks at a datagram, until one is none of QUIC's. */
static __noinline int look_at_datagram(struct tracked *t, int len)
{
	__u32 zero = 0;
	struct moved_bytes *b = bpf_map_lookup_elem(&moved, &zero);
	int message = len < QUIC_DATAGRAM_MIN ? -1 : message_for(t);
	if (!t || !b || message < 0 || !gather(b, 0, HEAD_BYTES, message) || !is_quic(b, len)) {
		if (t)
			t->sends_seen = SENDS_SEEN_MAX;
		return 0;
	}
	t->sends_seen++;
	if (!gather(b, 0, HELLO_BYTES, message) || !tell_datagram(b, t->conn.ns))
		COUNT(hellos_skipped);
	return 0;
}

/* What was sent of a hello before, put into `b`: so many bytes. */
static __always_inline __u32 take_cut(struct moved_bytes *b, struct tracked *t)
{
	__u64 ns = t->conn.ns;
	const struct cut *cut = bpf_map_lookup_elem(&cuts, &ns);
	if (!cut || bpf_probe_read_kernel(b, sizeof(*cut), cut))
		return 0;
	/* Nothing has taken its place meanwhile, if it is still there: an entry leaves the map before it is used anew. */
	__u64 before = __sync_fetch_and_add(&b->conn_ns, 0);
	bool is_same = before == ns && bpf_map_lookup_elem(&cuts, &ns) == cut;
	return is_same && b->len < HELLO_BYTES ? b->len : 0;
}

/* Keeps what was sent of a hello until the rest follows. */
static __always_inline bool keep_cut(struct moved_bytes *b, struct tracked *t)
{
	__u64 ns = b->conn_ns = t->conn.ns;
	t->has_cut = !bpf_map_update_elem(&cuts, &ns, b, BPF_ANY);
	return t->has_cut;
}

/* Looks at what a stream begins with. */
static __noinline int look_at_stream(struct tracked *t, int len)
{
	__u32 zero = 0, behind = 0;
	struct moved_bytes *b = bpf_map_lookup_elem(&moved, &zero);
	if (!t || !b)
		return 0;
	t->sends_seen++;
	bool had_cut = t->has_cut;
	if (had_cut) {
		behind = take_cut(b, t);
		forget_cut(t);
		if (!behind || sends_several()) {
			COUNT(hellos_skipped);
			return 0;
		}
	}
	if (!gather(b, behind, HEAD_BYTES, 0)) {
		t->sends_seen = SENDS_SEEN_MAX;
		COUNT(hellos_skipped);
		return 0;
	}
	/* Behind that stands what another process sent. */
	__u32 sent = behind + (__u32)len, held = b->len < sent ? b->len : sent;
	__u32 first = held > 0 ? byte_at(b, 0) : 0, second = held > 1 ? byte_at(b, 1) : 0;
	bool is_tls = first == TLS_HANDSHAKE && (held == 1 || second == 3);
	bool is_connect = held >= 8 && first == 'C' && second == 'O' && two_bytes_at(b, 2) == ('N' << 8 | 'N') &&
			  two_bytes_at(b, 4) == ('E' << 8 | 'C') && two_bytes_at(b, 6) == ('T' << 8 | ' ');
	bool is_socks = first == 5;
	if (!is_tls && !is_connect && !is_socks)
		return 0;
	struct found found = {};
	if (!gather(b, behind, HELLO_BYTES, 0)) {
		COUNT(hellos_skipped);
		return 0;
	}
	if (b->len > sent)
		b->len = sent;
	if (is_tls && b->len == sent && !is_whole(b) && t->sends_seen < SENDS_SEEN_MAX && keep_cut(b, t))
		return 0;
	bool has_found;
	if (is_socks)
		has_found = find_in_socks(b, &found);
	else if (is_connect)
		has_found = find_in_connect(b, &found);
	else
		has_found = find_in_hello(b, &found);
	/* The request to a SOCKS server follows its greeting; what follows the request is for another. */
	if (has_found || !is_socks || !is_socks_greeting(b))
		t->sends_seen = SENDS_SEEN_MAX;
	if (has_found && (found.name_len || found.alpn_len || found.has_ech))
		tell_hello(b, &found, t->conn.ns);
	else if (!has_found && !is_socks)
		COUNT(hellos_skipped);
	return 0;
}

/* Whether a connection is at its begin, and its process may name its peer yet. */
static __always_inline bool is_at_begin(const struct tracked *t)
{
	return reads_hellos && t->sends_seen < SENDS_SEEN_MAX && t->recvs_seen < RECVS_SEEN_MAX &&
	       direction_of(&t->conn) == OUTGOING && !t->is_older;
}

/* Looks at a call that has been counted: of what it sends the connection is told before its name. */
static __always_inline void look_at_begin(struct tracked *t, __u16 protocol, int len, bool was_sent)
{
	if (!was_sent)
		t->recvs_seen++;
	else if (protocol == IPPROTO_UDP)
		look_at_datagram(t, len);
	else
		look_at_stream(t, len);
}
#else
static __always_inline bool is_at_begin(const struct tracked *t)
{
	return false;
}

static __always_inline void look_at_begin(struct tracked *t, __u16 protocol, int len, bool was_sent)
{
}
#endif
