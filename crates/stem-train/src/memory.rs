//! How much memory a training will take, told before it is taken. STEM multiplies tables by `T + 1`.

use std::fmt;

use stem_core::Schema;
use stem_core::models::NetworkSize;

use crate::balance::BalanceConfig;
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::step::TableMode;

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
    /// A batch and its activations, roughly.
    pub batch_bytes: u64,
}

impl MemoryPlan {
    /// Counts for a network of that size.
    pub fn new(schema: &Schema, widths: &[usize], network: NetworkSize, train: &TrainConfig) -> Self {
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
            BalanceConfig::Fixed {} | BalanceConfig::Uncertainty { .. } => 1,
            BalanceConfig::GradNorm { .. } => schema.tasks.len() as u64 + 1,
            BalanceConfig::PcGrad {} => 2 * schema.tasks.len() as u64 + 1, // as they were, and projected
        };
        let state = optimizer.element_wise().state_floats(1) as u64;
        let batch = [
            table(slots).saturating_mul(3).saturating_add(slots.saturating_mul(16)), // [B, S, W], its gradient; ids, weights
            table(rows).saturating_mul(sets + 1), // distinct rows and their gradients
            floats(parameters).saturating_mul(sets - 1), // the network's, beyond one set
            floats((batch_size as u64).saturating_mul(network.activations)).saturating_mul(2), // and their gradients
        ];
        Self {
            vocabulary: schema.rows(),
            width,
            network: parameters,
            table_bytes: table(vocabulary),
            state_bytes: floats(vocabulary.saturating_mul(optimizer.state_floats(width) as u64))
                .saturating_add(floats(parameters).saturating_mul(1 + state)),
            batch_bytes: batch.into_iter().fold(0, u64::saturating_add),
        }
    }

    /// Everything together.
    pub fn total(&self) -> u64 {
        self.table_bytes.saturating_add(self.state_bytes).saturating_add(self.batch_bytes)
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

/// Memory that programs can still take, in bytes; `None` where the system does not tell.
pub fn available() -> Option<u64> {
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_memory();
    Some(system.available_memory()).filter(|&bytes| bytes > 0)
}

/// Peak resident memory of this process in GB (1e9 bytes); `None` where the system does not tell.
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
            "table {} x {} {}, network {} parameters, optimizer state {}, a batch {}",
            self.vocabulary,
            self.width,
            bytes(self.table_bytes),
            self.network,
            bytes(self.state_bytes),
            bytes(self.batch_bytes)
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
