//! JSON lines: one object a line, its values as JSON knows them.

use std::fmt;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polars::prelude::DataType;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value as Json;
use stem_core::Value;
use stem_core::files::FileError;

use super::chunk::{Cells, Chunk};
use super::{Facts, ROWS_AT_ONCE, open};
use crate::error::{Error, Result};
use crate::source::common;
use crate::source::files::SourceFile;

/// One row: its line, and the values in it.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) line: String,
    pub(super) values: Vec<(String, Json)>,
}

impl Object {
    /// The last value of that name; null where there is none.
    pub(super) fn get(&self, name: &str) -> &Json {
        self.values.iter().rev().find(|(key, _)| key == name).map_or(&Json::Null, |(_, value)| value)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Vec<(String, Json)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object, {\"column\": value, ...}")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs)
            }
        }
        let values = deserializer.deserialize_map(Pairs)?;
        Ok(Self { line: String::new(), values })
    }
}

/// Files of JSON lines as one table. The columns are those of its first rows.
pub(super) struct JsonFiles {
    columns: Arc<[String]>,
    /// What each column holds in the first rows; `None` where they hold different things.
    types: Arc<[Option<DataType>]>,
    begun: Chunk,
    rest: Lines,
}

impl JsonFiles {
    /// Reads the first rows.
    ///
    /// # Errors
    /// Files that do not read, or have no rows.
    pub(super) fn open(files: Vec<SourceFile>, facts: &mut Facts) -> Result<Self> {
        let path = files.first().map_or_else(PathBuf::new, |file| file.path.clone());
        let mut rest = Lines { files: files.into_iter(), open: None, row: 0 };
        let begun =
            rest.next_chunk(&Arc::default(), &Arc::default())?.ok_or(Error::NoRows { path, found: "no line" })?;
        let Cells::Objects(objects, _) = &begun.cells else { return Err(Error::query("rows of another kind")) };
        let mut columns: Vec<(String, Option<DataType>)> = Vec::new();
        for (name, value) in objects.iter().flat_map(|object| &object.values) {
            let kind = kind_of(value);
            match columns.iter_mut().find(|(column, _)| column == name) {
                Some((_, so_far)) => *so_far = so_far.as_ref().and_then(|so_far| common(so_far, &kind)),
                None => columns.push((name.clone(), Some(kind))),
            }
        }
        for (name, _) in &columns {
            let lacks = objects.iter().filter(|object| !object.values.iter().any(|(key, _)| key == name)).count();
            if lacks > 0 {
                let remark = format!(
                    "column \"{name}\" is not in every object ({lacks} of the first {} lack it): it is read as null there",
                    objects.len()
                );
                facts.remarks.insert(name.clone(), remark);
            }
        }
        let (columns, types): (Vec<String>, Vec<Option<DataType>>) = columns.into_iter().unzip();
        let (columns, types): (Arc<[String]>, Arc<[Option<DataType>]>) = (columns.into(), types.into());
        let begun = begun.of_objects(&columns, &types);
        Ok(Self { columns, types, begun, rest })
    }

    pub(super) fn columns(&self) -> &Arc<[String]> {
        &self.columns
    }

    /// Hands all rows over.
    pub(super) fn for_each_chunk<E: From<Error>>(
        mut self,
        mut see: impl FnMut(Chunk) -> Result<(), E>,
    ) -> Result<(), E> {
        see(self.begun)?;
        while let Some(chunk) = self.rest.next_chunk(&self.columns, &self.types)? {
            see(chunk)?;
        }
        Ok(())
    }
}

/// The lines of all files.
struct Lines {
    files: std::vec::IntoIter<SourceFile>,
    open: Option<Opened>,
    /// Rows so far.
    row: usize,
}

struct Opened {
    path: PathBuf,
    partitions: Vec<(String, Option<String>)>,
    text: Box<dyn BufRead>,
    line: usize,
    /// The row that the file begins with.
    first: usize,
}

impl Lines {
    /// The next rows of a file; `None` behind the last one.
    fn next_chunk(&mut self, columns: &Arc<[String]>, types: &Arc<[Option<DataType>]>) -> Result<Option<Chunk>> {
        loop {
            if self.open.is_none() {
                let Some(SourceFile { path, partitions, .. }) = self.files.next() else { return Ok(None) };
                let (text, _) = open::text(&path)?;
                self.open = Some(Opened { path, partitions, text, line: 0, first: self.row });
            }
            let Some(open) = &mut self.open else { continue };
            let places = vec![(open.first, open.path.clone())];
            let mut chunk = Chunk::new(columns.clone(), Cells::Objects(Vec::new(), types.clone()), self.row, places);
            let is_last = open.fill(&mut chunk)?;
            let read = chunk.next_row() - self.row;
            self.row = chunk.next_row();
            if is_last {
                self.open = None;
            }
            if read > 0 {
                return Ok(Some(chunk));
            }
        }
    }
}

impl Opened {
    /// Reads rows until a chunk is full; gives whether the file ends here. Lines that are no objects are refused.
    fn fill(&mut self, chunk: &mut Chunk) -> Result<bool> {
        let mut bytes = Vec::new();
        for _ in 0..ROWS_AT_ONCE {
            bytes.clear();
            if self.text.read_until(b'\n', &mut bytes).map_err(FileError::of("read", &self.path))? == 0 {
                return Ok(true);
            }
            self.line += 1;
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").filter(|_| self.line == 1).unwrap_or(&bytes);
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            match object(bytes, &self.path, self.line) {
                Ok(mut object) => {
                    for (name, value) in &self.partitions {
                        if !object.values.iter().any(|(key, _)| key == name) {
                            object.insert(name, value.clone().map_or(Json::Null, Json::String));
                        }
                    }
                    chunk.push_object(object, self.line);
                }
                Err(error) => chunk.refuse(error),
            }
        }
        Ok(false)
    }
}

impl Object {
    /// Adds a value that it lacks.
    fn insert(&mut self, name: &str, value: Json) {
        self.values.push((name.to_string(), value));
        self.line = line_of(&self.values);
    }
}

/// A line of values.
pub(super) fn line_of(values: &[(String, Json)]) -> String {
    let values = values.iter().map(|(name, value)| format!("{}:{value}", Json::String(name.clone())));
    format!("{{{}}}", values.collect::<Vec<_>>().join(","))
}

fn object(line: &[u8], path: &Path, number: usize) -> Result<Object> {
    let path = || path.to_path_buf();
    let line = std::str::from_utf8(line).map_err(|_| Error::Utf8 { path: path(), line: number })?.trim();
    let refused = |error: serde_json::Error| {
        let what = error.to_string();
        let what = what.split(" at line ").next().unwrap_or_default().to_string();
        Error::Json { path: path(), line: number, what }
    };
    let object: Object = serde_json::from_str(line).map_err(refused)?;
    Ok(Object { line: line.to_string(), ..object })
}

/// What a value of JSON is as a column.
pub(super) fn kind_of(value: &Json) -> DataType {
    match value {
        Json::Null => DataType::Null,
        Json::Bool(_) => DataType::Boolean,
        Json::Number(number) if number.is_i64() => DataType::Int64,
        Json::Number(number) if number.is_u64() => DataType::UInt64,
        Json::Number(_) => DataType::Float64,
        Json::String(_) | Json::Object(_) => DataType::String,
        Json::Array(values) => {
            let inner = values.iter().map(kind_of).try_fold(DataType::Null, |so_far, kind| common(&so_far, &kind));
            match inner {
                Some(inner @ (DataType::Null | DataType::Int64 | DataType::Float64 | DataType::String)) => {
                    DataType::List(Box::new(inner))
                }
                _ => DataType::String, // as JSON writes it
            }
        }
    }
}

/// A value as a predictor looks it up; `None` of an object.
pub(super) fn value_of(value: &Json) -> Option<Value> {
    Value::deserialize(value).ok()
}

/// A value in a cell of text: a list as JSON writes it, null as nothing.
pub(super) fn text_of(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}
