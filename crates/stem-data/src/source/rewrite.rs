//! Text that Polars does not read as it is, written anew as text that it does: unpacked, in UTF-8, one character between values,
//! quotes within quotes doubled. Line by line, so that line numbers stay those of the file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use encoding_rs::{DecoderResult, Encoding};
use stem_core::files::FileError;

use super::sniff::{self, Packing};
use crate::error::{Error, Result};
use crate::recipe::{Dialect, Quote};
use crate::stop::StopFlag;

/// Whether the web knows an encoding by this name.
pub(crate) fn is_encoding(label: &str) -> bool {
    Encoding::for_label(label.as_bytes()).is_some()
}

/// What must be done to a file before Polars reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rewriting {
    packing: Option<Packing>,
    encoding: Option<&'static Encoding>,
    /// A separator of several characters.
    separator: Option<String>,
    /// A character before quotes within quotes, and the quote.
    escape: Option<(u8, u8)>,
    /// Blank lines at the end: Polars takes them for rows.
    blank_end: bool,
}

/// Bytes of the first lines of a file: as many as rows are looked at to find types, of 4 kB each.
const FIRST: u64 = 40 << 20;

/// The separator of text that was rewritten because its own was of several characters.
pub(super) const SEPARATOR: u8 = b',';

impl Rewriting {
    /// What the first bytes of a file and the recipe ask for; `None` where the file is read as it is.
    pub(super) fn of(path: &Path, start: &[u8], dialect: &Dialect) -> Result<Option<Self>> {
        let packing = Packing::of(start);
        let start = match packing {
            Some(packing) => &unpacked_start(path, packing)?,
            None => start,
        };
        let label = sniff::utf16(start).or(dialect.encoding.as_deref());
        let encoding = label.and_then(|label| Encoding::for_label(label.as_bytes()));
        let encoding = encoding.filter(|encoding| *encoding != encoding_rs::UTF_8);
        if let Some(what) = sniff::binary(start).filter(|_| encoding.is_none()) {
            let what = format!("it is {what}, and the recipe reads it as text");
            return Err(Error::Source { path: path.into(), what });
        }
        let separator = dialect.separator.clone().filter(|separator| separator.len() > 1);
        let quote = if let Some(Quote::Character(quote)) = dialect.quote { quote } else { b'"' };
        let escape = dialect.escape.filter(|escape| *escape != quote).map(|escape| (escape, quote));
        let blank_end = ends_blank(path).map_err(FileError::of("read", path))?;
        let is_needed = packing.is_some() || encoding.is_some() || separator.is_some() || escape.is_some() || blank_end;
        Ok(is_needed.then_some(Self { packing, encoding, separator, escape, blank_end }))
    }

    /// Writes the first lines of `path` anew as `to`; `false` where that cannot be done without the others.
    pub(super) fn run_first(&self, path: &Path, to: &Path, stop: &StopFlag) -> Result<bool> {
        if self.encoding.is_some() {
            return Ok(false); // it may be cut within a letter
        }
        self.write(path, open(path, self.packing)?.take(FIRST), to, stop)?;
        let is_cut = without_last_line(to).map_err(FileError::of("write", to));
        Ok(is_cut?)
    }

    /// Writes `path` anew as `to`.
    pub(super) fn run(&self, path: &Path, to: &Path, stop: &StopFlag) -> Result<()> {
        self.write(path, open(path, self.packing)?, to, stop)
    }

    fn write(&self, path: &Path, input: impl BufRead, to: &Path, stop: &StopFlag) -> Result<()> {
        let unreadable = |error: io::Error| Error::Source {
            path: path.into(),
            what: match self.packing {
                Some(_) => format!("it cannot be unpacked ({error}): it is damaged, or was cut short"),
                None => error.to_string(),
            },
        };
        let unwritable = |error: io::Error| Error::from(FileError::of("write", to)(error));
        let mut output = BufWriter::with_capacity(1 << 18, File::create(to).map_err(unwritable)?);
        if self.separator.is_none() && self.escape.is_none() {
            self.decoded(path, input, stop, &unreadable, |text| output.write_all(text).map_err(unwritable))?;
        } else {
            let mut lines = LineWriter { to: output, rest: Vec::new(), rewriting: self, open: false };
            self.decoded(path, input, stop, &unreadable, |text| lines.write(text).map_err(unwritable))?;
            output = lines.finish().map_err(unwritable)?;
        }
        output.flush().map_err(unwritable)?;
        drop(output);
        without_blank_end(to).map_err(unwritable)
    }

    /// Hands the text over in UTF-8, piece by piece.
    fn decoded(
        &self,
        path: &Path,
        mut input: impl BufRead,
        stop: &StopFlag,
        unreadable: &dyn Fn(io::Error) -> Error,
        mut write: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut decoder = self.encoding.map(Encoding::new_decoder_with_bom_removal);
        let (mut text, mut line) = (vec![0; 1 << 18], 1);
        loop {
            if stop.is_set() {
                return Err(Error::Stopped);
            }
            let bytes = input.fill_buf().map_err(unreadable)?;
            let (length, is_last) = (bytes.len(), bytes.is_empty());
            let Some(decoder) = &mut decoder else {
                write(bytes)?;
                input.consume(length);
                if is_last {
                    return Ok(());
                }
                continue;
            };
            let (result, read, written) = decoder.decode_to_utf8_without_replacement(bytes, &mut text, is_last);
            write(&text[..written])?;
            line += text[..written].iter().filter(|&&b| b == b'\n').count();
            input.consume(read);
            match result {
                DecoderResult::Malformed(..) => {
                    let name = self.encoding.map_or("", Encoding::name);
                    let what = format!("line {line} is not written in {name}: name the encoding that it has");
                    return Err(Error::Source { path: path.into(), what });
                }
                DecoderResult::InputEmpty if is_last => return Ok(()),
                _ => {}
            }
        }
    }

    /// A line, without its end, in the form that Polars reads. `open` is whether it begins within a quoted value, and then whether the
    /// next one does.
    fn line(&self, line: &[u8], open: &mut bool, out: &mut Vec<u8>) {
        if let Some(separator) = self.separator.as_deref().filter(|_| self.escape.is_none()) {
            let text = String::from_utf8_lossy(line);
            for (place, value) in text.split(separator).enumerate() {
                if place > 0 {
                    out.push(SEPARATOR);
                }
                put(value.trim_end_matches('\r').as_bytes(), out);
            }
            return;
        }
        let Some((escape, quote)) = self.escape else { return out.extend_from_slice(line) };
        let mut was_escape = false;
        for &byte in line {
            match byte {
                b if *open && was_escape => {
                    was_escape = false;
                    if b == quote {
                        out.push(quote);
                    } else if b != escape {
                        out.push(escape);
                    }
                    out.push(b);
                }
                b if *open && b == escape => was_escape = true,
                b if b == quote => {
                    *open = !*open;
                    out.push(b);
                }
                b => out.push(b),
            }
        }
        if was_escape {
            out.push(escape);
        }
    }
}

/// Whether a file ends in more than one end of a line.
fn ends_blank(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let back = file.metadata()?.len().min(4);
    file.seek(SeekFrom::End(-(back as i64)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    Ok(end.ends_with(b"\n\n") || end.ends_with(b"\n\r\n"))
}

/// Cuts a file before its blank lines at the end.
fn without_blank_end(path: &Path) -> io::Result<()> {
    let mut file = File::options().read(true).write(true).open(path)?;
    loop {
        let length = file.metadata()?.len();
        let back = length.min(4096);
        file.seek(SeekFrom::End(-(back as i64)))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        let blank = end.iter().rev().take_while(|byte| matches!(byte, b'\n' | b'\r')).count() as u64;
        file.set_len(length - blank)?;
        if blank < back || blank == 0 {
            return Ok(());
        }
    }
}

/// Cuts a file behind its last end of a line; `false` where there is none in its last bytes.
fn without_last_line(path: &Path) -> io::Result<bool> {
    let mut file = File::options().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let back = length.min(1 << 20);
    file.seek(SeekFrom::End(-(back as i64)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let Some(place) = end.iter().rposition(|byte| *byte == b'\n') else { return Ok(false) };
    file.set_len(length - back + place as u64 + 1)?;
    Ok(true)
}

/// A value, in quotes where it needs them.
fn put(value: &[u8], out: &mut Vec<u8>) {
    if !value.iter().any(|byte| matches!(byte, b'"' | b'\r') || *byte == SEPARATOR) {
        return out.extend_from_slice(value);
    }
    out.push(b'"');
    for &byte in value {
        out.extend(if byte == b'"' { &b"\"\""[..] } else { std::slice::from_ref(&byte) });
    }
    out.push(b'"');
}

/// Rewrites whole lines; keeps what does not end yet.
struct LineWriter<'r> {
    to: BufWriter<File>,
    rest: Vec<u8>,
    rewriting: &'r Rewriting,
    open: bool,
}

impl LineWriter<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        self.rest.extend_from_slice(text);
        let Some(end) = self.rest.iter().rposition(|&b| b == b'\n') else { return Ok(()) };
        let mut out = Vec::with_capacity(end + end / 8);
        for line in self.rest[..end].split(|&b| b == b'\n') {
            self.rewriting.line(line, &mut self.open, &mut out);
            out.push(b'\n');
        }
        self.rest.drain(..=end);
        self.to.write_all(&out)
    }

    fn finish(mut self) -> io::Result<BufWriter<File>> {
        let mut out = Vec::new();
        self.rewriting.line(&self.rest, &mut self.open, &mut out);
        self.to.write_all(&out)?;
        Ok(self.to)
    }
}

fn open(path: &Path, packing: Option<Packing>) -> Result<Box<dyn BufRead>> {
    let file = BufReader::with_capacity(1 << 18, File::open(path).map_err(FileError::of("read", path))?);
    Ok(match packing {
        None => Box::new(file),
        Some(Packing::Gzip) => Box::new(BufReader::with_capacity(1 << 18, flate2::bufread::MultiGzDecoder::new(file))),
        Some(Packing::Zstd) => {
            let decoder = zstd::Decoder::with_buffer(file).map_err(FileError::of("read", path))?;
            Box::new(BufReader::with_capacity(1 << 18, decoder))
        }
    })
}

/// The first bytes of a file, unpacked where it is packed.
pub(crate) fn start_of(path: &Path) -> Result<Vec<u8>> {
    let start = sniff::start(path)?;
    Packing::of(&start).map_or(Ok(start), |packing| unpacked_start(path, packing))
}

fn unpacked_start(path: &Path, packing: Packing) -> Result<Vec<u8>> {
    let mut start = Vec::new();
    let read = open(path, Some(packing))?.take(sniff::START as u64).read_to_end(&mut start);
    match read {
        Ok(_) => Ok(start),
        Err(_) if !start.is_empty() => Ok(start), // told when all of it is read
        Err(error) => {
            let what = format!("it cannot be unpacked ({error}): it is damaged, or was cut short");
            Err(Error::Source { path: path.into(), what })
        }
    }
}
