//! Two questions to a query plan: does every step keep the order of its rows, and which source columns is a column made of?

use std::collections::BTreeSet;
use std::sync::Arc;

use polars::prelude::*;

/// The same plan, its joins, groups and distincts keeping the order of their (left) input.
///
/// SQL asks for no order, and the streaming engine takes that at its word: without this, the encoded rows, and so every
/// batch, would differ from run to run.
pub(crate) fn keep_order(plan: DslPlan) -> DslPlan {
    let inner = |input: Arc<DslPlan>| Arc::new(keep_order(Arc::unwrap_or_clone(input)));
    let each = |inputs: Vec<DslPlan>| inputs.into_iter().map(keep_order).collect();
    match plan {
        DslPlan::Join { input_left, input_right, left_on, right_on, predicates, mut options } => {
            let args = &mut Arc::make_mut(&mut options).args;
            args.maintain_order = match args.how {
                JoinType::Right => MaintainOrderJoin::RightLeft,
                _ => MaintainOrderJoin::LeftRight,
            };
            let (input_left, input_right) = (inner(input_left), inner(input_right));
            DslPlan::Join { input_left, input_right, left_on, right_on, predicates, options }
        }
        DslPlan::GroupBy { input, keys, predicates, aggs, maintain_order: _, options, apply } => {
            DslPlan::GroupBy { input: inner(input), keys, predicates, aggs, maintain_order: true, options, apply }
        }
        DslPlan::Distinct { input, mut options } => {
            options.maintain_order = true;
            DslPlan::Distinct { input: inner(input), options }
        }
        DslPlan::Sort { input, by_column, slice, mut sort_options } => {
            sort_options.maintain_order = true;
            DslPlan::Sort { input: inner(input), by_column, slice, sort_options }
        }
        DslPlan::Union { inputs, mut args } => {
            args.maintain_order = true;
            DslPlan::Union { inputs: each(inputs), args }
        }
        DslPlan::Filter { input, predicate } => DslPlan::Filter { input: inner(input), predicate },
        DslPlan::Select { expr, input, options } => DslPlan::Select { expr, input: inner(input), options },
        DslPlan::HStack { input, exprs, options } => DslPlan::HStack { input: inner(input), exprs, options },
        DslPlan::Slice { input, offset, len } => DslPlan::Slice { input: inner(input), offset, len },
        DslPlan::MapFunction { input, function } => DslPlan::MapFunction { input: inner(input), function },
        DslPlan::Cache { input, id } => DslPlan::Cache { input: inner(input), id },
        DslPlan::HConcat { inputs, options } => DslPlan::HConcat { inputs: each(inputs), options },
        DslPlan::ExtContext { input, contexts } => {
            DslPlan::ExtContext { input: inner(input), contexts: each(contexts) }
        }
        DslPlan::IR { dsl, .. } => keep_order(Arc::unwrap_or_clone(dsl)),
        other => other,
    }
}

/// Columns of the sources (or of a join of them) that a column of the result is computed from.
pub(crate) fn origins(plan: &DslPlan, column: &str) -> BTreeSet<String> {
    trace(plan, BTreeSet::from([column.to_string()]))
}

fn trace(plan: &DslPlan, names: BTreeSet<String>) -> BTreeSet<String> {
    match plan {
        DslPlan::Select { expr, input, .. } | DslPlan::HStack { exprs: expr, input, .. } => {
            trace(input, names.into_iter().flat_map(|name| leaves(expr, name)).collect())
        }
        DslPlan::Filter { input, .. }
        | DslPlan::Sort { input, .. }
        | DslPlan::Slice { input, .. }
        | DslPlan::Distinct { input, .. }
        | DslPlan::Cache { input, .. }
        | DslPlan::MapFunction { input, .. } => trace(input, names),
        DslPlan::IR { dsl, .. } => trace(dsl, names),
        _ => names,
    }
}

/// Names of the columns in the expression that yields `name`; `name` itself where none does by that name.
fn leaves(exprs: &[Expr], name: String) -> Vec<String> {
    let yields = exprs.iter().find(|expr| matches!(expr, Expr::Alias(_, alias) if alias.as_str() == name));
    let Some(expr) = yields else { return vec![name] };
    let columns = expr.into_iter().filter_map(|part| match part {
        Expr::Column(column) => Some(column.to_string()),
        _ => None,
    });
    columns.collect()
}
