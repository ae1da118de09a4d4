//! Work that was finished before is not done again: beside what came of it stands what it was asked for.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stem_core::ModelName;
use stem_data::Dataset;

use crate::error::Result;
use crate::experiment::Experiment;
use crate::options::RunOptions;
use stem_core::files;

const SETTINGS: &str = "settings.json";

/// What a training was asked for: what it is known again by.
pub(crate) fn settings(model: ModelName, experiment: &Experiment, dataset: &Dataset, options: &RunOptions) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "data": dataset.key(),
        "tasks": dataset.schema().task_names(),
        "device": options.device,
        "train": experiment.train,
        "model": experiment.model(model),
    })
}

/// What `file` in `folder` says, if it was finished with the same settings and what belongs to it is still there.
pub(crate) fn kept<T: DeserializeOwned>(folder: &Path, file: &str, besides: &[&str], settings: &Value) -> Option<T> {
    let before = files::read_text(&folder.join(SETTINGS)).ok()?;
    let found = serde_json::from_slice(&files::read(&folder.join(file)).ok()?).ok()?;
    let whole = besides.iter().all(|name| folder.join(name).exists());
    (whole && before == files::json(settings)).then_some(found) // as text: numbers are not always parsed to the last bit
}

/// Says that what is in `folder` is to be done anew: until [`keep`] nothing there counts as finished.
///
/// # Errors
/// A file that cannot be removed.
pub(crate) fn forget(folder: &Path) -> Result<()> {
    let path = folder.join(SETTINGS);
    Ok(if path.exists() {
        files::remove_file(&path)?
    })
}

/// Says that everything in `folder` is finished, and what it was asked for.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn keep(folder: &Path, settings: &Value) -> Result<()> {
    Ok(files::write_json(&folder.join(SETTINGS), settings)?)
}
