// SPDX-License-Identifier: GPL-3.0-or-later
//! A thread of another process, made to make system calls as whoever took the process over would make them
//! (ptrace(2)).

#![allow(unsafe_code)]

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Registers as `NT_PRSTATUS` has them, and instructions, of a processor.
#[cfg(target_arch = "x86_64")]
mod processor {
    pub(super) const REGISTERS: usize = 27;
    /// Number, arguments, result, program counter, stack pointer; and the number of the call that was interrupted.
    pub(super) const NUMBER: usize = 10;
    pub(super) const ARGUMENTS: [usize; 6] = [14, 13, 12, 7, 9, 8];
    pub(super) const RESULT: usize = 10;
    pub(super) const PROGRAM_COUNTER: usize = 16;
    pub(super) const STACK: usize = 19;
    pub(super) const INTERRUPTED: Option<usize> = Some(15);
    /// `syscall`, and `int 0x80` behind it.
    pub(super) const CODE: &[u8] = &[0x0F, 0x05, 0xCD, 0x80];
    pub(super) const FOREIGN: Option<u64> = Some(2);
}
/// See above.
#[cfg(target_arch = "aarch64")]
mod processor {
    pub(super) const REGISTERS: usize = 34;
    pub(super) const NUMBER: usize = 8;
    pub(super) const ARGUMENTS: [usize; 6] = [0, 1, 2, 3, 4, 5];
    pub(super) const RESULT: usize = 0;
    pub(super) const PROGRAM_COUNTER: usize = 32;
    pub(super) const STACK: usize = 31;
    pub(super) const INTERRUPTED: Option<usize> = None;
    /// `svc #0`.
    pub(super) const CODE: &[u8] = &[0x01, 0x00, 0x00, 0xD4];
    pub(super) const FOREIGN: Option<u64> = None;
}
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod processor {
    pub(super) const REGISTERS: usize = 0;
    pub(super) const NUMBER: usize = 0;
    pub(super) const ARGUMENTS: [usize; 6] = [0; 6];
    pub(super) const RESULT: usize = 0;
    pub(super) const PROGRAM_COUNTER: usize = 0;
    pub(super) const STACK: usize = 0;
    pub(super) const INTERRUPTED: Option<usize> = None;
    pub(super) const CODE: &[u8] = &[];
    pub(super) const FOREIGN: Option<u64> = None;
}

type Registers = [u64; processor::REGISTERS];

/// Whether threads can be taken over on this processor.
pub const IS_POSSIBLE: bool = processor::REGISTERS > 0;
/// Below the stack's end is what the ABI lets functions use without telling.
const SCRATCH: u64 = 1024;
/// The kernel's uapi/linux/auxvec.h: where the program began, which nothing runs again.
const AT_ENTRY: u64 = 9;

/// A thread that makes the calls it is told to, until it is dropped: that ends its process.
#[derive(Debug)]
pub struct Hijacked {
    tid: libc::pid_t,
    memory: File,
    entry: u64,
    registers: Registers,
    is_first: bool,
    has_ended: Cell<bool>,
}

/// What came of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// What it returned.
    Returned(i64),
    /// The error number.
    Failed(i32),
    /// A signal of this number stopped or ended the process.
    Signalled(i32),
}

impl Hijacked {
    /// Takes a thread over; `None` if it has ended.
    ///
    /// # Panics
    /// When it may not be traced, or its process is gone.
    #[must_use]
    pub fn new(pid: u32, tid: u32) -> Option<Self> {
        let memory = OpenOptions::new().read(true).write(true).open(format!("/proc/{pid}/mem"));
        let memory = memory.unwrap_or_else(|error| panic!("memory of {pid}: {error}"));
        let mut hijacked = Self {
            tid: tid.cast_signed(),
            memory,
            entry: entry_of(pid),
            registers: [0; processor::REGISTERS],
            is_first: pid == tid,
            has_ended: Cell::new(false),
        };
        let options = usize::try_from(libc::PTRACE_O_EXITKILL).unwrap_or(0);
        for (request, data) in [(libc::PTRACE_SEIZE, options), (libc::PTRACE_INTERRUPT, 0)] {
            match hijacked.try_ptrace(request, 0, data) {
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                    hijacked.has_ended.set(true);
                    return None;
                }
                // A thread that is about to end may not be traced any more (ptrace_attach() of the kernel).
                Err(error) if error.raw_os_error() == Some(libc::EPERM) && pid != tid => {
                    let task = format!("/proc/{pid}/task/{tid}");
                    let is_gone = || (!Path::new(&task).exists()).then_some(());
                    crate::wait_or_explain(|| format!("{tid} to end, which may not be traced"), is_gone);
                    hijacked.has_ended.set(true);
                    return None;
                }
                result => result.unwrap_or_else(|error| panic!("cannot trace {tid}: {error}")),
            }
        }
        if !libc::WIFSTOPPED(hijacked.wait()) {
            hijacked.has_ended.set(true);
            return None;
        }
        hijacked.registers = hijacked.read_registers();
        hijacked.write(hijacked.entry, processor::CODE);
        Some(hijacked)
    }

    /// Makes a system call.
    ///
    /// # Panics
    /// When the process is gone.
    #[must_use]
    pub fn call(&self, number: i64, arguments: [u64; 6]) -> Outcome {
        self.run(self.entry, number, arguments)
    }

    /// Makes a system call as a program for another kind of processor does; `None` where there is no way.
    ///
    /// # Panics
    /// When the process is gone.
    #[must_use]
    pub fn foreign_call(&self, number: i64) -> Option<Outcome> {
        Some(self.run(self.entry + processor::FOREIGN?, number, [0; 6]))
    }

    /// Puts bytes into its memory, where they stay until the next ones; returns their address.
    ///
    /// # Panics
    /// When they do not fit.
    #[must_use]
    pub fn put(&self, bytes: &[u8]) -> u64 {
        assert!((bytes.len() as u64) < SCRATCH / 2, "too many bytes");
        let address = (self.registers[processor::STACK] - SCRATCH) & !15;
        self.write(address, bytes);
        address
    }

    fn run(&self, at: u64, number: i64, arguments: [u64; 6]) -> Outcome {
        let mut registers = self.registers;
        for (place, value) in processor::ARGUMENTS.into_iter().zip(arguments) {
            registers[place] = value;
        }
        registers[processor::NUMBER] = number.cast_unsigned();
        registers[processor::PROGRAM_COUNTER] = at;
        if let Some(interrupted) = processor::INTERRUPTED {
            // Else the call that was interrupted would be made again instead.
            registers[interrupted] = u64::MAX;
        }
        self.write_registers(&mut registers);
        self.ptrace(libc::PTRACE_SINGLESTEP, 0, 0);
        let status = self.wait();
        if libc::WIFSIGNALED(status) {
            self.has_ended.set(true);
            return Outcome::Signalled(libc::WTERMSIG(status));
        }
        if libc::WSTOPSIG(status) != libc::SIGTRAP {
            return Outcome::Signalled(libc::WSTOPSIG(status));
        }
        let result = self.read_registers()[processor::RESULT].cast_signed();
        match i32::try_from(result) {
            Ok(error) if (-4095..0).contains(&error) => Outcome::Failed(-error),
            _ => Outcome::Returned(result),
        }
    }

    fn write(&self, address: u64, bytes: &[u8]) {
        let written = self.memory.write_all_at(bytes, address);
        written.unwrap_or_else(|error| panic!("memory of {} at {address:#x}: {error}", self.tid));
    }

    fn read_registers(&self) -> Registers {
        let mut registers = [0; processor::REGISTERS];
        self.registers_by(libc::PTRACE_GETREGSET, &mut registers);
        registers
    }

    fn write_registers(&self, registers: &mut Registers) {
        self.registers_by(libc::PTRACE_SETREGSET, registers);
    }

    fn registers_by(&self, request: libc::c_uint, registers: &mut Registers) {
        let mut area =
            libc::iovec { iov_base: registers.as_mut_ptr().cast(), iov_len: size_of::<Registers>() };
        let status = usize::try_from(libc::NT_PRSTATUS).unwrap_or(0);
        self.ptrace(request, status, (&raw mut area).expose_provenance());
        assert_eq!(area.iov_len, size_of::<Registers>(), "registers of another processor");
    }

    fn ptrace(&self, request: libc::c_uint, address: usize, data: usize) {
        let done = self.try_ptrace(request, address, data);
        done.unwrap_or_else(|error| panic!("ptrace {request:#x} of {}: {error}", self.tid));
    }

    /// An address in `data` is that of something that lives until this has returned.
    fn try_ptrace(&self, request: libc::c_uint, address: usize, data: usize) -> io::Result<()> {
        // SAFETY: what is asked for here takes numbers, or reads and writes registers that are told with their size.
        let result = unsafe { libc::ptrace(request, self.tid, address, data) };
        if result >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn wait(&self) -> libc::c_int {
        self.try_wait().unwrap_or_else(|error| panic!("waiting for {}: {error}", self.tid))
    }

    fn try_wait(&self) -> io::Result<libc::c_int> {
        let mut status = 0;
        // SAFETY: it writes one status.
        let waited = unsafe { libc::waitpid(self.tid, &raw mut status, libc::__WALL) };
        if waited == self.tid { Ok(status) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for Hijacked {
    fn drop(&mut self) {
        if self.has_ended.get() {
            return;
        }
        // SAFETY: it touches no memory of ours. The number is still the thread's own, because we trace it; its
        // registers are not what they were, so its process cannot go on.
        unsafe { libc::kill(self.tid, libc::SIGKILL) };
        // The first thread's end is its parent's to see, once the others' were seen.
        if !self.is_first {
            let _ = self.try_wait();
        }
    }
}

/// Threads of a process.
///
/// # Panics
/// When it is gone.
#[must_use]
pub fn threads_of(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap_or_else(|error| panic!("{pid}: {error}"));
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    tasks.flatten().filter_map(number).collect()
}

fn entry_of(pid: u32) -> u64 {
    let vector =
        fs::read(format!("/proc/{pid}/auxv")).unwrap_or_else(|error| panic!("auxv of {pid}: {error}"));
    let words: Vec<u64> =
        vector.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_ne_bytes)).collect();
    let entry = words.chunks_exact(2).find(|pair| pair[0] == AT_ENTRY);
    entry.map_or_else(|| panic!("{pid} has no entry"), |pair| pair[1])
}
