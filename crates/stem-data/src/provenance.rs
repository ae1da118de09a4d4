//! Which columns of which tables is a column of the SELECT made of?

use std::collections::BTreeSet;

use polars::prelude::*;

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    /// The first file of the table.
    table: String,
    pub(crate) column: String,
}

/// The columns whose values, of this row or of others, decide a column of the result. A value of an earlier row (LAG) is none of them:
/// it is known before this row is.
pub(crate) fn origins(plan: &DslPlan, column: &str) -> BTreeSet<Origin> {
    trace(plan, BTreeSet::from([column.to_string()]))
}

fn trace(plan: &DslPlan, names: BTreeSet<String>) -> BTreeSet<Origin> {
    if names.is_empty() {
        return BTreeSet::new();
    }
    let through = |exprs: &[&[Expr]], names: BTreeSet<String>| -> BTreeSet<String> {
        names.into_iter().flat_map(|name| read_for(exprs, name)).collect()
    };
    match plan {
        DslPlan::Select { expr, input, .. } => trace(input, through(&[expr], names)),
        DslPlan::HStack { exprs, input, .. } => trace(input, through(&[exprs], names)),
        DslPlan::GroupBy { input, keys, aggs, .. } => trace(input, through(&[keys, aggs], names)),
        DslPlan::Filter { input, .. }
        | DslPlan::Sort { input, .. }
        | DslPlan::Slice { input, .. }
        | DslPlan::Distinct { input, .. }
        | DslPlan::Cache { input, .. }
        | DslPlan::MapFunction { input, .. } => trace(input, names),
        DslPlan::Join { input_left, input_right, options, .. } => {
            let (left, right) = (columns_of(input_left), columns_of(input_right));
            let suffix = options.args.suffix().as_str();
            let mut from = (BTreeSet::new(), BTreeSet::new());
            for name in names {
                let plain = name.strip_suffix(suffix).filter(|plain| right.contains(*plain)).map(str::to_string);
                match plain {
                    _ if left.contains(&name) => drop(from.0.insert(name)),
                    _ if right.contains(&name) => drop(from.1.insert(name)),
                    Some(plain) => drop(from.1.insert(plain)),
                    None => {}
                }
            }
            trace(input_left, from.0).into_iter().chain(trace(input_right, from.1)).collect()
        }
        DslPlan::Union { inputs, .. } | DslPlan::HConcat { inputs, .. } => {
            inputs.iter().flat_map(|input| trace(input, names.clone())).collect()
        }
        DslPlan::IR { dsl, .. } => trace(dsl, names),
        DslPlan::Scan { sources, .. } => {
            let first = sources.iter().next().map_or(String::new(), |source| source.to_include_path_name().to_string());
            names.into_iter().map(|column| Origin { table: first.clone(), column }).collect()
        }
        _ => names.into_iter().map(|column| Origin { table: String::new(), column }).collect(),
    }
}

/// Names of the columns that a plan gives.
fn columns_of(plan: &DslPlan) -> BTreeSet<String> {
    let schema = LazyFrame::from(plan.clone()).collect_schema();
    schema.map_or_else(|_| BTreeSet::new(), |schema| schema.iter_names().map(|name| name.to_string()).collect())
}

/// Names of the columns that the expression which yields `name` reads; `name` itself where none does by that name.
fn read_for(exprs: &[&[Expr]], name: String) -> BTreeSet<String> {
    let yields = |expr: &&Expr| matches!(expr, Expr::Alias(_, alias) if alias.as_str() == name);
    let Some(expr) = exprs.iter().copied().flatten().find(yields) else { return BTreeSet::from([name]) };
    let mut read = BTreeSet::new();
    leaves(expr, &mut read);
    read
}

fn leaves(expr: &Expr, read: &mut BTreeSet<String>) {
    match expr {
        Expr::Column(column) => drop(read.insert(column.to_string())),
        Expr::Function { input, function: FunctionExpr::Shift } if is_back(input.get(1)) => {}
        other => {
            let mut within = Default::default();
            other.nodes(&mut within);
            within.into_iter().for_each(|expr| leaves(expr, read));
        }
    }
}

/// Whether a shift brings values of earlier rows to later ones.
fn is_back(by: Option<&Expr>) -> bool {
    match by {
        Some(Expr::Literal(value)) => {
            value.to_any_value().and_then(|value| value.extract::<i64>()).is_some_and(|n| n > 0)
        }
        _ => false,
    }
}

/// The columns of a UNION whose parts hold integers, floats and texts under one name, each with what it holds.
pub(crate) fn drifting(plan: &DslPlan) -> Vec<(String, Vec<&'static str>)> {
    let mut found = Vec::new();
    visit(plan, &mut found);
    found
}

fn visit(plan: &DslPlan, found: &mut Vec<(String, Vec<&'static str>)>) {
    match plan {
        DslPlan::Union { .. } => {
            let mut parts = Vec::new();
            parts_of(plan, &mut parts);
            let schemas = parts.iter().filter_map(|part| LazyFrame::from((*part).clone()).collect_schema().ok());
            let schemas: Vec<SchemaRef> = schemas.collect();
            let Some(first) = schemas.first() else { return };
            for (place, name) in first.iter_names().enumerate() {
                let of = |schema: &SchemaRef| schema.get_at_index(place).and_then(|(_, dtype)| kind_of(dtype));
                let mut kinds: Vec<&str> = schemas.iter().filter_map(of).collect();
                kinds.sort_unstable();
                kinds.dedup();
                if kinds.len() > 1 {
                    found.push((name.to_string(), kinds));
                }
            }
            parts.into_iter().for_each(|part| visit(part, found));
        }
        DslPlan::Select { input, .. }
        | DslPlan::HStack { input, .. }
        | DslPlan::GroupBy { input, .. }
        | DslPlan::Filter { input, .. }
        | DslPlan::Sort { input, .. }
        | DslPlan::Slice { input, .. }
        | DslPlan::Distinct { input, .. }
        | DslPlan::Cache { input, .. }
        | DslPlan::MapFunction { input, .. } => visit(input, found),
        DslPlan::Join { input_left, input_right, .. } => {
            visit(input_left, found);
            visit(input_right, found);
        }
        DslPlan::IR { dsl, .. } => visit(dsl, found),
        _ => {}
    }
}

/// The parts of a UNION of UNIONs.
fn parts_of<'p>(plan: &'p DslPlan, parts: &mut Vec<&'p DslPlan>) {
    match plan {
        DslPlan::Union { inputs, .. } => inputs.iter().for_each(|input| parts_of(input, parts)),
        DslPlan::IR { dsl, .. } => parts_of(dsl, parts),
        part => parts.push(part),
    }
}

fn kind_of(dtype: &DataType) -> Option<&'static str> {
    match dtype {
        dtype if dtype.is_integer() => Some("integers"),
        dtype if dtype.is_float() => Some("floats"),
        DataType::String => Some("text"),
        _ => None,
    }
}
