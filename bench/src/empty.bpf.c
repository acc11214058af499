/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Programs that do nothing, where LECO's count bytes: what is measured of them is the measuring itself. */
#define SEC(name) __attribute__((section(name), used))

SEC("tp_btf/sock_send_length")
int empty_send(unsigned long long *ctx)
{
	return 0;
}

SEC("tp_btf/sock_recv_length")
int empty_recv(unsigned long long *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
