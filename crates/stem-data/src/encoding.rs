//! How codes become ids, decided by the training split alone: which keys are known, and the mean and spread of numbers.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use rayon::prelude::*;
use stem_core::files::FileError;
use stem_core::{Field, FieldKind, PADDING, Schema, Task, Texts, Transform, Vocabulary, VocabularySpec};

use crate::dictionary::{Dictionary, FIRST, Keys, PAD};
use crate::error::{Error, Fault, Result};
use crate::gather::{Coded, CodedRows, CodedVocabulary, vocabulary_of_fields};
use crate::grow;
use crate::known::Known;
use crate::recipe::{FieldRecipe, Kind, LabelRecipe, Recipe};
use crate::split::Split;
use crate::targets::fitted;

/// Schema, vocabularies, and how codes become ids.
pub(crate) struct Encoding {
    pub(crate) schema: Schema,
    pub(crate) vocabularies: Vec<Vocabulary>,
    /// For each vocabulary that has grown, and each of its keys: in how many trainings in a row it has not occurred.
    pub(crate) idle: Vec<Vec<u32>>,
    /// For each vocabulary: id of each code, offset included.
    pub(crate) ids: Vec<Vec<u32>>,
    /// For each vocabulary: whether more than one value was seen in the training split.
    pub(crate) varied: Vec<bool>,
    /// For each vocabulary: how often each code occurs in the training split.
    pub(crate) counts: Vec<Vec<u64>>,
    /// For each vocabulary of several fields a number of each code that its key alone decides: which code a key has depends there on how many
    /// rows were read at a time.
    pub(crate) marks: Vec<Option<Vec<u32>>>,
}

/// Counts the training rows and keeps what is frequent enough; beside what a model knows, where it is trained on.
///
/// The keys are taken out of the dictionaries of `rows`: a key that is frequent is in its vocabulary from then on, and nowhere else. Texts
/// are put in order by way of a file in `scratch`, so that they are never in memory twice.
///
/// # Errors
/// What no schema can hold, and files that cannot be written.
pub(crate) fn encoding(
    recipe: &Recipe,
    model: Option<Known<'_>>,
    rows: &mut CodedRows,
    scratch: &Path,
) -> Result<Encoding> {
    let dictionaries = rows.vocabularies.iter_mut();
    let keys: Vec<Option<Keys>> = dictionaries.map(|v| v.dictionary.as_mut().map(Dictionary::take_keys)).collect();
    let counts = rows.counts.take().map_or_else(|| count(recipe, &rows.coded()), Ok)?;
    let rows = &*rows;
    let marks = marks(rows, &keys);
    let moments = moments(rows);
    let (mut vocabularies, mut ids, mut varied, mut idle) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut offset = 0u64;
    let mut steps = rows.steps.iter().map(|steps| steps.transforms.clone()).collect::<Vec<_>>();
    let places = number_places(recipe);
    let mut kinds = vec![FieldKind::Category; recipe.fields.len()];
    let mut vocabulary_of = vec![0; recipe.fields.len()];
    for ((v, coded), keys) in rows.vocabularies.iter().enumerate().zip(keys) {
        let least = coded.min_count as u64;
        let grown = model.zip(keys.as_ref()).and_then(|(model, keys)| {
            if model.has_other_keys(&coded.name, keys) {
                let (name, now) = (&coded.name, grow::kind_of(keys));
                tracing::warn!(
                    "vocabulary \"{name}\": its keys are {now} now and were not: is the column read as it was?"
                );
            }
            model.grown(&coded.name, keys, &counts[v], least, recipe.grow)
        });
        idle.push(grown.as_ref().map(|grown| grown.idle.clone()).unwrap_or_default());
        let (vocabulary, local, distinct) = match (keys, grown) {
            (Some(_), Some(grown)) => {
                tracing::info!("{}: {}", recipe.name, grow::told(&coded.name, &grown));
                (grown.vocabulary, grown.ids, grow::distinct(&counts[v]))
            }
            (Some(keys), None) => known(keys, &counts[v], least, scratch)?,
            (None, _) => {
                let f = coded.fields[0];
                let field = &recipe.fields[f];
                let vocabulary = match (field.kind, field.quantiles) {
                    (Kind::Vector { len }, _) => Vocabulary::Vector(len),
                    (_, Some(buckets)) => {
                        let decided = model.and_then(|model| model.numbers_of(field)?.1.map(<[f64]>::to_vec));
                        let edges = decided.map_or_else(|| edges(recipe, rows, field, places[f], buckets), Ok)?;
                        let vocabulary = Vocabulary::integers(0..=edges.len() as i64);
                        steps[f].push(Transform::Bucketize { edges });
                        vocabulary
                    }
                    _ => Vocabulary::Number,
                };
                let distinct = vocabulary.len();
                (vocabulary, vec![0], distinct)
            }
        };
        let start = offset as u32; // the schema's check refuses tables that 32 bits cannot number
        ids.push(local.into_iter().map(|id| start.wrapping_add(id)).collect());
        offset += vocabulary.rows() as u64;
        let mut spread = false;
        for &f in &coded.fields {
            vocabulary_of[f] = v;
            kinds[f] = match recipe.fields[f].kind {
                Kind::Category => FieldKind::Category,
                Kind::Sequence { pooling, keep, max_len } => {
                    let before =
                        model.and_then(|model| model.numbers_of(&recipe.fields[f])).map(|(kind, _)| kind.slots());
                    let max_len = rows.longest[f].max(before.unwrap_or(0).min(max_len)); // a day of short lists cuts none later
                    FieldKind::Sequence { max_len, pooling, keep }
                }
                Kind::Vector { len } => {
                    spread = moments[places[f]..][..len].iter().any(|(_, std)| *std > 0.0);
                    FieldKind::Vector { len }
                }
                Kind::Number { standardize } => {
                    let (mean, std) = moments[places[f]];
                    spread = std > 0.0;
                    let decided = model.and_then(|model| model.numbers_of(&recipe.fields[f])).map(|(kind, _)| kind);
                    match (decided, standardize && std > 0.0 && (std as f32) > 0.0) {
                        (Some(kind), _) => kind.clone(), // of a number: that was checked
                        (None, true) => FieldKind::Number { mean: mean as f32, std: std as f32 },
                        (None, false) => FieldKind::Number { mean: 0.0, std: 1.0 },
                    }
                }
            };
        }
        varied.push(spread || distinct > 1);
        vocabularies.push(vocabulary);
    }
    let fields = recipe.fields.iter().zip(kinds).zip(vocabulary_of).zip(steps);
    let fields: Vec<Field> = fields
        .map(|(((field, kind), vocabulary), transforms)| {
            let mut fitted = Field::new(&field.name, kind, vocabulary);
            if field.columns != [field.name.as_str()] {
                fitted.columns = field.columns.clone();
            }
            (fitted.separator, fitted.default) = (field.separator.clone(), field.default.clone());
            fitted.beside = field.beside.clone();
            fitted.transforms = transforms;
            fitted
        })
        .collect();
    let specs = vocabularies.iter().zip(&rows.vocabularies);
    let specs = specs.map(|(vocabulary, coded)| match vocabulary {
        Vocabulary::Hashed { buckets, keys } => VocabularySpec::hashed(&coded.name, *buckets, *keys),
        _ => VocabularySpec::new(&coded.name, vocabulary.rows()),
    });
    // A model that is trained on keeps what its tasks' labels were divided by: its towers have learned those.
    let decided = |label: &LabelRecipe| {
        model.and_then(|model| Some(model.schema.tasks[model.schema.task(&label.column)?].kind.clone()))
    };
    let fitted = fitted(recipe, rows, &fields, |label| decided(label).is_some())?;
    let tasks = recipe.labels.iter().zip(fitted).map(|(label, fitted)| {
        let mut task = Task::new(&label.column).of_kind(decided(label).unwrap_or(fitted));
        task.within = label.within.clone();
        task
    });
    let mut schema = Schema::new(fields, specs.collect(), tasks.collect());
    schema.group = recipe.group.clone();
    schema.derived = rows.derived.clone().into_iter().collect();
    for null in recipe.sources.iter().flat_map(|source| &source.dialect.null_values) {
        if !schema.null_values.contains(null) {
            schema.null_values.push(null.clone());
        }
    }
    schema.check()?;
    Ok(Encoding { schema, vocabularies, idle, ids, varied, counts, marks })
}

/// What each code stands for, as [`Encoding::marks`].
pub(crate) fn marks(rows: &CodedRows, keys: &[Option<Keys>]) -> Vec<Option<Vec<u32>>> {
    let of = |(coded, keys): (&CodedVocabulary, &Option<Keys>)| {
        keys.as_ref().filter(|_| coded.fields.len() > 1).and_then(Keys::marks)
    };
    rows.vocabularies.iter().zip(keys).map(of).collect()
}

/// How often each code of each vocabulary occurs in the training split. Each thread walks all rows and counts vocabularies of its own.
pub(crate) fn count(recipe: &Recipe, rows: &Coded<'_>) -> Result<Vec<Vec<u64>>> {
    let codes = |v: usize| rows.vocabularies[v].dictionary.as_ref().map_or(1, Dictionary::codes);
    let mut largest_first: Vec<usize> = (0..rows.vocabularies.len()).collect();
    largest_first.sort_by_key(|&v| std::cmp::Reverse(codes(v)));
    let threads = rayon::current_num_threads().min(largest_first.len());
    let shares = (0..threads).into_par_iter().map(|thread| {
        let mut share: Vec<Option<Vec<u64>>> = vec![None; largest_first.len()];
        largest_first.iter().skip(thread).step_by(threads).for_each(|&v| share[v] = Some(vec![0; codes(v)]));
        count_share(recipe, rows, &mut share)?;
        Ok(share)
    });
    let shares = shares.collect::<Result<Vec<_>>>()?;
    let mut counts = vec![Vec::new(); largest_first.len()];
    for (v, own) in shares.into_iter().flat_map(|share| share.into_iter().enumerate()) {
        own.into_iter().for_each(|own| counts[v] = own);
    }
    Ok(counts)
}

/// Counts the vocabularies that are in `share`.
fn count_share(recipe: &Recipe, rows: &Coded<'_>, share: &mut [Option<Vec<u64>>]) -> Result<()> {
    let vocabulary = vocabulary_of_fields(rows.vocabularies, recipe.fields.len());
    let mut walk = rows.codes.walk(recipe, rows.rows)?;
    while let Some(block) = walk.next()? {
        let training = block.rows.clone().enumerate().filter(|(_, row)| rows.splits[*row] == Split::Train as u8);
        let training: Vec<usize> = training.map(|(place, _)| place).collect();
        for (f, &v) in vocabulary.iter().enumerate() {
            if let Some(counts) = &mut share[v] {
                training.iter().flat_map(|&place| block.get(place, f)).for_each(|&code| counts[code as usize] += 1);
            }
        }
    }
    Ok(())
}

/// The keys that are frequent enough, the local id of every code, and how many keys were seen in training.
fn known(keys: Keys, counts: &[u64], least: u64, scratch: &Path) -> Result<(Vocabulary, Vec<u32>, usize)> {
    let distinct = grow::distinct(counts);
    let frequent = (FIRST..counts.len() as u32).filter(|&code| counts[code as usize] >= least);
    let place = |code: u32| (code - FIRST) as usize;
    let (vocabulary, codes): (Vocabulary, Vec<u32>) = match keys {
        Keys::Hashed(vocabulary) => {
            let ids = [PADDING, vocabulary.unseen()].into_iter().chain(1..=vocabulary.len() as u32).collect();
            return Ok((vocabulary, ids, distinct));
        }
        Keys::Integers(keys) => {
            let mut sorted: Vec<(i64, u32)> = frequent.map(|code| (keys[place(code)], code)).collect();
            drop(keys);
            sorted.par_sort_unstable();
            let codes = sorted.iter().map(|(_, code)| *code).collect();
            (Vocabulary::Integers(sorted.into_iter().map(|(key, _)| key).collect()), codes)
        }
        Keys::Texts(texts) => {
            let mut codes: Vec<u32> = frequent.collect();
            let bytes = |code: u32| texts.bytes_of(place(code));
            codes.par_sort_unstable_by(|a, b| bytes(*a).cmp(bytes(*b)));
            (Vocabulary::Texts(in_order(texts, &codes, scratch)?), codes)
        }
    };
    let mut ids = vec![vocabulary.unseen(); counts.len()];
    ids[PAD as usize] = PADDING;
    codes.iter().zip(1..).for_each(|(&code, id)| ids[code as usize] = id);
    Ok((vocabulary, ids, distinct))
}

/// The texts of `codes`, one after another.
fn in_order(texts: Texts, codes: &[u32], scratch: &Path) -> Result<Texts> {
    let path = scratch.join("texts");
    let mut offsets = Vec::with_capacity(codes.len() + 1);
    offsets.push(0);
    let mut file = BufWriter::new(File::create(&path).map_err(FileError::of("create", &path))?);
    for &code in codes {
        let bytes = texts.bytes_of((code - FIRST) as usize);
        file.write_all(bytes).map_err(FileError::of("write", &path))?;
        offsets.push(offsets[offsets.len() - 1] + bytes.len() as u64);
    }
    file.flush().map_err(FileError::of("write", &path))?;
    drop((file, texts));
    let bytes = std::fs::read(&path).map_err(FileError::of("read", &path))?;
    std::fs::remove_file(&path).map_err(FileError::of("remove", &path))?;
    Texts::from_parts(bytes, offsets)
        .ok_or_else(|| Error::Dataset { path, what: "it was changed while it was read".into() })
}

/// Mean and standard deviation (of the whole, not of a sample) of each number field over its training rows that are not null.
fn moments(rows: &CodedRows) -> Vec<(f64, f64)> {
    let cols = rows.numbers.cols();
    let training =
        || rows.numbers.values().chunks_exact(cols).zip(&rows.splits).filter(|(_, s)| **s == Split::Train as u8);
    let moments = (0..cols).map(|c| {
        let values = || training().map(move |(row, _)| row[c]).filter(|v| !v.is_nan());
        let n = values().count().max(1) as f64;
        let mean = values().sum::<f64>() / n;
        (mean, (values().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n).sqrt())
    });
    moments.collect()
}

/// The first number of each field among those of a row. `[F]`
pub(crate) fn number_places(recipe: &Recipe) -> Vec<usize> {
    let places = recipe.fields.iter().scan(0, |next, field| {
        let place = *next;
        *next += field.numbers();
        Some(place)
    });
    places.collect()
}

/// Training rows of which quantiles are taken; of more, rows at even distances.
const SAMPLE: usize = 1 << 20;

/// Edges that cut a field's numbers in training into buckets of about as many rows each, as far as equal numbers let them.
fn edges(recipe: &Recipe, rows: &CodedRows, field: &FieldRecipe, place: usize, buckets: usize) -> Result<Vec<f64>> {
    let cols = rows.numbers.cols();
    let column = rows.numbers.values()[place..].iter().step_by(cols).zip(&rows.splits);
    let training = || column.clone().filter(|(x, split)| **split == Split::Train as u8 && !x.is_nan()).map(|(x, _)| *x);
    let stride = training().count().div_ceil(SAMPLE).max(1);
    let mut sample: Vec<f64> = training().step_by(stride).collect();
    sample.sort_unstable_by(f64::total_cmp);
    let mut edges: Vec<f64> = (1..buckets).filter_map(|k| sample.get(k * sample.len() / buckets).copied()).collect();
    edges.dedup();
    edges.retain(|edge| Some(edge) != sample.first()); // below it there is nothing
    if !edges.is_empty() {
        return Ok(edges);
    }
    let name = &field.name;
    let what = format!(
        "field \"{name}\" has too few different numbers in the training split to be cut into {buckets} buckets: name the edges, `bucketize = [0, 10]`, or leave it out"
    );
    Err(Error::Recipe { path: recipe.path.clone(), faults: vec![Fault { line: field.line, what }] })
}
