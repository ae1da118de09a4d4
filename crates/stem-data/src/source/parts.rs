//! Many files as one table: their columns matched by name, types that drift from file to file reconciled where nothing is lost by it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use polars::prelude::*;
use stem_core::whole;

use super::infer::{Evidence, Inferred};
use super::{Table, dtype_of};
use crate::error::{Error, Result};
use crate::recipe::{SPLIT_OF_FILES, Source};

/// Files of one schema, one after the other.
pub(super) struct Part {
    pub(super) frame: LazyFrame,
    pub(super) schema: Schema,
    /// What the folders on the way say.
    pub(super) partitions: Vec<(String, Option<String>)>,
    /// The first file, for messages.
    pub(super) name: PathBuf,
}

/// Makes one table of the parts.
///
/// # Errors
/// A column whose types in two files have no type that holds both without loss.
pub(super) fn together(source: &Source, parts: Vec<Part>, table: &mut Table) -> Result<()> {
    let partitions = partition_types(source, &parts);
    let mut order: Vec<PlSmallStr> = Vec::new();
    let mut types: PlHashMap<PlSmallStr, (DataType, PathBuf)> = PlHashMap::new();
    for part in &parts {
        if !order.is_empty() && !part.schema.iter_names().any(|name| order.contains(name)) {
            let what = format!(
                "it has none of the columns of {} ({}): does its first line name the columns?",
                parts[0].name.display(),
                order.iter().take(6).map(PlSmallStr::as_str).collect::<Vec<_>>().join(", ")
            );
            return Err(Error::Source { path: part.name.clone(), what });
        }
        for (name, dtype) in part.schema.iter() {
            let Some((so_far, first)) = types.get_mut(name) else {
                order.push(name.clone());
                types.insert(name.clone(), (given(source, name).unwrap_or(dtype.clone()), part.name.clone()));
                continue;
            };
            *so_far = match given(source, name).or_else(|| common(so_far, dtype)) {
                Some(common) => common,
                None => {
                    let what = format!(
                        "column \"{name}\" is {} here, and {} in {}: say what to read it as, `types = {{ {name} = \"text\" }}`, or CAST it where the files are written",
                        words(dtype),
                        words(so_far),
                        first.display()
                    );
                    return Err(Error::Source { path: part.name.clone(), what });
                }
            };
        }
    }
    if let Some((_, first)) = types.get(SPLIT_OF_FILES).filter(|_| !source.splits.is_empty()) {
        let what = format!(
            "it has a column \"{SPLIT_OF_FILES}\" of its own, and source \"{}\" lists its files by split: use `files` and `[split] kind = \"column\"`",
            source.name
        );
        return Err(Error::Source { path: first.clone(), what });
    }
    let count = parts.len();
    let mut missing: BTreeMap<PlSmallStr, (usize, PathBuf)> = BTreeMap::new();
    let mut frames = Vec::with_capacity(count);
    for part in parts {
        let mut columns = Vec::new();
        for name in &order {
            let (wanted, _) = &types[name];
            columns.push(match part.schema.get(name) {
                Some(dtype) => converted(name, dtype, wanted),
                None => {
                    missing.entry(name.clone()).or_insert((0, part.name.clone())).0 += 1;
                    lit(NULL).cast(wanted.clone()).alias(name.clone())
                }
            });
        }
        for (name, dtype) in &partitions {
            if types.contains_key(name.as_str()) {
                let remark = format!(
                    "column \"{name}\" of source \"{}\" is in its files and in the names of their folders: that of the files is read",
                    source.name
                );
                table.facts.remarks.insert(name.clone(), remark);
            } else {
                let found = part.partitions.iter().find(|(n, _)| n == name);
                if found.is_none() {
                    missing.entry(name.as_str().into()).or_insert((0, part.name.clone())).0 += 1;
                }
                let value = found.and_then(|(_, value)| value.clone());
                let value = value.map_or(lit(NULL).cast(DataType::String), lit);
                columns.push(value.strict_cast(dtype.clone()).alias(name));
            }
        }
        frames.push(part.frame.select(columns));
    }
    for (name, (parts, first)) in missing {
        table.facts.remarks.insert(
            name.to_string(),
            format!("column \"{name}\" is not in every file of source \"{}\" (in {parts} parts it is missing, first in {}): it is read as null there", source.name, first.display()),
        );
    }
    table.frame = match frames.len() {
        1 => frames.remove(0),
        _ => concat(frames, UnionArgs { parallel: false, rechunk: false, maintain_order: true, ..Default::default() })
            .map_err(Error::query)?,
    };
    Ok(())
}

/// Names and types of what the folders say.
fn partition_types(source: &Source, parts: &[Part]) -> Vec<(String, DataType)> {
    let mut order: Vec<(String, Evidence)> = Vec::new();
    for (name, value) in parts.iter().flat_map(|part| &part.partitions) {
        if !order.iter().any(|(n, _)| n == name) {
            order.push((name.clone(), Evidence::default()));
        }
        if let (Some(value), Some((_, evidence))) = (value, order.iter_mut().find(|(n, _)| n == name)) {
            evidence.see(value);
        }
    }
    let dtype = |name: &str, evidence: Evidence| {
        given(source, name).unwrap_or(match evidence.inferred() {
            Inferred::Integer => DataType::Int64,
            _ => DataType::String,
        })
    };
    order.into_iter().map(|(name, evidence)| (name.clone(), dtype(&name, evidence))).collect()
}

/// What the recipe says that a column is read as.
fn given(source: &Source, name: &str) -> Option<DataType> {
    source.types.iter().find(|(n, _)| n == name).map(|(_, kind)| dtype_of(*kind))
}

/// The type that holds all values of both.
pub(crate) fn common(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::*;
    let integer = |dtype: &DataType| dtype.is_integer() && *dtype != UInt64 || *dtype == Boolean;
    Some(match (a, b) {
        (a, b) if a == b => a.clone(),
        (Null, other) | (other, Null) => other.clone(),
        (a, b) if integer(a) && integer(b) => Int64,
        (UInt64, other) | (other, UInt64) if integer(other) => UInt64,
        (a, b) if a.is_float() && b.is_float() => Float64,
        (a, b) if a.is_float() && integer(b) || integer(a) && b.is_float() => Float64,
        (Date, Datetime(unit, _)) | (Datetime(unit, _), Date) => Datetime(*unit, None),
        (Datetime(..), Datetime(..)) => Datetime(TimeUnit::Microseconds, None),
        (List(a), List(b)) => List(Box::new(common(a, b)?)),
        _ => return None,
    })
}

/// A column as another type, without loss: what does not fit stops the query.
fn converted(name: &PlSmallStr, from: &DataType, to: &DataType) -> Expr {
    let column = Expr::Column(name.clone());
    if from == to {
        return column;
    }
    let name = name.clone();
    match (from, to) {
        (from, to) if (from.is_integer() || *from == DataType::Boolean) && to.is_float() => {
            let checked = move |column: Column| {
                let integers = column.strict_cast(&DataType::Int64)?;
                match integers.i64()?.iter().flatten().find(|&value| whole(value as f64).is_none()) {
                    Some(value) => {
                        polars_bail!(ComputeError: "column \"{name}\": {value} in one file has no exact float, and another file holds floats: write `types = {{ {name} = \"int\" }}`, or \"text\"")
                    }
                    None => integers.cast(&DataType::Float64),
                }
            };
            column.map(checked, |_, field| Ok(Field::new(field.name().clone(), DataType::Float64)))
        }
        (from, DataType::Int64) if from.is_float() => {
            let checked = move |column: Column| {
                let floats = column.cast(&DataType::Float64)?;
                match floats.f64()?.iter().flatten().find(|&value| whole(value).is_none()) {
                    Some(value) => {
                        polars_bail!(ComputeError: "column \"{name}\": {value} is no whole number that a float holds exactly, and `types` says \"int\"")
                    }
                    None => floats.cast(&DataType::Int64),
                }
            };
            column.map(checked, |_, field| Ok(Field::new(field.name().clone(), DataType::Int64)))
        }
        (_, to) => column.strict_cast(to.clone()),
    }
}

/// A type in words.
pub(crate) fn words(dtype: &DataType) -> String {
    match dtype {
        DataType::String => "text".into(),
        DataType::List(inner) => format!("a list of {}", words(inner)),
        dtype if dtype.is_integer() => "integers".into(),
        dtype if dtype.is_float() => "floats".into(),
        DataType::Boolean => "true and false".into(),
        DataType::Datetime(..) => "times".into(),
        DataType::Date => "dates".into(),
        DataType::Time => "times of day".into(),
        DataType::Duration(_) => "spans of time".into(),
        DataType::Null => "nothing but null".into(),
        dtype => format!("{dtype}"),
    }
}
