//! `dataset.json`: what is in a folder of columns, with a mark of every file.
//!
//! A file whose length and time of change are those of its mark is taken as it was written, so that opening a data set costs the same
//! for a thousand rows and for a billion. Any other file is read, and its checksum must be that of the mark.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use stem_core::Schema;
use stem_core::files::{self, FileError};

use crate::columns::{self, Columns, Element};
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::given::Given;
use crate::slices::Slice;
use crate::split::{Split, SplitStatistics};

/// Version of the folder's layout.
pub(crate) const FORMAT: u32 = 4;
/// The format before, which opens too: lists are padded to the longest.
pub(crate) const PADDED_LISTS: u32 = 3;
/// The format before that, which opens too: labels are floats.
pub(crate) const FLOAT_LABELS: u32 = 2;
/// The file that makes a folder a data set.
pub(crate) const MANIFEST: &str = "dataset.json";

/// The page of the data set, which `stem prepare` writes beside the columns.
pub const DATA_PAGE: &str = "data.html";

/// `dataset.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    pub(crate) name: String,
    /// Hash of recipe and inputs.
    pub(crate) key: String,
    pub(crate) schema: Schema,
    /// For each vocabulary: whether its keys are integers, text or none.
    pub(crate) keys: Vec<Keys>,
    pub(crate) statistics: [SplitStatistics; 3],
    pub(crate) warnings: Vec<String>,
    /// `None` in a folder that an earlier version wrote.
    #[serde(default)]
    pub(crate) facts: Option<Facts>,
    /// Columns that a measurement is cut by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) slices: Vec<Slice>,
    /// Vocabularies of which rows start from given vectors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) given: Vec<Given>,
    /// The mark of every column file, by its path in the folder.
    pub(crate) files: BTreeMap<String, FileMark>,
}

/// What the keys of a vocabulary are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Keys {
    Integers,
    Texts,
    /// None: they are hashed, or there are numbers in their place. The schema says all.
    #[serde(alias = "number")]
    None,
}

/// What a file was when it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileMark {
    /// Its length.
    pub(crate) bytes: u64,
    /// When it was last changed, in nanoseconds since 1970.
    pub(crate) modified: u64,
    /// BLAKE3 of its values, then of its header, in hexadecimal digits.
    pub(crate) checksum: String,
}

/// When a file was last changed, in nanoseconds since 1970; 0 where the system does not say.
pub(crate) fn modified(found: &Metadata) -> u64 {
    let since = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_nanos() as u64)
}

impl Manifest {
    /// Reads the `dataset.json` of a folder.
    ///
    /// # Errors
    /// A file that cannot be read, is of another format, or contradicts itself.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let text = files::read(&path)?;
        let fault = |what: String| Error::Dataset { path: path.clone(), what };
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let version: Version = serde_json::from_slice(&text).map_err(|e| fault(e.to_string()))?;
        if !(FLOAT_LABELS..=FORMAT).contains(&version.format) {
            return Err(fault(format!("format {}, this program reads {FORMAT}: prepare it again", version.format)));
        }
        let manifest: Self = serde_json::from_slice(&text).map_err(|e| fault(e.to_string()))?;
        manifest.schema.check()?;
        manifest.check_counts().map_err(fault)?;
        Ok(manifest)
    }

    /// As many counts as tasks, none larger than the rows they count.
    fn check_counts(&self) -> Result<(), String> {
        let (vocabularies, tasks) = (self.schema.vocabularies.len(), self.schema.tasks.len());
        if self.keys.len() != vocabularies {
            return Err(format!("{} vocabularies, the schema names {vocabularies}", self.keys.len()));
        }
        if let Some(facts) = &self.facts {
            let found = [facts.fields.len(), facts.vocabularies.len(), facts.outside.len()];
            let expected = [self.schema.fields.len(), vocabularies, tasks];
            if found != expected {
                return Err(format!("facts of {found:?} fields, vocabularies and tasks, the schema has {expected:?}"));
            }
        }
        for (split, SplitStatistics { rows, positives, missing }) in Split::ALL.iter().zip(&self.statistics) {
            let name = split.name();
            if positives.len() != tasks || missing.len() != tasks {
                let (positives, missing) = (positives.len(), missing.len());
                return Err(format!(
                    "{positives} and {missing} counts of labels in {name}, the schema has {tasks} tasks"
                ));
            }
            let known = positives.iter().zip(missing).map(|(positives, missing)| positives.saturating_add(*missing));
            if let Some(count) = known.max().filter(|count| count > rows) {
                return Err(format!("{count} labels are counted in the {rows} rows of {name}"));
            }
        }
        Ok(())
    }

    /// Refuses a file that is not as it was written.
    ///
    /// # Errors
    /// [`Error::Dataset`] with what differs.
    pub(crate) fn check_file(&self, folder: &Path, name: &str) -> Result<()> {
        let path = folder.join(name);
        let fault = |what: String| Error::Dataset { path: path.clone(), what };
        let mark = self.files.get(name).ok_or_else(|| fault(format!("{MANIFEST} has no mark of it")))?;
        let found = std::fs::metadata(&path).map_err(FileError::of("read", &path))?;
        if found.len() != mark.bytes {
            return Err(fault(format!("{} bytes, {} were written: prepare it again", found.len(), mark.bytes)));
        }
        if modified(&found) != mark.modified && columns::checksum_of(&path)? != mark.checksum {
            return Err(fault("its contents are not those that were written: prepare it again".into()));
        }
        Ok(())
    }

    /// Opens a matrix that must have this shape.
    ///
    /// # Errors
    /// A file that is not as it was written, or of another shape.
    pub(crate) fn open<T: Element>(&self, folder: &Path, name: &str, shape: [usize; 2]) -> Result<Columns<T>> {
        self.check_file(folder, name)?;
        let columns = Columns::open(&folder.join(name))?;
        let found = [columns.rows(), columns.cols()];
        if shape[1] > 0 && found != shape {
            let what = format!("{} rows of {}, expected {} of {}", found[0], found[1], shape[0], shape[1]);
            return Err(Error::Dataset { path: folder.join(name), what });
        }
        Ok(columns)
    }

    /// Numbers of a row, those of vectors included: the columns of `numbers.f32`.
    pub(crate) fn numbers(&self) -> usize {
        self.schema.fields.iter().filter(|f| !f.kind.has_keys()).map(|f| f.kind.slots()).sum()
    }
}
