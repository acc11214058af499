/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a process runs and who started it, as it was when it first had to do with a connection: kept when it has ended
 * or executed something else. Once a process, never where bytes are moved. */
#pragma once

/* Far more folders and mounts than paths of programs have. */
#define PATH_STEPS 32

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct program_key);
	__type(value, struct program);
} programs SEC(".maps");

/* What an entry begins as: too large for a stack. */
static const struct program nothing_known;

static __always_inline const struct mount *mount_of(const struct vfsmount *mnt)
{
	return READABLE(struct mount, (const char *)mnt - bpf_core_field_offset(struct mount, mnt));
}

struct path_walk {
	struct program *p;
	const struct dentry *dentry;
	const struct mount *mount;
};

static long note_step(__u32 step, struct path_walk *walk)
{
	const struct dentry *dentry = walk->dentry;
	const struct mount *mount = walk->mount;
	struct program *p = walk->p;
	const struct dentry *folder = dentry->d_parent;
	if (!dentry || dentry == mount->mnt.mnt_root || dentry == folder) {
		const struct mount *above = mount->mnt_parent;
		if (!dentry || !above || above == mount) {
			p->is_cut = 0;
			return 1;
		}
		walk->dentry = mount->mnt_mountpoint;
		walk->mount = above;
		return 0;
	}
	__u32 at = READ_ONCE(p->path_len);
	if (at >= PATH_BYTES)
		return 1;
	long length = bpf_probe_read_kernel_str(&p->path[at], PATH_NAME_BYTES, dentry->d_name.name);
	if (length <= 0)
		return 1;
	WRITE_ONCE(p->path_len, at + length);
	walk->dentry = folder;
	return 0;
}

/* Names of its folders and its own, the last one first: as the process that executed it sees it, but for chroot(2). Of a
 * loop of C, and of a length that it knows, the verifier would follow every turn, for seconds. */
static __always_inline void note_path(struct program *p, const struct path *path)
{
	struct path_walk walk = { .p = p, .dentry = path->dentry, .mount = mount_of(path->mnt) };
	p->is_cut = 1;
	bpf_loop(PATH_STEPS, note_step, &walk, 0);
}

static __noinline int note_program(const void *process)
{
	const struct task_struct *task = READABLE(struct task_struct, process);
	struct program_key key = { .started = task->group_leader->start_boottime,
				   .pid = task->tgid,
				   .exec = (__u16)task->self_exec_id };
	if (bpf_map_lookup_elem(&programs, &key) || bpf_map_update_elem(&programs, &key, &nothing_known, BPF_NOEXIST))
		return 0;
	struct program *p = bpf_map_lookup_elem(&programs, &key);
	if (!p)
		return 0;
	const struct file *file = task->mm->exe_file;
	if (file)
		note_path(p, READABLE(struct path, &file->f_path));
	int count = 0;
	for (; count < PROGRAM_PARENTS; count++) {
		task = task->real_parent->group_leader;
		if (!task || !task->tgid)
			break;
		__u64 *to = (__u64 *)p->parents[count];
		const __u64 *comm = (const __u64 *)task->comm;
		to[0] = comm[0];
		to[1] = comm[1];
	}
	p->parent_count = count;
	WRITE_ONCE(p->is_whole, 1);
	return 0;
}

/* The process that was noted last, which is often the next one, too: finding it in the map costs more than the rest. */
__u64 last_program;

/* Whose the connection is. */
static __always_inline void identify_process(struct conn *c)
{
	fill_current_process(c);
	__u64 id = c->started ^ (__u64)c->pid << 32 ^ (__u64)c->exec << 16;
	if (READ_ONCE(last_program) == id)
		return;
	note_program(bpf_get_current_task_btf());
	WRITE_ONCE(last_program, id);
}
