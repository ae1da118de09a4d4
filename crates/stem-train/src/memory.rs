//! How much memory a training will take, told before it is taken. STEM multiplies tables by `T + 1`.

use std::fmt;

use stem_core::{NetworkSize, Schema};

use crate::balance::BalanceConfig;
use crate::error::{Error, Result};
use crate::experiment::{TableMode, TrainConfig};

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
        let width: usize = widths.iter().sum();
        let table_bytes = 4 * (schema.rows() as u64) * width as u64;
        let slots = (batch_size * schema.slots()) as u64;
        let rows = match train.table {
            TableMode::RowSparse => slots.min(schema.rows() as u64),
            TableMode::Dense => schema.rows() as u64,
        };
        let apart = match train.balance {
            BalanceConfig::Fixed {} | BalanceConfig::Uncertainty { .. } => 1,
            BalanceConfig::GradNorm { .. } | BalanceConfig::PcGrad {} => schema.tasks.len() as u64 + 1,
        };
        Self {
            vocabulary: schema.rows(),
            width,
            network: network.parameters,
            table_bytes,
            state_bytes: 4 * (schema.rows() * optimizer.state_floats(width)) as u64
                + 4 * network.parameters * (1 + optimizer.element_wise().state_floats(1) as u64),
            // weighted slots and their gradients: three passes over [B, S, W], ids and weights; rows and their gradients, once
            // or for every task; activations and their gradients
            batch_bytes: slots * (12 * width as u64 + 16)
                + rows * width as u64 * 4 * (apart + 1)
                + network.parameters * 4 * (apart - 1)
                + 8 * batch_size as u64 * network.activations,
        }
    }

    /// Everything together.
    pub fn total(&self) -> u64 {
        self.table_bytes + self.state_bytes + self.batch_bytes
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
