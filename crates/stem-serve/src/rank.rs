//! Many scores of a row become one, and rows an order.

use stem_core::{Schema, TaskKind};

use crate::refusal::Refusal;
use crate::request::{Combine, Head};

/// Rows, the best first.
#[derive(Debug, PartialEq)]
pub(crate) struct Ranked {
    pub(crate) indices: Vec<usize>,
    pub(crate) scores: Vec<f64>,
}

/// Refuses a task that a model does not have, and sums and products that mean nothing of labels that are numbers.
///
/// # Errors
/// The first such task.
pub(crate) fn check(head: &Head, schema: &Schema) -> Result<(), Refusal> {
    let refused = |key: String, found: &str, expected: String| Refusal::Setting { key, found: found.into(), expected };
    let Some(Combine::Weights(factors) | Combine::Powers(factors)) = &head.combine else {
        let number = schema.tasks.iter().find(|task| !task.kind.is_binary() && schema.tasks.len() > 1);
        return number.map_or(Ok(()), |task| {
            let expected = format!(
                "a weight for each task that counts, or \"powers\": '{}' ({}) is a number in a unit of its own",
                task.name, task.kind
            );
            Err(refused("weights".into(), "not there", expected))
        });
    };
    if let Some((task, _)) = factors.iter().find(|(task, _)| schema.task(task).is_none()) {
        let (task, known) = (crate::refusal::shortened(task.clone()), schema.task_names().join(", "));
        return Err(Refusal::UnknownTask { task, known });
    }
    let may_be_negative = |(task, _): &&(String, f64)| {
        schema.tasks.iter().any(|one| one.name == *task && matches!(one.kind, TaskKind::Regression { .. }))
    };
    if let Some((task, power)) = factors.iter().find(may_be_negative)
        && matches!(head.combine, Some(Combine::Powers(_)))
    {
        let expected = "a task whose score is never below 0, or \"weights\": this one is a regression".to_string();
        return Err(refused(format!("powers.{task}"), &power.to_string(), expected));
    }
    Ok(())
}

/// The best rows: by `sum_t w_t s_t`, where all tasks weigh 1 unless it says otherwise, or by `prod_t s_t ^ a_t`. Of equal ones the first
/// comes first. `scores [B, T]`
pub(crate) fn rank(head: &Head, schema: &Schema, scores: &[f32]) -> Ranked {
    let tasks = schema.tasks.len();
    let places = |factors: &[(String, f64)]| -> Vec<(usize, f64)> {
        factors.iter().filter_map(|(task, factor)| Some((schema.task(task)?, *factor))).collect()
    };
    let all: Vec<f64> = match &head.combine {
        Some(Combine::Powers(powers)) => {
            let powers = places(powers);
            let one = |row: &[f32]| powers.iter().map(|(task, power)| f64::from(row[*task]).powf(*power)).product();
            scores.chunks_exact(tasks).map(one).collect()
        }
        weights => {
            let weights = match weights {
                Some(Combine::Weights(weights)) => places(weights),
                _ => (0..tasks).map(|task| (task, 1.0)).collect(),
            };
            let one = |row: &[f32]| weights.iter().map(|(task, weight)| weight * f64::from(row[*task])).sum();
            scores.chunks_exact(tasks).map(one).collect()
        }
    };
    let mut indices: Vec<usize> = (0..all.len()).collect();
    indices.sort_by(|a, b| all[*b].total_cmp(&all[*a])); // a stable sort
    indices.truncate(head.top_k.unwrap_or(usize::MAX));
    let scores = indices.iter().map(|row| all[*row]).collect();
    Ranked { indices, scores }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stem_core::{Field, TargetTransform, Task, VocabularySpec};

    fn ranked(combine: Option<Combine>, top_k: Option<usize>) -> Ranked {
        let schema = Schema::new(
            vec![Field::category("a", 0)],
            vec![VocabularySpec::new("a", 3)],
            ["x", "y"].map(Task::new).into(),
        );
        let head = Head { combine, top_k, ..Head::default() };
        check(&head, &schema).unwrap();
        rank(&head, &schema, &[0.5, 0.25, 0.25, 0.5, 0.75, 0.5, 0.5, 0.25])
    }

    #[test]
    fn the_best_come_first_and_of_equal_ones_the_first() {
        assert_eq!(ranked(None, None), Ranked { indices: vec![2, 0, 1, 3], scores: vec![1.25, 0.75, 0.75, 0.75] });
        let weights = Combine::Weights(vec![("y".into(), 2.0)]);
        assert_eq!(ranked(Some(weights), Some(3)), Ranked { indices: vec![1, 2, 0], scores: vec![1.0, 1.0, 0.5] });
        let powers = Combine::Powers(vec![("x".into(), 1.0), ("y".into(), 2.0)]);
        assert_eq!(ranked(Some(powers), Some(1)), Ranked { indices: vec![2], scores: vec![0.1875] });
    }

    #[test]
    fn an_unknown_task_is_told_the_known_ones() {
        let schema = Schema::new(vec![], vec![], ["x", "y"].map(Task::new).into());
        let head = Head { combine: Some(Combine::Weights(vec![("z".into(), 1.0)])), ..Head::default() };
        assert_eq!(check(&head, &schema).unwrap_err().to_string(), "the model has no task 'z'; known are: x, y");
    }

    #[test]
    fn numbers_are_not_added_unasked_nor_raised_to_powers_where_they_may_be_negative() {
        let tasks = vec![
            Task::new("click"),
            Task::new("seconds").of_kind(TaskKind::WatchTime { scale: 1.0 }),
            Task::new("price").of_kind(TaskKind::Regression {
                transform: TargetTransform::default(),
                mean: 0.0,
                std: 1.0,
            }),
        ];
        let schema = Schema::new(vec![], vec![], tasks);
        let told =
            |combine| check(&Head { combine, ..Head::default() }, &schema).map_err(|refusal| refusal.to_string());
        let of = |task: &str| vec![(task.to_string(), 1.0)];
        assert!(told(None).unwrap_err().contains("'seconds' (watch-time)"));
        assert!(told(Some(Combine::Powers(of("price")))).unwrap_err().contains("powers.price"));
        assert_eq!(told(Some(Combine::Powers(of("seconds")))), Ok(()));
        assert_eq!(told(Some(Combine::Weights(of("price")))), Ok(()));
    }
}
