//! Whether a configuration can train a model on a data set, asked before anything is drawn.

use stem_core::models::ModelSpec;
use stem_core::{DeviceSpec, Schema, Task, TaskKind};
use stem_data::Dataset;

use crate::balance::{BalanceConfig, shared_groups};
use crate::config::TrainConfig;
use crate::error::{Result, require};
use crate::given;
use crate::memory::MemoryPlan;
use crate::ranks::{Team, owner};
use crate::step::{TableMode, TrainState};

/// Refuses a configuration that cannot train on the data; gives what memory the training will take. Whether there is so much is for
/// the caller to ask, who knows the device and how many trainings run side by side:
/// `plan.times(jobs).check(available)` with [`memory::available_to`](crate::memory::available_to).
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) and [`Error::Core`](crate::Error::Core).
pub fn check<C: ModelSpec>(spec: &C, dataset: &Dataset, config: &TrainConfig) -> Result<MemoryPlan> {
    config.check()?;
    let schema = dataset.schema();
    schema.check()?;
    spec.check(schema)?;
    config.check_tasks(schema)?;
    given::check(spec, dataset, config)?;
    config.monitor.check_schema(schema)?;
    if config.negative_sampling.is_some() {
        let expected = "no sampling, or a label of 0 and 1 beside: of numbers no row is negative";
        require(
            "negative_sampling",
            "with labels that are numbers alone",
            expected,
            schema.tasks.iter().any(|task| task.kind.is_binary()),
        )?;
    }
    let below_zero = |task: &&Task| matches!(task.kind, TaskKind::Count { .. } | TaskKind::ZeroInflated { .. });
    let by_size = !matches!(
        config.balance,
        BalanceConfig::Fixed {} | BalanceConfig::PcGrad {} | BalanceConfig::MultiBalance { .. }
    );
    if let Some(task) = schema.tasks.iter().find(below_zero).filter(|_| by_size) {
        let found = format_args!("{} beside '{}' ({})", config.balance.name(), task.name, task.kind);
        let expected = "fixed, pc-grad or multi-balance: it goes by the sizes of losses, and this one may be below 0";
        require("balance", found, expected, false)?;
    }
    if let BalanceConfig::MultiBalance { .. } = config.balance {
        let (widths, shared) = (spec.widths(schema), shared_groups(spec, schema));
        let nothing = "another: every embedding of this model is one task's, and there is nothing to balance at";
        require("balance", "multi-balance", nothing, !shared.is_empty() || spec.trains_apart())?;
        let alike = widths.iter().all(|width| *width == widths[0]);
        let expected = "another where embeddings have different widths: leave shared_dim out";
        require("balance", "multi-balance", expected, alike)?;
    }
    let several = config.balance == BalanceConfig::default() || schema.tasks.len() > 1;
    let expected = "fixed where there is one task: there is nothing to balance";
    require("balance", config.balance.name(), expected, several)?;
    let (climb, planned) = (config.warm_up_steps, config.planned_steps(dataset));
    let found = format_args!("{climb} of {planned} planned");
    require("warm_up_steps", found, "fewer: the rate would never be reached", climb == 0 || climb < planned)?;
    let (widths, size) = (spec.widths(schema), spec.size(schema));
    Ok(MemoryPlan::new(schema, dataset.vocabularies(), &widths, size, config))
}

/// Refuses settings that are not for several ranks, by their names; of one process nothing.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) with the key and what may stand there.
pub(crate) fn check_over<C: ModelSpec>(
    ranks: &Team,
    (spec, state): (&C, &TrainState<C::Model>),
    schema: &Schema,
    config: &TrainConfig,
) -> Result<()> {
    if !ranks.is_several() {
        return Ok(());
    }
    let (count, rows) = (ranks.ranks(), schema.rows());
    let has_row = |rank: usize| (0..rows as u32).any(|row| owner(row, count) == rank);
    let expected = "fewer, of which every rank has a row: start `mpirun` with a smaller `-n`";
    require("ranks", format_args!("{count} for a table of {rows} rows"), expected, (0..count).all(has_row))?;
    let expected = "\"row-sparse\" where several ranks train";
    require("table", "\"dense\"", expected, config.table == TableMode::RowSparse)?;
    let expected =
        "none where several ranks train: experts vary together over the rows of a batch, which lie on several of them";
    require("covariance", "set", expected, spec.penalty_is_of_rows())?;
    // There a rank without rows asks the others in another order than those that have some, and the job would end.
    let expected = "flex where several ranks train with batch_norm, dice, pairwise or jrc, which go by the rows of all";
    let device = state.table.rows().tensor().device().inner();
    let is_flex = DeviceSpec::Flex.open().is_ok_and(|flex| flex == device);
    require("device", "another", expected, !state.rows_hang_together() || is_flex)
}
