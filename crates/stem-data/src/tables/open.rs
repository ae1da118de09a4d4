//! Text that is read as it comes: unpacked on the way, from a file, a pipe or stdin.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use stem_core::files::FileError;

use crate::error::{Error, Result};
use crate::source::sniff::{self, Packing};

/// The name of stdin.
pub(super) const STDIN: &str = "-";

const BUFFER: usize = 1 << 18;

/// A file, a pipe or stdin, unpacked, and how it begins.
///
/// # Errors
/// What cannot be read, and what is no text.
pub(super) fn text(path: &Path) -> Result<(Box<dyn BufRead>, Vec<u8>)> {
    let raw: Box<dyn Read> = match path == Path::new(STDIN) {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path).map_err(FileError::of("read", path))?),
    };
    let mut raw = BufReader::with_capacity(BUFFER, raw);
    let damaged = |error: io::Error| Error::Source {
        path: path.into(),
        what: format!("it cannot be unpacked ({error}): it is damaged, or was cut short"),
    };
    let packing = Packing::of(raw.fill_buf().map_err(FileError::of("read", path))?);
    let mut text: Box<dyn BufRead> = match packing {
        None => Box::new(raw),
        Some(Packing::Gzip) => Box::new(BufReader::with_capacity(BUFFER, flate2::bufread::MultiGzDecoder::new(raw))),
        Some(Packing::Zstd) => {
            Box::new(BufReader::with_capacity(BUFFER, zstd::Decoder::with_buffer(raw).map_err(damaged)?))
        }
    };
    let start = match packing {
        None => text.fill_buf().map_err(FileError::of("read", path))?,
        Some(_) => text.fill_buf().map_err(damaged)?,
    };
    let start = start[..start.len().min(sniff::START)].to_vec();
    if let Some(what) = sniff::binary(&start) {
        return Err(Error::Source { path: path.into(), what: format!("it is {what}, and is read as text") });
    }
    Ok((text, start))
}
