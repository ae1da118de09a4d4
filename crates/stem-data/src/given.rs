//! Vectors that rows of a vocabulary start from: a table with a vector for each key, held to the keys of the vocabulary and written beside them.
//!
//! A key goes through the steps of its field before it is looked up, as in the log. Keys that the vocabulary does not have are passed over;
//! a vocabulary of whose keys some have no vector is told of, one of whose keys none has is refused.

use std::path::Path;

use serde::{Deserialize, Serialize};
use stem_core::{PADDING, Transform, Value, Vocabulary};

use crate::dataset::{vocabulary_file, write_matrix};
use crate::encoding::Encoding;
use crate::error::{Error, Result};
use crate::recipe::{FieldRecipe, Recipe, Source, VectorTable, nearest};
use crate::source::files;
use crate::stop::StopFlag;
use crate::tables::{Chunk, Tables};

/// A vocabulary of which rows start from given vectors, in the manifest of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Given {
    /// Its place among the vocabularies.
    pub(crate) vocabulary: usize,
    /// How many of its keys have a vector.
    pub(crate) keys: usize,
    /// Numbers of a vector.
    pub(crate) width: usize,
}

impl Given {
    /// The files of which rows, and of their vectors.
    pub(crate) fn files(&self) -> [String; 2] {
        ["given.u32", "given.f32"].map(|end| vocabulary_file(self.vocabulary, end))
    }
}

/// The vectors that rows of a vocabulary start from ([`Dataset::given_vectors`](crate::Dataset::given_vectors)).
#[derive(Debug, Clone, Copy)]
pub struct GivenVectors<'d> {
    /// Rows of the vocabulary, counted from its first, ascending. `[K]`
    pub ids: &'d [u32],
    /// `[K, width]`
    pub values: &'d [f32],
    /// Numbers of a vector.
    pub width: usize,
}

impl<'d> GivenVectors<'d> {
    /// Every row with its vector.
    pub fn rows(self) -> impl Iterator<Item = (u32, &'d [f32])> {
        self.ids.iter().copied().zip(self.values.chunks_exact(self.width))
    }

    /// Whether a row of the vocabulary has one.
    pub fn has(self, id: u32) -> bool {
        self.ids.binary_search(&id).is_ok()
    }
}

/// The tables of vectors that a recipe names.
pub(crate) fn sources(recipe: &Recipe) -> impl Iterator<Item = Source> {
    recipe.fields.iter().filter_map(|field| Some(source(field, field.vectors.as_ref()?)))
}

fn source(field: &FieldRecipe, table: &VectorTable) -> Source {
    let name = format!("vectors of {}", field.name);
    Source { name, files: vec![table.file.clone()], line: table.line, ..Source::default() }
}

/// What was written for a vocabulary: its entry in the manifest, the checksums of its files by name, and what is to be told.
pub(crate) type Written = (Given, Vec<(String, String)>, Option<String>);

/// Reads the tables of vectors and writes into `folder` what the vocabularies have of them.
///
/// # Errors
/// Tables and columns that are not there, a key without a vector of numbers, of another length, or named twice, and a table of other keys.
pub(crate) fn write(
    recipe: &Recipe,
    data: &Path,
    encoding: &Encoding,
    folder: &Path,
    stop: &StopFlag,
) -> Result<Vec<Written>> {
    let mut all = Vec::new();
    for (place, field) in recipe.fields.iter().enumerate() {
        let Some(table) = &field.vectors else { continue };
        let fitted = &encoding.schema.fields[place];
        let mut reader = Reader {
            table,
            transforms: &fitted.transforms,
            vocabulary: &encoding.vocabularies[fitted.vocabulary],
            is_null: &|value| encoding.schema.is_null(value),
            width: 0,
            values: Vec::new(),
            rows: Vec::new(),
            places: vec![NOWHERE; encoding.vocabularies[fitted.vocabulary].rows()],
            seen: 0,
            unknown: 0,
        };
        let found = files::list_to_reread(&source(field, table), data)?;
        let names: Vec<_> = found.iter().map(|file| file.path.to_string_lossy()).collect();
        let tables = Tables::open(&names, None)?;
        reader.check_columns(&tables)?;
        tables.for_each_chunk(stop, |chunk| reader.read(&chunk))?;
        let (given, ids, values) = reader.finish(fitted.vocabulary, &names[0])?;
        let known = encoding.vocabularies[fitted.vocabulary].len();
        let of_all = format!("{} of the {known} keys of \"{}\" start from a vector", given.keys, field.vocabulary());
        let (name, unknown) = (&recipe.name, reader.unknown);
        tracing::info!("{name}: {of_all} of {}; it has {unknown} keys that are not known", table.file);
        let told = (given.keys < known).then(|| {
            format!("{of_all} of {}, the others as without one ({unknown} keys there are not known)", table.file)
        });
        let [of_ids, of_values] = given.files();
        let written =
            vec![write_matrix(folder, of_ids, &ids, 1)?, write_matrix(folder, of_values, &values, given.width)?];
        all.push((given, written, told));
    }
    Ok(all)
}

/// The place of a row without a vector.
const NOWHERE: u32 = u32::MAX;

/// Takes the rows of a table of vectors.
struct Reader<'r> {
    table: &'r VectorTable,
    /// What is done to a key of the log before it is looked up.
    transforms: &'r [Transform],
    vocabulary: &'r Vocabulary,
    is_null: &'r dyn Fn(&Value) -> bool,
    /// Of the first vector; 0 before it.
    width: usize,
    /// One vector after the other, as they come. `[K, width]`
    values: Vec<f32>,
    /// The row of the table that each of them stands in. `[K]`
    rows: Vec<usize>,
    /// Of each row of the vocabulary the place of its vector among them, or [`NOWHERE`].
    places: Vec<u32>,
    /// Rows of the table.
    seen: usize,
    /// Those of them whose keys the vocabulary does not have.
    unknown: usize,
}

impl Reader<'_> {
    fn check_columns(&self, tables: &Tables) -> Result<()> {
        for column in [&self.table.key, &self.table.column] {
            if tables.columns().contains(column) {
                continue;
            }
            let path = tables.files().next().unwrap_or(Path::new("")).to_path_buf();
            let why = tables.unreadable().find(|(name, _)| name == column).map(|(_, why)| format!(": {why}"));
            let near = nearest(column, tables.columns().iter().map(String::as_str));
            let near = near.map(|near| format!("; did you mean \"{near}\"?"));
            let (hint, columns) = (why.or(near).unwrap_or_default(), tables.columns().join(", "));
            let what = format!("a table of vectors without a column \"{column}\"{hint} (its columns: {columns})");
            return Err(Error::Source { path, what });
        }
        Ok(())
    }

    fn read(&mut self, chunk: &Chunk) -> Result<()> {
        if let Some(refused) = chunk.refused().first() {
            let path = chunk.place(0).0.to_path_buf();
            return Err(Error::Source { path, what: refused.to_string() });
        }
        let VectorTable { key: key_column, column, separator, .. } = self.table;
        let (keys, vectors) = (chunk.values(key_column, 0..chunk.len())?, chunk.values(column, 0..chunk.len())?);
        for (row, (key, vector)) in keys.into_iter().zip(vectors).enumerate() {
            let wrong = |column: &str, expected: String, found: &Value| {
                chunk.value_error(row, column, expected, found.to_string())
            };
            let shown = key.clone();
            let key = Transform::all(self.transforms, key)
                .map_err(|expected| wrong(key_column, expected.to_string(), &shown))?;
            if (self.is_null)(&key) {
                return Err(wrong(key_column, "a key: leave the row out where there is none".into(), &shown));
            }
            let id = match self.vocabulary.id_of(&key, key_column, row) {
                Ok(id) => id,
                Err(stem_core::Error::WrongType { expected, .. }) => {
                    return Err(wrong(key_column, format!("{expected}, as in the log"), &shown));
                }
                Err(other) => return Err(other.into()),
            };
            let numbers = numbers(&vector, separator.as_deref())
                .ok_or_else(|| wrong(column, expected(separator.as_deref()), &vector))?;
            if self.width == 0 && numbers.is_empty() {
                return Err(wrong(column, "a number or more".into(), &vector));
            }
            if self.width > 0 && numbers.len() != self.width {
                let expected = format!("{} numbers, as in the first row", self.width);
                return Err(chunk.value_error(row, column, expected, numbers.len().to_string()));
            }
            self.width = numbers.len();
            self.seen += 1;
            if id == self.vocabulary.unseen() || id == PADDING {
                self.unknown += 1;
                continue;
            }
            let place = &mut self.places[id as usize];
            if *place != NOWHERE {
                let first = self.rows[*place as usize];
                let found = format!("{shown}, which row {first} of the table has too (counted from 0)");
                return Err(chunk.value_error(row, key_column, "every key once", found));
            }
            *place = self.rows.len() as u32;
            self.values.extend(numbers);
            self.rows.push(self.seen - 1);
        }
        Ok(())
    }

    /// Which rows of the vocabulary have a vector, ascending, and their vectors.
    fn finish(&self, vocabulary: usize, file: &str) -> Result<(Given, Vec<u32>, Vec<f32>)> {
        if self.rows.is_empty() {
            let (keys, column) = (self.unknown, &self.table.key);
            let what = format!("none of its {keys} keys (column '{column}') is known: are they written as in the log?");
            return Err(Error::Source { path: file.into(), what });
        }
        let ids: Vec<u32> = (0..self.places.len() as u32).filter(|&id| self.places[id as usize] != NOWHERE).collect();
        let vector = |&id: &u32| &self.values[self.places[id as usize] as usize * self.width..][..self.width];
        let values = ids.iter().flat_map(vector).copied().collect();
        Ok((Given { vocabulary, keys: ids.len(), width: self.width }, ids, values))
    }
}

fn expected(separator: Option<&str>) -> String {
    match separator {
        Some(separator) => format!("a list of finite numbers, or a text of them with \"{separator}\" between"),
        None => "a list of finite numbers, in text as JSON writes it ([0.1, 0.2]), or a `separator`".into(),
    }
}

/// The numbers of a vector; `None` where it is none of finite numbers.
fn numbers(value: &Value, separator: Option<&str>) -> Option<Vec<f32>> {
    let number = |value: &Value| {
        let number = match value {
            Value::Integer(number) => *number as f64,
            Value::Float(number) => *number,
            Value::Text(text) => text.trim().parse().ok()?,
            _ => return None,
        };
        Some(number as f32).filter(|number| number.is_finite())
    };
    match (value, separator) {
        (Value::List(values), _) => values.iter().map(number).collect(),
        (Value::Text(text), Some(separator)) => text.split(separator).map(|piece| number(&piece.into())).collect(),
        (Value::Text(text), None) => match serde_json::from_str(text) {
            Ok(Value::List(values)) => values.iter().map(number).collect(),
            _ => None,
        },
        _ => None,
    }
}
