//! What a file is, by its first bytes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use stem_core::files::FileError;

/// Bytes of a file that are looked at.
pub const START: usize = 1 << 16;

/// How the bytes of a file are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Zstd,
}

impl Packing {
    /// What the first bytes say.
    pub(crate) fn of(start: &[u8]) -> Option<Self> {
        match start {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// The first bytes of a file.
pub(crate) fn start(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(FileError::of("read", path))?;
    file.take(START as u64).read_to_end(&mut start).map_err(FileError::of("read", path))?;
    Ok(start)
}

/// UTF-16, by its byte-order mark.
pub(crate) fn utf16(start: &[u8]) -> Option<&'static str> {
    match start {
        [0xff, 0xfe, ..] => Some("utf-16le"),
        [0xfe, 0xff, ..] => Some("utf-16be"),
        _ => None,
    }
}

/// What a binary file is by its first bytes; `None` for text.
pub fn binary(start: &[u8]) -> Option<String> {
    let known: [(&[u8], &str); 12] = [
        (b"PAR1", "a Parquet file"),
        (b"ARROW1", "an Arrow IPC file"),
        (b"\x1f\x8b", "a gzip archive; unpack it first"),
        (b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it first"),
        (b"BZh", "a bzip2 archive; unpack it first"),
        (b"\xfd7zXZ", "an xz archive; unpack it first"),
        (b"SQLite format 3", "an SQLite database; export a table of it first"),
        (b"%PDF", "a PDF document"),
        (b"\x89PNG", "a PNG image"),
        (b"\xff\xd8\xff", "a JPEG image"),
        (b"\x7fELF", "a program"),
        (b"\x80\x02", "a Python pickle, perhaps an old PyTorch checkpoint"),
    ];
    if let Some((_, what)) = known.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Some((*what).into());
    }
    if start.starts_with(b"PK\x03\x04") {
        let pickle = start.windows(8).any(|bytes| bytes == b"data.pkl");
        return Some(
            if pickle { "a PyTorch checkpoint" } else { "a zip archive (or a spreadsheet); unpack or export it first" }
                .into(),
        );
    }
    if utf16(start).is_some() {
        return Some("text in UTF-16; convert it to UTF-8 first".into());
    }
    start.contains(&0).then(|| "a binary file of a kind unknown here".into())
}

/// The character that cuts the first lines into equally many values, and into the most; with their number.
pub fn separator(start: &[u8]) -> Option<(usize, u8)> {
    let text = String::from_utf8_lossy(start);
    let lines: Vec<&str> = text.lines().take(50).collect();
    let lines = if lines.len() > 2 && start.len() == START { &lines[..lines.len() - 1] } else { &lines[..] };
    let values = |line: &str, separator: char| {
        let mut quoted = false;
        1 + line
            .chars()
            .filter(|&c| {
                quoted ^= c == '"';
                !quoted && c == separator
            })
            .count()
    };
    let consistent = |separator: u8| {
        let first = values(lines.first()?, char::from(separator));
        let same = lines.iter().filter(|line| values(line, char::from(separator)) == first).count();
        (first > 1 && 10 * same >= 9 * lines.len()).then_some((first, separator))
    };
    b",\t;|".iter().filter_map(|&separator| consistent(separator)).max_by_key(|(values, _)| *values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_separator_is_what_cuts_every_line_alike() {
        assert_eq!(separator(b"a;b;c\n1;2,5;3\n1;2;3,5\n"), Some((3, b';')));
        assert_eq!(separator(b"a,genres,c\n1,x|y,3\n1,x|y|z,3\n"), Some((3, b',')));
        assert_eq!(separator(b"a\tb\n\"x,\ty\"\t2\n"), Some((2, b'\t')));
        assert_eq!(separator(b"a\n1\n"), None);
    }
}
