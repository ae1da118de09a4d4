//! Files as memory: the one place that maps them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;

/// Maps a file for reading.
///
/// # Errors
/// Whatever opening or mapping it gives.
#[allow(unsafe_code)]
pub(crate) fn map_file(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: the map is only read. Columns, which alone are mapped here, are written into a scratch folder that is then renamed
    // into place, and never changed afterwards but by `give_back`, whose bytes nobody reads any more, so no writer of ours moves bytes
    // under the map; a rename leaves the mapped inode alone. Whoever cuts such a file in place while it is mapped gets a bus error, as with every memory-mapped format.
    unsafe { Mmap::map(&file) }
}

/// Takes some bytes of a file off the disk; its length stays, and they are zero from now on. Does nothing where the system or the
/// file system has no such holes.
///
/// # Errors
/// Whatever opening the file gives.
#[cfg(target_os = "linux")]
pub(crate) fn give_back(path: &Path, bytes: Range<u64>) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    if bytes.is_empty() {
        return Ok(());
    }
    let file = File::options().write(true).open(path)?;
    let _ =
        fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, bytes.start, bytes.end - bytes.start);
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn give_back(_: &Path, _: Range<u64>) -> io::Result<()> {
    Ok(())
}
