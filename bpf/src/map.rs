//! Maps, rings and iterators by their descriptors: what the service manager passes has no pin to open it by, and
//! libbpf-rs opens by pin or id alone.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libbpf_rs::libbpf_sys;

/// Entries fetched from a map by one system call.
const BATCH: u32 = 512;

/// A map.
#[derive(Debug)]
pub(crate) struct Map {
    fd: OwnedFd,
    key_size: usize,
    value_size: usize,
    max_entries: usize,
}

impl Map {
    /// Takes the descriptor of a map; any other is refused.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        let info = libbpf_rs::MapInfo::new(fd.as_fd()).map_err(|error| io_error(&error))?.info;
        Ok(Self {
            fd,
            key_size: info.key_size as usize,
            value_size: info.value_size as usize,
            max_entries: info.max_entries as usize,
        })
    }

    /// Bytes of its keys and of its values.
    pub(crate) fn layout(&self) -> (usize, usize) {
        (self.key_size, self.value_size)
    }

    pub(crate) fn max_entries(&self) -> usize {
        self.max_entries
    }

    /// The value at an index of an array.
    #[allow(unsafe_code)]
    pub(crate) fn at(&self, index: u32) -> io::Result<Vec<u8>> {
        if self.key_size != size_of::<u32>() {
            return Err(io::Error::other("the map is no array"));
        }
        let mut value = vec![0; self.value_size];
        // SAFETY: the key and the value are as long as this map's, and live until it returns.
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

    /// Visits every value; how many there were.
    #[allow(unsafe_code)]
    pub(crate) fn values(&self, mut visit: impl FnMut(&[u8])) -> io::Result<usize> {
        // Hashes keep 4 bytes of a batch's place, arrays an index: a key is never shorter than that here.
        let mut place = vec![0_u8; self.key_size.max(8)];
        let mut keys = vec![0_u8; self.key_size * BATCH as usize];
        let mut values = vec![0_u8; self.value_size * BATCH as usize];
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
            values.chunks_exact(self.value_size).take(count).for_each(&mut visit);
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
    // SAFETY: the options live until it returns, which is a new descriptor that nothing else owns, or an error.
    let fd = check(unsafe { libbpf_sys::bpf_map_get_fd_by_id_opts(id, &raw const opts) })?;
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Everything that an iterator tells now.
#[allow(unsafe_code)]
pub(crate) fn iterate(link: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    // SAFETY: it takes any descriptor, and returns a new one that nothing else owns, or an error.
    let iterator = unsafe {
        let fd = check(libbpf_sys::bpf_iter_create(link.as_raw_fd()))?;
        File::from_raw_fd(fd)
    };
    read_iterator(iterator)
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

/// What the callback of a ring is given.
type Take = Box<dyn FnMut(&[u8])>;

/// A ring buffer, as its one reader.
pub(crate) struct Ring {
    manager: ptr::NonNull<libbpf_sys::ring_buffer>,
    /// What the ring hands records to, and the map that its epoll instance watches: both live as long as it.
    _take: Box<Take>,
    _map: OwnedFd,
}

impl Ring {
    /// Takes the descriptor of a ring; each record will be handed over by [`Self::consume`].
    #[allow(unsafe_code)]
    pub(crate) fn new(map: OwnedFd, take: impl FnMut(&[u8]) + 'static) -> io::Result<Self> {
        let mut take: Box<Take> = Box::new(Box::new(take));
        // SAFETY: the callback and what it is given live as long as the ring, which `drop` ends first.
        let ring = unsafe {
            libbpf_sys::ring_buffer__new(
                map.as_raw_fd(),
                Some(hand_over),
                ptr::from_mut(take.as_mut()).cast(),
                ptr::null(),
            )
        };
        let manager = ptr::NonNull::new(ring).ok_or_else(io::Error::last_os_error)?;
        Ok(Self { manager, _take: take, _map: map })
    }

    /// Becomes readable when a record asks for it.
    #[allow(unsafe_code)]
    pub(crate) fn epoll_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor belongs to the ring, which outlives the borrow of `self`.
        unsafe { BorrowedFd::borrow_raw(libbpf_sys::ring_buffer__epoll_fd(self.manager.as_ptr())) }
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
        // SAFETY: both pointers belong to the ring, which lives as long as `self`; it has one map.
        unsafe {
            let ring = libbpf_sys::ring_buffer__ring(self.manager.as_ptr(), 0);
            !ring.is_null() && libbpf_sys::ring__avail_data_size(ring) > 0
        }
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
#[allow(unsafe_code)]
unsafe extern "C" fn hand_over(
    take: *mut std::ffi::c_void,
    record: *mut std::ffi::c_void,
    size: libbpf_sys::size_t,
) -> std::ffi::c_int {
    let size = usize::try_from(size).unwrap_or(0);
    // SAFETY: `take` is what `Ring::new` passed and keeps; libbpf calls from `consume` alone, one record at a time,
    // which stays in place until this returns.
    let (take, record) =
        unsafe { (&mut *take.cast::<Take>(), std::slice::from_raw_parts(record.cast::<u8>(), size)) };
    take(record);
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
