//! Which columns of which tables is a column of the SELECT made of?

use std::collections::{BTreeSet, HashMap};

use polars::prelude::*;

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    /// The first file of the table.
    table: String,
    pub(crate) column: String,
}

/// For each column that a recipe uses, what it is made of.
pub(crate) type Origins<'r> = HashMap<&'r str, BTreeSet<Origin>>;

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
        DslPlan::GroupBy { input, keys, aggs, .. } => {
            let read = trace(input, through(&[keys, aggs], names));
            read.into_iter().chain(conditions(plan)).collect()
        }
        DslPlan::Filter { input, .. }
        | DslPlan::Sort { input, .. }
        | DslPlan::Slice { input, .. }
        | DslPlan::Distinct { input, .. }
        | DslPlan::Cache { input, .. }
        | DslPlan::MapFunction { input, .. } => trace(input, names),
        DslPlan::Join { input_left, input_right, left_on, predicates, options, .. } => {
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
            let mut read = trace(input_right, from.1.clone());
            if !from.1.is_empty() {
                // which row of the right side it is, and whether there is one
                let mut by = BTreeSet::new();
                left_on.iter().chain(predicates).for_each(|on| leaves(on, &mut by));
                from.0.extend(by.into_iter().filter(|name| left.contains(name)));
                read.extend(conditions(input_right));
            }
            read.extend(trace(input_left, from.0));
            read
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

/// The columns that decide which rows a plan gives: those of its conditions, and of an order that rows are cut off by.
fn conditions(plan: &DslPlan) -> BTreeSet<Origin> {
    let mut decisive = BTreeSet::new();
    decide(plan, false, &mut decisive);
    decisive
}

/// Adds what decides which rows a plan gives; `is_cut` says whether only the first of them are taken.
fn decide(plan: &DslPlan, is_cut: bool, decisive: &mut BTreeSet<Origin>) {
    let mut by = |input: &DslPlan, exprs: &[Expr]| {
        let mut names = BTreeSet::new();
        exprs.iter().for_each(|expr| leaves(expr, &mut names));
        decisive.extend(trace(input, names));
    };
    match plan {
        DslPlan::Filter { input, predicate } => {
            by(input, std::slice::from_ref(predicate));
            decide(input, is_cut, decisive);
        }
        DslPlan::GroupBy { input, predicates, .. } => {
            by(input, predicates);
            decide(input, false, decisive);
        }
        DslPlan::Sort { input, by_column, slice, .. } => {
            if is_cut || slice.is_some() {
                by(input, by_column);
            }
            decide(input, is_cut, decisive);
        }
        DslPlan::Slice { input, .. } => decide(input, true, decisive),
        DslPlan::Select { input, .. }
        | DslPlan::HStack { input, .. }
        | DslPlan::Distinct { input, .. }
        | DslPlan::Cache { input, .. }
        | DslPlan::MapFunction { input, .. } => decide(input, is_cut, decisive),
        DslPlan::IR { dsl, .. } => decide(dsl, is_cut, decisive),
        _ => {}
    }
}

/// The column of a table that a column of the result is, unchanged; `None` where it is computed. `tables` are the plans of the sources.
pub(crate) fn raw_column(plan: &DslPlan, name: &str, tables: &[*const DslPlan]) -> Option<String> {
    let within =
        |exprs: &[Expr], input: &DslPlan, passes: bool| match exprs.iter().find(|expr| output_name(expr) == Some(name))
        {
            Some(Expr::Column(column)) => raw_column(input, column, tables),
            Some(Expr::Alias(expr, _)) => match expr.as_ref() {
                Expr::Column(column) => raw_column(input, column, tables),
                _ => None,
            },
            Some(_) => None,
            None if passes => raw_column(input, name, tables),
            None => None,
        };
    match plan {
        DslPlan::Select { input, .. } if tables.contains(&std::sync::Arc::as_ptr(input)) => Some(name.to_string()),
        DslPlan::Select { expr, input, .. } => within(expr, input, false),
        DslPlan::HStack { exprs, input, .. } => within(exprs, input, true),
        DslPlan::GroupBy { input, keys, .. } => within(keys, input, false),
        DslPlan::Filter { input, .. }
        | DslPlan::Sort { input, .. }
        | DslPlan::Slice { input, .. }
        | DslPlan::Distinct { input, .. }
        | DslPlan::Cache { input, .. }
        | DslPlan::MapFunction { input, .. } => raw_column(input, name, tables),
        DslPlan::Join { input_left, input_right, options, .. } => {
            let (left, right) = (columns_of(input_left), columns_of(input_right));
            let plain = name.strip_suffix(options.args.suffix().as_str());
            match plain {
                _ if left.contains(name) => raw_column(input_left, name, tables),
                _ if right.contains(name) => raw_column(input_right, name, tables),
                Some(plain) if right.contains(plain) => raw_column(input_right, plain, tables),
                _ => None,
            }
        }
        DslPlan::Union { inputs, .. } => {
            let names: BTreeSet<Option<String>> = inputs.iter().map(|input| raw_column(input, name, tables)).collect();
            names.into_iter().reduce(|_, _| None).flatten()
        }
        DslPlan::IR { dsl, .. } => raw_column(dsl, name, tables),
        _ => None,
    }
}

/// The name of what an expression yields: its alias, or its first column.
fn output_name(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Alias(_, alias) => Some(alias),
        Expr::Column(column) => Some(column),
        Expr::Over { function, .. } => output_name(function),
        other => {
            let mut within = Default::default();
            other.nodes(&mut within);
            within.iter().rev().find_map(|expr| output_name(expr))
        }
    }
}

/// Names of the columns that a plan gives.
fn columns_of(plan: &DslPlan) -> BTreeSet<String> {
    let schema = LazyFrame::from(plan.clone()).collect_schema();
    schema.map_or_else(|_| BTreeSet::new(), |schema| schema.iter_names().map(|name| name.to_string()).collect())
}

/// Names of the columns that the expression which yields `name` reads; `name` itself where none does by that name.
fn read_for(exprs: &[&[Expr]], name: String) -> BTreeSet<String> {
    let yields = |expr: &&Expr| output_name(expr) == Some(name.as_str());
    let Some(expr) = exprs.iter().copied().flatten().find(yields) else { return BTreeSet::from([name]) };
    let mut read = BTreeSet::new();
    leaves(expr, &mut read);
    read
}

fn leaves(expr: &Expr, read: &mut BTreeSet<String>) {
    match expr {
        Expr::Column(column) => drop(read.insert(column.to_string())),
        Expr::Function { input, function: FunctionExpr::Shift } if is_back(input.get(1)) => {}
        Expr::Over { order_by: Some((by, order)), .. } if order.descending => {
            // what is behind in this order is ahead in time: nothing of it is passed over
            leaves(by, read);
            expr.into_iter().for_each(|part| {
                if let Expr::Column(column) = part {
                    read.insert(column.to_string());
                }
            });
        }
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

/// Every step of a plan, the last one first. The parts of a UNION of UNIONs come once.
fn steps<'p>(plan: &'p DslPlan, see: &mut dyn FnMut(&'p DslPlan)) {
    see(plan);
    match plan {
        DslPlan::Union { .. } => {
            let mut parts = Vec::new();
            parts_of(plan, &mut parts);
            parts.into_iter().for_each(|part| steps(part, see));
        }
        DslPlan::HConcat { inputs, .. } => inputs.iter().for_each(|input| steps(input, see)),
        DslPlan::Select { input, .. }
        | DslPlan::HStack { input, .. }
        | DslPlan::GroupBy { input, .. }
        | DslPlan::Filter { input, .. }
        | DslPlan::Sort { input, .. }
        | DslPlan::Slice { input, .. }
        | DslPlan::Distinct { input, .. }
        | DslPlan::Cache { input, .. }
        | DslPlan::MapFunction { input, .. } => steps(input, see),
        DslPlan::Join { input_left, input_right, .. } => {
            steps(input_left, see);
            steps(input_right, see);
        }
        DslPlan::IR { dsl, .. } => steps(dsl, see),
        _ => {}
    }
}

/// Names of the columns that tables are joined by.
pub(crate) fn join_columns(plan: &DslPlan) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    steps(plan, &mut |step| {
        if let DslPlan::Join { left_on, right_on, predicates, .. } = step {
            left_on.iter().chain(right_on).chain(predicates).for_each(|on| leaves(on, &mut names));
        }
    });
    names
}

/// Names of the columns that a CAST makes a date or a time of.
pub(crate) fn cast_to_times(plan: &DslPlan) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    steps(plan, &mut |step| {
        let exprs: Vec<&Expr> = match step {
            DslPlan::Select { expr: exprs, .. } | DslPlan::HStack { exprs, .. } => exprs.iter().collect(),
            DslPlan::Filter { predicate, .. } => vec![predicate],
            DslPlan::GroupBy { keys, aggs, .. } => keys.iter().chain(aggs).collect(),
            _ => vec![],
        };
        for part in exprs.into_iter().flatten() {
            if let Expr::Cast { expr, dtype: DataTypeExpr::Literal(dtype), .. } = part
                && dtype.is_temporal()
            {
                leaves(expr, &mut names);
            }
        }
    });
    names
}

/// The columns of a UNION whose parts hold integers, floats and texts under one name, each with what it holds.
pub(crate) fn drifting(plan: &DslPlan) -> Vec<(String, Vec<&'static str>)> {
    let mut found = Vec::new();
    steps(plan, &mut |step| {
        let DslPlan::Union { .. } = step else { return };
        let mut parts = Vec::new();
        parts_of(step, &mut parts);
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
    });
    found
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
