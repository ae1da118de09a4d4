//! Held to the reference, number by number: a fixture holds parameters, inputs, predictions, losses, gradients and the state
//! after some training steps of the reference implementation; this module rebuilds the model and measures the largest errors.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;
use stem_core::models::{AnyModel, Model, ModelSpec};
use stem_core::nn::{EmbeddingTable, GateSums, score};
use stem_core::{Batch, Field, ModelConfig, Schema, Task, VocabularySpec, params};

use crate::banks::{Bank, banks};
use crate::error::{Error, Result};
use crate::names::{self, RawTensor};
use crate::pieces::{assemble, pieces, shapes};
use stem_core::files;
use stem_train::step::{Objective, StepGradients, TableMode, TrainState};

/// How far a number may be from the reference's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerances {
    /// Predictions and losses before any step.
    pub forward: f64,
    /// Gradients; also predictions after the steps, and 99.9 % of the parameters after them.
    pub gradient: f64,
    /// Every parameter after the steps.
    pub parameter: f64,
}

impl Tolerances {
    /// CPU devices.
    pub const HOST: Self = Self { forward: 1e-6, gradient: 1e-5, parameter: 1e-3 };
    /// GPUs: ten times that.
    pub const GPU: Self = Self { forward: 1e-5, gradient: 1e-4, parameter: 1e-2 };
}

/// One comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// What was compared.
    pub what: String,
    /// Largest absolute difference.
    pub error: f64,
    /// Largest that passes.
    pub tolerance: f64,
    /// What else went wrong: an exact zero that is none, or too many parameters off.
    pub fault: Option<String>,
}

impl Check {
    /// Whether it passed.
    pub fn passed(&self) -> bool {
        self.fault.is_none() && self.error <= self.tolerance
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed() { "ok  " } else { "FAIL" };
        write!(f, "{verdict} {:<42} largest error {:.2e} of {:.0e}", self.what, self.error, self.tolerance)?;
        self.fault.as_ref().map_or(Ok(()), |fault| write!(f, ": {fault}"))
    }
}

/// A fixture, read.
#[derive(Debug)]
struct Fixture {
    path: PathBuf,
    metadata: HashMap<String, String>,
    tensors: BTreeMap<String, RawTensor>,
    ids: Vec<i64>,
}

impl Fixture {
    fn read(path: &Path) -> Result<Self> {
        let bytes = files::read(path)?;
        let fault = |what: String| Error::Fixture { path: path.to_path_buf(), what };
        let file =
            SafeTensors::deserialize(&bytes).map_err(|e| fault(format!("it does not read as safetensors: {e}")))?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| fault(e.to_string()))?;
        let metadata = metadata.metadata().clone().ok_or_else(|| fault("it has no metadata".into()))?;
        let (mut tensors, mut ids) = (BTreeMap::new(), Vec::new());
        for (name, view) in file.iter() {
            let shape = view.shape().to_vec();
            match view.dtype() {
                Dtype::F32 => {
                    let values = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
                    tensors.insert(name.to_string(), RawTensor { shape, values });
                }
                Dtype::I64 if name == "input.ids" => {
                    ids = view.data().as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect();
                }
                other => return Err(fault(format!("tensor '{name}' is {other:?}, expected F32"))),
            }
        }
        Ok(Self { path: path.to_path_buf(), metadata, tensors, ids })
    }

    fn fault(&self, what: impl Into<String>) -> Error {
        Error::Fixture { path: self.path.clone(), what: what.into() }
    }

    /// A value of the metadata, written as JSON.
    fn meta<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        let text = self.metadata.get(key).ok_or_else(|| self.fault(format!("its metadata has no '{key}'")))?;
        serde_json::from_str(text).map_err(|e| self.fault(format!("metadata '{key}' is '{text}': {e}")))
    }

    fn tensor(&self, name: &str) -> Result<&RawTensor> {
        self.tensors.get(name).ok_or_else(|| self.fault(format!("tensor '{name}' is missing")))
    }

    /// The tensors below a prefix, without it.
    fn below(&self, prefix: &str) -> BTreeMap<String, RawTensor> {
        let below = |(name, tensor): (&String, &RawTensor)| Some((name.strip_prefix(prefix)?.into(), tensor.clone()));
        self.tensors.iter().filter_map(below).collect()
    }

    fn schema(&self) -> Result<Schema> {
        let sizes: Vec<usize> = self.meta("vocab_sizes")?;
        let tasks: usize = self.meta("num_tasks")?;
        let schema = Schema::new(
            (0..sizes.len()).map(|f| Field::category(format!("f{f}"), f)).collect(),
            sizes.iter().enumerate().map(|(f, &rows)| VocabularySpec::new(format!("f{f}"), rows)).collect(),
            (0..tasks).map(|t| Task::new(format!("task{t}"))).collect(),
        );
        schema.check().map(|()| schema).map_err(|e| self.fault(e.to_string()))
    }

    /// The metadata as a configuration of ours: the keys that the model knows, under the reference's names.
    fn config(&self) -> Result<ModelConfig> {
        let name = self.metadata.get("model").map_or("(none)", String::as_str);
        let name = names::model_name(name).ok_or_else(|| self.fault(format!("model '{name}' is not known here")))?;
        let mut settings = Vec::new();
        for &(theirs, ours) in names::SIZE_KEYS {
            if self.metadata.contains_key(theirs) {
                settings.push((ours, self.meta(theirs)?));
            }
        }
        if let Some(activation) = self.metadata.get("activation") {
            settings.push(("hidden", serde_json::json!({ "activation": activation.to_lowercase() })));
        }
        name.config_with(settings).map_err(|e| self.fault(format!("its metadata makes no configuration: {e}")))
    }

    /// The input batch. Id 0 is padding: its row is zero and has no gradient, so its weight is 0.
    fn batch(&self, schema: &Schema) -> Result<Batch> {
        let (offsets, fields) = (schema.offsets(), schema.fields.len());
        let ids = self.ids.iter().enumerate().map(|(i, &id)| offsets[i % fields] + id as u32).collect();
        let weights = self.ids.iter().map(|&id| if id == 0 { 0.0 } else { 1.0 }).collect();
        let labels = self.tensor("input.labels")?.values.clone();
        let batch = Batch::new(self.ids.len() / fields, ids, weights).with_labels(labels);
        batch.check(schema).map(|()| batch).map_err(|e| self.fault(e.to_string()))
    }
}

/// Rebuilds the model of a fixture on `device` and compares everything the fixture holds.
///
/// # Errors
/// A file that is no fixture. A number that is off is no error but a [`Check`] that did not pass.
pub fn check_fixture(path: &Path, device: &Device, tolerances: Tolerances) -> Result<Vec<Check>> {
    let fixture = Fixture::read(path)?;
    let (schema, config) = (fixture.schema()?, fixture.config()?);
    config.check(&schema)?;
    let batch = fixture.batch(&schema)?;
    let widths = config.widths(&schema);
    let banks = banks(&config, &schema);
    let run = FixtureRun { fixture: &fixture, schema, config, banks, width: widths.iter().sum(), tolerances };
    let state = run.state(device)?;
    let mut checks = vec![run.forward(&state, &batch, "output.pred", tolerances.forward)?];
    checks.extend(run.gate_means(&state, &batch)?);
    checks.extend(run.losses_and_gradients(&state, &batch)?);
    checks.extend(run.after_steps(state, &batch)?);
    Ok(checks)
}

struct FixtureRun<'a> {
    fixture: &'a Fixture,
    schema: Schema,
    config: ModelConfig,
    banks: Vec<Bank>,
    width: usize,
    tolerances: Tolerances,
}

impl FixtureRun<'_> {
    /// The model with the fixture's parameters, in the dense mode of the reference.
    fn state(&self, device: &Device) -> Result<TrainState<AnyModel>> {
        let raw = self.fixture.below("param.");
        let fault = |what| self.fixture.fault(what);
        let table = names::table_values(&self.schema, self.width, &raw).map_err(fault)?;
        let table = EmbeddingTable::from_values(table, &self.config.widths(&self.schema), device);
        let network = self.config.init(&self.schema, &mut ChaCha8Rng::seed_from_u64(0), &device.clone().autodiff());
        let values = self.network_values(&shapes(&network), &raw)?;
        let network = params::replace(network, values).map_err(|e| fault(e.to_string()))?;
        Ok(TrainState::new(&self.schema, table, network, TableMode::Dense))
    }

    /// The reference's tensors as our parameters of those shapes.
    fn network_values(
        &self,
        ours: &BTreeMap<String, Vec<usize>>,
        raw: &BTreeMap<String, RawTensor>,
    ) -> Result<BTreeMap<String, TensorData>> {
        let pieces = pieces(&self.banks, ours, raw);
        pieces.and_then(|pieces| assemble(&pieces, ours, raw)).map_err(|what| self.fixture.fault(what))
    }

    fn forward(&self, state: &TrainState<AnyModel>, batch: &Batch, name: &str, tolerance: f64) -> Result<Check> {
        let scores = score(&state.network.valid(), &state.table, state.layout(), &self.schema, batch);
        let expected = &self.fixture.tensor(name)?.values;
        Ok(compare(name, &scores, expected, tolerance))
    }

    fn gate_means(&self, state: &TrainState<AnyModel>, batch: &Batch) -> Result<Option<Check>> {
        let Ok(expected) = self.fixture.tensor("output.gate_mean") else { return Ok(None) };
        let x = stem_core::nn::pool(&state.table, state.layout(), batch);
        let Some(gates) = state.network.valid().gates(x).pop() else { return Ok(None) };
        let mean = |owners: &[usize]| {
            let mut sums = GateSums::new(owners, 1);
            sums.add(vec![gates.clone()], |_| [0]);
            sums.means(0).pop().filter(|mean| expected.shape == [mean.streams, mean.groups])
        };
        let found = mean(&self.config.gate_groups(&self.schema)).or_else(|| mean(&[]));
        let (what, tolerance) = ("output.gate_mean", self.tolerances.gradient);
        Ok(Some(match found {
            Some(mean) => {
                let found: Vec<f32> = mean.values.iter().map(|&value| value as f32).collect();
                compare(what, &found, &expected.values, tolerance)
            }
            None => {
                let fault = format!("shape {:?} is neither that of the experts nor of their groups", expected.shape);
                Check { what: what.into(), error: f64::INFINITY, tolerance, fault: Some(fault) }
            }
        }))
    }

    /// The objective of the fixture's steps.
    fn objective(&self) -> Result<Objective> {
        let lambda: f64 = self.fixture.meta("embedding_regularizer")?;
        Ok(Objective { embedding_l2: lambda, ..Objective::plain(self.schema.tasks.len()) })
    }

    fn losses_and_gradients(&self, state: &TrainState<AnyModel>, batch: &Batch) -> Result<Vec<Check>> {
        let tasks = self.schema.tasks.len();
        let all = self.objective()?;
        let (losses, gradients) = state.differentiate(batch, &all);
        let per_task: Vec<f32> = losses.tasks.into_data().try_into_vec().expect("losses are f32");
        let regularization: f32 = losses.regularization.into_scalar();
        let total = per_task.iter().sum::<f32>() + regularization;
        let mut checks = Vec::new();
        let losses: [(&str, &[f32]); 3] =
            [("loss.bce_per_task", &per_task), ("loss.regularization", &[regularization]), ("loss.total", &[total])];
        for (name, found) in losses {
            checks.push(compare(name, found, &self.fixture.tensor(name)?.values, self.tolerances.forward));
        }
        checks.push(self.gradients("grad", state, gradients)?);
        let plain = Objective { embedding_l2: 0.0, ..all };
        checks.push(self.gradients("grad_noreg", state, state.differentiate(batch, &plain).1)?);
        for t in 0..tasks {
            let mut alone = Objective { task_weights: vec![0.0; tasks], ..Objective::plain(tasks) };
            alone.task_weights[t] = 1.0;
            checks.push(self.gradients(&format!("grad_task{t}"), state, state.differentiate(batch, &alone).1)?);
        }
        Ok(checks)
    }

    /// Every gradient against the fixture's; where the reference has an exact zero, so must we.
    fn gradients(&self, prefix: &str, state: &TrainState<AnyModel>, gradients: StepGradients) -> Result<Check> {
        let raw = self.fixture.below(&format!("{prefix}."));
        // A parameter that the loss does not reach has zeros.
        let gradient = |(name, id, len)| (name, gradients.network.get(id).map_or_else(|| vec![0.0; len], values));
        let mut found: BTreeMap<String, Vec<f32>> = params::list(&state.network).into_iter().map(gradient).collect();
        found.insert("table".into(), values(&gradients.rows));
        let expected = self.named(&state.network, &raw)?;
        let mut check = Check { what: prefix.into(), error: 0.0, tolerance: self.tolerances.gradient, fault: None };
        for (name, expected) in expected {
            let Some(found) = found.get(&name).filter(|found| found.len() == expected.len()) else {
                check.fault.get_or_insert(format!("{name} has no gradient of {} values here", expected.len()));
                continue;
            };
            check.error = check.error.max(compare(prefix, found, &expected, 0.0).error);
            if let Some(i) = (0..found.len()).find(|&i| expected[i] == 0.0 && found[i] != 0.0) {
                check.fault.get_or_insert(format!("{name}[{i}] is {:e} where the reference has an exact 0", found[i]));
            }
        }
        Ok(check)
    }

    /// The reference's tensors by our names, the table under `table`.
    fn named(&self, network: &AnyModel, raw: &BTreeMap<String, RawTensor>) -> Result<BTreeMap<String, Vec<f32>>> {
        let mut all = in_vecs(self.network_values(&shapes(network), raw)?);
        let table = names::table_values(&self.schema, self.width, raw);
        all.insert("table".into(), table.map_err(|what| self.fixture.fault(what))?);
        Ok(all)
    }

    /// Trains the stored number of steps, then compares predictions and parameters.
    fn after_steps(&self, mut state: TrainState<AnyModel>, batch: &Batch) -> Result<Vec<Check>> {
        let steps: usize = self.fixture.meta("steps")?;
        let rate: f64 = self.fixture.meta("learning_rate")?;
        let limit: f64 = self.fixture.meta("max_gradient_norm")?;
        let objective = self.objective()?;
        for _ in 0..steps {
            let (_, gradients) = state.differentiate(batch, &objective);
            state = state.apply(gradients, rate, limit);
        }
        let predictions = self.forward(&state, batch, "after_steps.pred", self.tolerances.gradient)?;
        let expected = self.named(&state.network, &self.fixture.below("after_steps.param."))?;
        let mut found = in_vecs(params::collect(&state.network));
        found.insert("table".into(), values(state.table.rows().tensor()));
        let differences: Vec<f64> = expected
            .iter()
            .flat_map(|(name, expected)| found[name].iter().zip(expected).map(|(a, b)| f64::from((a - b).abs())))
            .collect();
        let off = differences.iter().filter(|d| d.is_nan() || **d > self.tolerances.gradient).count();
        let parameters = Check {
            what: format!("after_steps.param ({off} of {} beyond {:.0e})", differences.len(), self.tolerances.gradient),
            error: differences.iter().copied().fold(0.0, worst),
            tolerance: self.tolerances.parameter,
            fault: (off as f64 > 0.001 * differences.len() as f64).then(|| "more than 0.1 % are off".into()),
        };
        Ok(vec![predictions, parameters])
    }
}

/// The values of parameters.
fn in_vecs(parameters: BTreeMap<String, TensorData>) -> BTreeMap<String, Vec<f32>> {
    parameters.into_iter().map(|(name, data)| (name, data.try_into_vec().expect("parameters are f32"))).collect()
}

fn values(tensor: &Tensor<2>) -> Vec<f32> {
    tensor.clone().into_data().try_into_vec().expect("tensors here are f32")
}

/// NaN counts as infinitely far.
fn worst(a: f64, b: f64) -> f64 {
    if b.is_nan() { f64::INFINITY } else { a.max(b) }
}

fn compare(what: &str, found: &[f32], expected: &[f32], tolerance: f64) -> Check {
    let error = found.iter().zip(expected).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, worst);
    let fault = (found.len() != expected.len()).then(|| format!("{} values, expected {}", found.len(), expected.len()));
    Check { what: what.into(), error, tolerance, fault }
}
