// SPDX-License-Identifier: GPL-2.0-or-later
/* Counts the bytes of every IPv4 and IPv6 socket, and announces what becomes of connections.
 *
 * What is known of a connection lies in the storage of its socket: nothing can push it out, it goes with the
 * socket, and a send or recv with no update due is one lookup and one add. */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>
#include "leco.h"
#include "registers.h"
#include "headers.h"
#include "maps.h"
#include "read.h"
#include "tcp.h"
#include "announce.h"
#include "program.h"
#include "calls.h"
#include "dns.h"
#include "hello.h"
#include "listen.h"
#include "bytes.h"
#include "peers.h"
#include "raw.h"
#include "states.h"
#include "firewall.h"
#include "iterators.h"

char LICENSE[] SEC("license") = "GPL";
