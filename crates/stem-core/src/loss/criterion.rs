//! Which loss each task has.

use std::ops::Range;

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::binary::{Column, focal};
use super::{Contexts, Pairs, Targets, Within, bce_per_task, value};
use crate::batch::Batch;
use crate::error::{Result, require};
use crate::parts;
use crate::schema::{Schema, Task, TaskKind};

/// The loss of one task, in the experiment's words. Which there are depends on the task's [kind](TaskKind); the equations stand in
/// [`loss`](super).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum TaskLoss {
    /// Of a binary label, by default.
    CrossEntropy {
        /// `s`, 0 or more and less than 1: how much of a label is given to the other one.
        #[serde(default)]
        label_smoothing: f64,
    },
    /// Of a binary label: rows that are easy count less.
    Focal {
        /// 0 or more; 0 is cross-entropy.
        #[serde(default = "two")]
        gamma: f64,
        /// What a positive row counts, between 0 and 1; a negative row counts `1 - alpha`. Both count 1 where it is left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        alpha: Option<f64>,
    },
    /// Of a binary label: cross-entropy, and beside it the order of the rows of a group (a user). Batches hold whole groups then.
    Pairwise {
        /// `s`, how much the pairs count, above 0 and at most 1; cross-entropy counts `1 - s`.
        #[serde(default = "half")]
        share: f64,
    },
    /// Of a binary label: cross-entropy, and beside it whose row of its group a label is. Batches hold whole groups then.
    Jrc {
        /// `s`, how much the second counts, above 0 and at most 1; cross-entropy counts `1 - s`.
        #[serde(default = "half")]
        share: f64,
    },
    /// Of a regression and of a rank, by default: squares.
    Mse,
    /// Of a regression or a rank: squares near by, sizes further out.
    Huber {
        /// Where the one becomes the other, above 0: in standard deviations where the label is standardised.
        #[serde(default = "one")]
        delta: f64,
    },
    /// Of a count.
    Poisson,
    /// Of a watch time.
    WeightedLogistic,
    /// Of an ordinal label and of classes.
    Softmax,
    /// Of an amount with many zeros.
    ZeroInflated,
}

fn one() -> f64 {
    1.0
}

fn half() -> f64 {
    0.5
}

fn two() -> f64 {
    2.0
}

impl TaskLoss {
    /// What a task of that kind minimises where nothing else is asked for.
    pub fn of_kind(kind: &TaskKind) -> Self {
        match kind {
            TaskKind::Binary => Self::CrossEntropy { label_smoothing: 0.0 },
            TaskKind::Regression { .. } | TaskKind::WatchQuantile(_) => Self::Mse,
            TaskKind::Count { .. } => Self::Poisson,
            TaskKind::WatchTime { .. } => Self::WeightedLogistic,
            TaskKind::Ordinal { .. } | TaskKind::Classes { .. } => Self::Softmax,
            TaskKind::ZeroInflated { .. } => Self::ZeroInflated,
        }
    }

    /// As experiments have it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CrossEntropy { .. } => "cross-entropy",
            Self::Focal { .. } => "focal",
            Self::Pairwise { .. } => "pairwise",
            Self::Jrc { .. } => "jrc",
            Self::Mse => "mse",
            Self::Huber { .. } => "huber",
            Self::Poisson => "poisson",
            Self::WeightedLogistic => "weighted-logistic",
            Self::Softmax => "softmax",
            Self::ZeroInflated => "zero-inflated",
        }
    }

    /// Whether it reads the rows of a group together.
    fn is_of_groups(&self) -> bool {
        matches!(self, Self::Pairwise { .. } | Self::Jrc { .. })
    }

    /// The [name](TaskKind::name) of the kind that it is for; what is for regressions is for ranks too, and what is for levels for classes.
    fn kind(&self) -> &'static str {
        match self {
            Self::CrossEntropy { .. } | Self::Focal { .. } | Self::Pairwise { .. } | Self::Jrc { .. } => "binary",
            Self::Mse | Self::Huber { .. } => "regression",
            Self::Poisson => "count",
            Self::WeightedLogistic => "watch-time",
            Self::Softmax => "ordinal",
            Self::ZeroInflated => "zero-inflated",
        }
    }

    /// Refuses a loss that is not for a task's kind, and numbers outside of what they mean.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming task and key.
    pub fn check(&self, task: &Task) -> Result<()> {
        let key = |key: &str| format!("losses.{}.{key}", task.name);
        let (kind, expected) = (task.kind.name(), format!("a label of kind {}", self.kind()));
        let found = format!("{} of a label of kind {kind}", self.name());
        let asked = match task.kind {
            TaskKind::WatchQuantile(_) => "regression",
            TaskKind::Classes { .. } => "ordinal",
            _ => kind,
        };
        require(&key("name"), found, expected, self.kind() == asked)?;
        match *self {
            Self::CrossEntropy { label_smoothing: s } => {
                require(&key("label_smoothing"), s, "0 or more, and less than 1", (0.0..1.0).contains(&s))
            }
            Self::Focal { gamma, alpha } => {
                let holds = gamma.is_finite() && gamma >= 0.0;
                require(&key("gamma"), gamma, "a number of 0 or more", holds)?;
                let alpha = alpha.unwrap_or(0.5);
                require(&key("alpha"), alpha, "a number between 0 and 1", (0.0..=1.0).contains(&alpha))
            }
            Self::Pairwise { share } | Self::Jrc { share } => {
                require(&key("share"), share, "a number above 0 and at most 1", share > 0.0 && share <= 1.0)
            }
            Self::Huber { delta } => {
                require(&key("delta"), delta, "a number above 0", delta.is_finite() && delta > 0.0)
            }
            _ => Ok(()),
        }
    }
}

/// The losses of all tasks of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Criterion {
    tasks: Vec<(TaskKind, TaskLoss)>,
    /// The slot that is each task's duration, where it has one. `[T]`
    durations: Vec<Option<usize>>,
}

impl Criterion {
    /// The loss that each task's kind has by default.
    pub fn of(schema: &Schema) -> Self {
        let tasks = schema.tasks.iter().map(|task| (task.kind.clone(), TaskLoss::of_kind(&task.kind)));
        Self { tasks: tasks.collect(), durations: schema.duration_slots() }
    }

    /// The same, with other losses for the tasks that are named.
    ///
    /// # Errors
    /// [`Error::UnknownLabel`](crate::Error::UnknownLabel) and [`Error::Config`](crate::Error::Config), where a loss is not for its label.
    pub fn with<'a>(schema: &Schema, losses: impl IntoIterator<Item = (&'a String, &'a TaskLoss)>) -> Result<Self> {
        let mut criterion = Self::of(schema);
        for (name, loss) in losses {
            let place = schema.task_of("[train.losses]", name)?;
            loss.check(&schema.tasks[place])?;
            let key = format!("losses.{name}.name");
            let grouped = schema.group.is_some() || !loss.is_of_groups();
            let expected = "another loss, or a `group` in the recipe: it reads the rows of a group together";
            require(&key, loss.name(), expected, grouped)?;
            criterion.tasks[place].1 = *loss;
        }
        Ok(criterion)
    }

    /// Whether some task is learned from the rows of a group together, so that batches are to hold whole groups.
    pub fn is_of_groups(&self) -> bool {
        self.tasks.iter().any(|(_, loss)| loss.is_of_groups())
    }

    /// `T`
    pub fn tasks(&self) -> usize {
        self.tasks.len()
    }

    /// A batch's labels as they are learned, on a device.
    ///
    /// # Panics
    /// Where a task is learned from rows of a group together and the batch does not say of which groups its rows are ([`Batch::groups`]).
    pub fn targets(&self, batch: &Batch, device: &Device) -> Targets {
        self.targets_among(batch, &Targets::counts(batch, self.tasks()), device)
    }

    /// The same of a part of a batch: `counts` are those of the whole ([`Targets::counts`]). `[T]`
    ///
    /// # Panics
    /// As [`targets`](Self::targets).
    pub fn targets_among(&self, batch: &Batch, counts: &[f64], device: &Device) -> Targets {
        let mut targets = self.each(batch, counts, device);
        if self.is_of_groups() {
            assert_eq!(
                batch.groups.len(),
                batch.rows,
                "a loss of groups wants the group of every row: batches in whole groups"
            );
            let of = |(task, (_, loss)): (usize, &(TaskKind, TaskLoss))| match loss {
                TaskLoss::Pairwise { .. } => Pairs::of(batch, task, self.tasks(), device).map(Within::Pairs),
                TaskLoss::Jrc { .. } => Some(Within::Contexts(Contexts::of(batch, task, self.tasks(), device))),
                _ => None,
            };
            targets.within = self.tasks.iter().enumerate().map(of).collect();
        }
        targets
    }

    /// The same of a part of a batch whose rows are learned together with those of the `whole`, of which labels, groups and weights are known here:
    /// [`forward`](Self::forward) is run [among the others](crate::parts::with).
    ///
    /// # Panics
    /// As [`targets`](Self::targets).
    pub fn targets_within(&self, part: &Batch, whole: &Batch, counts: &[f64], device: &Device) -> Targets {
        let whole = self.targets_among(whole, counts, device);
        Targets { whole: Some(Box::new(whole)), ..self.each(part, counts, device) }
    }

    /// What each row is learned by alone.
    fn each(&self, batch: &Batch, counts: &[f64], device: &Device) -> Targets {
        let (tasks, slots) = (self.tasks(), batch.weights.len() / batch.rows.max(1));
        Targets::learned(batch, counts, device, |i, label| {
            let (row, task) = (i / tasks, i % tasks);
            let (kind, loss) = &self.tasks[task];
            // Of rows of other parts of a batch labels alone are known, and of those what is asked of groups: no rank.
            let duration = self.durations[task].and_then(|slot| batch.weights.get(row * slots + slot));
            let target = kind.target(label, duration.copied().unwrap_or(0.0));
            match loss {
                TaskLoss::CrossEntropy { label_smoothing: s } if *s > 0.0 => {
                    (f64::from(target) * (1.0 - s) + s / 2.0) as f32
                }
                _ => target,
            }
        })
    }

    /// `L_t` of every task. A task without known labels in the batch has loss 0.
    ///
    /// # Shapes
    /// `logits [B, L]`; gives `[T]`.
    ///
    /// # Panics
    /// When the logits are not as many as the tasks' kinds have outputs: the model is to be mended. With targets of a part
    /// ([`targets_within`](Self::targets_within)) that is not among others.
    pub fn forward(&self, logits: Tensor<2>, targets: &Targets) -> Tensor<1> {
        let is_plain = |(_, loss): &(TaskKind, TaskLoss)| matches!(loss, TaskLoss::CrossEntropy { .. });
        let outputs = self.tasks.iter().map(|(kind, _)| kind.outputs()).sum::<usize>();
        let found = logits.dims()[1];
        assert_eq!(found, outputs, "a model gives one logit a task, or as many as its kind has outputs");
        if self.tasks.iter().all(is_plain) {
            return bce_per_task(logits, targets);
        }
        // Of a part of a batch, what its groups' rows are to each other is asked of all rows, of which those of others are constants: the gradient
        // is that of the whole loss by the rows here, and of its value each part tells its share.
        let of_all = targets.whole.as_ref().map(|whole| {
            let (logits, parts) = parts::current().expect("a part of a batch is among others").rows(&logits); // [B, L]
            (logits, &**whole, parts)
        });
        let mut next = 0;
        let columns = self.tasks.iter().enumerate().map(|(task, (kind, loss))| {
            let own = next..next + kind.outputs();
            next = own.end;
            let column = column(&logits, targets, task, own.clone());
            let order = match &of_all {
                None => targets.order(task, &column),
                Some((logits, whole, parts)) => {
                    let order = whole.order(task, &self::column(logits, whole, task, own));
                    order.map(|all| all.clone() - all.detach() * (1.0 - 1.0 / *parts as f64))
                }
            }; // [1]
            of_task(loss, column, order) // [1]
        });
        Tensor::cat(columns.collect(), 0)
    }
}

impl Targets {
    /// What the rows of a group are to each other, where a task is learned from that. `[1]`
    fn order(&self, task: usize, of: &Column) -> Option<Tensor<1>> {
        let within = self.within.get(task).and_then(Option::as_ref);
        within.map(|within| match within {
            Within::Pairs(pairs) => pairs.loss(of),
            Within::Contexts(contexts) => contexts.loss(of),
        })
    }
}

fn column(logits: &Tensor<2>, targets: &Targets, task: usize, outputs: Range<usize>) -> Column {
    let of = |tensor: &Tensor<2>| tensor.clone().slice_dim(1, task..task + 1);
    let share = of(&targets.share);
    // A row without the label has no part: whatever its logits are, and whatever a loss would make of them.
    let z = logits.clone().slice_dim(1, outputs); // [B, outputs]
    let width = z.dims()[1];
    let z = z.mask_fill(share.clone().equal_elem(0.0).repeat_dim(1, width), 0.0);
    Column { z, y: of(&targets.labels), share }
}

fn cross_entropy(of: Column) -> Tensor<1> {
    let Column { z, y, share } = of;
    bce_per_task(z, &Targets { labels: y, share, within: Vec::new(), whole: None })
}

fn of_task(loss: &TaskLoss, of: Column, order: Option<Tensor<1>>) -> Tensor<1> {
    match *loss {
        TaskLoss::CrossEntropy { .. } => cross_entropy(of),
        TaskLoss::Pairwise { share } | TaskLoss::Jrc { share } => {
            let each = cross_entropy(of) * (1.0 - share);
            match order {
                Some(order) => order * share + each,
                None => each,
            }
        }
        TaskLoss::Focal { gamma, alpha } => focal(&of, gamma, alpha),
        TaskLoss::Mse => value::mse(&of),
        TaskLoss::Huber { delta } => value::huber(&of, delta),
        TaskLoss::Poisson => value::poisson(&of),
        TaskLoss::WeightedLogistic => value::weighted_logistic(&of),
        TaskLoss::Softmax => value::softmax(&of),
        TaskLoss::ZeroInflated => value::zero_inflated(&of),
    }
}
