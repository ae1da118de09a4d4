//! Many scores of a row become one, and rows an order.

use crate::schema::{Schema, TaskKind};

/// Rows, the best first.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Ranked {
    /// Their numbers, from 0.
    pub indices: Vec<usize>,
    /// Their scores as one number each.
    pub scores: Vec<f64>,
}

/// How the scores of tasks become one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Combine {
    /// `sum_t w_t p_t`; a task that is not named weighs 0.
    Weights(Vec<(String, f64)>),
    /// `prod_t p_t ^ a_t`
    Powers(Vec<(String, f64)>),
}

/// How rows are ranked: by a number that is made of each row's scores.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Ranking {
    /// How the scores of tasks become one; without it all tasks weigh 1, where all are probabilities.
    pub combine: Option<Combine>,
    /// How many of the best are wanted, without it all.
    pub top_k: Option<usize>,
}

/// A ranking that cannot be made of a model's scores.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RankFault {
    /// A task that the model does not have.
    #[error("the model has no task '{task}'; known are: {known}")]
    UnknownTask {
        /// As asked for.
        task: String,
        /// All tasks.
        known: String,
    },
    /// Weights or powers that mean nothing of these tasks.
    #[error("\"{key}\" is {found}, expected {expected}")]
    Setting {
        /// The setting.
        key: String,
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: String,
    },
}

impl Ranking {
    /// Refuses a task that a model does not have, and sums and products that mean nothing of labels that are numbers.
    ///
    /// # Errors
    /// The first such task.
    pub fn check(&self, schema: &Schema) -> Result<(), RankFault> {
        let refused =
            |key: String, found: &str, expected: String| RankFault::Setting { key, found: found.into(), expected };
        let Some(Combine::Weights(factors) | Combine::Powers(factors)) = &self.combine else {
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
            let (task, known) = (task.clone(), schema.task_names().join(", "));
            return Err(RankFault::UnknownTask { task, known });
        }
        let may_be_negative = |(task, _): &&(String, f64)| {
            schema.tasks.iter().any(|one| one.name == *task && matches!(one.kind, TaskKind::Regression { .. }))
        };
        if let Some((task, power)) = factors.iter().find(may_be_negative)
            && matches!(self.combine, Some(Combine::Powers(_)))
        {
            let expected = "a task whose score is never below 0, or \"weights\": this one is a regression".to_string();
            return Err(refused(format!("powers.{task}"), &power.to_string(), expected));
        }
        Ok(())
    }

    /// The best rows, of a ranking that [passes](Self::check): by `sum_t w_t s_t`, where all tasks weigh 1 unless it says otherwise, or by `prod_t s_t ^ a_t`. Of equal ones the first
    /// comes first. `scores [B, T]`
    pub fn rank(&self, schema: &Schema, scores: &[f32]) -> Ranked {
        let tasks = schema.tasks.len();
        let places = |factors: &[(String, f64)]| -> Vec<(usize, f64)> {
            factors.iter().filter_map(|(task, factor)| Some((schema.task(task)?, *factor))).collect()
        };
        let all: Vec<f64> = match &self.combine {
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
        indices.truncate(self.top_k.unwrap_or(usize::MAX));
        let scores = indices.iter().map(|row| all[*row]).collect();
        Ranked { indices, scores }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Field, TargetTransform, Task, VocabularySpec};

    fn ranked(combine: Option<Combine>, top_k: Option<usize>) -> Ranked {
        let schema = Schema::new(
            vec![Field::category("a", 0)],
            vec![VocabularySpec::new("a", 3)],
            ["x", "y"].map(Task::new).into(),
        );
        let ranking = Ranking { combine, top_k };
        ranking.check(&schema).unwrap();
        ranking.rank(&schema, &[0.5, 0.25, 0.25, 0.5, 0.75, 0.5, 0.5, 0.25])
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
        let ranking = Ranking { combine: Some(Combine::Weights(vec![("z".into(), 1.0)])), top_k: None };
        assert_eq!(ranking.check(&schema).unwrap_err().to_string(), "the model has no task 'z'; known are: x, y");
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
        let told = |combine| Ranking { combine, top_k: None }.check(&schema).map_err(|fault| fault.to_string());
        let of = |task: &str| vec![(task.to_string(), 1.0)];
        assert!(told(None).unwrap_err().contains("'seconds' (watch-time)"));
        assert!(told(Some(Combine::Powers(of("price")))).unwrap_err().contains("powers.price"));
        assert_eq!(told(Some(Combine::Powers(of("seconds")))), Ok(()));
        assert_eq!(told(Some(Combine::Weights(of("price")))), Ok(()));
    }
}
