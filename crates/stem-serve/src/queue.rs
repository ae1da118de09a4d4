//! Requests of many callers become one batch: a bounded queue, and threads that score what waits in it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use stem_core::Batch;
use tokio::sync::oneshot;

use crate::config::Batching;
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::models::Model;
use crate::refusal::Refusal;

/// Scores of a request. `[B, T]`, row-major
pub(crate) type Scored = Result<Vec<f32>, Refusal>;

/// What waits to be scored.
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    settings: Batching,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Rows of all jobs.
    rows: usize,
    is_closed: bool,
}

/// A request: rows that were encoded by the model that scores them.
struct Job {
    model: Arc<Model>,
    batch: Batch,
    since: Instant,
    answer: oneshot::Sender<Scored>,
}

/// How full the queue may be for a request to be taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// All of it.
    All,
    /// Half of it: what nobody waits for takes no room from what somebody waits for.
    Half,
}

impl Queue {
    pub(crate) fn new(settings: Batching, metrics: Arc<Metrics>) -> Self {
        Self { waiting: Mutex::default(), wake: Condvar::new(), settings, metrics }
    }

    /// Puts a request behind the others.
    ///
    /// # Errors
    /// A queue that is full, or closed.
    pub(crate) fn submit(
        &self,
        model: Arc<Model>,
        batch: Batch,
        room: Room,
    ) -> Result<oneshot::Receiver<Scored>, Refusal> {
        let (answer, answered) = oneshot::channel();
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Err(Refusal::Stopping);
        }
        let most = if room == Room::All { self.settings.queue_rows } else { self.settings.queue_rows / 2 };
        if waiting.rows + batch.rows > most {
            return Err(Refusal::Busy { rows: waiting.rows });
        }
        waiting.rows += batch.rows;
        waiting.jobs.push_back(Job { model, batch, since: Instant::now(), answer });
        self.tell(&waiting);
        drop(waiting);
        self.wake.notify_one();
        Ok(answered)
    }

    /// Refuses a request that has no room now.
    ///
    /// # Errors
    /// A queue that is full, or closed.
    pub(crate) fn check_room(&self, rows: usize) -> Result<(), Refusal> {
        let waiting = self.lock();
        match waiting.is_closed {
            true => Err(Refusal::Stopping),
            false if waiting.rows + rows > self.settings.queue_rows => Err(Refusal::Busy { rows: waiting.rows }),
            false => Ok(()),
        }
    }

    /// No more requests; those that wait are scored.
    fn close(&self) {
        self.lock().is_closed = true;
        self.wake.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, waiting: &Waiting) {
        self.metrics.queue_rows.set(waiting.rows as i64);
        self.metrics.queue_requests.set(waiting.jobs.len() as i64);
    }

    /// The next batch, once it is full or its first request has waited long enough: requests of one model, the oldest first. None once the
    /// queue is closed and empty.
    fn next(&self) -> Option<Vec<Job>> {
        let mut waiting = self.lock();
        loop {
            let Some(first) = waiting.jobs.front() else {
                if waiting.is_closed {
                    return None;
                }
                waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = (first.since + self.settings.wait).saturating_duration_since(Instant::now());
            if left.is_zero() || waiting.is_closed || waiting.rows >= self.settings.rows {
                break;
            }
            waiting = self.wake.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let (mut taken, mut rows, mut left) = (Vec::new(), 0, VecDeque::with_capacity(waiting.jobs.len()));
        for job in waiting.jobs.drain(..) {
            let fits = match taken.first() {
                None => true,
                Some(first) => {
                    let first: &Job = first;
                    Arc::ptr_eq(&first.model, &job.model) && rows + job.batch.rows <= self.settings.rows
                }
            };
            if fits {
                rows += job.batch.rows;
                taken.push(job);
            } else {
                left.push_back(job);
            }
        }
        waiting.jobs = left;
        waiting.rows -= rows;
        self.tell(&waiting);
        if !waiting.jobs.is_empty() {
            self.wake.notify_one();
        }
        Some(taken)
    }

    /// Scores a batch, and gives each request its own.
    fn score(&self, mut jobs: Vec<Job>) {
        let before = jobs.len();
        jobs.retain(|job| !job.answer.is_closed()); // its caller has gone
        self.metrics.abandoned.inc_by((before - jobs.len()) as u64);
        let Some(model) = jobs.first().map(|job| job.model.clone()) else { return };
        let rows: usize = jobs.iter().map(|job| job.batch.rows).sum();
        self.metrics.batch_rows.observe(rows as f64);
        self.metrics.batch_requests.observe(jobs.len() as f64);
        let scores = match jobs.as_slice() {
            [job] => score(&model, &job.batch),
            jobs => {
                let slots: usize = jobs.iter().map(|job| job.batch.ids.len()).sum();
                let (mut ids, mut weights) = (Vec::with_capacity(slots), Vec::with_capacity(slots));
                for job in jobs {
                    ids.extend_from_slice(&job.batch.ids);
                    weights.extend_from_slice(&job.batch.weights);
                }
                score(&model, &Batch::new(rows, ids, weights))
            }
        };
        let tasks = model.predictor.schema().tasks.len();
        match scores {
            Ok(scores) => {
                self.metrics.scored(&model.name, rows);
                let mut from = 0;
                for job in jobs {
                    let to = from + job.batch.rows * tasks;
                    _ = job.answer.send(Ok(scores[from..to].to_vec())); // who has gone hears nothing
                    from = to;
                }
            }
            Err(refusal) => jobs.into_iter().for_each(|job| _ = job.answer.send(Err(refusal.clone()))),
        }
    }
}

/// Scores of a batch; a panic of the model is a refusal, and the thread lives on.
fn score(model: &Model, batch: &Batch) -> Scored {
    match catch_unwind(AssertUnwindSafe(|| model.predictor.score(batch))) {
        Ok(scored) => Ok(scored?.into_values()),
        Err(_) => {
            tracing::error!(model = model.name, rows = batch.rows, "scoring panicked");
            Err(Refusal::Internal)
        }
    }
}

/// The threads that score; dropped, they score what waits, and end.
pub(crate) struct Workers {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts them.
    ///
    /// # Errors
    /// A thread that cannot be started.
    pub(crate) fn start(queue: &Arc<Queue>) -> Result<Self> {
        let mut workers = Self { queue: queue.clone(), threads: Vec::new() };
        for number in 0..queue.settings.workers {
            let queue = queue.clone();
            let work = move || {
                while let Some(jobs) = queue.next() {
                    queue.score(jobs);
                }
            };
            let thread = thread::Builder::new().name(format!("stem-score-{number}")).spawn(work);
            workers
                .threads
                .push(thread.map_err(|source| Error::System { action: "start a thread that scores", source })?);
        }
        Ok(workers)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue.close();
        for thread in self.threads.drain(..) {
            _ = thread.join();
        }
    }
}
