//! Files as memory: the one place that maps them.

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// Maps a file for reading.
///
/// # Errors
/// Whatever opening or mapping it gives.
#[allow(unsafe_code)]
pub(crate) fn map_file(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: the map is only read. Bundles, which are mapped here, and tables on their way into one, which only the process that maps them
    // has a name of, are written beside their name and renamed into place,
    // never changed afterwards, so no writer of ours moves bytes under the map; a rename leaves the mapped inode alone. Whoever
    // cuts such a file in place while it is mapped gets a bus error, as with every memory-mapped format: `Bundle` says so.
    unsafe { Mmap::map(&file) }
}
