// SPDX-License-Identifier: GPL-3.0-or-later
//! Maps, rings and iterators by their descriptors: what the service manager passes has no pin to open it by, and
//! libbpf-rs opens by pin or id alone.
//!
//! All but one function of the unsafe code here calls libbpf and the kernel, which Miri cannot: each buffer is as large
//! as the kernel says that the map's entries are, and a reader asks first what a map is ([`Layout`]). The callback of a
//! ring, which libbpf calls, is run under Miri by the tests below (`script/miri`).

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libbpf_rs::{MapType, libbpf_sys};

/// Entries fetched from a map by one system call.
const BATCH: u32 = 512;

/// What a map is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) kind: MapType,
    /// Bytes of a key.
    pub(crate) key_size: usize,
    /// Bytes of a value, on one CPU where each has its own.
    pub(crate) value_size: usize,
    pub(crate) max_entries: usize,
}

impl Layout {
    /// What the kernel says of the map that a descriptor stands for; fails where it is no map.
    pub(crate) fn of(fd: BorrowedFd<'_>) -> io::Result<Self> {
        // Programs, links and types would answer the same question with something else.
        let file = rustix::fs::readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new());
        if file.is_ok_and(|file| file.as_bytes() != b"anon_inode:bpf-map") {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a map"));
        }
        let info = libbpf_rs::MapInfo::new(fd).map_err(|error| io_error(&error))?;
        Ok(Self {
            kind: info.map_type(),
            key_size: info.info.key_size as usize,
            value_size: info.info.value_size as usize,
            max_entries: info.info.max_entries as usize,
        })
    }

    /// Bytes that the kernel reads or writes where a value is asked for: those of every possible CPU where each has
    /// its own, rounded up (`bpf_map_value_size` in the kernel's `kernel/bpf/syscall.c`).
    fn whole_value(&self) -> io::Result<usize> {
        const ROUNDED_TO: usize = 8;
        /// What stands for a map, program or array in a map of such.
        const ID: usize = size_of::<u32>();
        match self.kind {
            MapType::PercpuHash
            | MapType::PercpuArray
            | MapType::LruPercpuHash
            | MapType::PercpuCgroupStorage => {
                let cpus = libbpf_rs::num_possible_cpus().map_err(|error| io_error(&error))?;
                let whole = self
                    .value_size
                    .checked_next_multiple_of(ROUNDED_TO)
                    .and_then(|one| one.checked_mul(cpus));
                whole.ok_or_else(|| io::Error::other("values too large"))
            }
            MapType::ProgArray
            | MapType::PerfEventArray
            | MapType::CgroupArray
            | MapType::ArrayOfMaps
            | MapType::HashOfMaps => Ok(self.value_size.max(ID)),
            _ => Ok(self.value_size),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, key_size, value_size, max_entries } = self;
        write!(f, "{kind:?} of {max_entries} entries, keys of {key_size} and values of {value_size} bytes")
    }
}

/// A map.
#[derive(Debug)]
pub(crate) struct Map {
    fd: OwnedFd,
    layout: Layout,
    /// Bytes of room for each value.
    whole_value: usize,
}

impl Map {
    /// Takes the descriptor of a map; any other is refused.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        let layout = Layout::of(fd.as_fd())?;
        Ok(Self { fd, layout, whole_value: layout.whole_value()? })
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    pub(crate) fn max_entries(&self) -> usize {
        self.layout.max_entries
    }

    /// The value at an index of an array.
    #[allow(unsafe_code)]
    pub(crate) fn at(&self, index: u32) -> io::Result<Vec<u8>> {
        if self.layout.key_size != size_of::<u32>() {
            return Err(io::Error::other("not an array map"));
        }
        let mut value = vec![0; self.whole_value];
        // SAFETY: the key is as long as this map's, the value has room for all that the kernel writes, and both live
        // until it returns.
        let result = unsafe {
            libbpf_sys::bpf_map_lookup_elem(
                self.fd.as_raw_fd(),
                ptr::from_ref(&index).cast(),
                value.as_mut_ptr().cast(),
            )
        };
        check(result)?;
        Ok(value)
    }

    /// The same map once more.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, ..*self })
    }

    /// The value that a key has, if it has one.
    #[allow(unsafe_code)]
    pub(crate) fn find(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        if self.layout.key_size != key.len() {
            return Err(io::Error::other("not a key of this map"));
        }
        let mut value = vec![0; self.whole_value];
        // SAFETY: the key is as long as this map's, the value has room for all that the kernel writes, and both live
        // until it returns.
        let result = unsafe {
            libbpf_sys::bpf_map_lookup_elem(
                self.fd.as_raw_fd(),
                key.as_ptr().cast(),
                value.as_mut_ptr().cast(),
            )
        };
        match check(result) {
            Ok(_) => Ok(Some(value)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Visits every value; how many there were.
    #[allow(unsafe_code)]
    pub(crate) fn values(&self, mut visit: impl FnMut(&[u8])) -> io::Result<usize> {
        // Hashes keep 4 bytes of a batch's place, arrays an index: a key is never shorter than that here.
        let key_size = self.layout.key_size;
        let mut place = vec![0_u8; key_size.max(8)];
        let room = |one: usize| one.checked_mul(BATCH as usize).ok_or(io::ErrorKind::OutOfMemory);
        let mut keys = vec![0_u8; room(key_size)?];
        let mut values = vec![0_u8; room(self.whole_value)?];
        let (mut first, mut all) = (true, 0);
        loop {
            let mut count = BATCH;
            let from = if first { ptr::null_mut() } else { place.as_mut_ptr() };
            // SAFETY: each buffer has room for `count` entries of this map, or for the place of a batch, and lives
            // until it returns; the options may be missing.
            let result = unsafe {
                libbpf_sys::bpf_map_lookup_batch(
                    self.fd.as_raw_fd(),
                    from.cast(),
                    place.as_mut_ptr().cast(),
                    keys.as_mut_ptr().cast(),
                    values.as_mut_ptr().cast(),
                    &raw mut count,
                    ptr::null(),
                )
            };
            let is_last = match check(result) {
                Ok(_) => false,
                Err(error) if error.kind() == io::ErrorKind::NotFound => true,
                Err(error) => return Err(error),
            };
            let count = count.min(BATCH) as usize;
            values.chunks_exact(self.whole_value.max(1)).take(count).for_each(&mut visit);
            all += count;
            if is_last || count == 0 {
                return Ok(all);
            }
            first = false;
        }
    }
}

/// A map by its id, which root may, with a descriptor that cannot change it.
#[allow(unsafe_code)]
pub(crate) fn read_only_map(id: u32) -> io::Result<OwnedFd> {
    let opts = libbpf_sys::bpf_get_fd_by_id_opts {
        sz: size_of::<libbpf_sys::bpf_get_fd_by_id_opts>() as libbpf_sys::size_t,
        open_flags: libbpf_sys::BPF_F_RDONLY,
        ..Default::default()
    };
    // SAFETY: the options live until it returns.
    let fd = check(unsafe { libbpf_sys::bpf_map_get_fd_by_id_opts(id, &raw const opts) })?;
    // SAFETY: it is a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Everything that an iterator tells now.
#[allow(unsafe_code)]
pub(crate) fn iterate(link: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    // SAFETY: it takes any descriptor, and changes no memory of this process.
    let fd = check(unsafe { libbpf_sys::bpf_iter_create(link.as_raw_fd()) })?;
    // SAFETY: it is a new descriptor that nothing else owns.
    read_iterator(unsafe { File::from_raw_fd(fd) })
}

/// The same of one that is open. The kernel gives up for a moment (`EAGAIN`) after a million objects of which nothing
/// was told, or when a signal comes, and goes on from there (`bpf_seq_read` in the kernel's `kernel/bpf/bpf_iter.c`).
pub(crate) fn read_iterator(mut iterator: impl Read) -> io::Result<Vec<u8>> {
    let mut told = Vec::new();
    loop {
        match iterator.read_to_end(&mut told) {
            Ok(_) => return Ok(told),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// What takes the records of a ring.
type Take = Box<dyn FnMut(&[u8])>;

/// What the callback of a ring is given. It is owned by its pointer alone: a box that is moved would say that nobody
/// else has one.
struct Callback(ptr::NonNull<Take>);

impl Callback {
    #[allow(unsafe_code)]
    fn new(take: impl FnMut(&[u8]) + 'static) -> Self {
        let take: Box<Take> = Box::new(Box::new(take));
        // SAFETY: the pointer of a box is never null.
        Self(unsafe { ptr::NonNull::new_unchecked(Box::into_raw(take)) })
    }

    /// What libbpf hands to [`hand_over`].
    fn context(&self) -> *mut std::ffi::c_void {
        self.0.as_ptr().cast()
    }
}

impl Drop for Callback {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: it came from a box, and libbpf, which had the pointer, no longer calls.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// A ring buffer, as its one reader.
pub(crate) struct Ring {
    manager: ptr::NonNull<libbpf_sys::ring_buffer>,
    /// What the ring hands records to, and the map that its epoll instance watches: both live as long as it.
    _callback: Callback,
    _map: OwnedFd,
}

impl Ring {
    /// Takes the descriptor of a ring; each record will be handed over by [`Self::consume`].
    #[allow(unsafe_code)]
    pub(crate) fn new(map: OwnedFd, take: impl FnMut(&[u8]) + 'static) -> io::Result<Self> {
        let callback = Callback::new(take);
        // SAFETY: the callback and what it is given live as long as the ring, which `drop` ends first.
        let ring = unsafe {
            libbpf_sys::ring_buffer__new(map.as_raw_fd(), Some(hand_over), callback.context(), ptr::null())
        };
        let manager = ptr::NonNull::new(ring).ok_or_else(io::Error::last_os_error)?;
        Ok(Self { manager, _callback: callback, _map: map })
    }

    /// Becomes readable when a record asks for it.
    #[allow(unsafe_code)]
    pub(crate) fn epoll_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the manager lives as long as `self`.
        let fd = unsafe { libbpf_sys::ring_buffer__epoll_fd(self.manager.as_ptr()) };
        // SAFETY: the manager keeps it open, and outlives the borrow of `self`.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }

    /// Hands over everything that it holds.
    #[allow(unsafe_code)]
    pub(crate) fn consume(&self) -> io::Result<()> {
        // SAFETY: the ring lives as long as `self`, which cannot be sent to another thread.
        check(unsafe { libbpf_sys::ring_buffer__consume(self.manager.as_ptr()) }).map(drop)
    }

    /// Whether it holds a record that is reserved but not yet written.
    #[allow(unsafe_code)]
    pub(crate) fn has_unfinished(&self) -> bool {
        // SAFETY: the manager lives as long as `self`; it has one map.
        let ring = unsafe { libbpf_sys::ring_buffer__ring(self.manager.as_ptr(), 0) };
        // SAFETY: the ring belongs to the manager.
        !ring.is_null() && unsafe { libbpf_sys::ring__avail_data_size(ring) } > 0
    }
}

impl Drop for Ring {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: nothing else frees it.
        unsafe { libbpf_sys::ring_buffer__free(self.manager.as_ptr()) }
    }
}

/// Called by libbpf with each record.
///
/// # Safety
/// `take` must be of a [`Callback`] that lives, and that nobody else calls meanwhile; `record` must have `size` bytes.
#[allow(unsafe_code)]
unsafe extern "C" fn hand_over(
    take: *mut std::ffi::c_void,
    record: *mut std::ffi::c_void,
    size: libbpf_sys::size_t,
) -> std::ffi::c_int {
    let size = usize::try_from(size).unwrap_or(0);
    if record.is_null() {
        return 0;
    }
    // SAFETY: `take` is what `Ring::new` passed and keeps; libbpf calls from `consume` alone, one record at a time.
    let take = unsafe { &mut *take.cast::<Take>() };
    // SAFETY: the record stays in place until this returns.
    take(unsafe { std::slice::from_raw_parts(record.cast::<u8>(), size) });
    0
}

/// libbpf returns errors as negative numbers.
fn check(result: RawFd) -> io::Result<RawFd> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result) }
}

pub(crate) fn io_error(error: &libbpf_rs::Error) -> io::Error {
    io::Error::new(
        match error.kind() {
            libbpf_rs::ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
            libbpf_rs::ErrorKind::NotFound => io::ErrorKind::NotFound,
            _ => io::ErrorKind::Other,
        },
        error.to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers as a kernel may.
    struct Answers(Vec<Result<&'static [u8], i32>>);

    impl Read for Answers {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            match self.0.pop() {
                Some(Ok(mut bytes)) => bytes.read(into),
                Some(Err(errno)) => Err(io::Error::from_raw_os_error(errno)),
                None => Ok(0),
            }
        }
    }

    /// As libbpf calls it: through a pointer that was taken before its owner was moved.
    #[test]
    #[allow(unsafe_code)]
    fn records_are_handed_to_a_callback_that_was_moved() {
        let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let sink = std::rc::Rc::clone(&seen);
        let callback = Callback::new(move |record| sink.borrow_mut().push(record.to_vec()));
        let context = callback.context();
        let owners = vec![Box::new(callback)];
        let mut records = [*b"one", *b"two"];
        for record in &mut records {
            let (bytes, size) = (ptr::from_mut(record).cast(), record.len() as libbpf_sys::size_t);
            // SAFETY: the callback lives below, and the record is of this size.
            assert_eq!(unsafe { hand_over(context, bytes, size) }, 0);
        }
        // SAFETY: as above; there is no record.
        assert_eq!(unsafe { hand_over(context, ptr::null_mut(), 0) }, 0);
        assert_eq!(*seen.borrow(), [b"one", b"two"]);
        drop(owners);
        assert_eq!(std::rc::Rc::strong_count(&seen), 1, "it is freed");
    }

    /// Where each CPU has its own, the kernel writes more than the size of a value.
    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel")]
    fn a_value_of_every_cpu_fits() {
        const SIZE: usize = 12;
        if !rustix::process::geteuid().is_root() {
            leco_os::say::err("SKIPPED: making maps needs root");
            return;
        }
        let cpus = libbpf_rs::num_possible_cpus().unwrap();
        for (kind, whole) in [(MapType::Array, SIZE), (MapType::PercpuArray, 16 * cpus)] {
            let opts = libbpf_sys::bpf_map_create_opts {
                sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
                ..Default::default()
            };
            let size = u32::try_from(SIZE).unwrap();
            let made = libbpf_rs::MapHandle::create(kind, Some("leco_test"), 4, size, 3, &opts).unwrap();
            let map = Map::new(made.as_fd().try_clone_to_owned().unwrap()).unwrap();
            let expected = Layout { kind, key_size: 4, value_size: SIZE, max_entries: 3 };
            assert_eq!(map.layout(), expected);
            assert_eq!(map.at(2).unwrap(), vec![0; whole], "{kind:?}");
            let mut sizes = Vec::new();
            assert_eq!(map.values(|value| sizes.push(value.len())).unwrap(), 3);
            assert_eq!(sizes, [whole; 3], "{kind:?}");
        }
        assert!(Map::new(File::open("/dev/null").unwrap().into()).is_err());
    }

    #[test]
    fn an_iterator_that_pauses_is_read_to_its_end() {
        const EINTR: i32 = 4;
        const EIO: i32 = 5;
        const EAGAIN: i32 = 11;
        let mut answers =
            vec![Err(EAGAIN), Ok(&b"one "[..]), Err(EAGAIN), Err(EINTR), Ok(b"two"), Err(EAGAIN)];
        answers.reverse();
        assert_eq!(read_iterator(Answers(answers)).unwrap(), b"one two");
        assert_eq!(read_iterator(Answers(vec![Err(EIO)])).unwrap_err().raw_os_error(), Some(EIO));
    }
}
