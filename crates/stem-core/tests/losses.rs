//! Every loss beside PyTorch's numbers, values and gradients (`fixtures/losses.py`).

use burn::tensor::{Tensor, TensorData};
use serde::Deserialize;
use stem_core::loss::{Criterion, TaskLoss};
use stem_core::{
    Batch, DeviceSpec, DurationQuantiles, Field, MISSING, Schema, TargetTransform, Task, TaskKind, VocabularySpec,
};

#[derive(Deserialize)]
struct Case {
    loss: TaskLoss,
    z: Vec<f32>,
    y: Vec<f32>,
    share: Vec<f32>,
    #[serde(default)]
    groups: Vec<u32>,
    value: f64,
    grad: Vec<f64>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("fixtures/losses.json")).unwrap()
}

/// A kind that the loss is for, whose labels are learned as they are.
fn kind(loss: &TaskLoss) -> TaskKind {
    match loss {
        TaskLoss::CrossEntropy { .. } | TaskLoss::Focal { .. } | TaskLoss::Pairwise { .. } | TaskLoss::Jrc { .. } => {
            TaskKind::Binary
        }
        TaskLoss::Mse | TaskLoss::Huber { .. } => {
            TaskKind::Regression { transform: TargetTransform::None, mean: 0.0, std: 1.0 }
        }
        TaskLoss::Poisson => TaskKind::Count { scale: 1.0 },
        TaskLoss::WeightedLogistic => TaskKind::WatchTime { scale: 1.0 },
        TaskLoss::Softmax => TaskKind::Ordinal { classes: 4 },
        TaskLoss::ZeroInflated => TaskKind::ZeroInflated { scale: 1.0 },
        other => panic!("{other:?} has no case here"),
    }
}

fn schema(kinds: &[TaskKind]) -> Schema {
    let tasks = kinds.iter().enumerate().map(|(t, kind)| Task::new(format!("task-{t}")).of_kind(kind.clone()));
    Schema::new(vec![Field::category("user", 0)], vec![VocabularySpec::new("user", 3)], tasks.collect())
        .grouped_by("user")
}

/// Losses `[T]` and gradient `[B, L]` of some cases side by side, each a task.
fn of_tasks(cases: &[Case]) -> (Vec<f32>, Vec<f32>) {
    let device = DeviceSpec::from_env().unwrap().open().unwrap();
    let kinds: Vec<TaskKind> = cases.iter().map(|case| kind(&case.loss)).collect();
    let (schema, rows, tasks) = (schema(&kinds), cases[0].y.len(), cases.len());
    let losses: Vec<(String, TaskLoss)> = schema.task_names().into_iter().zip(cases.iter().map(|c| c.loss)).collect();
    let criterion = Criterion::with(&schema, losses.iter().map(|(name, loss)| (name, loss))).unwrap();
    // a row counts differently for each task, and a row of share 0 is one without the label
    let mut loss = vec![0.0; tasks];
    let outputs = schema.outputs();
    let z: Vec<f32> = (0..rows)
        .flat_map(|row| cases.iter().flat_map(move |case| case.z.chunks_exact(case.z.len() / rows).nth(row).unwrap()))
        .copied()
        .collect(); // [B, L]
    let mut grad = vec![0.0; rows * outputs];
    for (t, case) in cases.iter().enumerate() {
        let labels = (0..rows).flat_map(|row| {
            cases.iter().enumerate().map(move |(other, of)| {
                let known = case.share[row] > 0.0 && other == t;
                if known { of.y[row] } else { MISSING }
            })
        });
        let mut batch = Batch::new(rows, vec![1; rows], vec![1.0; rows])
            .with_labels(labels.collect())
            .with_row_weights(case.share.clone());
        batch.groups = if case.groups.is_empty() { vec![0; rows] } else { case.groups.clone() };
        batch.check(&schema).unwrap();
        let logits =
            Tensor::<2>::from_data(TensorData::new(z.clone(), [rows, outputs]), &device).autodiff().require_grad();
        let found = criterion.forward(logits.clone(), &criterion.targets(&batch, &device)); // [T]
        let mut grads = found.clone().slice_dim(0, t..t + 1).backward();
        let own: Vec<f32> = logits.grad_remove(&mut grads).unwrap().into_data().try_into_vec().unwrap();
        grad.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
        let found: Vec<f32> = found.into_data().try_into_vec().unwrap();
        loss[t] = found[t];
        assert!(
            found.iter().enumerate().all(|(other, loss)| other == t || *loss == 0.0),
            "no label, no loss: {found:?}"
        );
    }
    (loss, grad)
}

#[test]
fn every_loss_and_its_gradient_are_pytorchs() {
    for case in cases() {
        let name = format!("{:?}", case.loss);
        let (loss, grad) = of_tasks(std::slice::from_ref(&case));
        assert!(
            (f64::from(loss[0]) - case.value).abs() < 1e-6 * case.value.abs().max(1.0),
            "{name}: {loss:?} {}",
            case.value
        );
        for (found, expected) in grad.iter().zip(&case.grad) {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-5 * expected.abs().max(1.0),
                "{name}: {found} {expected}"
            );
        }
    }
}

/// Tasks of several kinds beside each other: a task's loss reads its own outputs and no others.
#[test]
fn tasks_of_all_kinds_stand_side_by_side() {
    let all = cases();
    let (losses, grad) = of_tasks(&all);
    let outputs: usize = all.iter().map(|case| case.z.len() / case.y.len()).sum();
    let mut first = 0;
    for (case, loss) in all.iter().zip(losses) {
        assert!((f64::from(loss) - case.value).abs() < 1e-6 * case.value.abs().max(1.0), "{:?}", case.loss);
        let width = case.z.len() / case.y.len();
        for (row, expected) in case.grad.chunks_exact(width).enumerate() {
            let found = &grad[row * outputs + first..][..width];
            assert!(found.iter().zip(expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5), "{:?}", case.loss);
        }
        first += width;
    }
}

#[test]
fn a_loss_that_is_not_for_a_label_names_task_and_kind() {
    let schema = schema(&[TaskKind::Binary, TaskKind::Ordinal { classes: 3 }]);
    let message = |task: &str, loss: TaskLoss| {
        Criterion::with(&schema, [(&task.to_string(), &loss)]).map(drop).unwrap_err().to_string()
    };
    let found = message("task-0", TaskLoss::Mse);
    assert!(found.contains("losses.task-0.name") && found.contains("mse of a label of kind binary"), "{found}");
    let found = message("task-1", TaskLoss::Focal { gamma: 2.0, alpha: None });
    assert!(found.contains("focal of a label of kind ordinal"), "{found}");
    let found = message("like", TaskLoss::Mse);
    assert_eq!(found, "unknown label \"like\" in [train.losses]. The labels are: task-0, task-1");
    let found = message("tsk-0", TaskLoss::Mse);
    let expected = "unknown label \"tsk-0\" in [train.losses]; did you mean \"task-0\"? The labels are: task-0, task-1";
    assert_eq!(found, expected);
    for (loss, key) in [
        (TaskLoss::Focal { gamma: -1.0, alpha: None }, "gamma"),
        (TaskLoss::Focal { gamma: 2.0, alpha: Some(1.5) }, "alpha"),
        (TaskLoss::CrossEntropy { label_smoothing: 1.0 }, "label_smoothing"),
        (TaskLoss::Pairwise { share: 0.0 }, "share"),
        (TaskLoss::Jrc { share: 1.5 }, "share"),
    ] {
        let found = message("task-0", loss);
        assert!(found.contains(&format!("losses.task-0.{key}")), "{found}");
    }
    let (mut ungrouped, pairs) = (schema.clone(), TaskLoss::Pairwise { share: 0.5 });
    ungrouped.group = None;
    for loss in [pairs, TaskLoss::Jrc { share: 0.5 }] {
        let found = Criterion::with(&ungrouped, [(&"task-0".to_string(), &loss)]).map(drop).unwrap_err().to_string();
        assert!(found.contains("`group` in the recipe") && found.contains(loss.name()), "{found}");
    }
}

/// Twice the weight is twice the row, and a number added to all logits of a group changes none of its order.
#[test]
fn whose_row_it_is_knows_weights_and_not_the_level_of_a_group() {
    let device = DeviceSpec::from_env().unwrap().open().unwrap();
    let schema = schema(&[TaskKind::Binary]);
    let loss = TaskLoss::Jrc { share: 1.0 };
    let criterion = Criterion::with(&schema, [(&"task-0".to_string(), &loss)]).unwrap();
    let of = |rows: &[(f32, f32, f32)]| -> f32 {
        let count = rows.len();
        let mut batch = Batch::new(count, vec![1; count], vec![1.0; count])
            .with_labels(rows.iter().map(|row| row.1).collect())
            .with_row_weights(rows.iter().map(|row| row.2).collect());
        batch.groups = vec![5; count];
        let z: Vec<f32> = rows.iter().map(|row| row.0).collect();
        let logits = Tensor::<2>::from_data(TensorData::new(z, [count, 1]), &device);
        criterion.forward(logits, &criterion.targets(&batch, &device)).into_scalar()
    };
    let rows = [(0.3, 1.0, 1.0), (-1.0, 0.0, 1.0), (-1.0, 0.0, 1.0), (9.0, MISSING, 1.0), (2.0, 1.0, 1.0)];
    let merged = [(0.3, 1.0, 1.0), (-1.0, 0.0, 2.0), (9.0, MISSING, 1.0), (2.0, 1.0, 1.0)];
    assert!((of(&rows) - of(&merged)).abs() < 1e-6, "{} {}", of(&rows), of(&merged));
    let higher = rows.map(|(z, y, c)| (z + 3.0, y, c));
    assert!((of(&rows) - of(&higher)).abs() < 1e-5, "{} {}", of(&rows), of(&higher));
    assert!(of(&[(200.0, 0.0, 1.0), (-200.0, 1.0, 1.0)]).is_finite());
}

/// Of a rank `sqrt(12) (u - 1/2)` is learned, by squares or Huber's loss: the same label is another rank where what is watched is longer.
#[test]
fn a_rank_is_learned_by_the_rows_own_duration() {
    let device = DeviceSpec::from_env().unwrap().open().unwrap();
    let watched = (0..22).map(|i| ((i / 11) as f32, (1 + i / 11) as f32 * (i % 11) as f32)).collect();
    let kind = TaskKind::WatchQuantile(DurationQuantiles::fit("length", watched, 2));
    let fields = vec![Field::category("user", 0), Field::number("length", 1)];
    let specs = vec![VocabularySpec::new("user", 3), VocabularySpec::new("length", 1)];
    let schema = Schema::new(fields, specs, vec![Task::new("click"), Task::new("seconds").of_kind(kind)]);
    let batch = Batch::new(3, vec![1, 3, 1, 3, 1, 3], vec![1.0, 0.0, 1.0, 1.0, 1.0, 7.0])
        .with_labels(vec![1.0, 10.0, 0.0, 10.0, MISSING, 0.0]);
    batch.check(&schema).unwrap();
    let criterion = Criterion::with(&schema, [(&"seconds".to_string(), &TaskLoss::Huber { delta: 1.0 })]).unwrap();
    let targets: Vec<f32> = criterion.targets(&batch, &device).labels.into_data().try_into_vec().unwrap();
    let edge = 3f32.sqrt(); // of ranks 0 and 1
    let expected = [1.0, edge, 0.0, 0.0, 0.0, -edge];
    assert!(targets.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{targets:?} {expected:?}");
    let wrong = Criterion::with(&schema, [(&"seconds".to_string(), &TaskLoss::WeightedLogistic)]);
    let message = wrong.map(drop).unwrap_err().to_string();
    assert!(message.contains("weighted-logistic of a label of kind watch-quantile"), "{message}");
}

/// Classes without an order have the loss of levels, and no other.
#[test]
fn classes_are_learned_by_softmax_and_by_nothing_else() {
    let schema = schema(&[TaskKind::Classes { classes: 4 }]);
    let name = schema.tasks[0].name.clone();
    let with = |loss: TaskLoss| Criterion::with(&schema, [(&name, &loss)]);
    assert_eq!(with(TaskLoss::Softmax).unwrap(), Criterion::of(&schema));
    let message = with(TaskLoss::Mse).unwrap_err().to_string();
    assert!(message.contains("mse of a label of kind classes"), "{message}");
    for case in cases().iter().filter(|case| case.loss == TaskLoss::Softmax) {
        let device = DeviceSpec::from_env().unwrap().open().unwrap();
        let rows = case.y.len();
        let known = |row: usize| if case.share[row] > 0.0 { case.y[row] } else { MISSING };
        let batch = Batch::new(rows, vec![1; rows], vec![1.0; rows]).with_labels((0..rows).map(known).collect());
        let z = Tensor::<2>::from_data(TensorData::new(case.z.clone(), [rows, 4]), &device);
        let levels = self::schema(&[TaskKind::Ordinal { classes: 4 }]);
        let [own, of_levels] = [&schema, &levels].map(|schema| {
            let criterion = Criterion::of(schema);
            criterion.forward(z.clone(), &criterion.targets(&batch, &device)).into_scalar::<f32>()
        });
        assert_eq!(own, of_levels);
    }
}
