//! Raw rows in, a score per task out: a probability, or a number in the label's unit. The same forward that trained.

use std::cell::RefCell;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::bundle::{Bundle, GoldenFault, Manifest, State, Verify};
use crate::calibration::{Calibration, calibrate};
use crate::columns::{Columns, encode_columns, encode_columns_into};
use crate::embedding::{Pooled, ScoringTable, SlotLayout, TableRows};
use crate::error::Result;
use crate::featurize::{encode_part, encode_rows};
use crate::forward::{pool_rows, push_scores, score_pooled};
use crate::fused::{self, Replay};
use crate::models::{Model, ModelConfig, ModelSpec};
use crate::precision::{self, Precision};
use crate::replay::{Outputs, ROWS, watched};
use crate::schema::Schema;
use crate::scores::Scores;
use crate::value::Row;
use crate::vocabulary::Vocabulary;

/// Rows scored at once, and slots of them: what bounds the memory of a large request, and of one whose sequences are long.
const ROWS_AT_ONCE: usize = 4096;
const SLOTS_AT_ONCE: usize = 1 << 18;

thread_local! {
    /// Ids and weights of the last request of a thread, whose memory the next one takes. `[B, S]` each
    static SCRATCH: RefCell<(Vec<u32>, Vec<f32>)> = const { RefCell::new((Vec::new(), Vec::new())) };
    /// Scores of the state that was asked last. `[B, T]`
    static OWN: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// How a predictor opens a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PredictorOptions {
    /// How much of the bundle is checked before it scores.
    pub verify: Verify,
}

impl PredictorOptions {
    /// Options that check as much of the bundle.
    pub fn verifying(verify: Verify) -> Self {
        Self { verify }
    }
}

/// A trained model, ready to score from any thread.
///
/// On the device `flex` the table stays in the bundle's file, which is mapped: opening copies no rows, and a page of the file is read when a
/// row in it is. The file may be replaced by renaming another into its place, as all that writes bundles here does; it may not be changed or
/// cut in place.
///
/// ```no_run
/// use stem_core::{DeviceSpec, Predictor, Row};
///
/// let predictor = Predictor::open("bundle.safetensors", &DeviceSpec::default().open()?)?;
/// let scores = predictor.predict(&[Row::new().with("user", 7).with("item", 21)])?;
/// println!("{:?}", scores.get(0, "click"));
/// # Ok::<(), stem_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Predictor<C: ModelSpec = ModelConfig> {
    manifest: Manifest,
    config: C,
    vocabularies: Vec<Vocabulary>,
    checksum: String,
    tasks: Arc<[String]>,
    layout: SlotLayout,
    /// First table row of each vocabulary.
    offsets: Vec<u32>,
    /// One, or one for each moment of the training that was the best of some tasks.
    states: Vec<State<C::Model>>,
    /// What is done to the scores of each task. `[T]`
    calibration: Vec<Option<Calibration>>,
    precision: Precision,
    device: Device,
    /// The slot that is each task's duration, where it has one. `[T]`
    durations: Vec<Option<usize>>,
    /// Every state's forward as a list of kernels, where it is one: found when the first row is scored.
    replays: Vec<OnceLock<Option<Replay>>>,
    /// The mean row of every field, of every state: made when the first row is explained. `[F, W]` each
    means: OnceLock<Vec<Vec<Vec<f32>>>>,
}

impl Predictor {
    /// Opens a bundle of one of this crate's models.
    ///
    /// # Errors
    /// As [`Bundle::open`] and [`Bundle::load`].
    pub fn open(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Self::open_model(path, device)
    }

    /// As [`open`](Self::open), with options.
    ///
    /// # Errors
    /// As [`Bundle::open_verified`] and [`Bundle::load`].
    pub fn open_with(path: impl AsRef<Path>, device: &Device, options: PredictorOptions) -> Result<Self> {
        Self::open_model_with(path, device, options)
    }
}

impl<C: ModelSpec> Predictor<C> {
    /// Opens a bundle of a model of the application's own, named by its configuration type `C`.
    ///
    /// # Errors
    /// As [`Bundle::open`] and [`Bundle::load`].
    pub fn open_model(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Self::open_model_with(path, device, PredictorOptions::default())
    }

    /// As [`open_model`](Self::open_model), with options.
    ///
    /// # Errors
    /// As [`Bundle::open_verified`] and [`Bundle::load`].
    pub fn open_model_with(path: impl AsRef<Path>, device: &Device, options: PredictorOptions) -> Result<Self> {
        let bundle = Bundle::<C>::open_verified(path, options.verify)?;
        let states = bundle.load_states(device)?;
        let layout = SlotLayout::new(&bundle.manifest.schema, states[0].table.widths());
        let offsets = bundle.manifest.schema.offsets();
        let Bundle { manifest, config, vocabularies, checksum, .. } = bundle;
        let tasks = manifest.schema.task_names();
        let calibration = tasks.iter().map(|task| manifest.calibration.get(task).cloned()).collect();
        let (tasks, precision, device) = (tasks.into(), Precision::F32, device.clone().inner());
        let (means, durations) = (OnceLock::new(), manifest.schema.duration_slots());
        let replays = states.iter().map(|_| OnceLock::new()).collect();
        Ok(Self {
            manifest,
            config,
            vocabularies,
            checksum,
            tasks,
            layout,
            offsets,
            states,
            calibration,
            precision,
            device,
            durations,
            replays,
            means,
        })
    }

    /// Takes products in another precision than f32, on any thread that scores.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self.replays.fill_with(OnceLock::new); // a list is watched in its precision
        self
    }

    /// Gives the scores as the model makes them, not as they were calibrated when it was trained.
    #[must_use]
    pub fn uncalibrated(mut self) -> Self {
        self.calibration.fill(None);
        self
    }

    /// What is done to the scores of each task, in their order.
    pub fn calibration(&self) -> &[Option<Calibration>] {
        &self.calibration
    }

    /// Makes of the model's own scores `[B, T]` what this predictor gives.
    pub fn calibrate(&self, scores: &mut [f32]) {
        calibrate(scores, &self.manifest.schema.tasks, self.calibration.iter().map(Option::as_ref));
    }

    /// Fields and tasks.
    pub fn schema(&self) -> &Schema {
        &self.manifest.schema
    }

    /// Known values, one vocabulary per entry of the schema's.
    pub fn vocabularies(&self) -> &[Vocabulary] {
        &self.vocabularies
    }

    /// What the bundle says of itself, the training summary included.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The bundle's checksum, in hexadecimal digits: what tells it from others.
    pub fn checksum(&self) -> &str {
        &self.checksum
    }

    /// The model's configuration.
    pub fn config(&self) -> &C {
        &self.config
    }

    /// States of the model: one, or one for each moment of its training that was the best of some tasks.
    pub fn states(&self) -> usize {
        self.states.len()
    }

    /// The embeddings of all fields; of several states the first's.
    pub fn table(&self) -> &ScoringTable {
        &self.states[0].table
    }

    /// Weights that the gates give the experts on rows that are encoded already: [`Model::gates`]. Empty without gates; of several
    /// states the first's.
    ///
    /// # Errors
    /// [`Error::Batch`](crate::Error::Batch) when the batch does not fit the schema.
    pub fn gates(&self, batch: &Batch) -> Result<Vec<Tensor<3>>> {
        batch.check(self.schema())?;
        let pooled = || self.pool(&self.states[0], (&batch.ids, &batch.weights));
        Ok(precision::with(self.precision, || self.states[0].network.gates(pooled())))
    }

    /// Scores the golden rows that the bundle brings along, and holds them to the scores that it has to give them. Gives how many there are:
    /// 0 of a bundle without any, which an older program wrote.
    ///
    /// # Errors
    /// The first row whose score is another, and rows that do not score. Of a predictor that is [`uncalibrated`](Self::uncalibrated), or that
    /// takes products in another precision, they may well be others.
    pub fn check_golden(&self) -> Result<usize, GoldenFault> {
        let Some(golden) = &self.manifest.golden else { return Ok(0) };
        golden.check(|rows| self.predict(rows)).map(|()| golden.rows.len())
    }

    /// Scores per row and task. An unseen value takes the row of the unseen; no rows give no scores. On the device
    /// flex and a processor with AVX-512 the scores of a row are the same bits, whichever rows are scored with it; elsewhere they are the same
    /// within rounding.
    ///
    /// # Errors
    /// [`MissingColumn`](crate::Error::MissingColumn) and [`WrongType`](crate::Error::WrongType), naming column and row.
    pub fn predict(&self, rows: &[Row]) -> Result<Scores> {
        let (at_once, mut values) = (self.rows_at_once(), Vec::with_capacity(rows.len() * self.tasks.len()));
        for (part, rows) in rows.chunks(at_once).enumerate() {
            let batch = encode_part(self.schema(), &self.vocabularies, rows, part * at_once)?;
            self.score_part((&batch.ids, &batch.weights), &mut values);
        }
        Ok(Scores::new(self.tasks.clone(), values))
    }

    /// Ids and weights of rows, for [`score`](Self::score): once where the same rows are scored again and again.
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    pub fn encode(&self, rows: &[Row]) -> Result<Batch> {
        encode_rows(self.schema(), &self.vocabularies, rows)
    }

    /// Scores of rows that are encoded already.
    ///
    /// # Errors
    /// [`Error::Batch`](crate::Error::Batch) when the batch does not fit the schema.
    pub fn score(&self, batch: &Batch) -> Result<Scores> {
        batch.check(self.schema())?;
        let cells = self.rows_at_once() * self.layout.slots();
        let mut values = Vec::with_capacity(batch.rows * self.tasks.len());
        for (ids, weights) in batch.ids.chunks(cells).zip(batch.weights.chunks(cells)) {
            self.score_part((ids, weights), &mut values);
        }
        Ok(Scores::new(self.tasks.clone(), values))
    }

    /// Rows that share the values of some columns: what all share is looked up once. The same ids and weights as of rows that hold all
    /// values themselves.
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    pub fn encode_columns(&self, columns: &Columns<'_>) -> Result<Batch> {
        encode_columns(self.schema(), &self.vocabularies, columns)
    }

    /// Scores of columns, into a buffer that is emptied first. `[B, T]`
    pub(crate) fn score_columns_into(&self, columns: &Columns<'_>, scores: &mut Vec<f32>) -> Result<()> {
        scores.clear();
        SCRATCH.with_borrow_mut(|(ids, weights)| {
            encode_columns_into((self.schema(), &self.offsets), &self.vocabularies, columns, (ids, weights))?;
            let cells = self.rows_at_once() * self.layout.slots();
            for (ids, weights) in ids.chunks(cells).zip(weights.chunks(cells)) {
                self.score_part((ids, weights), scores);
            }
            if ids.capacity() > SLOTS_AT_ONCE {
                (*ids, *weights) = Default::default(); // of a request larger than most
            }
            Ok(())
        })
    }

    /// Every state, with the mean rows of the fields in its table.
    pub(crate) fn states_with_means(&self) -> impl Iterator<Item = (&State<C::Model>, &Vec<Vec<f32>>)> {
        let means = self.means.get_or_init(|| self.states.iter().map(|state| self.means_of(state)).collect());
        self.states.iter().zip(means)
    }

    pub(crate) fn layout(&self) -> &SlotLayout {
        &self.layout
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// Adds the scores of rows behind others. `[B * T]`
    fn score_part(&self, slots: (&[u32], &[f32]), scores: &mut Vec<f32>) {
        let first = scores.len();
        self.score_state(0, slots, scores);
        let scores = &mut scores[first..];
        for (place, state) in self.states.iter().enumerate().skip(1) {
            OWN.with_borrow_mut(|own| {
                own.clear();
                self.score_state(place, slots, own);
                for (all, own) in scores.chunks_exact_mut(self.tasks.len()).zip(own.chunks_exact(self.tasks.len())) {
                    state.tasks.iter().for_each(|&task| all[task] = own[task]);
                }
            });
        }
        self.calibrate(scores);
    }

    /// Adds what one state gives, as a list of kernels where its forward is one.
    fn score_state(&self, place: usize, slots: (&[u32], &[f32]), scores: &mut Vec<f32>) {
        let (state, schema, (ids, weights)) = (&self.states[place], &self.manifest.schema, slots);
        let rows = ids.len() / self.layout.slots();
        if rows == 0 {
            return;
        }
        precision::with(self.precision, || {
            let watched = || watched(&state.network, &state.table, &self.layout, schema, &self.device);
            let may_watch = fused::is_enabled() && self.rows_at_once() >= ROWS[1];
            let replay = if may_watch { self.replays[place].get_or_init(watched).as_ref() } else { None };
            match (replay, state.table.rows()) {
                (Some(replay), TableRows::File(table)) => replay.run(table, rows, slots, |y| {
                    let outputs = Outputs { y, rows, tasks: self.tasks.len() };
                    push_scores(&schema.tasks, &self.durations, (weights, rows), |row, t| outputs.of(row, t), scores);
                }),
                _ => {
                    let pooled = || self.pool(state, slots);
                    scores.extend(score_pooled(&state.network, pooled, schema, (weights, rows)));
                }
            }
        });
    }

    fn pool(&self, state: &State<C::Model>, slots: (&[u32], &[f32])) -> Pooled {
        pool_rows(state.table.rows(), &self.layout, slots, &self.device)
    }

    fn rows_at_once(&self) -> usize {
        (SLOTS_AT_ONCE / self.layout.slots()).clamp(1, ROWS_AT_ONCE)
    }
}
