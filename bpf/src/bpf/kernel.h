/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The few kernel types LECO reads, by field name: CO-RE relocates each access to the running kernel's
 * layout, so a field may move and these stay right. */
#pragma once

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;

typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)
/* Keeps what is rare out of the cache lines of what is frequent. */
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)
/* For words that other processors read or write at the same time. */
#define READ_ONCE(word) (*(const volatile __typeof__(word) *)&(word))
#define WRITE_ONCE(word, value) (*(volatile __typeof__(word) *)&(word) = (value))

enum bpf_map_type {
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_SK_STORAGE = 24,
	BPF_MAP_TYPE_RINGBUF = 27,
};

enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_F_NO_PREALLOC = 1,
	BPF_F_CLONE = 1 << 9,
	BPF_SK_STORAGE_GET_F_CREATE = 1,
	BPF_RB_AVAIL_DATA = 0,
	BPF_RB_NO_WAKEUP = 1,
	BPF_RB_FORCE_WAKEUP = 2,
};

enum {
	AF_INET = 2,
	AF_INET6 = 10,
	AF_PACKET = 17,
	IPPROTO_TCP = 6,
	IPPROTO_UDP = 17,
	IPPROTO_MPTCP = 262,
	SOCK_DGRAM = 2,
	SOCK_RAW = 3,
	MSG_PEEK = 0x2,
	MSG_TRUNC = 0x20,
	MSG_ERRQUEUE = 0x2000,
	SOCK_BINDPORT_LOCK = 8, /* of sk_userlocks: include/net/sock.h */
	EPERM = 1,
	EPIPE = 32,
	ENETUNREACH = 101,
	ECONNRESET = 104,
	ETIMEDOUT = 110,
	ECONNREFUSED = 111,
	EHOSTUNREACH = 113,
	/* include/net/tcp_states.h; SCTP and DCCP use the same numbers. */
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT = 2,
	TCP_SYN_RECV = 3,
	TCP_FIN_WAIT1 = 4,
	TCP_FIN_WAIT2 = 5,
	TCP_TIME_WAIT = 6,
	TCP_CLOSE = 7,
	TCP_CLOSE_WAIT = 8,
	TCP_LAST_ACK = 9,
	TCP_LISTEN = 10,
	TCP_CLOSING = 11,
	/* uapi linux/rtnetlink.h and linux/ipv6_route.h: the packet is for this machine. */
	RTN_LOCAL = 2,
	RTF_LOCAL = 0x80000000,
};

/* Where the value is the running kernel's: bpf_core_enum_value. */
enum skb_drop_reason {
	SKB_DROP_REASON_NETFILTER_DROP = 12,
};
enum sock_flags {
	SOCK_DONE = 1,
};

/* Socket addresses as processes pass them (uapi linux/in.h, linux/in6.h). */
struct sockaddr_in {
	__u16 sin_family;
	__be16 sin_port;
	__be32 sin_addr;
};

struct sockaddr_in6 {
	__u16 sin6_family;
	__be16 sin6_port;
	__be32 sin6_flowinfo;
	__be32 sin6_addr[4];
};

/* Registers of a process in a system call, or where a kprobe finds them (uapi asm/ptrace.h), under the names that
 * bpf_tracing.h reads them by, and numbers of system calls (asm/unistd.h). A number that the kernel itself keeps
 * beside the registers is not uapi, so its place is relocated. */
#if defined(__TARGET_ARCH_x86)
#define HAS_REGISTERS
struct pt_regs {
	unsigned long r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax;
};
#define SYSCALL_NUMBER(regs) ((regs)->orig_rax)
enum { SYS_READ = 0, SYS_READV = 19, SYS_RECVFROM = 45, SYS_RECVMSG = 47, SYS_RECVMMSG = 299 };
enum { SYS_WRITE = 1, SYS_WRITEV = 20, SYS_SENDTO = 44, SYS_SENDMSG = 46, SYS_SENDMMSG = 307 };
#elif defined(__TARGET_ARCH_arm64)
#define HAS_REGISTERS
struct user_pt_regs {
	__u64 regs[31];
	__u64 sp;
	__u64 pc;
	__u64 pstate;
};
struct pt_regs {
	struct user_pt_regs user_regs;
};
struct pt_regs___number {
	__s32 syscallno;
} __attribute__((preserve_access_index));
#define SYSCALL_NUMBER(regs) (((const struct pt_regs___number *)(regs))->syscallno)
enum { SYS_READ = 63, SYS_READV = 65, SYS_RECVFROM = 207, SYS_RECVMSG = 212, SYS_RECVMMSG = 243 };
enum { SYS_WRITE = 64, SYS_WRITEV = 66, SYS_SENDTO = 206, SYS_SENDMSG = 211, SYS_SENDMMSG = 269 };
#elif defined(__TARGET_ARCH_riscv)
#define HAS_REGISTERS
struct user_regs_struct {
	unsigned long pc, ra, sp, gp, tp, t0, t1, t2, s0, s1, a0, a1, a2, a3, a4, a5, a6, a7;
};
struct pt_regs {
	struct user_regs_struct user_regs;
};
#define SYSCALL_NUMBER(regs) ((regs)->user_regs.a7)
enum { SYS_READ = 63, SYS_READV = 65, SYS_RECVFROM = 207, SYS_RECVMSG = 212, SYS_RECVMMSG = 243 };
enum { SYS_WRITE = 64, SYS_WRITEV = 66, SYS_SENDTO = 206, SYS_SENDMSG = 211, SYS_SENDMMSG = 269 };
#elif defined(__TARGET_ARCH_s390)
#define HAS_REGISTERS
typedef struct {
	unsigned long args[1];
	struct {
		unsigned long mask, addr;
	} psw;
	unsigned long gprs[16];
} user_pt_regs;
struct pt_regs {
	user_pt_regs user_regs;
};
/* Interruption code and instruction length above the number, also of a call by number in a register (svc 0). */
struct pt_regs___number {
	unsigned int int_code;
} __attribute__((preserve_access_index));
#define SYSCALL_NUMBER(regs) (((const struct pt_regs___number *)(regs))->int_code & 0xffff)
enum { SYS_READ = 3, SYS_READV = 145, SYS_RECVFROM = 371, SYS_RECVMSG = 372, SYS_RECVMMSG = 357 };
enum { SYS_WRITE = 4, SYS_WRITEV = 146, SYS_SENDTO = 369, SYS_SENDMSG = 370, SYS_SENDMMSG = 358 };
/* What C libraries use that also run on kernels before 4.3. */
#define SYS_SOCKETCALL 102
#elif defined(__TARGET_ARCH_powerpc)
#define HAS_REGISTERS
struct pt_regs {
	unsigned long gpr[32];
	unsigned long nip, msr, orig_gpr3, ctr, link;
};
#define SYSCALL_NUMBER(regs) ((regs)->gpr[0])
enum { SYS_READ = 3, SYS_READV = 145, SYS_RECVFROM = 337, SYS_RECVMSG = 342, SYS_RECVMMSG = 343 };
enum { SYS_WRITE = 4, SYS_WRITEV = 146, SYS_SENDTO = 335, SYS_SENDMSG = 341, SYS_SENDMMSG = 349 };
#define SYS_RECV 336
#define SYS_SEND 334
#define SYS_SOCKETCALL 102
#endif

struct iovec {
	void *base;
	__u64 len;
};

struct user_msghdr {
	void *msg_name;
	int msg_namelen;
	struct iovec *msg_iov;
	__u64 msg_iovlen;
	void *msg_control;
	__u64 msg_controllen;
	unsigned int msg_flags;
};

struct mmsghdr {
	struct user_msghdr msg_hdr;
	unsigned int msg_len;
};

/* Stable contexts (uapi linux/bpf.h): no relocation needed. */
struct bpf_sock {
	__u32 bound_dev_if;
	__u32 family;
	__u32 type;
	__u32 protocol;
};

struct bpf_sock_addr {
	__u32 user_family;
	__u32 user_ip4;
	__u32 user_ip6[4];
	__u32 user_port;
	__u32 family;
	__u32 type;
	__u32 protocol;
	__u32 msg_src_ip4;
	__u32 msg_src_ip6[4];
	struct bpf_sock *sk __attribute__((aligned(8)));
};

struct __sk_buff {
	__u32 before_sk[42];
	struct bpf_sock *sk __attribute__((aligned(8)));
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct in6_addr {
	union {
		__u8 u6_addr8[16];
		__be32 u6_addr32[4];
	} in6_u;
};

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	unsigned long skc_flags;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	possible_net_t skc_net;
};

typedef struct {
	long counter;
} atomic_long_t;

/* Since Linux 6.13; the first reference counts as 0. */
typedef struct {
	atomic_long_t refcnt;
} file_ref_t;

struct qstr {
	const unsigned char *name;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
};

struct vfsmount {
	struct dentry *mnt_root;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct file {
	file_ref_t f_ref;
	struct path f_path;
};

/* Before. */
struct file___counted {
	atomic_long_t f_count;
};

struct sock;

struct socket {
	struct file *file;
	struct sock *sk;
};

struct net_device {
	char name[16];
};

struct dst_entry {
	struct net_device *dev;
};

struct sock {
	struct sock_common __sk_common;
	struct socket *sk_socket;
	struct dst_entry *sk_dst_cache;
	__u8 sk_userlocks : 4;
	__u16 sk_type;
	__u16 sk_protocol;
	int sk_err;
};

struct packet_type {
	struct net_device *dev;
};

struct packet_sock {
	struct packet_type prot_hook;
};

struct flowi6 {
	struct in6_addr daddr;
};

struct flowi {
	union {
		struct flowi6 ip6;
	} u;
};

struct inet_cork_full {
	struct flowi fl;
};

struct inet_sock {
	struct inet_cork_full cork;
};

struct inet_connection_sock {
	const void *icsk_ulp_ops;
};

struct tcp_sock {
	__u32 rcv_nxt;
	__u32 copied_seq;
	__u32 write_seq;
	__u32 snd_nxt;
	__u64 bytes_received;
	__u64 bytes_sent;
	__u64 bytes_retrans;
	__u32 srtt_us; /* in eighths of a microsecond */
	__u32 total_retrans;
	__u32 snd_cwnd;
	bool is_mptcp;
};

struct kernfs_node {
	__u64 id;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

typedef struct {
	__u32 val;
} kuid_t;

struct user_namespace {
	int level;
};

struct cred {
	kuid_t euid;
	struct user_namespace *user_ns;
};

typedef struct {
	int counter;
} atomic_t;

struct signal_struct {
	atomic_t live;
};

struct mm_struct {
	struct file *exe_file;
};

struct task_struct {
	int tgid;
	struct task_struct *group_leader;
	struct task_struct *real_parent;
	struct mm_struct *mm;
	__u64 self_exec_id;
	struct signal_struct *signal;
	const struct cred *cred;
	struct css_set *cgroups;
	__u64 start_boottime;
	char comm[16];
};

struct rtable {
	__u16 rt_type;
};

struct rt6_info {
	__u32 rt6i_flags;
};

struct iphdr {
	__u8 protocol;
	__be32 saddr;
};

struct sk_buff {
	struct sock *sk;
	unsigned long _skb_refdst;
	__be16 protocol;
	__u16 transport_header;
	__u16 network_header;
	unsigned char *head;
	unsigned char *data;
	int skb_iif;
};

struct msghdr {
	void *msg_name;
};

struct trace_event_raw_sock_msg_length {
	const void *sk;
	int ret;
	int flags;
};

struct trace_event_raw_inet_sock_set_state {
	const void *skaddr;
	int oldstate;
	int newstate;
};

struct bpf_map;
struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	void *value;
};

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	void *value;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

#pragma clang attribute pop
