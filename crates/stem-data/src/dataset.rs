//! An encoded data set: a folder of columns for each split, the vocabularies, and `dataset.json` that describes them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use stem_core::{FieldKind, Schema, Texts, Vocabulary};

use crate::columns::{ColumnWriter, Columns};
use crate::error::{Error, Result};

/// Version of the folder's layout.
pub(crate) const FORMAT: u32 = 1;
/// The file that makes a folder a data set.
pub(crate) const MANIFEST: &str = "dataset.json";

/// Rows are trained on, validated on, or tested on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// Vocabularies, statistics and weights come from these rows alone.
    Train,
    /// Early stopping looks at these.
    Valid,
    /// Looked at once, at the end.
    Test,
}

impl Split {
    /// All three, in order.
    pub const ALL: [Split; 3] = [Split::Train, Split::Valid, Split::Test];

    /// Name of its folder.
    pub fn name(self) -> &'static str {
        ["train", "valid", "test"][self as usize]
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Split::Train => "training",
            Split::Valid => "validation",
            Split::Test => "test",
        })
    }
}

/// What is known about one split.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitStatistics {
    /// Rows.
    pub rows: usize,
    /// Rows with label 1, for each task.
    pub positives: Vec<usize>,
    /// Rows without a label, for each task.
    pub missing: Vec<usize>,
}

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
}

/// What the keys of a vocabulary are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Keys {
    Integers,
    Texts,
    Number,
}

/// The columns of one split.
#[derive(Debug)]
struct SplitColumns {
    ids: Columns<u32>,            // [N, S]
    numbers: Columns<f32>,        // [N, number fields]
    labels: Columns<f32>,         // [N, T]
    groups: Option<Columns<u32>>, // [N, 1]
}

#[derive(Debug)]
struct Inner {
    manifest: Manifest,
    vocabularies: Vec<Vocabulary>,
    splits: [SplitColumns; 3],
}

/// An encoded data set, mapped into memory. Cheap to clone, `Send + Sync`.
#[derive(Debug, Clone)]
pub struct Dataset {
    inner: Arc<Inner>,
    view: Option<Arc<TaskView>>,
}

/// One task's labels and their counts, and the schema with that task alone.
#[derive(Debug)]
struct TaskView {
    schema: Schema,
    labels: [Vec<f32>; 3],
    statistics: [SplitStatistics; 3],
}

impl Dataset {
    /// Opens a folder that [`prepare`](crate::prepare()) wrote, and checks all of it.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Dataset`].
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let dataset = Self::open_unchecked(folder.as_ref())?;
        dataset.check(folder.as_ref())?;
        Ok(dataset)
    }

    /// Opens a folder without looking at every value, as one may right after writing them.
    pub(crate) fn open_unchecked(folder: &Path) -> Result<Self> {
        let manifest = read_manifest(folder)?;
        let vocabularies = (0..manifest.keys.len()).map(|v| read_vocabulary(folder, v, manifest.keys[v]));
        let vocabularies = vocabularies.collect::<Result<Vec<_>>>()?;
        let open = |split: Split| -> Result<SplitColumns> {
            let folder = folder.join(split.name());
            Ok(SplitColumns {
                ids: Columns::open(&folder.join("ids.u32"))?,
                numbers: Columns::open(&folder.join("numbers.f32"))?,
                labels: Columns::open(&folder.join("labels.f32"))?,
                groups: manifest
                    .schema
                    .group
                    .is_some()
                    .then(|| Columns::open(&folder.join("groups.u32")))
                    .transpose()?,
            })
        };
        let splits = [open(Split::Train)?, open(Split::Valid)?, open(Split::Test)?];
        let dataset = Self { inner: Arc::new(Inner { manifest, vocabularies, splits }), view: None };
        dataset.check_shapes(folder)?;
        Ok(dataset)
    }

    fn check_shapes(&self, folder: &Path) -> Result<()> {
        let Inner { manifest, vocabularies, splits } = &*self.inner;
        let fault = |what: String| Err(Error::Dataset { path: folder.into(), what });
        manifest.schema.check()?;
        if vocabularies.len() != manifest.schema.vocabularies.len() {
            return fault(format!(
                "{} vocabularies, the schema names {}",
                vocabularies.len(),
                manifest.schema.vocabularies.len()
            ));
        }
        for (vocabulary, spec) in vocabularies.iter().zip(&manifest.schema.vocabularies) {
            if vocabulary.rows() != spec.rows || !vocabulary.is_sorted() {
                return fault(format!(
                    "vocabulary '{}' has {} rows, the schema says {}",
                    spec.name,
                    vocabulary.rows(),
                    spec.rows
                ));
            }
        }
        let numbers = number_fields(&manifest.schema);
        for (split, (columns, statistics)) in Split::ALL.iter().zip(splits.iter().zip(&manifest.statistics)) {
            let rows = statistics.rows;
            let shape = |what: &str, found: (usize, usize), cols: usize| match cols == 0 || found == (rows, cols) {
                true => Ok(()),
                false => fault(format!("{what} of {} are {found:?}, expected ({rows}, {cols})", split.name())),
            };
            shape("ids", (columns.ids.rows(), columns.ids.cols()), manifest.schema.slots())?;
            shape("numbers", (columns.numbers.rows(), columns.numbers.cols()), numbers)?;
            shape("labels", (columns.labels.rows(), columns.labels.cols()), manifest.schema.tasks.len())?;
            if let Some(groups) = &columns.groups {
                shape("groups", (groups.rows(), groups.cols()), 1)?;
            }
        }
        Ok(())
    }

    /// Every id lies in its field's vocabulary, every number is finite, every label 0, 1 or missing.
    fn check(&self, folder: &Path) -> Result<()> {
        let schema = &self.inner.manifest.schema;
        let offsets = schema.offsets();
        let ranges: Vec<(u32, u32)> = schema
            .fields
            .iter()
            .flat_map(|f| {
                let start = offsets[f.vocabulary];
                let range = (start, start + schema.vocabularies[f.vocabulary].rows as u32);
                std::iter::repeat_n(range, f.kind.slots())
            })
            .collect();
        for (split, columns) in Split::ALL.iter().zip(&self.inner.splits) {
            let sound = |row: &[u32]| row.iter().zip(&ranges).all(|(id, range)| (range.0..range.1).contains(id));
            let fault = |what: String| Err(Error::Dataset { path: folder.join(split.name()), what });
            if let Some(row) = columns.ids.values().par_chunks(ranges.len()).position_first(|row| !sound(row)) {
                return fault(format!("row {row} has an id outside its vocabulary"));
            }
            if let Some(place) = columns.numbers.values().par_iter().position_first(|n| !n.is_finite()) {
                return fault(format!("row {} has a number that is not finite", place / columns.numbers.cols()));
            }
            let label = |y: &f32| *y == 0.0 || *y == 1.0 || y.is_nan();
            if let Some(place) = columns.labels.values().par_iter().position_first(|y| !label(y)) {
                return fault(format!(
                    "row {} has a label that is neither 0, 1 nor missing",
                    place / schema.tasks.len()
                ));
            }
        }
        Ok(())
    }

    /// Name of the data set.
    pub fn name(&self) -> &str {
        &self.inner.manifest.name
    }

    /// Hash of the recipe and of what it was prepared from.
    pub fn key(&self) -> &str {
        &self.inner.manifest.key
    }

    /// Fields, tasks and sizes.
    pub fn schema(&self) -> &Schema {
        self.view.as_ref().map_or(&self.inner.manifest.schema, |view| &view.schema)
    }

    /// One for each entry of the schema's vocabularies.
    pub fn vocabularies(&self) -> &[Vocabulary] {
        &self.inner.vocabularies
    }

    /// What was odd about the data, in words.
    pub fn warnings(&self) -> &[String] {
        &self.inner.manifest.warnings
    }

    /// Counts of a split, for each task.
    pub fn statistics(&self, split: Split) -> &SplitStatistics {
        &self.view.as_ref().map_or(&self.inner.manifest.statistics, |view| &view.statistics)[split as usize]
    }

    /// `N`: rows of a split.
    pub fn rows(&self, split: Split) -> usize {
        self.inner.manifest.statistics[split as usize].rows
    }

    /// 0, 1 or NaN for missing. `[N, T]`
    pub fn labels(&self, split: Split) -> &[f32] {
        match &self.view {
            Some(view) => &view.labels[split as usize],
            None => self.inner.splits[split as usize].labels.values(),
        }
    }

    /// Group of each row, the same index in every split; `None` when the recipe names none. `[N]`
    pub fn groups(&self, split: Split) -> Option<&[u32]> {
        self.inner.splits[split as usize].groups.as_ref().map(Columns::values)
    }

    /// The same rows with the label of one task. The columns are shared.
    ///
    /// # Panics
    /// When there is no such task.
    pub fn only_task(&self, task: usize) -> Dataset {
        let tasks = self.schema().tasks.len();
        assert!(task < tasks, "task {task} of {tasks}");
        let labels = Split::ALL.map(|split| self.labels(split).iter().skip(task).step_by(tasks).copied().collect());
        let statistics = Split::ALL.map(|split| {
            let SplitStatistics { rows, positives, missing } = self.statistics(split);
            SplitStatistics { rows: *rows, positives: vec![positives[task]], missing: vec![missing[task]] }
        });
        let view = TaskView { schema: self.schema().only_task(task), labels, statistics };
        Dataset { inner: self.inner.clone(), view: Some(Arc::new(view)) }
    }

    /// Ids `[N, S]`, numbers `[N, cols]` and `cols`.
    pub(crate) fn features(&self, split: Split) -> (&[u32], &[f32], usize) {
        let columns = &self.inner.splits[split as usize];
        (columns.ids.values(), columns.numbers.values(), columns.numbers.cols())
    }
}

/// Fields that are numbers.
pub(crate) fn number_fields(schema: &Schema) -> usize {
    schema.fields.iter().filter(|f| matches!(f.kind, FieldKind::Number { .. })).count()
}

/// Reads `dataset.json`.
pub(crate) fn read_manifest(folder: &Path) -> Result<Manifest> {
    let path = folder.join(MANIFEST);
    let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
    let fault = |what: String| Error::Dataset { path: path.clone(), what };
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let version: Version = serde_json::from_slice(&text).map_err(|e| fault(e.to_string()))?;
    if version.format != FORMAT {
        return Err(fault(format!("format {}, this program reads {FORMAT}: prepare it again", version.format)));
    }
    serde_json::from_slice(&text).map_err(|e| fault(e.to_string()))
}

/// Writes vocabulary `v`: integers as one column, texts as bytes and offsets.
pub(crate) fn write_vocabulary(folder: &Path, v: usize, vocabulary: &Vocabulary) -> Result<Keys> {
    match vocabulary {
        Vocabulary::Number => Ok(Keys::Number),
        Vocabulary::Integers(keys) => {
            write_column(folder.join(format!("vocabulary-{v}.i64")), keys)?;
            Ok(Keys::Integers)
        }
        Vocabulary::Texts(texts) => {
            let (bytes, offsets) = texts.parts();
            write_column(folder.join(format!("vocabulary-{v}.u8")), bytes)?;
            write_column(folder.join(format!("vocabulary-{v}.u64")), offsets)?;
            Ok(Keys::Texts)
        }
        _ => {
            let what = format!("vocabulary {v} is of a kind that columns cannot hold");
            Err(Error::Dataset { path: folder.into(), what })
        }
    }
}

fn write_column<T: crate::columns::Element>(path: std::path::PathBuf, values: &[T]) -> Result<()> {
    let mut writer = ColumnWriter::create(path, 1)?;
    writer.write(values)?;
    writer.finish().map(drop)
}

fn read_vocabulary(folder: &Path, v: usize, keys: Keys) -> Result<Vocabulary> {
    let path = |kind: &str| folder.join(format!("vocabulary-{v}.{kind}"));
    match keys {
        Keys::Number => Ok(Vocabulary::Number),
        Keys::Integers => Ok(Vocabulary::Integers(Columns::open(&path("i64"))?.values().to_vec())),
        Keys::Texts => {
            let (bytes, offsets) = (Columns::<u8>::open(&path("u8"))?, Columns::<u64>::open(&path("u64"))?);
            match Texts::from_parts(bytes.values().to_vec(), offsets.values().to_vec()) {
                Some(texts) => Ok(Vocabulary::Texts(texts)),
                None => Err(Error::Dataset { path: path("u64"), what: "its offsets do not cut valid text".into() }),
            }
        }
    }
}
