/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the running system call was given, where the hooks are not told. */
#pragma once

#ifdef HAS_REGISTERS
/* Buffers of one call that are added up (UIO_FASTIOV); a datagram has hardly ever more. */
#define BUFFERS_MAX 8

static __always_inline struct pt_regs *registers(void)
{
	return (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
}

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
	struct pt_regs *regs = registers();
	void *arg = (void *)SYSCALL_ARG2(regs);
	struct user_msghdr header = {};
	long room = -1;
	switch (SYSCALL_NUMBER(regs)) {
	case SYS_READ:
	case SYS_RECVFROM:
		room = SYSCALL_ARG3(regs);
		break;
	case SYS_READV:
		room = room_of(arg, SYSCALL_ARG3(regs));
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
	struct pt_regs *regs = registers();
	switch (SYSCALL_NUMBER(regs)) {
	case SYS_RECVFROM:
		return SYSCALL_ARG5(regs);
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
