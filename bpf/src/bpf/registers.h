/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The system call that the running process is in. */
#pragma once

#ifdef HAS_REGISTERS
struct call {
	__u64 number;
	__u64 args[5];
};

#ifdef SYS_SOCKETCALL
/* Calls behind one number, with their arguments in memory (uapi linux/net.h). */
enum { SOCKETCALL_RECV = 10, SOCKETCALL_RECVFROM = 12, SOCKETCALL_RECVMSG = 17, SOCKETCALL_RECVMMSG = 19 };
enum { SOCKETCALL_SEND = 9, SOCKETCALL_SENDTO = 11, SOCKETCALL_SENDMSG = 16, SOCKETCALL_SENDMMSG = 20 };

static __always_inline bool unpack_socketcall(struct call *call)
{
	const void *args = (const void *)call->args[1];
	__u64 which = call->args[0];
	call->args[3] = call->args[4] = 0;
	switch (which) {
	case SOCKETCALL_RECV:
		call->number = SYS_RECVFROM;
		return !bpf_probe_read_user(call->args, 4 * sizeof(__u64), args);
	case SOCKETCALL_RECVFROM:
		call->number = SYS_RECVFROM;
		return !bpf_probe_read_user(call->args, 5 * sizeof(__u64), args);
	case SOCKETCALL_RECVMSG:
		call->number = SYS_RECVMSG;
		return !bpf_probe_read_user(call->args, 3 * sizeof(__u64), args);
	case SOCKETCALL_RECVMMSG:
		call->number = SYS_RECVMMSG;
		return !bpf_probe_read_user(call->args, 5 * sizeof(__u64), args);
	case SOCKETCALL_SEND:
	case SOCKETCALL_SENDTO:
		call->number = SYS_SENDTO;
		return !bpf_probe_read_user(call->args, 4 * sizeof(__u64), args);
	case SOCKETCALL_SENDMSG:
		call->number = SYS_SENDMSG;
		return !bpf_probe_read_user(call->args, 3 * sizeof(__u64), args);
	case SOCKETCALL_SENDMMSG:
		call->number = SYS_SENDMMSG;
		return !bpf_probe_read_user(call->args, 4 * sizeof(__u64), args);
	}
	return false;
}
#endif

/* Its number and arguments, the same for all ways in which one is made; false where they cannot be read. */
static __always_inline bool running_call(struct call *call)
{
	struct pt_regs *regs = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	call->number = SYSCALL_NUMBER(regs);
	call->args[0] = PT_REGS_PARM1_SYSCALL(regs);
	call->args[1] = PT_REGS_PARM2_SYSCALL(regs);
	call->args[2] = PT_REGS_PARM3_SYSCALL(regs);
	call->args[3] = PT_REGS_PARM4_SYSCALL(regs);
	call->args[4] = PT_REGS_PARM5_SYSCALL(regs);
#ifdef SYS_RECV
	if (call->number == SYS_RECV) {
		call->number = SYS_RECVFROM;
		call->args[4] = 0;
	}
	if (call->number == SYS_SEND)
		call->number = SYS_SENDTO;
#endif
#ifdef SYS_SOCKETCALL
	if (call->number == SYS_SOCKETCALL)
		return unpack_socketcall(call);
#endif
	return true;
}
#endif
