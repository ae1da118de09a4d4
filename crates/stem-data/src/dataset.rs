//! An encoded data set: a folder of columns for each split, the vocabularies, and `dataset.json` that describes them.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use stem_core::bundle::KnownKeys;
use stem_core::{MISSING, Schema, Task, TaskKind, Texts, Vocabulary};
use stem_report::analysis::LabelKind;

use crate::columns::{ColumnWriter, Columns, Element};
use crate::encode::{SLICES, VALUES, WEIGHTS};
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::given::{Given, GivenVectors};
use crate::ids::Ids;
use crate::manifest::{FLOAT_LABELS, Keys, Manifest};
use crate::slices::Slice;
use crate::split::{Split, SplitStatistics};
use crate::targets::value_places;

/// The columns of one split.
#[derive(Debug)]
struct SplitColumns {
    ids: Ids,
    numbers: Columns<f32>,         // [N, numbers of all fields]
    labels: Labels,                // [N, T], 0, 1 or NO_LABEL; of a number whether it is above 0
    values: Option<Columns<f32>>,  // [N, labels that are numbers]
    groups: Option<Columns<u32>>,  // [N, 1]
    weights: Option<Columns<f32>>, // [N, 1]
    slices: Option<Columns<u32>>,  // [N, slices]
    /// Rows that are positive for some task.
    positives: OnceLock<usize>,
    /// All labels as floats, made by the first call of [`Dataset::labels`]; batches read the column.
    floats: OnceLock<Vec<f32>>,
}

/// Labels as they lie in a file, or as they were read from the floats of an older version.
#[derive(Debug)]
enum Labels {
    Bytes(Columns<u8>),
    OfFloats(Vec<u8>),
}

impl Labels {
    fn open(manifest: &Manifest, folder: &Path, split: Split, shape: [usize; 2]) -> Result<Self> {
        let name = |file: &str| format!("{}/{file}", split.name());
        if manifest.format != FLOAT_LABELS {
            return Ok(Self::Bytes(manifest.open(folder, &name("labels.u8"), shape)?));
        }
        let floats: Columns<f32> = manifest.open(folder, &name("labels.f32"), shape)?;
        let byte = |label: &f32| if label.is_nan() { NO_LABEL } else { u8::from(*label == 1.0) };
        Ok(Self::OfFloats(floats.values().iter().map(byte).collect()))
    }

    fn values(&self) -> &[u8] {
        match self {
            Self::Bytes(columns) => columns.values(),
            Self::OfFloats(values) => values,
        }
    }
}

/// A label that is missing, in a column.
pub(crate) const NO_LABEL: u8 = 255;

/// A label of a column as a batch has it: 0, 1 or NaN for missing.
pub(crate) fn label(byte: u8) -> f32 {
    if byte == NO_LABEL { MISSING } else { f32::from(byte) }
}

#[derive(Debug)]
struct Inner {
    manifest: Manifest,
    vocabularies: Vec<Vocabulary>,
    idle: Vec<Vec<u32>>,
    /// Of each task of the folder, where its numbers stand in a row of them.
    places: Vec<Option<usize>>,
    splits: [SplitColumns; 3],
    /// Of the vocabularies of which rows start from given vectors: which rows, ascending, and their vectors.
    given: Vec<(Given, Columns<u32>, Columns<f32>)>,
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
    /// Its place among all tasks.
    task: usize,
    schema: Schema,
    /// Copied by the first call of [`Dataset::labels`]; batches read the columns.
    labels: [OnceLock<Vec<f32>>; 3],
    positives: [OnceLock<usize>; 3],
    statistics: [SplitStatistics; 3],
    facts: Option<Facts>,
}

impl Dataset {
    /// Opens a folder that [`prepare`](crate::prepare()) wrote. The time it takes does not grow with the rows: columns that have the
    /// length and the time of change that they were written with are not read. Others, of a copied folder for instance, are read
    /// once and must have the checksum that they were written with.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Dataset`].
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let manifest = Manifest::read(folder)?;
        let vocabularies = (0..manifest.keys.len()).map(|v| read_vocabulary(folder, v, &manifest));
        let vocabularies = vocabularies.collect::<Result<Vec<_>>>()?;
        let idle = vocabularies.iter().enumerate().map(|(v, vocabulary)| read_idle(folder, v, vocabulary, &manifest));
        let idle = idle.collect::<Result<Vec<_>>>()?;
        let open = |split: Split| -> Result<SplitColumns> {
            let name = |file: &str| format!("{}/{file}", split.name());
            let (rows, schema) = (manifest.statistics[split as usize].rows, &manifest.schema);
            let groups = || manifest.open(folder, &name("groups.u32"), [rows, 1]);
            let has_weights = manifest.files.contains_key(&name(WEIGHTS));
            let weights = || manifest.open(folder, &name(WEIGHTS), [rows, 1]);
            let numeric = schema.tasks.iter().filter(|task| !task.kind.is_binary()).count();
            let values = || manifest.open(folder, &name(VALUES), [rows, numeric]);
            let slices = || manifest.open(folder, &name(SLICES), [rows, manifest.slices.len()]);
            Ok(SplitColumns {
                ids: Ids::open(&manifest, folder, split.name(), rows)?,
                numbers: manifest.open(folder, &name("numbers.f32"), [rows, manifest.numbers()])?,
                labels: Labels::open(&manifest, folder, split, [rows, schema.tasks.len()])?,
                values: (numeric > 0).then(values).transpose()?,
                groups: schema.group.is_some().then(groups).transpose()?,
                weights: has_weights.then(weights).transpose()?,
                slices: (!manifest.slices.is_empty()).then(slices).transpose()?,
                positives: OnceLock::new(),
                floats: OnceLock::new(),
            })
        };
        let splits = [open(Split::Train)?, open(Split::Valid)?, open(Split::Test)?];
        let given = manifest.given.iter().map(|given| {
            let [ids, values] = given.files();
            let (keys, width) = (given.keys, given.width);
            Ok((*given, manifest.open(folder, &ids, [keys, 1])?, manifest.open(folder, &values, [keys, width])?))
        });
        let given = given.collect::<Result<Vec<_>>>()?;
        let places = value_places(manifest.schema.tasks.iter().map(|task| task.kind.is_binary()));
        Ok(Self { inner: Arc::new(Inner { manifest, vocabularies, idle, places, splits, given }), view: None })
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

    /// The vocabularies as a bundle keeps them: where they have grown from day to day, with how long each key has not occurred.
    pub fn known_keys(&self) -> KnownKeys<'_> {
        KnownKeys { vocabularies: &self.inner.vocabularies, idle: &self.inner.idle }
    }

    /// The vectors that rows of a vocabulary start from; `None` where none were given.
    pub fn given_vectors(&self, vocabulary: usize) -> Option<GivenVectors<'_>> {
        let (given, ids, values) = self.inner.given.iter().find(|(given, ..)| given.vocabulary == vocabulary)?;
        Some(GivenVectors { ids: ids.values(), values: values.values(), width: given.width })
    }

    /// What was odd about the data, in words.
    pub fn warnings(&self) -> &[String] {
        &self.inner.manifest.warnings
    }

    /// What else was counted while the data were encoded; `None` where an earlier version wrote them.
    pub fn facts(&self) -> Option<&Facts> {
        self.view.as_ref().map_or(&self.inner.manifest.facts, |view| &view.facts).as_ref()
    }

    /// Counts of a split, for each task.
    pub fn statistics(&self, split: Split) -> &SplitStatistics {
        &self.view.as_ref().map_or(&self.inner.manifest.statistics, |view| &view.statistics)[split as usize]
    }

    /// `N`: rows of a split.
    pub fn rows(&self, split: Split) -> usize {
        self.inner.manifest.statistics[split as usize].rows
    }

    /// 0 or 1, or a number as the task's kind has it, or NaN for missing. `[N, T]`, four bytes each from the first call on; batches hold
    /// their own.
    pub fn labels(&self, split: Split) -> &[f32] {
        let floats = match &self.view {
            Some(view) => &view.labels[split as usize],
            None => &self.inner.splits[split as usize].floats,
        };
        floats.get_or_init(|| {
            let mut labels = Vec::with_capacity(self.rows(split) * self.schema().tasks.len());
            self.append_labels(split, 0..self.rows(split), &mut labels);
            labels
        })
    }

    /// The labels of some rows, as a batch has them. `[n, T]`, appended
    pub(crate) fn append_labels(&self, split: Split, rows: impl Iterator<Item = usize>, out: &mut Vec<f32>) {
        let (marks, first, stride) = self.strided_labels(split); // [N, stride]
        let tasks = self.schema().tasks.len();
        let values = self.inner.splits[split as usize].values.as_ref();
        for row in rows {
            let own = &marks[row * stride + first..][..tasks];
            match values {
                None => out.extend(own.iter().map(|&mark| label(mark))),
                Some(values) => {
                    let numbers = values.row(row); // missing where the mark says so
                    let places = own.iter().zip(&self.inner.places[first..]);
                    out.extend(places.map(|(&mark, place)| place.map_or_else(|| label(mark), |place| numbers[place])));
                }
            }
        }
    }

    /// What the label of each task is, for what is measured of it. `[T]`
    pub fn label_kinds(&self) -> Vec<LabelKind> {
        let of = |task: &Task| match task.kind {
            TaskKind::Binary => LabelKind::Binary,
            TaskKind::Classes { .. } => LabelKind::Class,
            _ => LabelKind::Value,
        };
        self.schema().tasks.iter().map(of).collect()
    }

    /// Group of each row, the same index in every split; `None` when the recipe names none. `[N]`
    pub fn groups(&self, split: Split) -> Option<&[u32]> {
        self.inner.splits[split as usize].groups.as_ref().map(Columns::values)
    }

    /// How much each row counts in losses and metrics; `None` where all count alike. `[N]`
    pub fn weights(&self, split: Split) -> Option<&[f32]> {
        self.inner.splits[split as usize].weights.as_ref().map(Columns::values)
    }

    /// Columns that a measurement is cut by, each with the place among its values that every row of a split has. `[N]`
    pub fn slices(&self, split: Split) -> Vec<(&Slice, Vec<u32>)> {
        let (slices, columns) = (&self.inner.manifest.slices, &self.inner.splits[split as usize].slices);
        let values = columns.as_ref().map_or(&[][..], Columns::values);
        let of = |(place, slice)| (slice, values.iter().skip(place).step_by(slices.len()).copied().collect());
        slices.iter().enumerate().map(of).collect()
    }

    /// The same rows with the label of one task. The columns are shared, and no label is copied.
    ///
    /// # Panics
    /// When there is no such task.
    pub fn only_task(&self, task: usize) -> Dataset {
        let tasks = self.schema().tasks.len();
        assert!(task < tasks, "task {task} of {tasks}");
        let statistics = Split::ALL.map(|split| {
            let SplitStatistics { rows, positives, missing } = self.statistics(split);
            SplitStatistics { rows: *rows, positives: vec![positives[task]], missing: vec![missing[task]] }
        });
        let of_all = self.view.as_ref().map_or(task, |view| view.task);
        let schema = self.schema().only_task(task);
        let facts = self.facts().map(|facts| facts.only_task(task));
        let view = TaskView {
            task: of_all,
            schema,
            labels: Default::default(),
            positives: Default::default(),
            statistics,
            facts,
        };
        Dataset { inner: self.inner.clone(), view: Some(Arc::new(view)) }
    }

    /// Where the count of rows is kept that are positive for some task.
    pub(crate) fn positives(&self, split: Split) -> &OnceLock<usize> {
        match &self.view {
            Some(view) => &view.positives[split as usize],
            None => &self.inner.splits[split as usize].positives,
        }
    }

    /// Labels of all tasks in the folder, `[N, stride]`, the first of them that this data set has, and `stride`.
    pub(crate) fn strided_labels(&self, split: Split) -> (&[u8], usize, usize) {
        let labels = self.inner.splits[split as usize].labels.values();
        let first = self.view.as_ref().map_or(0, |view| view.task);
        (labels, first, self.inner.manifest.schema.tasks.len())
    }

    /// Ids, and numbers `[N, cols]`.
    pub(crate) fn features(&self, split: Split) -> (&Ids, &Columns<f32>) {
        let columns = &self.inner.splits[split as usize];
        (&columns.ids, &columns.numbers)
    }
}

/// Writes vocabulary `v`: integers as one column, texts as bytes and offsets; and for how long each key has been `idle`, where that is
/// known. Gives the checksum of each file by its name.
pub(crate) fn write_vocabulary(
    folder: &Path,
    v: usize,
    vocabulary: &Vocabulary,
    idle: &[u32],
) -> Result<(Keys, Vec<(String, String)>)> {
    let (kind, mut written) = write_keys(folder, v, vocabulary)?;
    if !idle.is_empty() {
        written.push(write_column(folder, vocabulary_file(v, IDLE), idle)?);
    }
    Ok((kind, written))
}

/// The end of the name of a file that says how long each key of a vocabulary has not occurred.
const IDLE: &str = "idle.u32";

/// For how long each key has been idle; nothing where that is not known.
fn read_idle(folder: &Path, v: usize, vocabulary: &Vocabulary, manifest: &Manifest) -> Result<Vec<u32>> {
    let name = vocabulary_file(v, IDLE);
    if !manifest.files.contains_key(&name) {
        return Ok(Vec::new());
    }
    Ok(manifest.open::<u32>(folder, &name, [vocabulary.len(), 1])?.values().to_vec())
}

fn write_keys(folder: &Path, v: usize, vocabulary: &Vocabulary) -> Result<(Keys, Vec<(String, String)>)> {
    match vocabulary {
        Vocabulary::Number | Vocabulary::Vector(_) | Vocabulary::Hashed { .. } => Ok((Keys::None, vec![])),
        Vocabulary::Integers(keys) => {
            Ok((Keys::Integers, vec![write_column(folder, vocabulary_file(v, "i64"), &keys.values())?]))
        }
        Vocabulary::Texts(texts) => {
            let (bytes, offsets) = texts.parts();
            let bytes = write_column(folder, vocabulary_file(v, "u8"), bytes)?;
            Ok((Keys::Texts, vec![bytes, write_column(folder, vocabulary_file(v, "u64"), offsets)?]))
        }
        _ => {
            let what = format!("vocabulary {v} is of a kind that columns cannot hold");
            Err(Error::Dataset { path: folder.into(), what })
        }
    }
}

pub(crate) fn vocabulary_file(v: usize, element: &str) -> String {
    format!("vocabulary-{v}.{element}")
}

fn write_column<T: Element>(folder: &Path, name: String, values: &[T]) -> Result<(String, String)> {
    write_matrix(folder, name, values, 1)
}

/// Rows of `cols` values; gives the name with the checksum.
pub(crate) fn write_matrix<T: Element>(
    folder: &Path,
    name: String,
    values: &[T],
    cols: usize,
) -> Result<(String, String)> {
    let mut writer = ColumnWriter::create(folder.join(&name), cols)?;
    writer.write_marked(values)?;
    Ok((name, writer.seal()?))
}

/// Reads vocabulary `v` and holds it against the schema.
fn read_vocabulary(folder: &Path, v: usize, manifest: &Manifest) -> Result<Vocabulary> {
    fn column<T: Element>(folder: &Path, name: String, manifest: &Manifest) -> Result<Vec<T>> {
        manifest.check_file(folder, &name)?;
        Ok(Columns::open(&folder.join(name))?.values().to_vec())
    }
    let fault = |what: String| Err(Error::Dataset { path: folder.into(), what });
    let spec = &manifest.schema.vocabularies[v];
    let vocabulary = match manifest.keys[v] {
        Keys::None => match Vocabulary::without_keys(&manifest.schema, v) {
            Some(vocabulary) => vocabulary,
            None => return fault(format!("vocabulary '{}' has no keys", spec.name)),
        },
        Keys::Integers => Vocabulary::Integers(column::<i64>(folder, vocabulary_file(v, "i64"), manifest)?.into()),
        Keys::Texts => {
            let bytes = column::<u8>(folder, vocabulary_file(v, "u8"), manifest)?;
            let offsets = column::<u64>(folder, vocabulary_file(v, "u64"), manifest)?;
            match Texts::from_parts(bytes, offsets) {
                Some(texts) => Vocabulary::Texts(texts),
                None => return fault(format!("the offsets of vocabulary '{}' do not cut valid text", spec.name)),
            }
        }
    };
    if vocabulary.rows() != spec.rows {
        let (found, expected) = (vocabulary.rows(), spec.rows);
        return fault(format!("vocabulary '{}' has {found} rows, the schema says {expected}", spec.name));
    }
    if !vocabulary.is_sorted() {
        return fault(format!("the keys of vocabulary '{}' do not ascend", spec.name));
    }
    Ok(vocabulary)
}
