/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the running system call was given, where the hooks are not told. */
#pragma once

#ifdef HAS_REGISTERS
/* Buffers of one call that are added up (UIO_FASTIOV); a datagram has hardly ever more. */
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
