/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How memory of the kernel is read. */
#pragma once

/* A read through such a pointer needs no helper, which costs more than the read itself; what cannot be read
 * is zero. */
void *bpf_rdonly_cast(const void *, __u32) __ksym;
#define READABLE(type, pointer) ((const type *)bpf_rdonly_cast(pointer, bpf_core_type_id_kernel(type)))
