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
    // SAFETY: the map is only read. Columns, which alone are mapped here, are written into a scratch folder that is then renamed
    // into place, and never changed afterwards, so no writer of ours moves bytes under the map; a rename leaves the mapped inode
    // alone. Whoever cuts such a file in place while it is mapped gets a bus error, as with every memory-mapped format.
    unsafe { Mmap::map(&file) }
}
