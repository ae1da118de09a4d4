//! A training that was finished before is not done again: beside what came of it stands what it was asked for.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stem_core::files;
use stem_core::models::ModelFamily;
use stem_data::Dataset;

use crate::error::Result;
use crate::experiment::Experiment;
use crate::options::RunOptions;

const SETTINGS: &str = "settings.json";

/// What a training was asked for: what it is known again by.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RunKey(Value);

impl RunKey {
    /// Everything that the weights depend on.
    ///
    /// # Errors
    /// An unknown model.
    pub(crate) fn of<C: ModelFamily>(
        model: &str,
        experiment: &Experiment<C>,
        dataset: &Dataset,
        options: &RunOptions,
    ) -> Result<Self> {
        Ok(Self(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "data": dataset.key(),
            "tasks": dataset.schema().task_names(),
            "device": options.device,
            "train": experiment.train,
            "model": experiment.model(model)?,
        })))
    }

    /// What `file` in `folder` says, if a training with this key was finished there and the files that belong to it are still there.
    pub(crate) fn finished<T: DeserializeOwned>(&self, folder: &Path, file: &str, besides: &[&str]) -> Option<T> {
        let before: Value = serde_json::from_slice(&files::read(&folder.join(SETTINGS)).ok()?).ok()?;
        let found = serde_json::from_slice(&files::read(&folder.join(file)).ok()?).ok()?;
        let whole = besides.iter().all(|name| folder.join(name).exists());
        (whole && before == self.0).then_some(found)
    }

    /// Says that everything in `folder` is finished, and what it was asked for.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn mark_finished(&self, folder: &Path) -> Result<()> {
        Ok(files::write_json(&folder.join(SETTINGS), &self.0)?)
    }
}

/// Says that what is in `folder` is to be done anew: until [`RunKey::mark_finished`] nothing there counts as finished.
///
/// # Errors
/// A file that cannot be removed.
pub(crate) fn mark_unfinished(folder: &Path) -> Result<()> {
    let path = folder.join(SETTINGS);
    if path.exists() {
        files::remove_file(&path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_finished_with_the_same_key_and_is_whole_counts() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path();
        let (key, other) = (RunKey("a".into()), RunKey("b".into()));
        let found = |key: &RunKey| key.finished::<u32>(folder, "number.json", &["beside"]);
        std::fs::write(folder.join("number.json"), "7").unwrap();
        std::fs::write(folder.join("beside"), "").unwrap();
        assert_eq!(found(&key), None, "not finished");
        mark_unfinished(folder).unwrap();
        key.mark_finished(folder).unwrap();
        assert_eq!((found(&key), found(&other)), (Some(7), None));
        std::fs::remove_file(folder.join("beside")).unwrap();
        assert_eq!(found(&key), None, "not whole");
        std::fs::write(folder.join("beside"), "").unwrap();
        mark_unfinished(folder).unwrap();
        assert_eq!(found(&key), None, "to be done anew");
    }
}
