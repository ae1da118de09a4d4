//! How much memory a training will take, counted before it is taken. STEM multiplies tables by `T + 1`.

use std::fmt;

use burn::tensor::Device;
use stem_core::models::NetworkSize;
use stem_core::nn::RowMatrix;
use stem_core::{Schema, Vocabulary};
pub use stem_data::available_memory as available;

use crate::balance::BalanceConfig;
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::prior::PriorConfig;
use crate::step::TableMode;

/// Copies of the network's size that a step holds beside weights and state: the gradients, and what is rebuilt of them.
const GRADIENTS: u64 = 1;
/// Copies of the activations: what the backward pass reads, and their gradients.
const ACTIVATIONS: u64 = 2;

/// Bytes by what takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Table rows.
    pub vocabulary: usize,
    /// Width of a row, all groups.
    pub width: usize,
    /// Parameters of the network.
    pub network: u64,
    /// The table.
    pub table_bytes: u64,
    /// The optimizer's state of table and network, and the network.
    pub state_bytes: u64,
    /// A batch with its activations, and the gradients of a step.
    pub batch_bytes: u64,
    /// A second copy of the vocabularies' keys, for the bundle and for who scores from it.
    pub key_bytes: u64,
}

impl MemoryPlan {
    /// Counts for a network of that size.
    pub fn new(
        schema: &Schema,
        vocabularies: &[Vocabulary],
        widths: &[usize],
        network: NetworkSize,
        train: &TrainConfig,
    ) -> Self {
        let TrainConfig { batch_size, optimizer, .. } = *train;
        let width: usize = widths.iter().copied().fold(0, usize::saturating_add);
        let floats = |count: u64| count.saturating_mul(4);
        let table = |rows: u64| floats(rows.saturating_mul(width as u64));
        let (vocabulary, parameters) = (schema.rows() as u64, network.parameters);
        let slots = (batch_size as u64).saturating_mul(schema.slots() as u64);
        let rows = match train.table {
            TableMode::RowSparse => slots.min(vocabulary),
            TableMode::Dense => vocabulary,
        };
        let sets = match train.balance {
            BalanceConfig::Fixed {}
            | BalanceConfig::Uncertainty { .. }
            | BalanceConfig::Famo { .. }
            | BalanceConfig::Stch { .. } => 1,
            BalanceConfig::GradNorm { .. } => schema.tasks.len() as u64 + 1,
            BalanceConfig::MultiBalance { .. } => 2, // the sum so far, and a task's
            BalanceConfig::PcGrad {} => 2 * schema.tasks.len() as u64 + 1, // as they were, and projected
        };
        let embedded = (batch_size as u64).saturating_mul(schema.fields.len() as u64);
        let apart = match train.balance {
            BalanceConfig::MultiBalance { .. } => schema.tasks.len() as u64 + 2, // what all tasks read, the gradient of each there, and their sum
            _ => 0,
        };
        let state = optimizer.element_wise().state_floats(1) as u64;
        let batch = [
            table(slots).saturating_mul(3).saturating_add(slots.saturating_mul(16)), // [B, S, W], its gradient; ids, weights
            table(rows).saturating_mul(sets + 1), // distinct rows and their gradients
            floats(parameters).saturating_mul(GRADIENTS + sets - 1), // the network's
            table(embedded).saturating_mul(apart), // [G, B, F * D] each
            floats((batch_size as u64).saturating_mul(network.activations)).saturating_mul(ACTIVATIONS),
        ];
        let counted = if matches!(train.prior(), PriorConfig::Learned { .. }) { 8 } else { 0 }; // bytes of a row
        Self {
            vocabulary: schema.rows(),
            width,
            network: parameters,
            table_bytes: table(vocabulary),
            state_bytes: floats(vocabulary.saturating_mul(optimizer.state_floats(width) as u64))
                .saturating_add(floats(parameters).saturating_mul(1 + state))
                .saturating_add(vocabulary.saturating_mul(counted)),
            batch_bytes: batch.into_iter().fold(0, u64::saturating_add),
            key_bytes: vocabularies.iter().map(Vocabulary::key_bytes).sum(),
        }
    }

    /// The same for `count` trainings side by side.
    #[must_use]
    pub fn times(self, count: usize) -> Self {
        let times = |bytes: u64| bytes.saturating_mul(count as u64);
        Self {
            table_bytes: times(self.table_bytes),
            state_bytes: times(self.state_bytes),
            batch_bytes: times(self.batch_bytes),
            key_bytes: times(self.key_bytes),
            ..self
        }
    }

    /// The same for one of several ranks: a part of the table and of its optimizer's state, and of every batch.
    #[must_use]
    pub fn over(self, ranks: usize) -> Self {
        let ranks = ranks.max(1) as u64;
        let part = |bytes: u64| bytes.div_ceil(ranks);
        let network = self.network.saturating_mul(4); // it is on every rank, with its gradients and state
        let of_rank = |bytes: u64| part(bytes.saturating_sub(network)).saturating_add(network.min(bytes));
        Self {
            table_bytes: part(self.table_bytes),
            state_bytes: of_rank(self.state_bytes),
            batch_bytes: of_rank(self.batch_bytes),
            ..self
        }
    }

    /// Everything together.
    pub fn total(&self) -> u64 {
        let parts = [self.table_bytes, self.state_bytes, self.batch_bytes, self.key_bytes];
        parts.into_iter().fold(0, u64::saturating_add)
    }

    /// Refuses a training that the machine has no memory for.
    ///
    /// # Errors
    /// [`Error::Memory`], saying what takes how much.
    pub fn check(&self, available: u64) -> Result<()> {
        if self.total() <= available {
            return Ok(());
        }
        Err(Error::Memory { needed: bytes(self.total()), available: bytes(available), detail: self.to_string() })
    }
}

/// More than any one GPU has, in bytes: 1 TiB.
pub(crate) const BEYOND_ANY_GPU: u64 = 1 << 40;

/// Memory that a training on `device` can take, in bytes; `None` where it is not known. A GPU does not say what it has, and the
/// machine's memory says nothing of it: there, only sizes that no GPU can hold are refused.
pub fn available_to(device: &Device) -> Option<u64> {
    if RowMatrix::zeros(1, 1, device).is_on_host() { available() } else { Some(BEYOND_ANY_GPU) }
}

/// Peak resident memory of this process in GB (1e9 bytes); `None` where the system does not say.
pub fn peak_gb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0 / 1e9)
}

impl fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "table {} x {} {}, network {} parameters, optimizer state {}, a batch {}, keys {}",
            self.vocabulary,
            self.width,
            bytes(self.table_bytes),
            self.network,
            bytes(self.state_bytes),
            bytes(self.batch_bytes),
            bytes(self.key_bytes)
        )
    }
}

fn bytes(count: u64) -> String {
    match count {
        0..1_048_576 => format!("{:.0} KiB", count as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.0} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", count as f64 / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::{Adagrad, OptimizerConfig, Sgd};
    use stem_core::{Field, Task, VocabularySpec};

    const KEYS: usize = 98;

    fn schema() -> Schema {
        let fields = vec![Field::category("user", 0), Field::category("friend", 0)];
        Schema::new(fields, vec![VocabularySpec::new("user", KEYS + 2)], vec![Task::new("a"), Task::new("b")])
    }

    /// A table of 100 rows of width 12, a network of 1000 parameters and 50 activations, batches of 8 rows of 2 slots.
    fn plan(change: impl FnOnce(&mut TrainConfig)) -> MemoryPlan {
        let mut train = TrainConfig { batch_size: 8, embedding_l2: Some(0.0), ..TrainConfig::default() };
        change(&mut train);
        let network = NetworkSize { parameters: 1000, activations: 50 };
        let vocabularies = [Vocabulary::integers(0..KEYS as i64)];
        MemoryPlan::new(&schema(), &vocabularies, &[8, 4], network, &train)
    }

    #[test]
    fn a_plan_counts_table_state_batch_and_keys() {
        let adam = plan(|_| ());
        assert_eq!((adam.vocabulary, adam.width, adam.network), (100, 12, 1000));
        assert_eq!(adam.table_bytes, 4 * 100 * 12);
        assert_eq!(adam.state_bytes, 4 * (2 * 100 * 12 + 3 * 1000)); // two moments each, and the network
        let (slots, rows) = (8 * 2, 8 * 2); // at most as many distinct rows as slots
        let step =
            3 * 4 * slots * 12 + 16 * slots + 2 * 4 * rows * 12 + GRADIENTS * 4 * 1000 + ACTIVATIONS * 4 * 8 * 50;
        assert_eq!(adam.batch_bytes, step);
        assert_eq!(adam.key_bytes, 8 * KEYS as u64);
        assert_eq!(adam.total(), adam.table_bytes + adam.state_bytes + adam.batch_bytes + adam.key_bytes);
    }

    #[test]
    fn optimizer_table_mode_and_balance_count_as_what_they_hold() {
        let adam = plan(|_| ());
        let sgd = plan(|train| train.optimizer = OptimizerConfig::Sgd(Sgd::default()));
        assert_eq!(sgd.state_bytes, 4 * 1000);
        let row_wise = OptimizerConfig::Adagrad(Adagrad { row_wise: true, ..Adagrad::default() });
        assert_eq!(plan(|train| train.optimizer = row_wise).state_bytes, 4 * (100 + 2 * 1000));
        let learned = plan(|train| train.embedding_l2 = None);
        assert_eq!(learned.state_bytes - adam.state_bytes, 8 * 100); // how often each row occurs
        let dense = plan(|train| train.table = TableMode::Dense);
        assert_eq!(dense.batch_bytes - adam.batch_bytes, 2 * 4 * 12 * (100 - 16));
        let grad_norm = plan(|train| train.balance = BalanceConfig::GradNorm { alpha: 1.0, rate: 0.1 });
        assert_eq!(grad_norm.batch_bytes - adam.batch_bytes, 2 * (4 * 16 * 12 + 4 * 1000)); // a set more for each task
        let pc_grad = plan(|train| train.balance = BalanceConfig::PcGrad {});
        assert_eq!(pc_grad.batch_bytes - adam.batch_bytes, 4 * (4 * 16 * 12 + 4 * 1000));
        let at_shared = plan(|train| train.balance = BalanceConfig::MultiBalance { decay: 0.9, min_norm: false });
        let fields = schema().fields.len() as u64;
        assert_eq!(at_shared.batch_bytes - adam.batch_bytes, 4 * 16 * 12 + 4 * 1000 + 4 * 4 * 8 * fields * 12);
    }

    #[test]
    fn texts_count_with_their_offsets() {
        assert_eq!(Vocabulary::texts(["ab", "c"]).key_bytes(), 3 + 8 * 3);
        assert_eq!(Vocabulary::Number.key_bytes(), 0);
    }

    #[test]
    fn trainings_side_by_side_need_as_much_each_and_absurd_sizes_do_not_overflow() {
        let plan = plan(|_| ());
        assert_eq!(plan.times(3).total(), 3 * plan.total());
        assert_eq!(plan.times(usize::MAX).total(), u64::MAX);
        let absurd = NetworkSize { parameters: u64::MAX, activations: u64::MAX };
        let train = TrainConfig::default();
        assert_eq!(MemoryPlan::new(&schema(), &[], &[usize::MAX, 1], absurd, &train).total(), u64::MAX);
    }

    #[test]
    fn a_plan_that_fits_exactly_is_taken_and_one_byte_less_is_refused_with_what_takes_how_much() {
        let plan = plan(|_| ());
        plan.check(plan.total()).unwrap();
        let message = plan.check(plan.total() - 1).unwrap_err().to_string();
        let parts = "table 100 x 12 5 KiB, network 1000 parameters, optimizer state 21 KiB";
        assert!(message.starts_with("training needs about ") && message.contains(parts), "{message}");
        assert_eq!([1024, 3 << 20, 5 << 29].map(bytes), ["1 KiB", "3 MiB", "2.5 GiB"]);
    }

    #[test]
    fn this_process_has_taken_memory() {
        if cfg!(target_os = "linux") {
            assert!(peak_gb().unwrap() > 1e-3);
        }
    }
}
