//! One matrix a file: a header of 64 bytes, then `rows * cols` little-endian values, row-major, mapped into memory to be read, or read
//! from first to last.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | `STEMCOLS` |
//! | 8..12 | version, 1 |
//! | 12..16 | element: 1 `u32`, 2 `f32`, 3 `i64`, 4 `u64`, 5 `u8`, 6 `f64` |
//! | 16..24, 24..32 | rows, cols |
//! | 32..64 | zero |

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytemuck::Pod;
use memmap2::Mmap;
use stem_core::files::FileError;

use crate::error::{Error, Result};
use crate::mapped::{give_back, map_file};

const MAGIC: &[u8; 8] = b"STEMCOLS";
const VERSION: u32 = 1;
pub(crate) const HEADER: usize = 64;

#[cfg(target_endian = "big")]
compile_error!("encoded columns are little-endian and are used as they lie in the file");

/// What a column may hold.
pub(crate) trait Element: Pod {
    const CODE: u32;
    const NAME: &'static str;
}

macro_rules! element {
    ($($t:ty = $code:literal),*) => { $(
        impl Element for $t {
            const CODE: u32 = $code;
            const NAME: &'static str = stringify!($t);
        }
    )* };
}
element!(u32 = 1, f32 = 2, i64 = 3, u64 = 4, u8 = 5, f64 = 6);

/// Writes rows one after another; the header is completed at the end.
pub(crate) struct ColumnWriter<T> {
    file: BufWriter<File>,
    path: PathBuf,
    cols: usize,
    values: usize,
    hash: blake3::Hasher,
    element: PhantomData<T>,
}

impl<T: Element> ColumnWriter<T> {
    pub(crate) fn create(path: PathBuf, cols: usize) -> Result<Self> {
        let file = File::create(&path).map_err(FileError::of("create", &path))?;
        let mut file = BufWriter::with_capacity(1 << 18, file);
        file.write_all(&[0; HEADER]).map_err(FileError::of("write", &path))?;
        Ok(Self { file, path, cols, values: 0, hash: blake3::Hasher::new(), element: PhantomData })
    }

    /// Appends whole rows.
    pub(crate) fn write(&mut self, values: &[T]) -> Result<()> {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        self.values += values.len();
        Ok(self.file.write_all(bytes).map_err(FileError::of("write", &self.path))?)
    }

    /// Appends whole rows of a file that [`seal`](Self::seal) will end.
    pub(crate) fn write_marked(&mut self, values: &[T]) -> Result<()> {
        self.hash.update(bytemuck::cast_slice(values));
        self.write(values)
    }

    /// Appends whole rows of another file, as they lie there.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        debug_assert_eq!(bytes.len() % (self.cols * size_of::<T>()).max(1), 0, "whole rows are appended");
        self.values += bytes.len() / size_of::<T>();
        Ok(self.file.write_all(bytes).map_err(FileError::of("write", &self.path))?)
    }

    /// The rows so far as they lie in the file, and the bytes of each; 0 without values. Nothing may be written afterwards.
    pub(crate) fn written(&mut self) -> Result<(Mmap, usize)> {
        self.complete()?;
        let width = if self.values == 0 { 0 } else { self.cols * size_of::<T>() };
        Ok((map_file(&self.path).map_err(FileError::of("open", &self.path))?, width))
    }

    /// Completes the header; returns the path.
    pub(crate) fn finish(mut self) -> Result<PathBuf> {
        self.complete()?;
        Ok(self.path)
    }

    /// Completes the header, makes sure that the file outlasts a loss of power, and gives its checksum. Every row was written by
    /// [`write_marked`](Self::write_marked).
    pub(crate) fn seal(mut self) -> Result<String> {
        let header = self.complete()?;
        self.file.get_ref().sync_all().map_err(FileError::of("write", &self.path))?;
        Ok(self.hash.update(&header).finalize().to_hex().to_string())
    }

    fn complete(&mut self) -> Result<[u8; HEADER]> {
        let rows = self.values.checked_div(self.cols).unwrap_or(0);
        debug_assert_eq!(rows * self.cols, self.values, "whole rows were written");
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..16].copy_from_slice(&T::CODE.to_le_bytes());
        header[16..24].copy_from_slice(&(rows as u64).to_le_bytes());
        header[24..32].copy_from_slice(&(self.cols as u64).to_le_bytes());
        let Self { file, path, .. } = self;
        file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&header)).map_err(FileError::of("write", path))?;
        file.flush().map_err(FileError::of("write", path))?;
        Ok(header)
    }
}

/// The checksum that [`ColumnWriter::seal`] gave for a file, of the file as it is now. Reads all of it.
pub(crate) fn checksum_of(path: &Path) -> Result<String> {
    let map = map_file(path).map_err(FileError::of("open", path))?;
    let (header, values) = map.split_at(HEADER.min(map.len()));
    Ok(blake3::Hasher::new().update(values).update(header).finalize().to_hex().to_string())
}

/// A matrix that lies in a file.
#[derive(Debug)]
pub(crate) struct Columns<T> {
    path: PathBuf,
    map: Mmap,
    rows: usize,
    cols: usize,
    element: PhantomData<T>,
}

impl<T: Element> Columns<T> {
    /// Maps a file after checking that its header and its length agree.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let map = map_file(path).map_err(FileError::of("open", path))?;
        let fault = |what: String| Error::Dataset { path: path.into(), what };
        let header = map.get(..HEADER).ok_or_else(|| fault(format!("{} bytes, no header", map.len())))?;
        if &header[..8] != MAGIC {
            return Err(fault("it does not begin with STEMCOLS".into()));
        }
        let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let long = |at: usize| u64::from(word(at)) | (u64::from(word(at + 4)) << 32);
        if word(8) != VERSION {
            return Err(fault(format!("version {}, expected {VERSION}: prepare it again", word(8))));
        }
        if word(12) != T::CODE {
            return Err(fault(format!("element type {}, expected {} ({})", word(12), T::CODE, T::NAME)));
        }
        let (rows, cols) = (long(16), long(24));
        let bytes = rows.checked_mul(cols).and_then(|n| n.checked_mul(size_of::<T>() as u64));
        if bytes != Some((map.len() - HEADER) as u64) {
            return Err(fault(format!("{rows} rows of {cols} {} do not fill {} bytes", T::NAME, map.len() - HEADER)));
        }
        Ok(Self { path: path.into(), map, rows: rows as usize, cols: cols as usize, element: PhantomData })
    }

    /// `[rows, cols]`, row-major.
    #[inline]
    pub(crate) fn values(&self) -> &[T] {
        bytemuck::cast_slice(&self.map[HEADER..]) // maps begin at a page, so values after 64 bytes are aligned
    }

    /// `[cols]`
    #[inline]
    pub(crate) fn row(&self, row: usize) -> &[T] {
        &self.values()[row * self.cols..][..self.cols]
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    /// Gives the disk room again for rows that were read for the last time, where the system can. Nobody may read them afterwards.
    ///
    /// # Errors
    /// A file that is gone.
    pub(crate) fn forget(&self, rows: Range<usize>) -> Result<()> {
        let place = |row: usize| (HEADER + row * self.cols * size_of::<T>()) as u64;
        let bytes = place(rows.start)..place(rows.end);
        Ok(give_back(&self.path, bytes).map_err(FileError::of("write", &self.path))?)
    }
}

/// Reads files that follow each other, from the first value to the last, with little of them in memory at a time.
pub(crate) struct ColumnReader<T> {
    paths: Vec<PathBuf>,
    /// The file that is read, and its place among `paths`.
    open: Option<(usize, File)>,
    /// Gets the place of each file that was read to its end.
    passed: Box<dyn Fn(usize) + Send>,
    buffer: Vec<T>,
    /// Where what was not taken yet begins and ends in the buffer.
    waiting: Range<usize>,
}

impl<T: Element> ColumnReader<T> {
    /// Values that are read at a time.
    const AHEAD: usize = 1 << 18;

    pub(crate) fn open(paths: Vec<PathBuf>, passed: impl Fn(usize) + Send + 'static) -> Result<Self> {
        let mut reader = Self { paths, open: None, passed: Box::new(passed), buffer: Vec::new(), waiting: 0..0 };
        reader.open_file(0)?;
        Ok(reader)
    }

    fn open_file(&mut self, place: usize) -> Result<()> {
        self.open = match self.paths.get(place) {
            None => None,
            Some(path) => {
                let mut file = File::open(path).map_err(FileError::of("open", path))?;
                file.seek(SeekFrom::Start(HEADER as u64)).map_err(FileError::of("read", path))?;
                Some((place, file))
            }
        };
        Ok(())
    }

    /// What comes next: `least` values or more, fewer only where the last file ends.
    pub(crate) fn peek(&mut self, least: usize) -> Result<&[T]> {
        if self.waiting.len() < least {
            self.buffer.copy_within(self.waiting.clone(), 0);
            let kept = self.waiting.len();
            self.buffer.resize(kept + least.max(Self::AHEAD), T::zeroed());
            let mut read = 0;
            while let Some((place, file)) = &mut self.open {
                let bytes: &mut [u8] = &mut bytemuck::cast_slice_mut(&mut self.buffer[kept..])[read..];
                match file.read(bytes) {
                    Ok(0) if bytes.is_empty() => break,
                    Ok(0) => {
                        let ended = *place;
                        self.open_file(ended + 1)?;
                        (self.passed)(ended);
                    }
                    Ok(more) => read += more,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(FileError::of("read", &self.paths[*place])(error).into()),
                }
            }
            self.waiting = 0..kept + read / size_of::<T>();
        }
        Ok(&self.buffer[self.waiting.clone()])
    }

    /// Takes `count` of the values that [`peek`](Self::peek) gave.
    pub(crate) fn take(&mut self, count: usize) -> Result<&[T]> {
        if count > self.waiting.len() {
            return Err(Error::Dataset {
                path: self.paths.last().cloned().unwrap_or_default(),
                what: "it ends early: it was changed while it was read".into(),
            });
        }
        let taken = self.waiting.start..self.waiting.start + count;
        self.waiting.start = taken.end;
        Ok(&self.buffer[taken])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file(dir: &Path) -> PathBuf {
        let mut writer = ColumnWriter::<u32>::create(dir.join("ids"), 2).unwrap();
        writer.write(&[1, 2, 3, 4]).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn what_was_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let columns = Columns::<u32>::open(&file(dir.path())).unwrap();
        assert_eq!((columns.rows(), columns.cols(), columns.values()), (2, 2, &[1, 2, 3, 4][..]));
    }

    #[test]
    fn a_reader_gives_every_value_once_across_the_ends_of_its_buffer_and_of_files() {
        let dir = tempfile::tempdir().unwrap();
        let count = 2 * ColumnReader::<u32>::AHEAD as u32 + 7;
        let part = |name: &str, values: Range<u32>| {
            let mut writer = ColumnWriter::<u32>::create(dir.path().join(name), 1).unwrap();
            writer.write(&values.collect::<Vec<_>>()).unwrap();
            writer.finish().unwrap()
        };
        let paths = vec![part("0", 0..5), part("1", 5..5), part("2", 5..count)];
        let passed = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut reader = ColumnReader::<u32>::open(paths, {
            let passed = passed.clone();
            move |place| passed.lock().unwrap().push(place)
        })
        .unwrap();
        let mut seen = Vec::new();
        while !reader.peek(1000).unwrap().is_empty() {
            let next = reader.peek(1000).unwrap().len().min(999);
            seen.extend_from_slice(reader.take(next).unwrap());
        }
        assert!(seen.into_iter().eq(0..count));
        assert_eq!(*passed.lock().unwrap(), [0, 1, 2]);
        assert!(reader.take(1).is_err_and(|error| error.to_string().contains("ends early")));
    }

    #[test]
    fn each_broken_header_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path());
        let good = std::fs::read(&path).unwrap();
        let message = |bytes: &[u8]| {
            std::fs::write(dir.path().join("bad"), bytes).unwrap();
            Columns::<u32>::open(&dir.path().join("bad")).unwrap_err().to_string()
        };
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        assert!(message(&good[..10]).contains("10 bytes, no header"));
        assert!(message(&with(0, b'X')).contains("does not begin with STEMCOLS"));
        assert!(message(&with(8, 9)).contains("version 9, expected 1"));
        assert!(message(&with(12, 2)).contains("element type 2, expected 1 (u32)"));
        assert!(message(&with(16, 3)).contains("3 rows of 2 u32 do not fill 16 bytes"));
        assert!(message(&with(23, 0xff)).contains("do not fill"));
        assert!(message(&good[..good.len() - 1]).contains("do not fill 15 bytes"));
    }
}
