//! Files as memory: the one place that maps them, and numbers that may lie in such a file.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use bytemuck::Pod;
use memmap2::Mmap;

/// Maps a file for reading.
///
/// # Errors
/// Whatever opening or mapping it gives.
#[allow(unsafe_code)]
pub(crate) fn map_file(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    // SAFETY: the map is only read. Bundles and deltas, and tables on their way into a bundle, which only the process that maps them has a name
    // of, are alone mapped here. They are written beside their name and renamed into place,
    // never changed afterwards, so no writer of ours moves bytes under the map; a rename leaves the mapped inode alone. Whoever
    // cuts such a file in place while it is mapped gets a bus error, as with every memory-mapped format: `Bundle` says so.
    unsafe { Mmap::map(&file) }
}

/// Tells the system that rows of the file are read here and there: a page that is not in memory yet comes alone, without its neighbours.
/// What it does not take is no error.
pub(crate) fn read_here_and_there(file: &Mmap) {
    #[cfg(unix)]
    let _ = file.advise(memmap2::Advice::Random);
    #[cfg(not(unix))]
    let _ = file;
}

/// Gives the pages that were read from the file back to the system: whoever reads them again has them anew. What it does not take is no
/// error.
#[allow(unsafe_code)]
pub(crate) fn forget_pages(file: &Mmap) {
    #[cfg(unix)]
    // SAFETY: the map is of a file and read-only, so a page that is dropped comes back from the file with the bytes that it had.
    let _ = unsafe { file.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
    #[cfg(not(unix))]
    let _ = file;
}

/// Numbers that lie in a mapped file, or in memory of their own. Read as a slice.
#[derive(Clone)]
pub struct Stored<T> {
    place: Place<T>,
}

#[derive(Clone)]
enum Place<T> {
    Memory(Vec<T>),
    /// A range of bytes, as long as whole numbers and aligned as they are.
    File(Arc<Mmap>, Range<usize>),
}

impl<T: Pod> Stored<T> {
    /// The numbers in a range of a file's bytes; `None` where the bytes are no whole numbers, or not aligned as numbers are.
    pub(crate) fn in_file(file: &Arc<Mmap>, range: Range<usize>) -> Option<Self> {
        bytemuck::try_cast_slice::<u8, T>(file.get(range.clone())?).ok()?;
        Some(Self { place: Place::File(file.clone(), range) })
    }

    /// The numbers, to be changed; copied out of the file first where they lie in one.
    pub fn to_mut(&mut self) -> &mut Vec<T> {
        if let Place::File(..) = self.place {
            self.place = Place::Memory(self.to_vec());
        }
        match &mut self.place {
            Place::Memory(numbers) => numbers,
            Place::File(..) => unreachable!("they were copied into memory"),
        }
    }
}

impl<T: Pod> Deref for Stored<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.place {
            Place::Memory(numbers) => numbers,
            Place::File(file, range) => bytemuck::cast_slice(&file[range.clone()]),
        }
    }
}

impl<T> From<Vec<T>> for Stored<T> {
    fn from(numbers: Vec<T>) -> Self {
        Self { place: Place::Memory(numbers) }
    }
}

impl<T: Pod> FromIterator<T> for Stored<T> {
    fn from_iter<I: IntoIterator<Item = T>>(numbers: I) -> Self {
        numbers.into_iter().collect::<Vec<T>>().into()
    }
}

impl<T: Pod + PartialEq> PartialEq for Stored<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Pod + Eq> Eq for Stored<T> {}

impl<T: Pod + fmt::Debug> fmt::Debug for Stored<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Memory(numbers) => numbers.fmt(f),
            Place::File(_, range) => write!(f, "{} numbers in a file", range.len() / size_of::<T>()),
        }
    }
}
