//! The losses of an epoch, summed where they are.
//!
//! ```text
//! mean of task t = sum over batches of n_bt L_bt / sum over batches of n_bt
//! ```
//!
//! `L_bt` is a batch's mean over its labelled rows, and `n_bt` their number, or the sum of their weights where rows count differently. A batch without labels of a task says nothing of it.

use burn::tensor::Tensor;
use stem_core::Schema;

use crate::step::Losses;

/// Steps between two looks at the loss on a device that the host would have to wait for.
const STEPS_PER_LOOK: usize = 32;

/// Sums losses on the device and reads them only as often as the device allows.
#[derive(Debug)]
pub(crate) struct LossMeter {
    pending: Option<Tensor<1>>, // [T + 1], tasks weighted by labelled rows, then the regularization
    pending_steps: usize,
    every: usize,
    /// `sum_b n_bt L_bt` of what was read. `[T]`
    sums: Vec<f64>,
    /// `sum_b n_bt` of all that was added. `[T]`
    labelled: Vec<f64>,
    broken: Option<(usize, f32)>,
}

impl LossMeter {
    /// Starts an epoch.
    pub(crate) fn new(schema: &Schema, on_host: bool) -> Self {
        let tasks = schema.tasks.len();
        let every = if on_host { 1 } else { STEPS_PER_LOOK };
        Self {
            pending: None,
            pending_steps: 0,
            every,
            sums: vec![0.0; tasks],
            labelled: vec![0.0; tasks],
            broken: None,
        }
    }

    /// Adds a step's losses; gives the sum of the tasks' mean losses so far when they were read.
    pub(crate) fn add(&mut self, losses: Losses) -> Option<f64> {
        self.labelled.iter_mut().zip(&*losses.labelled).for_each(|(sum, n)| *sum += n);
        let weights: Vec<f32> = losses.labelled.iter().map(|&n| n as f32).chain([1.0]).collect(); // n_bt
        let weights = Tensor::<1>::from_floats(weights.as_slice(), &losses.tasks.device());
        let step = Tensor::cat(vec![losses.tasks, losses.regularization], 0) * weights; // [T + 1]
        self.pending = Some(match self.pending.take() {
            Some(sum) => sum + step,
            None => step,
        });
        self.pending_steps += 1;
        if self.pending_steps < self.every {
            return None;
        }
        self.read();
        Some(self.means().iter().sum())
    }

    /// Reads what is still on the device.
    pub(crate) fn read(&mut self) {
        let Some(sum) = self.pending.take() else { return };
        let values: Vec<f32> = sum.into_data().try_into_vec().expect("losses are f32");
        self.broken = values.iter().position(|value| !value.is_finite()).map(|i| (i, values[i]));
        self.sums.iter_mut().zip(&values).for_each(|(sum, value)| *sum += f64::from(*value));
        self.pending_steps = 0;
    }

    /// Sums and rows with a label, of what was read.
    pub(crate) fn state(&self) -> (Vec<f64>, Vec<f64>) {
        (self.sums.clone(), self.labelled.clone())
    }

    /// Goes on from there.
    pub(crate) fn restore(&mut self, (sums, labelled): (Vec<f64>, Vec<f64>)) {
        (self.sums, self.labelled) = (sums, labelled);
    }

    /// The first loss of the last look that is not finite: its task, or `T` for the regularization.
    pub(crate) fn broken(&self) -> Option<(usize, f32)> {
        self.broken
    }

    /// Mean loss of each task over its labelled rows, of what was read; 0 without such rows.
    pub(crate) fn means(&self) -> Vec<f64> {
        self.sums.iter().zip(&self.labelled).map(|(sum, &n)| if n > 0.0 { sum / n } else { 0.0 }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use std::sync::Arc;
    use stem_core::{DeviceSpec, Task};

    fn device() -> Device {
        DeviceSpec::from_env().unwrap().open().unwrap()
    }

    fn meter(on_host: bool) -> LossMeter {
        let schema = Schema::new(vec![], vec![], vec![Task::new("a"), Task::new("b")]);
        LossMeter::new(&schema, on_host)
    }

    fn losses(a: f32, b: f32, regularization: f32) -> Losses {
        let tensor = |values: &[f32]| Tensor::from_floats(values, &device());
        Losses { tasks: tensor(&[a, b]), regularization: tensor(&[regularization]), labelled: Arc::new([]) }
    }

    /// Of a batch with labels of `a` in all rows, of `b` in some.
    fn of(losses: Losses, a: u32, b: u32) -> Losses {
        Losses { labelled: Arc::new([f64::from(a), f64::from(b)]), ..losses }
    }

    #[test]
    fn batch_means_are_weighed_by_labelled_rows_and_a_batch_without_labels_adds_nothing() {
        let mut meter = meter(true);
        assert_eq!(meter.means(), [0.0, 0.0]);
        assert_eq!(meter.add(of(losses(1.0, 0.5, 0.0), 4, 1)), Some(1.5));
        assert_eq!(meter.add(of(losses(0.5, 0.0, 7.0), 4, 0)), Some(0.75 + 0.5), "7 is no task's loss");
        assert_eq!(meter.add(of(losses(0.5, 1.0, 0.0), 8, 3)), Some(0.625 + 0.875));
        assert_eq!(meter.means(), [(4.0 + 2.0 + 4.0) / 16.0, (0.5 + 3.0) / 4.0]);
        assert_eq!(meter.broken(), None);
    }

    #[test]
    fn on_a_device_losses_are_read_every_so_many_steps_and_at_the_end() {
        let mut meter = meter(false);
        for _ in 1..STEPS_PER_LOOK {
            assert_eq!(meter.add(of(losses(1.0, 2.0, 0.0), 2, 2)), None);
        }
        assert_eq!(meter.add(of(losses(1.0, 2.0, 0.0), 2, 2)), Some(3.0));
        assert_eq!(meter.add(of(losses(4.0, 2.0, 0.0), 2 * STEPS_PER_LOOK as u32, 0)), None, "a new stretch has begun");
        meter.read();
        assert_eq!(meter.means(), [2.5, 2.0]);
    }

    #[test]
    fn the_first_loss_that_is_not_finite_is_told_with_its_task() {
        for (step, expected) in [
            (losses(1.0, f32::INFINITY, 0.0), 1),
            (losses(f32::NAN, f32::NAN, 0.0), 0),
            (losses(1.0, 1.0, f32::NAN), 2),
        ] {
            let mut meter = meter(true);
            meter.add(of(step, 2, 2));
            let (task, value) = meter.broken().unwrap();
            assert!(task == expected && !value.is_finite());
        }
    }
}
