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

/* The buffers of the running call, whether it sends or receives; of several messages those of the first. */
static __always_inline bool buffers_of_call(struct user_msghdr *buffers, struct iovec *one)
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
	case SYS_RECVMSG:
	case SYS_RECVMMSG:
	case SYS_SENDMSG:
	case SYS_SENDMMSG:
		if (bpf_probe_read_user(buffers, sizeof(*buffers), arg))
			return false;
		/* Which of several messages it is, is not known: they may be for different peers. */
		return call.number != SYS_SENDMMSG || call.args[2] == 1 || !buffers->msg_name;
	}
	return false;
}

/* Copies the first bytes, so many at most, of the buffers of the running call; false where they cannot be read. */
__noinline int gather(struct moved_bytes *to, __u32 most)
{
	if (!to || most > HELLO_BYTES)
		return false;
	struct user_msghdr buffers = {};
	struct iovec buffer = {};
	if (!buffers_of_call(&buffers, &buffer))
		return false;
	__u32 len = 0;
	for (unsigned int i = 0; i < BUFFERS_MAX && i < buffers.msg_iovlen && len < most; i++) {
		if (buffers.msg_iov && bpf_probe_read_user(&buffer, sizeof(buffer), buffers.msg_iov + i))
			return false;
		__u64 part = buffer.len < most - len ? buffer.len : most - len;
		if (!part)
			continue;
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
