//! A query plan whose every step keeps the order of its rows.

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
