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

/// What a finished training was asked for.
pub(crate) const SETTINGS: &str = "settings.json";

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

    /// The same, from the weights of the bundle with this checksum.
    pub(crate) fn starting_from(mut self, checksum: Option<&str>) -> Self {
        checksum.into_iter().for_each(|checksum| self.0["from"] = checksum.into());
        self
    }

    /// What `file` in `folder` says, if a training with this key was finished there and the files `besides` are still there. Else the
    /// training is done now, unless the stop flag is set, and `train` gives the same; `None` where it was stopped before its end. Until
    /// then nothing in the folder counts as finished.
    ///
    /// # Errors
    /// Those of `train`, and files that cannot be written or removed.
    pub(crate) fn once<T: DeserializeOwned>(
        &self,
        folder: &Path,
        file: &str,
        besides: &[&str],
        options: &RunOptions,
        train: impl FnOnce() -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        if let Some(found) = self.finished(folder, file, besides) {
            tracing::info!("{} is finished already", folder.display());
            return Ok(Some(found));
        }
        if options.stop.is_set() {
            return Ok(None);
        }
        let settings = folder.join(SETTINGS);
        if settings.exists() {
            files::remove_file(&settings)?;
        }
        let found = train()?;
        if found.is_some() {
            self.write(folder)?;
        }
        Ok(found)
    }

    /// Says that what is in the folder is whole, and was asked for by this key.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        Ok(files::write_json(&folder.join(SETTINGS), &self.0)?)
    }

    /// What `file` in `folder` says, if a training with this key was finished there and the files `besides` are there too.
    pub(crate) fn finished<T: DeserializeOwned>(&self, folder: &Path, file: &str, besides: &[&str]) -> Option<T> {
        let whole = besides.iter().all(|name| folder.join(name).exists());
        let file = files::read(&folder.join(file)).ok().filter(|_| whole && self.is_of(folder))?;
        serde_json::from_slice(&file).ok()
    }

    /// Whether what is in the folder is whole, and was asked for by this key.
    pub(crate) fn is_of(&self, folder: &Path) -> bool {
        let found = files::read(&folder.join(SETTINGS)).ok();
        found.and_then(|text| serde_json::from_slice::<Value>(&text).ok()).is_some_and(|found| found == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_finished_with_the_same_key_and_is_whole_counts() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path();
        let (key, other) = (RunKey("a".into()), RunKey("b".into()));
        let once = |key: &RunKey, trained: Result<Option<u32>>| {
            key.once(folder, "number.json", &["beside"], &RunOptions::default(), || trained)
        };
        let stopped = RunOptions::default();
        stopped.stop.stop();
        let found = |key: &RunKey| key.once::<u32>(folder, "number.json", &["beside"], &stopped, || unreachable!());
        std::fs::write(folder.join("number.json"), "7").unwrap();
        std::fs::write(folder.join("beside"), "").unwrap();
        assert_eq!(found(&key).unwrap(), None, "not finished, and stopped before it was begun");
        assert_eq!(once(&key, Ok(Some(7))).unwrap(), Some(7));
        assert_eq!((found(&key).unwrap(), found(&other).unwrap()), (Some(7), None));
        assert_eq!(once(&key, Ok(Some(8))).unwrap(), Some(7), "not done again");
        std::fs::remove_file(folder.join("beside")).unwrap();
        assert_eq!(found(&key).unwrap(), None, "not whole");
        assert_eq!(once(&key, Ok(None)).unwrap(), None);
        std::fs::write(folder.join("beside"), "").unwrap();
        assert_eq!(found(&key).unwrap(), None, "begun anew, and stopped before its end");
    }
}
