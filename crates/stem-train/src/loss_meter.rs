//! The losses of an epoch, summed where they are.

use burn::tensor::Tensor;
use stem_core::Schema;

use crate::step::Losses;

/// Steps between two looks at the loss on a device that the host would have to wait for.
const STEPS_PER_LOOK: usize = 32;

/// Sums losses on the device and reads them only as often as the device allows.
#[derive(Debug)]
pub(crate) struct LossMeter {
    pending: Option<Tensor<1>>, // [T + 1], weighted by rows: tasks, then the regularization
    pending_steps: usize,
    every: usize,
    sums: Vec<f64>,
    rows: usize,
    last: Option<(usize, f32)>,
}

impl LossMeter {
    /// Starts an epoch.
    pub(crate) fn new(schema: &Schema, on_host: bool) -> Self {
        let every = if on_host { 1 } else { STEPS_PER_LOOK };
        let sums = vec![0.0; schema.tasks.len() + 1];
        Self { pending: None, pending_steps: 0, every, sums, rows: 0, last: None }
    }

    /// Adds a step's losses; gives the mean loss so far when it was read.
    pub(crate) fn add(&mut self, losses: Losses, rows: usize) -> Option<f64> {
        let step = Tensor::cat(vec![losses.tasks, losses.regularization], 0) * rows as f32;
        self.pending = Some(match self.pending.take() {
            Some(sum) => sum + step,
            None => step,
        });
        self.pending_steps += 1;
        self.rows += rows;
        if self.pending_steps < self.every {
            return None;
        }
        self.read();
        Some(self.sums[..self.sums.len() - 1].iter().sum::<f64>() / self.rows as f64)
    }

    /// Reads what is still on the device.
    pub(crate) fn read(&mut self) {
        let Some(sum) = self.pending.take() else { return };
        let values: Vec<f32> = sum.into_data().try_into_vec().expect("losses are f32");
        self.last = values.iter().position(|value| !value.is_finite()).map(|i| (i, values[i]));
        self.sums.iter_mut().zip(&values).for_each(|(sum, value)| *sum += f64::from(*value));
        self.pending_steps = 0;
    }

    /// The first loss that is not finite.
    pub(crate) fn broken(&self) -> Option<(usize, f32)> {
        self.last
    }

    /// Mean loss of each task, of what was read.
    pub(crate) fn means(&self) -> Vec<f64> {
        let rows = self.rows.max(1) as f64;
        self.sums[..self.sums.len() - 1].iter().map(|sum| sum / rows).collect()
    }
}
