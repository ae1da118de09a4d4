//! Names and their models. A request takes a model once and keeps it to its end, so every answer comes from one whole bundle.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use serde_json::{Value, json};
use stem_core::bundle::Verify;
use stem_core::burn::tensor::Device;
use tempfile::NamedTempFile;

use super::model::Model;
use super::watch::{Signature, signature};
use crate::metrics::Metrics;
use crate::refusal::Refusal;

/// All models.
pub(crate) struct Registry {
    /// One pointer: a swap is a store of another.
    entries: ArcSwap<BTreeMap<String, Entry>>,
    /// Held by whoever writes.
    writing: Mutex<()>,
    /// Held while a bundle is opened: of two, the one that was begun later is served.
    loading: Mutex<()>,
    /// The files of bundles that were sent, by name: they were opened when they came, and another may have taken their place since.
    sent: Mutex<BTreeMap<String, Signature>>,
    verify: Verify,
    metrics: Arc<Metrics>,
}

/// A name.
#[derive(Clone, Default)]
struct Entry {
    /// None of a file that never was a usable bundle.
    model: Option<Arc<Model>>,
    /// How often it was put in another's place.
    swaps: u64,
    /// The last bundle that was not taken, until one is.
    refused: Option<Refused>,
}

/// A bundle that was not taken.
#[derive(Clone)]
struct Refused {
    file: String,
    reason: String,
    at: u64,
}

impl Registry {
    pub(crate) fn new(verify: Verify, metrics: Arc<Metrics>) -> Self {
        let (writing, loading, sent) = Default::default();
        Self { entries: ArcSwap::default(), writing, loading, sent, verify, metrics }
    }

    /// Puts a model in its place, for all requests that come from now on. One that is there already stays.
    fn put(&self, model: Model) -> Arc<Model> {
        let model = Arc::new(model);
        self.change(&model.name, |entry| {
            let is_same = |old: &Arc<Model>| old.predictor.checksum() == model.predictor.checksum();
            entry.refused = None;
            if entry.model.as_ref().is_some_and(is_same) {
                return;
            }
            if entry.model.is_some() {
                entry.swaps += 1;
            }
            entry.model = Some(model.clone());
            self.metrics.swapped(&model.name, true);
            tracing::info!(model = model.name, version = model.version, "model is served");
        });
        model
    }

    /// Remembers that a bundle was not taken; what is served stays.
    fn refuse(&self, name: &str, file: &str, reason: &str) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.change(name, |entry| {
            entry.refused = Some(Refused { file: file.into(), reason: reason.into(), at });
        });
        self.metrics.swapped(name, false);
        tracing::warn!(model = name, file, reason, "bundle refused");
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Entry)) {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = BTreeMap::clone(&self.entries.load());
        change(entries.entry(name.to_string()).or_default());
        self.entries.store(Arc::new(entries));
    }

    /// The model of that name.
    ///
    /// # Errors
    /// A name that no model has.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<Model>, Refusal> {
        let found = self.entries.load().get(name).and_then(|entry| entry.model.clone());
        found.ok_or_else(|| Refusal::UnknownModel { name: crate::refusal::shortened(name.into()), known: self.known() })
    }

    /// The model of a request that names none, where there is one model.
    ///
    /// # Errors
    /// Several models.
    pub(crate) fn only(&self) -> Result<Arc<Model>, Refusal> {
        let entries = self.entries.load();
        let mut models = entries.values().filter_map(|entry| entry.model.as_ref());
        match (models.next(), models.next()) {
            (Some(model), None) => Ok(model.clone()),
            _ => Err(Refusal::NoModelNamed { known: self.known() }),
        }
    }

    /// Whether something is served.
    pub(crate) fn is_ready(&self) -> bool {
        self.entries.load().values().any(|entry| entry.model.is_some())
    }

    /// All names with a model.
    pub(crate) fn known(&self) -> String {
        let entries = self.entries.load();
        let names = entries.iter().filter(|(_, entry)| entry.model.is_some()).map(|(name, _)| name.as_str());
        names.collect::<Vec<_>>().join(", ")
    }

    /// Why the last bundle of a name was not taken.
    pub(crate) fn reason(&self, name: &str) -> Option<String> {
        self.entries.load().get(name).and_then(|entry| entry.refused.as_ref()).map(|refused| refused.reason.clone())
    }

    /// What is served, and what was not taken.
    pub(crate) fn describe(&self) -> Vec<Value> {
        let entry = |(name, entry): (&String, &Entry)| {
            let mut told = entry.model.as_ref().map_or_else(|| json!({ "name": name }), |model| model.describe());
            told["swaps"] = entry.swaps.into();
            told["refused"] = match &entry.refused {
                Some(Refused { file, reason, at }) => json!({ "file": file, "reason": reason, "at": at }),
                None => Value::Null,
            };
            told
        };
        self.entries.load().iter().map(entry).collect()
    }

    /// Opens a bundle and puts it in its place, or remembers why not.
    ///
    /// # Errors
    /// Which check it did not pass.
    pub(crate) fn load(&self, name: &str, path: &Path, device: &Device) -> Result<Arc<Model>, Refusal> {
        let file = path.display().to_string();
        self.load_with(name, &file, || Model::open(name, path, file.clone(), self.verify, device))
    }

    /// Opens a bundle in a file of its own, keeps it at `place`, and puts it in its place, or remembers why not.
    ///
    /// # Errors
    /// Which check it did not pass, and a file that cannot be kept.
    pub(crate) fn load_sent(
        &self,
        name: &str,
        sent: NamedTempFile,
        place: &Path,
        device: &Device,
    ) -> Result<Arc<Model>, Refusal> {
        let file = place.display().to_string();
        self.load_with(name, &file, || {
            let model = Model::open(name, sent.path(), file.clone(), self.verify, device)?;
            let kept =
                sent.as_file().sync_all().and_then(|()| sent.persist(place).map(|_| ()).map_err(|error| error.error));
            kept.map_err(|error| format!("it cannot be kept at {file}: {error}"))?;
            let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
            sent.extend(signature(place).map(|found| (name.to_string(), found)));
            Ok(model)
        })
    }

    /// The file that was sent last for a name, as it was written.
    pub(super) fn sent(&self, name: &str) -> Option<Signature> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    fn load_with(
        &self,
        name: &str,
        file: &str,
        open: impl FnOnce() -> Result<Model, String>,
    ) -> Result<Arc<Model>, Refusal> {
        let _alone = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        match open() {
            Ok(model) => Ok(self.put(model)),
            Err(reason) => {
                self.refuse(name, file, &reason);
                Err(Refusal::Bundle { reason })
            }
        }
    }
}
