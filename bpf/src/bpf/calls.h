/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the running system call was given, where the hooks are not told. */
#pragma once

#ifdef HAS_REGISTERS
/* Buffers of one call that are looked at (UIO_FASTIOV); there are hardly ever more. */
#define BUFFERS_MAX 8

static __always_inline long room_of(const struct iovec *vector, __u64 count)
{
	long room = 0;
	for (unsigned int i = 0; i < BUFFERS_MAX && i < count; i++) {
		struct iovec buffer;
		if (bpf_probe_read_user(&buffer, sizeof(buffer), vector + i))
			return -1;
		room += buffer.len;
	}
	return count > BUFFERS_MAX ? -1 : room;
}

/* Bytes that the buffers of the running call hold, of several messages those of the first; -1 where that is not
 * known. */
static __noinline int receive_room(void)
{
	struct call call;
	if (!running_call(&call))
		return -1;
	void *arg = (void *)call.args[1];
	struct user_msghdr header = {};
	long room = -1;
	switch (call.number) {
	case SYS_READ:
	case SYS_RECVFROM:
		room = call.args[2];
		break;
	case SYS_READV:
		room = room_of(arg, call.args[2]);
		break;
	case SYS_RECVMSG:
	case SYS_RECVMMSG:
		if (!bpf_probe_read_user(&header, sizeof(header), arg))
			room = room_of(header.msg_iov, header.msg_iovlen);
		break;
	}
	return room > 0x7fffffff ? 0x7fffffff : room;
}

/* Whether the running call makes the kernel find out who sent what it receives: recvmsg() always does. */
static __noinline bool has_asked_for_sender(void)
{
	struct call call;
	if (!running_call(&call))
		return false;
	switch (call.number) {
	case SYS_RECVFROM:
		return call.args[4];
	case SYS_RECVMSG:
	case SYS_RECVMMSG:
		return true;
	}
	return false;
}
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct moved_bytes);
} moved SEC(".maps");

/* The buffers of the running call, whether it sends or receives; of several messages those of one. */
static __always_inline bool buffers_of_call(struct user_msghdr *buffers, struct iovec *one, __u32 message)
{
	struct call call;
	if (!running_call(&call))
		return false;
	void *arg = (void *)call.args[1];
	buffers->msg_iov = arg;
	buffers->msg_iovlen = call.args[2];
	switch (call.number) {
	case SYS_READ:
	case SYS_RECVFROM:
	case SYS_WRITE:
	case SYS_SENDTO:
		one->base = arg;
		one->len = call.args[2];
		buffers->msg_iov = NULL;
		buffers->msg_iovlen = 1;
		return true;
	case SYS_READV:
	case SYS_WRITEV:
		return true;
	case SYS_SENDMMSG:
		arg += message * sizeof(struct mmsghdr);
	case SYS_RECVMSG:
	case SYS_RECVMMSG:
	case SYS_SENDMSG:
		return !bpf_probe_read_user(buffers, sizeof(*buffers), arg);
	}
	return false;
}

/* Whether an address that a process passed is a connection's peer. */
static __always_inline bool is_peer(const void *address, const struct conn *c)
{
	struct sockaddr_in6 there = {};
	if (bpf_probe_read_user(&there, sizeof(struct sockaddr_in), address))
		return false;
	const __u32 *peer = (const __u32 *)c->raddr;
	if (bpf_ntohs(there.sin6_port) != c->rport)
		return false;
	if (there.sin6_family == AF_INET)
		return c->family == AF_INET && ((struct sockaddr_in *)&there)->sin_addr == peer[0];
	if (there.sin6_family != AF_INET6 || bpf_probe_read_user(&there, sizeof(there), address))
		return false;
	/* One of IPv4 that is mapped stands in the last word. */
	if (c->family == AF_INET)
		return there.sin6_addr[3] == peer[0];
	return there.sin6_addr[0] == peer[0] && there.sin6_addr[1] == peer[1] && there.sin6_addr[2] == peer[2] &&
	       there.sin6_addr[3] == peer[3];
}

/* Which of the messages of the running call is for a connection's peer; -1 where none is. Of several it is the one after
 * that of the last time, since the call itself does not tell. */
static __noinline int message_for(struct tracked *t)
{
	struct call call;
	if (!t || !running_call(&call))
		return -1;
	if (call.number != SYS_SENDMMSG)
		return 0;
	const struct mmsghdr *messages = (void *)call.args[1];
	__u32 count = call.args[2] < BUFFERS_MAX ? call.args[2] : BUFFERS_MAX;
	__u32 at = t->messages_seen < count ? t->messages_seen : 0;
	for (unsigned int i = 0; i < BUFFERS_MAX && i < count; i++, at++) {
		void *address;
		if (at >= count)
			at = 0;
		if (bpf_probe_read_user(&address, sizeof(address), &messages[at].msg_hdr.msg_name))
			return -1;
		if (!address || is_peer(address, &t->conn)) {
			t->messages_seen = at + 1;
			return at;
		}
	}
	return -1;
}

/* Which part of a stream each of several messages is, is not known. */
static __always_inline bool sends_several(void)
{
	struct call call;
	return running_call(&call) && call.number == SYS_SENDMMSG && call.args[2] > 1;
}

/* Copies the first bytes of the buffers of the running call behind what is there, so many at most with that; false
 * where they cannot be read. */
__noinline int gather(struct moved_bytes *to, __u32 behind, __u32 most, __u32 message)
{
	if (!to || most > HELLO_BYTES || behind > HELLO_BYTES)
		return false;
	struct user_msghdr buffers = {};
	struct iovec buffer = {};
	if (!buffers_of_call(&buffers, &buffer, message))
		return false;
	__u32 len = behind;
	for (unsigned int i = 0; i < BUFFERS_MAX && i < buffers.msg_iovlen && len < most; i++) {
		if (buffers.msg_iov && bpf_probe_read_user(&buffer, sizeof(buffer), buffers.msg_iov + i))
			return false;
		__u64 part = buffer.len < most - len ? buffer.len : most - len;
		if (!part)
			continue;
		/* The compiler knows that, the verifier does not. */
		asm volatile("" : "+r"(len), "+r"(part));
		if (part > HELLO_BYTES || len >= HELLO_BYTES)
			return false;
		if (bpf_probe_read_user(to->bytes + len, part, buffer.base))
			return false;
		len += part;
	}
	to->len = len;
	return true;
}
#else
static __always_inline int receive_room(void)
{
	return -1;
}

static __always_inline bool has_asked_for_sender(void)
{
	return false;
}
#endif
