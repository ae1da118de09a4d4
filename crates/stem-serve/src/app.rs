//! What all requests share, and the way of a request: settings, model, rows, ids, queue, scores.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stem_core::burn::tensor::Device;
use stem_core::{Columns, Explanation};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::config::{Limits, ServeConfig};
use crate::metrics::Metrics;
use crate::models::{Model, Registry, Source};
use crate::queue::{Queue, Room, Scored};
use crate::refusal::Refusal;
use crate::request::{Body, Given, Head, Rows};

/// Bodies up to so many bytes are read on the thread of their connection.
pub(crate) const SMALL: usize = 1 << 16;

/// What all requests share.
pub(crate) struct App {
    pub(crate) config: ServeConfig,
    pub(crate) registry: Arc<Registry>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) device: Device,
    pub(crate) source: Source,
    /// Set once the server goes away.
    pub(crate) is_stopping: AtomicBool,
    /// Held by the request whose rows are explained.
    pub(crate) explaining: Arc<Semaphore>,
}

/// A request that was scored.
pub(crate) struct Answer {
    pub(crate) model: Arc<Model>,
    pub(crate) head: Head,
    pub(crate) rows: usize,
    /// `[B, T]`, row-major
    pub(crate) scores: Vec<f32>,
}

/// A request that waits for its scores.
struct Asked {
    model: Arc<Model>,
    head: Head,
    rows: usize,
    scored: Option<oneshot::Receiver<Scored>>,
    /// The model that scores it too, and the rows as that takes them.
    shadow: Option<(Arc<Model>, Arc<Columns<'static>>)>,
}

/// The models that a request may mean.
enum Meant {
    One(Arc<Model>),
    /// By the value of a column.
    Split(String, Vec<Arc<Model>>),
}

impl App {
    /// Reads and scores a request. `is_sound` refuses settings that the model that is meant cannot follow.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        body: Body,
        for_ranking: bool,
        is_sound: fn(&Head, &Model) -> Result<(), Refusal>,
    ) -> Result<Answer, Refusal> {
        let within = self.config.limits.answer;
        let late = || Refusal::SlowAnswer { seconds: within.as_secs_f64() };
        timeout(within, self.answered(body, for_ranking, is_sound)).await.unwrap_or_else(|_| Err(late()))
    }

    async fn answered(
        self: &Arc<Self>,
        body: Body,
        for_ranking: bool,
        is_sound: fn(&Head, &Model) -> Result<(), Refusal>,
    ) -> Result<Answer, Refusal> {
        let (is_small, app) = (body.is_at_most(SMALL), self.clone());
        let read = move || app.read(Given::read(body, &app.config.limits)?, for_ranking, is_sound);
        let Asked { model, head, rows, scored, shadow } = reading(is_small, read).await?;
        let scores = match scored {
            Some(scored) => scored.await.unwrap_or(Err(Refusal::Internal))?,
            None => Vec::new(),
        };
        if let Some((other, columns)) = shadow {
            tokio::spawn(self.clone().compare(model.clone(), scores.clone(), other, columns));
        }
        Ok(Answer { model, head, rows, scores })
    }

    /// Puts a request into the queue.
    fn read(
        &self,
        given: Given,
        for_ranking: bool,
        is_sound: fn(&Head, &Model) -> Result<(), Refusal>,
    ) -> Result<Asked, Refusal> {
        let head = Head::read(given.settings(), for_ranking)?;
        let meant = self.meant(&head)?;
        let models: &[Arc<Model>] = match &meant {
            Meant::One(model) => std::slice::from_ref(model),
            Meant::Split(_, models) => models,
        };
        let shadows: Vec<Option<Arc<Model>>> = models.iter().map(|model| self.shadow_of(&model.name)).collect();
        let mut known: Vec<&str> = Vec::new();
        let split = if let Meant::Split(column, _) = &meant { Some(column.as_str()) } else { None };
        let of_models = models.iter().chain(shadows.iter().flatten()).flat_map(|model| model.columns());
        for column in of_models.chain(split) {
            if !known.contains(&column) {
                known.push(column);
            }
        }
        let version = given.version().map(String::from);
        let rows = given.rows(&known, head.ignore_unknown, self.config.limits.rows)?;
        let place = match &meant {
            Meant::One(_) => 0,
            Meant::Split(column, models) => self.place(column, models, &rows)?,
        };
        let (model, shadow) = (models[place].clone(), shadows[place].clone());
        is_sound(&head, &model)?;
        model.check_version(version.as_deref())?;
        rows.check(&model.columns())?;
        let count = rows.count();
        self.queue.check_room(count)?; // before ids are made of it
        let shadow = shadow.filter(|shadow| {
            let fits = rows.check(&shadow.columns()).is_ok();
            if !fits {
                self.metrics.not_shadowed(&model.name, &shadow.name);
            }
            fits && count > 0
        });
        let columns = Arc::new(rows.into_columns());
        let batch = model.encode(&columns).map_err(|error| of_shared(error, &columns))?;
        for (field, values, unseen) in model.unseen(&batch) {
            self.metrics.looked_up(&model.name, &field.name, values, unseen);
        }
        let scored = if count == 0 { None } else { Some(self.queue.submit(model.clone(), batch, Room::All)?) };
        Ok(Asked { model, head, rows: count, scored, shadow: shadow.map(|shadow| (shadow, columns)) })
    }

    /// Explains the rows of a request, at most `limit`; one request at a time, so that it holds up the others little.
    pub(crate) async fn explain(
        self: &Arc<Self>,
        body: Body,
        limit: usize,
    ) -> Result<(Arc<Model>, Vec<Explanation>), Refusal> {
        let within = self.config.limits.answer;
        let late = |_| Err(Refusal::SlowAnswer { seconds: within.as_secs_f64() });
        let explained = async {
            let alone = self.explaining.clone().acquire_owned().await.map_err(|_| Refusal::Stopping)?;
            let app = self.clone();
            let explain = move || {
                let _alone = alone; // also when nobody waits for the answer any more
                catch_unwind(AssertUnwindSafe(|| app.explained(body, limit)))
            };
            spawn_blocking(explain).await.ok().and_then(Result::ok).unwrap_or(Err(Refusal::Internal))
        };
        timeout(within, explained).await.unwrap_or_else(late)
    }

    fn explained(&self, body: Body, limit: usize) -> Result<(Arc<Model>, Vec<Explanation>), Refusal> {
        let given = Given::read(body, &Limits { rows: limit, ..self.config.limits.clone() })?;
        let head = Head::read(given.settings(), false)?;
        let model = match &head.model {
            Some(name) => self.registry.get(name)?,
            None => self.registry.only()?,
        };
        let rows = given.rows(&model.columns(), head.ignore_unknown, limit)?;
        rows.check(&model.columns())?;
        let columns = rows.into_columns();
        let batch = model.encode(&columns).map_err(|error| of_shared(error, &columns))?;
        let explained = if batch.rows == 0 { Vec::new() } else { model.predictor.explain_batch(&batch)? };
        Ok((model, explained))
    }

    /// The models that a request may mean.
    fn meant(&self, head: &Head) -> Result<Meant, Refusal> {
        match (&head.model, &self.config.split) {
            (Some(name), _) => self.registry.get(name).map(Meant::One),
            (None, None) => self.registry.only().map(Meant::One),
            (None, Some(split)) => {
                let models = split.shares.iter().map(|(name, _)| self.registry.get(name)).collect::<Result<_, _>>()?;
                Ok(Meant::Split(split.column.clone(), models))
            }
        }
    }

    /// The place of the model that the rows' value of a column decides for.
    fn place(&self, column: &str, models: &[Arc<Model>], rows: &Rows) -> Result<usize, Refusal> {
        let Some(split) = &self.config.split else { return Ok(0) };
        let missing = || Refusal::MissingColumn { column: column.into(), row: 0, columns: column.into() };
        let name = match rows.only_value(column)? {
            Some(value) => split.choose(value),
            None if rows.count() == 0 => split.choose(stem_core::ValueRef::Null),
            None => return Err(missing()),
        };
        Ok(models.iter().position(|model| model.name == name).unwrap_or(0))
    }

    fn shadow_of(&self, name: &str) -> Option<Arc<Model>> {
        self.registry.get(self.config.shadow.get(name)?).ok()
    }

    /// Scores rows with a second model, and counts how far it is from the first.
    async fn compare(
        self: Arc<Self>,
        model: Arc<Model>,
        scores: Vec<f32>,
        other: Arc<Model>,
        columns: Arc<Columns<'static>>,
    ) {
        let encode = {
            let other = other.clone();
            spawn_blocking(move || catch_unwind(AssertUnwindSafe(|| other.encode(&columns))))
        };
        let batch = encode.await.ok().and_then(Result::ok).and_then(Result::ok);
        let asked = batch.and_then(|batch| self.queue.submit(other.clone(), batch, Room::Half).ok());
        let scored = match asked {
            Some(asked) => timeout(Duration::from_secs(60), asked).await.ok().and_then(Result::ok).and_then(Result::ok),
            None => None,
        };
        let Some(others) = scored else { return self.metrics.not_shadowed(&model.name, &other.name) };
        let (tasks, theirs) = (&model.predictor.schema().tasks, &other.predictor.schema().tasks);
        for (place, task) in tasks.iter().enumerate() {
            let Some(their) = theirs.iter().position(|their| their.name == task.name) else { continue };
            let pairs =
                scores.iter().skip(place).step_by(tasks.len()).zip(others.iter().skip(their).step_by(theirs.len()));
            let differences = pairs.map(|(p, q)| (p - q).abs());
            self.metrics.shadowed([&model.name, &other.name, &task.name], differences);
        }
    }

    /// Whether requests are taken.
    pub(crate) fn is_ready(&self) -> bool {
        !self.is_stopping.load(Ordering::Relaxed) && self.registry.is_ready()
    }
}

/// Reads a request: a small one on this thread, another on one that may wait. Whatever is in it, nothing panics; if something does, it is this
/// request alone.
pub(crate) async fn reading<R: Send + 'static>(
    is_small: bool,
    read: impl FnOnce() -> Result<R, Refusal> + Send + 'static,
) -> Result<R, Refusal> {
    let read = move || {
        catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
            tracing::error!("reading a request panicked");
            Err(Refusal::Internal)
        })
    };
    if is_small { read() } else { spawn_blocking(read).await.unwrap_or(Err(Refusal::Internal)) }
}

/// A value that all rows share belongs to no row.
fn of_shared(error: stem_core::Error, columns: &Columns<'_>) -> Refusal {
    match Refusal::from(error) {
        Refusal::WrongType { column, expected, found, .. } if columns.is_shared(&column) => {
            Refusal::WrongType { column, row: None, expected, found }
        }
        refusal => refusal,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_panics_while_it_is_read_is_one_request_alone() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for is_small in [true, false] {
            let faulty = || -> Result<(), Refusal> { panic!("a fault of ours") };
            assert_eq!(runtime.block_on(reading(is_small, faulty)), Err(Refusal::Internal));
            assert_eq!(runtime.block_on(reading(is_small, || Ok(7))), Ok(7));
        }
    }
}
