//! Tables whose rows are scored, in every format that there is, a few thousand rows at a time.
//!
//! Memory does not grow with the rows. Which files there are is decided as for a source of a recipe.

mod format;
mod open;
mod chunk;
mod text;
mod json;
mod frames;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stem_core::Derived;
use stem_core::files::FileError;

pub use chunk::Chunk;
pub use format::TableFormat;
pub use write::TableWriter;

use crate::error::{Error, Result};
use crate::recipe::{Format, Recipe, Source};
use crate::source::files::{self, SourceFile};
use crate::source::{Unpacked, sniff};
use crate::stop::StopFlag;
use frames::Frames;
use json::JsonFiles;
use open::STDIN;
use text::TextFiles;

/// Rows of a [`Chunk`] at most.
const ROWS_AT_ONCE: usize = 8192;

/// Files that are read as one table.
///
/// ```
/// use stem_core::Value;
/// use stem_data::{StopFlag, Tables};
///
/// let folder = tempfile::tempdir().unwrap();
/// std::fs::create_dir(folder.path().join("day=2")).unwrap();
/// std::fs::write(folder.path().join("day=2/a.jsonl"), "{\"user\": 7, \"tags\": [\"x\"]}\n").unwrap();
///
/// let tables = Tables::open(&[folder.path().to_string_lossy()], None)?;
/// assert_eq!(tables.columns(), ["user", "tags", "day"]);
/// tables.for_each_chunk(&StopFlag::default(), |chunk| {
///     assert_eq!(chunk.values("user", 0..1)?, [Value::Integer(7)]);
///     assert_eq!(chunk.values("day", 0..1)?, [Value::from("2")]);
///     Ok::<(), stem_data::Error>(())
/// })?;
/// # Ok::<(), stem_data::Error>(())
/// ```
pub struct Tables {
    kind: Kind,
    format: Option<TableFormat>,
    files: Vec<PathBuf>,
    facts: Facts,
}

enum Kind {
    Text(TextFiles),
    Json(Box<JsonFiles>),
    Frames(Box<Frames>),
}

/// What is known of columns beside their values.
#[derive(Default)]
struct Facts {
    /// What is odd about columns.
    remarks: BTreeMap<String, String>,
    /// Columns of a type that is not read, and why.
    unreadable: BTreeMap<String, String>,
}

impl Tables {
    /// Opens files by their names: each a file, a folder of files or a pattern (`log/day=*/part-*.parquet`), as `files` of a recipe's
    /// source; `-` is stdin. Without a format their names tell it, or their first bytes; what those do not tell is CSV.
    ///
    /// # Errors
    /// Names that stand for no file, and files that are not what their format says.
    pub fn open<S: AsRef<str>>(names: &[S], format: Option<TableFormat>) -> Result<Self> {
        let names: Vec<String> = names.iter().map(|name| name.as_ref().to_string()).collect();
        let files = match names.as_slice() {
            [name] if name == STDIN => {
                vec![SourceFile { path: STDIN.into(), bytes: 0, modified: 0, partitions: vec![], is_read: true }]
            }
            names if names.iter().any(|name| name == STDIN) => {
                let what = "stdin is one table: name nothing beside it".to_string();
                return Err(Error::Source { path: STDIN.into(), what });
            }
            _ => files::list(&Source { name: "input".into(), files: names, ..Source::default() }, Path::new(""))?,
        };
        let format = match format {
            Some(format) => format,
            None => format_of(&files)?,
        };
        let (paths, mut facts) = (files.iter().map(|file| file.path.clone()).collect(), Facts::default());
        let kind = match format {
            TableFormat::Csv | TableFormat::Tsv => Kind::Text(TextFiles::open(files, format, &mut facts)?),
            TableFormat::JsonLines => Kind::Json(Box::new(JsonFiles::open(files, &mut facts)?)),
            TableFormat::Parquet | TableFormat::Ipc => {
                let mut unpacked = Unpacked::default();
                let files = files.into_iter().map(|file| seekable(file, &mut unpacked)).collect::<Result<_>>()?;
                let format = if format == TableFormat::Ipc { Format::Ipc } else { Format::Parquet };
                Kind::Frames(Box::new(Frames::open(files, format, unpacked, &mut facts)?))
            }
        };
        Ok(Self { kind, format: Some(format), files: paths, facts })
    }

    /// The rows that the SELECT of a recipe gives of the raw tables in the folder `data`, with all its columns: also what is computed
    /// of other rows or tables. Labels, groups and the split need not be there.
    ///
    /// # Errors
    /// As [`prepare`](crate::prepare()) gives them.
    pub fn select(recipe: &Recipe, data: &Path, stop: &StopFlag) -> Result<Self> {
        let kind = Kind::Frames(Box::new(Frames::select(recipe, data, stop)?));
        let mut paths = vec![recipe.path.clone()];
        for source in &recipe.sources {
            paths.extend(files::list(source, data)?.into_iter().map(|file| file.path));
        }
        Ok(Self { kind, format: None, files: paths, facts: Facts::default() })
    }

    /// The files that are read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }

    /// How they are written; `None` of the result of a SELECT.
    pub fn format(&self) -> Option<TableFormat> {
        self.format
    }

    /// Names of the columns, in order: of CSV and TSV as they are written, of JSON lines those of the first rows. A CSV file may name a
    /// column twice.
    pub fn columns(&self) -> &[String] {
        match &self.kind {
            Kind::Text(files) => files.columns(),
            Kind::Json(files) => files.columns(),
            Kind::Frames(frames) => frames.columns(),
        }
    }

    /// Why a column that the files have is not among [`columns`](Self::columns).
    pub fn unreadable(&self) -> impl Iterator<Item = (&str, &str)> {
        self.facts.unreadable.iter().map(|(name, why)| (name.as_str(), why.as_str()))
    }

    /// What is odd about a column: that some files lack it, for instance.
    pub fn remark(&self, column: &str) -> Option<&str> {
        self.facts.remarks.get(column).map(String::as_str)
    }

    /// How the SELECT of [`select`](Self::select) computes a field of the recipe; `None` where it is a raw column.
    pub fn derived(&self, column: &str) -> Option<&Derived> {
        match &self.kind {
            Kind::Frames(frames) => frames.derived(column),
            _ => None,
        }
    }

    /// Hands all rows over, in order, at least one chunk, which may be empty.
    ///
    /// # Errors
    /// Those of `see`; what cannot be read at all; [`Error::Stopped`] between two chunks. Single rows that cannot be read are
    /// [`Chunk::refused`].
    pub fn for_each_chunk<E: From<Error>>(
        self,
        stop: &StopFlag,
        mut see: impl FnMut(Chunk) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut see = |chunk| match stop.is_set() {
            true => Err(Error::Stopped.into()),
            false => see(chunk),
        };
        match self.kind {
            Kind::Text(files) => files.for_each_chunk(see),
            Kind::Json(files) => files.for_each_chunk(see),
            Kind::Frames(frames) => frames.for_each_chunk(stop, &mut see),
        }
    }
}

/// How files are written, by their names or the first bytes of the first.
fn format_of(files: &[SourceFile]) -> Result<TableFormat> {
    let name = |file: &SourceFile| file.path.file_name().map(|name| name.to_string_lossy().into_owned());
    let named = files.iter().filter_map(|file| Some((file, TableFormat::of_name(&name(file)?)?)));
    let named: Vec<(&SourceFile, TableFormat)> = named.collect();
    if let Some((_, first)) = named.first() {
        return match named.iter().find(|(_, format)| format != first) {
            Some((other, format)) => {
                let what = format!(
                    "it is {format} by its name, and {} is {first}: one table has one format",
                    named[0].0.path.display()
                );
                Err(Error::Source { path: other.path.clone(), what })
            }
            None => Ok(*first),
        };
    }
    let Some(first) = files.first().filter(|file| file.path.is_file()) else { return Ok(TableFormat::Csv) };
    Ok(match sniff::start(&first.path)?.as_slice() {
        [b'P', b'A', b'R', b'1', ..] => TableFormat::Parquet,
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] => TableFormat::Ipc,
        [b'{', ..] => TableFormat::JsonLines,
        _ => TableFormat::Csv,
    })
}

/// A file that can be read from any place: what comes through a pipe is written to one.
fn seekable(file: SourceFile, unpacked: &mut Unpacked) -> Result<SourceFile> {
    if file.path.is_file() {
        return Ok(file);
    }
    let path = unpacked.file()?;
    let mut to = std::fs::File::create(&path).map_err(FileError::of("write", &path))?;
    let copied = match file.path == Path::new(STDIN) {
        true => std::io::copy(&mut std::io::stdin().lock(), &mut to),
        false => std::fs::File::open(&file.path).and_then(|mut from| std::io::copy(&mut from, &mut to)),
    };
    copied.map_err(FileError::of("read", &file.path))?;
    Ok(SourceFile { path, ..file })
}
