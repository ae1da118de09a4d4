//! Where a training starts: from weights that are drawn, or from a model that was trained before on the rows of earlier days.
//!
//! Of that model a row of the table is found again by its key, whatever its place: vocabularies may have grown and shrunk in between. A row
//! that it does not have starts as [`NewRows`] says. Parameters of the network are found again by their names; one whose shape has changed,
//! for fields came or went, is drawn.

use std::collections::BTreeMap;
use std::ops::Range;

use burn::tensor::{Device, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stem_core::models::ModelSpec;
use stem_core::{Bundle, Field, PADDING, Schema, Task, Vocabulary, VocabularySpec, params};
use stem_data::{Dataset, Profile};

use crate::checkpoint::{Chain, Large, Source};
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::prior::VocabularyPrior;
use crate::ranks::sum_few;
use crate::start::Start;
use crate::step::{OTHER_OPTIMIZER, TrainState};

/// Where the rows of keys start that a model does not know yet, when it is trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NewRows {
    /// Around the mean of the rows that the model has in the vocabulary, drawn with `embedding_std`.
    #[default]
    Mean,
    /// At the row of the unseen, which is what their keys have read until now.
    Unseen,
    /// As at the first training: around zero, drawn with `embedding_std`.
    Drawn,
}

/// What a model brings along from the trainings before, weights apart.
#[derive(Debug, Clone, Default)]
pub(crate) struct Before {
    /// Training rows of all of them.
    pub(crate) rows: usize,
    /// What is believed of the table's rows.
    pub(crate) prior: Vec<VocabularyPrior>,
}

impl Before {
    /// Of the trainings that made a state of `bundle`; of the task `place` alone, where tasks were trained apart.
    pub(crate) fn of<C: ModelSpec>(bundle: &Bundle<C>, state: usize, place: Option<usize>) -> Self {
        let training = training_of(&bundle.manifest.training, state, place);
        let rows = training["rows"].as_u64().map(|rows| rows as usize);
        let rows = rows.or_else(|| Profile::of_training(&bundle.manifest.training).map(|[train, _]| train.rows));
        let prior = serde_json::from_value(training["prior"].clone()).unwrap_or_default();
        Self { rows: rows.unwrap_or(0), prior }
    }
}

/// What the training of a state says, of one task where they were trained apart.
fn training_of(training: &Value, state: usize, place: Option<usize>) -> &Value {
    let own = match (training, place) {
        (Value::Array(all), place) => all.get(place.unwrap_or(0)).unwrap_or(&Value::Null),
        (one, _) => one,
    };
    own["states"].as_array().and_then(|states| states.get(state)).unwrap_or(own)
}

/// The place in a model that was trained before of the one task of this training, where tasks are trained apart.
///
/// # Errors
/// A model of another kind, other sizes or other tasks.
pub(crate) fn place_of<C: ModelSpec>(bundle: &Bundle<C>, spec: &C, schema: &Schema) -> Result<Option<usize>> {
    let unfit = |what: String| Error::Start { path: bundle.path().to_path_buf(), what };
    let say = |config: &C| serde_json::to_value(config).expect("a configuration is plain data");
    let differences = crate::checkpoint::differences(&say(&bundle.config), &say(spec));
    if bundle.config.name() != spec.name() {
        return Err(unfit(format!("it is a model {}, not {}", bundle.config.name(), spec.name())));
    }
    if !differences.is_empty() {
        return Err(unfit(format!("its sizes are others: {}", differences.join("; "))));
    }
    let kind_of =
        |task: &Task| bundle.manifest.schema.task(&task.name).map(|place| &bundle.manifest.schema.tasks[place].kind);
    if let Some((task, theirs)) =
        schema.tasks.iter().find_map(|task| Some((task, kind_of(task).filter(|kind| **kind != task.kind)?)))
    {
        let (name, ours) = (&task.name, &task.kind);
        return Err(unfit(format!(
            "it learned '{name}' as {theirs:?}, the data have {ours:?}: encode them for the model, as `--from` does"
        )));
    }
    let (theirs, ours) = (bundle.manifest.schema.task_names(), schema.task_names());
    let place = theirs.iter().position(|task| [task.as_str()] == ours[..]);
    match place {
        _ if theirs == ours => Ok(None),
        Some(place) if spec.trains_apart() => Ok(Some(place)),
        _ => Err(unfit(format!("its tasks are {}, those of the data {}", theirs.join(", "), ours.join(", ")))),
    }
}

/// Puts the weights of a model that was trained before in the place of drawn ones, as far as it has them; of a checkpoint the optimizer's
/// moments too.
///
/// # Errors
/// A model of another kind, other sizes or other tasks, a checkpoint of another optimizer, and bundles and checkpoints that do not load.
pub(crate) fn warm<C: ModelSpec>(
    mut drawn: TrainState<C::Model>,
    (start, state): (&Start<C>, usize),
    spec: &C,
    dataset: &Dataset,
    config: &TrainConfig,
    device: &Device,
) -> Result<TrainState<C::Model>> {
    let (schema, bundle) = (dataset.schema(), &*start.bundle);
    let unfit = |what: String| Error::Start { path: start.path().to_path_buf(), what };
    let place = place_of(bundle, spec, schema)?;
    if place.is_some() && start.is_checkpoint() {
        return Err(unfit("its tasks are trained apart, each with a checkpoint of its own: name the bundle".into()));
    }
    let widths = spec.widths(&bundle.manifest.schema);
    let columns = match place {
        Some(place) => widths[..place].iter().sum()..widths[..=place].iter().sum(),
        None => 0..widths.iter().sum(),
    };
    let own: Vec<u32> = match drawn.shard() {
        Some(shard) => shard.rows().to_vec(),
        None => (0..schema.rows() as u32).collect(),
    };
    let origins = |new_rows| Origins::of(&own, bundle, dataset, new_rows);
    let of_table = origins(config.new_rows);
    let (network, moments) = match start.checkpoint(state)? {
        None => {
            let (table, network) = bundle.load_stored(device, state)?;
            let mut filling = Filling::of(&of_table, widths.iter().sum(), columns);
            drawn.table.rows_mut().host_mut(|rows| {
                filling.take(rows, &table);
                filling.finish(rows);
            });
            (params::collect(&network), None)
        }
        Some(checkpoint) => {
            is_of_the_optimizer(&checkpoint, config).map_err(unfit)?;
            let of_state = origins(NewRows::Drawn); // what is new is as before the first step
            let small = drawn.read_matrices(&checkpoint, &mut |large, rows, [count, width], put| {
                let origins = if large == Large::Table { &of_table } else { &of_state };
                let mut filling = Filling::of(origins, width, 0..width);
                let mut stretch = Vec::new(); // of what was before no matrix is held
                for first in (0..count).step_by(ROWS_AT_ONCE) {
                    stretch.resize((count - first).min(ROWS_AT_ONCE) * width, 0.0);
                    put(&mut stretch)?;
                    filling.take(rows, &stretch);
                }
                filling.finish(rows);
                Ok(())
            });
            let small = small.map_err(|why| unfit(why.to_string()))?;
            (small.network, Some((small.network_state, checkpoint.place().network_steps.clone())))
        }
    };

    drawn.fill_given(true); // what stays is what the vectors are today

    let mut values = params::collect(&drawn.network);
    let of_other_fields = of_other_fields(&values, &bundle.manifest.schema, spec, schema, device);
    let mut again = Vec::new();
    for (name, known) in network {
        let known = match place {
            Some(place) => of_task(&known, place, widths.len(), values.get(&name)),
            None => known,
        };
        match values.get_mut(&name) {
            Some(value) if value.shape() == known.shape() && !of_other_fields.contains(&name) => *value = known,
            _ => again.push(name),
        }
    }
    if !again.is_empty() {
        tracing::warn!(
            "{}: its fields are not those of the data, so that these parameters are drawn anew: {}",
            start.path().display(),
            again.join(", ")
        );
    }
    let path = start.path().display();
    let mut found = [of_table.known as f64, of_table.new as f64];
    drawn.shard().iter().for_each(|shard| sum_few(&*shard.ranks, &mut found));
    tracing::info!("{path}: {} rows of its table, {} new ones", found[0], found[1]);
    let mut warm = drawn.with_network(values);
    if let Some((mut states, mut steps)) = moments {
        for name in &again {
            states.remove(name);
            steps.remove(name);
        }
        warm.set_network_moments(states, steps).map_err(|why| unfit(why.to_string()))?;
    }
    Ok(warm)
}

/// Refuses a checkpoint of another optimizer.
fn is_of_the_optimizer(checkpoint: &Chain, config: &TrainConfig) -> Result<(), String> {
    let name = |optimizer: &Value| optimizer["name"].as_str().unwrap_or_default().to_string();
    let now = serde_json::to_value(config.optimizer).expect("a configuration is plain data");
    let (then, now) = (name(&checkpoint.place().settings["train"]["optimizer"]), name(&now));
    if then == now {
        return Ok(());
    }
    Err(format!("it was trained by the optimizer {then}, not by {now}. {OTHER_OPTIMIZER}"))
}

/// The parameters that read the fields, where these are not those of `before`, in its order: each of their columns is one field's.
fn of_other_fields<C: ModelSpec>(
    values: &BTreeMap<String, TensorData>,
    before: &Schema,
    spec: &C,
    schema: &Schema,
    device: &Device,
) -> Vec<String> {
    let names = |schema: &Schema| schema.fields.iter().map(|field| field.name.clone()).collect::<Vec<_>>();
    if names(before) == names(schema) {
        return Vec::new();
    }
    // A parameter reads the fields if its shape is another with one field more.
    let mut more = schema.clone();
    more.fields.push(Field::number("one more", more.vocabularies.len()));
    more.vocabularies.push(VocabularySpec::new("one more", 1));
    let network = spec.init(&more, &mut ChaCha8Rng::seed_from_u64(0), device);
    let of_more = params::collect(&network);
    let reads =
        |(name, value): (&String, &TensorData)| of_more.get(name).is_none_or(|own| own.shape() != value.shape());
    values.iter().filter(|(name, value)| reads((name, value))).map(|(name, _)| name.clone()).collect()
}

/// The part of a bank of parameters that is one task's. Where towers of several widths were put into one bank, the numbers beyond the
/// task's own are left out: nothing reads them.
fn of_task(bank: &TensorData, place: usize, tasks: usize, own: Option<&TensorData>) -> TensorData {
    let mut shape = bank.shape().as_slice().to_vec();
    let values = bank.as_slice::<f32>().expect("parameters are f32");
    let size = values.len() / tasks;
    shape[0] /= tasks;
    let values = &values[place * size..][..size];
    let width = |shape: &[usize]| shape.last().copied().unwrap_or(1);
    let (wide, narrow) = (width(&shape), own.map_or(0, |own| width(own.shape().as_slice())));
    if shape.len() < 2 || narrow == 0 || narrow >= wide {
        return TensorData::new(values.to_vec(), shape);
    }
    *shape.last_mut().expect("it has an axis") = narrow;
    TensorData::new(values.chunks_exact(wide).flat_map(|row| &row[..narrow]).copied().collect::<Vec<f32>>(), shape)
}

/// Whether the rows of one vocabulary can be found by the keys of the other.
fn same_kind(old: &Vocabulary, new: &Vocabulary) -> bool {
    let has_keys = |vocabulary: &Vocabulary| matches!(vocabulary, Vocabulary::Integers(_) | Vocabulary::Texts(_));
    (has_keys(old) && has_keys(new)) || old == new
}

/// Rows of what was before that are read at once.
const ROWS_AT_ONCE: usize = 1 << 15;

/// Where the rows of a training's table come from.
#[derive(Debug, Default)]
struct Origins {
    /// A row of the table before, and the place here that it is copied to; by rows before.
    copies: Vec<(u32, u32)>,
    /// Rows before, and the places here that start around their mean.
    around: Vec<(Range<usize>, Vec<u32>)>,
    /// Rows that were found again, and rows that are new.
    known: usize,
    new: usize,
}

impl Origins {
    /// Of these rows of the table, ascending, whose places are in their order.
    fn of<C: ModelSpec>(own: &[u32], bundle: &Bundle<C>, dataset: &Dataset, new_rows: NewRows) -> Self {
        let (schema, before) = (dataset.schema(), &bundle.manifest.schema);
        let mut origins = Self::default();
        let mut place = 0;
        for (v, (spec, start)) in schema.vocabularies.iter().zip(schema.offsets()).enumerate() {
            let end = start + spec.rows as u32;
            let first = place;
            place += own[first..].partition_point(|&row| row < end);
            // A row that is new and has a vector starts from it, which the drawn table holds.
            let has_vector = |id: u32| dataset.given_vectors(v).is_some_and(|given| given.has(id));
            let ids = own[first..place].iter().map(|&row| (row - start) as usize).zip(first as u32..);
            let Some(old) = before.vocabularies.iter().position(|old| old.name == spec.name) else { continue };
            let (of_old, of_new) = (&bundle.vocabularies[old], &dataset.vocabularies()[v]);
            if !same_kind(of_old, of_new) {
                let name = &spec.name;
                tracing::warn!(
                    "vocabulary \"{name}\" holds other keys than the model's (hashed, or other buckets): its rows are new"
                );
                origins.new += place - first;
                continue;
            }
            origins.add(ids, (before.offsets()[old], of_old), of_new, (new_rows, &has_vector));
        }
        origins.copies.sort_unstable();
        origins
    }

    /// The rows of a vocabulary, by local ids with their places, from those of the vocabulary that began at the row `first`.
    fn add(
        &mut self,
        ids: impl Iterator<Item = (usize, u32)>,
        (first, old): (u32, &Vocabulary),
        new: &Vocabulary,
        (start, has_vector): (NewRows, &dyn Fn(u32) -> bool),
    ) {
        let unseen = |vocabulary: &Vocabulary| vocabulary.unseen() as usize;
        let mut around = Vec::new();
        for (id, place) in ids {
            let known = match id {
                _ if new.is_keyless() => Some(id).filter(|&id| id < old.rows()),
                _ if id == PADDING as usize => Some(PADDING as usize),
                _ if id == unseen(new) => Some(unseen(old)),
                _ => Some(id_of(new, id, old)).filter(|&known| known != unseen(old)),
            };
            match (known, start) {
                (Some(known), _) => self.copies.push((first + known as u32, place)),
                (None, _) if new.is_keyless() => continue,
                (None, _) if has_vector(id as u32) => {}
                (None, NewRows::Unseen) => self.copies.push((first + unseen(old) as u32, place)),
                (None, NewRows::Mean) => around.push(place),
                (None, NewRows::Drawn) => {}
            }
            *(if known.is_some() { &mut self.known } else { &mut self.new }) += 1;
        }
        if !around.is_empty() {
            let first = first as usize;
            self.around.push((first + 1..first + unseen(old), around));
        }
    }
}

/// Fills rows from those of a matrix before, which come a stretch after the other.
struct Filling<'o> {
    origins: &'o Origins,
    /// Of the matrix before.
    width: usize,
    /// Those that are of this training.
    columns: Range<usize>,
    /// Rows before that were seen, and copies that were made.
    seen: usize,
    copied: usize,
    /// Of each of [`Origins::around`], so far.
    sums: Vec<Vec<f64>>,
}

impl<'o> Filling<'o> {
    fn of(origins: &'o Origins, width: usize, columns: Range<usize>) -> Self {
        let sums = vec![vec![0.0; columns.len()]; origins.around.len()];
        Self { origins, width, columns, seen: 0, copied: 0, sums }
    }

    /// Takes the next rows of before.
    fn take(&mut self, rows: &mut [f32], stretch: &[f32]) {
        let own = self.columns.len();
        let end = self.seen + stretch.len() / self.width.max(1);
        let row = |row: usize| &stretch[(row - self.seen) * self.width..][self.columns.clone()];
        let copies = &self.origins.copies[self.copied..];
        let copies = &copies[..copies.partition_point(|(before, _)| (*before as usize) < end)];
        for &(before, place) in copies {
            rows[place as usize * own..][..own].copy_from_slice(row(before as usize));
        }
        for ((before, _), sums) in self.origins.around.iter().zip(&mut self.sums) {
            for before in before.start.max(self.seen)..before.end.min(end) {
                sums.iter_mut().zip(row(before)).for_each(|(sum, value)| *sum += f64::from(*value));
            }
        }
        self.copied += copies.len();
        self.seen = end;
    }

    /// Adds the means, now that all rows were seen, to rows that are drawn around them.
    fn finish(self, rows: &mut [f32]) {
        let own = self.columns.len();
        for ((before, places), sums) in self.origins.around.iter().zip(self.sums) {
            let mean: Vec<f32> = sums.into_iter().map(|sum| (sum / before.len().max(1) as f64) as f32).collect();
            for &place in places {
                rows[place as usize * own..][..own].iter_mut().zip(&mean).for_each(|(drawn, mean)| *drawn += mean);
            }
        }
    }
}

/// The local id that the key of a local id has in another vocabulary.
fn id_of(vocabulary: &Vocabulary, id: usize, other: &Vocabulary) -> usize {
    let id = match vocabulary {
        Vocabulary::Integers(keys) => keys.get(id - 1).map_or(other.unseen(), |key| other.id_of_integer(key)),
        Vocabulary::Texts(keys) => other.id_of_text(keys.get(id - 1)),
        _ => id as u32, // a bucket
    };
    id as usize
}
