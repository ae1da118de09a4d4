//! What raw tables hold, before there is a recipe: the columns' names and types as [`prepare`](crate::prepare()) will see them,
//! and the values of the first and the last rows.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};

use polars::prelude::*;
use stem_core::{Keep, Pooling, Value};

use crate::error::{Error, Result};
use crate::recipe::{ColumnType, FieldRecipe, Kind, Lines, Recipe, Source, SplitRecipe, nearest};
use crate::scan::{self, quoted};
use crate::source::infer::{Evidence, Inferred};
use crate::source::{self, Unpacked};
use crate::stop::StopFlag;

/// What a raw table holds.
#[derive(Debug, Clone)]
pub struct Look {
    /// All rows.
    pub rows: usize,
    /// Rows whose values are in [`LookColumn::codes`]: all of them, or the first and the last.
    pub looked_at: usize,
    /// In the order of the table.
    pub columns: Vec<LookColumn>,
    /// The types that the first rows do not show by themselves, so that a recipe must name them.
    pub types: Vec<(String, ColumnType)>,
}

/// One column of a [`Look`].
#[derive(Debug, Clone)]
pub struct LookColumn {
    /// Its name.
    pub name: String,
    /// What all of its values are (of text tables in every row, not only in those looked at).
    pub kind: RawType,
    /// For each row looked at the place of its value in `values` plus 1; 0 for null. Empty for lists.
    pub codes: Vec<u32>,
    /// The different values, in the order of first sight; the elements of lists.
    pub values: Vec<Value>,
    /// Of a column of lists the length of each row looked at; empty otherwise.
    pub lengths: Vec<u32>,
}

/// What the values of a raw column are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RawType {
    /// There is no value at all.
    Null,
    /// True and false.
    Boolean,
    /// 64-bit integers.
    Integer,
    /// Finite numbers.
    Float,
    /// Text.
    Text,
    /// A date or a time that the file knows as one; its values are texts that sort as it does.
    Time,
    /// Lists of integers or texts.
    List,
    /// Something that no field can be made of, in words.
    Other(String),
}

/// Names of a table's columns, in order.
///
/// # Errors
/// A file that is missing, empty or not what its format says.
pub fn column_names(source: &Source, data: &Path) -> Result<Vec<String>> {
    let mut unpacked = Unpacked::default();
    let mut table = source::open(Path::new("the tables"), source, data, None, &mut unpacked, &StopFlag::default())?;
    let schema = table.frame.collect_schema().map_err(Error::query)?;
    Ok(schema.iter_names().map(|name| name.to_string()).collect())
}

/// The files that a name stands for: a file, those in a folder, those that a pattern fits; as sources of a recipe name them.
///
/// # Errors
/// A name that stands for no file.
pub fn files_of(name: &str) -> Result<Vec<PathBuf>> {
    let source = Source { name: name.into(), files: vec![name.into()], ..Source::default() };
    Ok(source::files::list_to_reread(&source, Path::new(""))?.into_iter().map(|file| file.path).collect())
}

/// Whether a name is a pattern that files may fit.
pub fn is_pattern(name: &str) -> bool {
    source::files::is_pattern(name)
}

/// The first bytes of a file, unpacked where it is packed.
///
/// # Errors
/// A file that does not read, or is packed and damaged.
pub fn start_of(path: &Path) -> Result<Vec<u8>> {
    source::start_of(path)
}

/// Reads a table through; remembers the values of the first and the last `rows / 2` rows.
///
/// # Errors
/// Files that do not read.
pub fn look(source: &Source, data: &Path, rows: usize) -> Result<Look> {
    let names = column_names(source, data)?;
    let text = source::format_of(source, &source::files::list(source, data)?)?.is_text();
    let as_texts = names.iter().map(|name| (name.clone(), ColumnType::Text)).filter(|_| text);
    let plain = Source { types: as_texts.collect(), ..source.clone() };
    let open = |recipe: &Recipe| scan::open(recipe, data, Unpacked::default(), &StopFlag::default());
    let types = open(&recipe_of(&plain, &names, &HashMap::new()))?.types;
    let mut recipe = recipe_of(&plain, &names, &types);
    let readable = |name: &str| types.get(name).and_then(how_to_read);
    recipe.fields = names.iter().filter_map(|name| Some(field(name, readable(name)?))).collect();

    let mut columns: Vec<Reading> = recipe.fields.iter().map(|f| Reading::new(&f.name, text)).collect();
    let (mut seen, mut waiting, mut tail) = (0, 0, VecDeque::<DataFrame>::new());
    let head = rows.div_ceil(2);
    open(&recipe)?.for_each_chunk(&StopFlag::default(), |chunk| {
        let height = chunk.height();
        columns.iter_mut().try_for_each(|column| column.check(&chunk))?;
        let into_head = head.saturating_sub(seen).min(height);
        if into_head > 0 {
            columns.iter_mut().try_for_each(|column| column.see(&chunk.head(Some(into_head))))?;
        }
        seen += height;
        if into_head < height {
            waiting += height - into_head;
            tail.push_back(chunk.slice(into_head as i64, height - into_head));
        }
        while tail.front().is_some_and(|oldest| waiting - oldest.height() >= rows - head) {
            waiting -= tail.pop_front().map_or(0, |oldest| oldest.height());
        }
        Ok(())
    })?;
    let mut surplus = waiting.saturating_sub(rows - head);
    for chunk in tail {
        let skipped = surplus.min(chunk.height());
        surplus -= skipped;
        columns.iter_mut().try_for_each(|column| column.see(&chunk.slice(skipped as i64, chunk.height() - skipped)))?;
    }
    let looked_at = columns.first().map_or(0, |column| column.codes.len().max(column.lengths.len()));
    let mut read: HashMap<String, LookColumn> =
        columns.into_iter().map(|c| (c.name.clone(), c.finish(&types))).collect();
    let columns: Vec<LookColumn> = names
        .iter()
        .map(|name| {
            let words = || types.get(name).map_or("unknown".into(), |dtype| format!("{dtype}"));
            read.remove(name).unwrap_or_else(|| LookColumn::empty(name, RawType::Other(words())))
        })
        .collect();
    let types = types_to_name(source, data, &columns)?;
    Ok(Look { rows: seen, looked_at, columns, types })
}

/// What of a recipe is seen to be wrong before any row is read: its files, its SELECT, and columns of a type that the recipe
/// cannot use.
///
/// # Errors
/// [`Error::Recipe`] with every fault, and files that do not read.
pub fn check_sources(recipe: &Recipe, data: &Path) -> Result<()> {
    scan::open(recipe, data, Unpacked::default(), &StopFlag::default()).map(drop)
}

/// The name among `known` that `name` may have been meant for.
pub fn nearest_name<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest(name, known.into_iter())
}

/// A recipe that reads every column of a source; without fields so far. Times are read as texts.
fn recipe_of(source: &Source, names: &[String], types: &HashMap<String, DataType>) -> Recipe {
    let column = |name: &String| match types.get(name) {
        Some(DataType::Datetime(..) | DataType::Time) => format!("CAST({0} AS VARCHAR) AS {0}", quoted(name)),
        _ => quoted(name),
    };
    let columns = names.iter().map(column).collect::<Vec<_>>().join(", ");
    Recipe {
        name: "look".into(),
        sql: Some(format!("SELECT {columns} FROM {}", quoted(&source.name))),
        group: None,
        weight: None,
        sources: vec![source.clone()],
        fields: Vec::new(),
        verdict: None,
        allow_leak: Vec::new(),
        grow: crate::recipe::Growth::default(),
        labels: Vec::new(),
        split: SplitRecipe::Random { valid: 0.1, test: 0.1, seed: 1 },
        simulator: None,
        path: "the tables".into(),
        text: String::new(),
        slices: Vec::new(),
        lines: Lines::default(),
    }
}

fn field(column: &str, kind: Kind) -> FieldRecipe {
    FieldRecipe {
        name: column.into(),
        columns: vec![column.into()],
        kind,
        transforms: vec![],
        quantiles: None,
        hash: None,
        min_count: 1,
        vocabulary: None,
        separator: None,
        default: None,
        beside: None,
        vectors: None,
        line: 1,
    }
}

/// A kind under which the scan lets a column of this type through.
fn how_to_read(dtype: &DataType) -> Option<Kind> {
    match dtype {
        DataType::List(inner) if inner.is_integer() || **inner == DataType::String => {
            Some(Kind::Sequence { max_len: 1, pooling: Pooling::Mean, keep: Keep::First })
        }
        dtype if dtype.is_float() => Some(Kind::Number { standardize: false }),
        DataType::Boolean
        | DataType::String
        | DataType::Date
        | DataType::Datetime(..)
        | DataType::Time
        | DataType::Null => Some(Kind::Category),
        dtype if dtype.is_integer() => Some(Kind::Category),
        _ => None,
    }
}

/// Types that `prepare` would take from a text table's first rows, where they are not those of all rows.
fn types_to_name(source: &Source, data: &Path, columns: &[LookColumn]) -> Result<Vec<(String, ColumnType)>> {
    let mut unpacked = Unpacked::default();
    let mut table = source::open(Path::new("the tables"), source, data, None, &mut unpacked, &StopFlag::default())?;
    if table.texts.is_empty() {
        return Ok(Vec::new());
    }
    let inferred = table.frame.collect_schema().map_err(Error::query)?;
    let different = columns.iter().filter_map(|column| {
        let dtype = inferred.get(&column.name)?;
        let needed = match column.kind {
            _ if table.facts.undecided.contains(&column.name) => return None, // read as what it turns out to be
            RawType::Integer if !dtype.is_integer() => ColumnType::Integer,
            RawType::Float if !dtype.is_float() => ColumnType::Float,
            RawType::Text if *dtype != DataType::String => ColumnType::Text,
            _ => return None,
        };
        Some((column.name.clone(), needed))
    });
    Ok(different.collect())
}

/// A column while its rows come.
struct Reading {
    name: String,
    /// Whether the file holds text, so that the type must be made out.
    text: bool,
    evidence: Evidence,
    codes: Vec<u32>,
    dictionary: HashMap<String, u32>,
    texts: Vec<String>,
    lengths: Vec<u32>,
    elements: HashSet<String>,
}

impl Reading {
    fn new(name: &str, text: bool) -> Self {
        let (codes, texts, lengths) = (vec![], vec![], vec![]);
        let (dictionary, elements) = (HashMap::new(), HashSet::new());
        Self { name: name.into(), text, evidence: Evidence::default(), codes, dictionary, texts, lengths, elements }
    }

    /// Narrows down the type by rows that need not be remembered.
    fn check(&mut self, chunk: &DataFrame) -> Result<()> {
        if self.text && self.evidence.is_open() {
            let column = chunk.column(&self.name).map_err(Error::query)?;
            column.str().map_err(Error::query)?.iter().flatten().for_each(|value| {
                if !value.is_empty() {
                    self.evidence.see(value);
                }
            });
        }
        Ok(())
    }

    /// Remembers the values of rows.
    fn see(&mut self, rows: &DataFrame) -> Result<()> {
        let column = rows.column(&self.name).map_err(Error::query)?;
        if let DataType::List(_) = column.dtype() {
            let lists = column.strict_cast(&DataType::List(Box::new(DataType::String))).map_err(Error::query)?;
            for list in lists.list().map_err(Error::query)?.amortized_iter() {
                let Some(list) = list else {
                    self.lengths.push(0);
                    continue;
                };
                self.lengths.push(list.as_ref().len() as u32);
                for element in list.as_ref().str().map_err(Error::query)?.iter().flatten() {
                    if !self.elements.contains(element) {
                        self.elements.insert(element.to_string());
                    }
                }
            }
            return Ok(());
        }
        let column = column.strict_cast(&DataType::String).map_err(Error::query)?;
        for value in column.str().map_err(Error::query)?.iter() {
            let Some(value) = value.filter(|value| !value.is_empty()) else {
                self.codes.push(0);
                continue;
            };
            let code = self.dictionary.get(value).copied().unwrap_or_else(|| {
                self.texts.push(value.to_string());
                let code = self.texts.len() as u32;
                self.dictionary.insert(value.to_string(), code);
                code
            });
            self.codes.push(code);
        }
        Ok(())
    }

    fn finish(self, types: &HashMap<String, DataType>) -> LookColumn {
        let Self { name, text, evidence, codes, texts, lengths, elements, .. } = self;
        let kind = match types.get(&name) {
            _ if text => match evidence.inferred() {
                Inferred::Nothing => RawType::Null,
                Inferred::Boolean => RawType::Boolean,
                Inferred::Integer => RawType::Integer,
                Inferred::Float => RawType::Float,
                Inferred::Text => RawType::Text,
            },
            Some(DataType::List(_)) => RawType::List,
            _ if texts.is_empty() => RawType::Null,
            Some(DataType::Boolean) => RawType::Boolean,
            Some(dtype) if dtype.is_integer() && texts.iter().any(|t| t.parse::<i64>().is_err()) => {
                RawType::Other("integers that do not fit 64 bits".into())
            }
            Some(dtype) if dtype.is_integer() => RawType::Integer,
            Some(dtype) if dtype.is_float() && texts.iter().any(|t| !t.parse().is_ok_and(f64::is_finite)) => {
                RawType::Other("floats, some of which are not finite".into())
            }
            Some(dtype) if dtype.is_float() => RawType::Float,
            Some(DataType::Date | DataType::Datetime(..) | DataType::Time) => RawType::Time,
            _ => RawType::Text,
        };
        let texts = if kind == RawType::List { elements.into_iter().collect() } else { texts };
        let value = |text: String| match kind {
            RawType::Boolean => Value::Integer(i64::from(text.eq_ignore_ascii_case("true"))),
            RawType::Integer => text.parse().map_or(Value::Text(text), Value::Integer),
            RawType::Float => text.parse().map_or(Value::Text(text), Value::Float),
            _ => Value::Text(text),
        };
        LookColumn { name, values: texts.into_iter().map(value).collect(), kind: kind.clone(), codes, lengths }
    }
}

impl LookColumn {
    fn empty(name: &str, kind: RawType) -> Self {
        Self { name: name.into(), kind, codes: vec![], values: vec![], lengths: vec![] }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn source(files: &[&str]) -> Source {
        let files = files.iter().map(|file| file.to_string()).collect();
        Source { name: "log".into(), files, header: true, line: 1, ..Source::default() }
    }

    fn kinds(look: &Look) -> Vec<(&str, RawType)> {
        look.columns.iter().map(|column| (column.name.as_str(), column.kind.clone())).collect()
    }

    #[test]
    fn types_are_those_of_all_rows_and_named_where_the_first_rows_mislead() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = "zip,price,seen,note\n".to_string();
        (0..12_000).for_each(|i| log.push_str(&format!("9{},{},true,\n", i % 7, i)));
        log.push_str("012,0.5,false,\n");
        std::fs::write(dir.path().join("log.csv"), log).unwrap();
        let look = look(&source(&["log.csv"]), dir.path(), 100).unwrap();
        let expected =
            [("zip", RawType::Text), ("price", RawType::Float), ("seen", RawType::Boolean), ("note", RawType::Null)];
        assert_eq!(kinds(&look), expected);
        assert_eq!((look.rows, look.looked_at), (12_001, 100));
        assert_eq!(look.types, [("zip".to_string(), ColumnType::Text), ("price".to_string(), ColumnType::Float)]);
    }

    #[test]
    fn the_first_and_the_last_rows_of_all_files_are_remembered_in_order() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.csv"), "n,m\n1,x\n2,x\n3,x\n4,x\n").unwrap();
        std::fs::write(dir.path().join("b.csv"), "n,m\n5,x\n6,\n7,y\n").unwrap();
        let look = look(&source(&["a.csv", "b.csv"]), dir.path(), 5).unwrap();
        assert_eq!((look.rows, look.looked_at), (7, 5));
        let n: Vec<Value> = [1, 2, 3, 6, 7].map(Value::Integer).to_vec();
        assert_eq!((&look.columns[0].values, &look.columns[0].codes), (&n, &vec![1, 2, 3, 4, 5]));
        assert_eq!(look.columns[1].codes, [1, 1, 1, 0, 2]);
    }
}
