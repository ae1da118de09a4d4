//! A checkpoint of the reference becomes a bundle, or an error that names every tensor that does not fit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::tensor::{Device, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use stem_core::models::{AnyModel, ModelSpec};
use stem_core::nn::EmbeddingTable;
use stem_core::{FieldKind, ModelConfig, Schema, bundle, params};

use crate::banks::{banks, unread};
use crate::checkpoint::read_checkpoint;
use crate::error::{Error, Result};
use crate::import_config::{ImportConfig, Plan};
use crate::names::{RawTensor, embedding_name};
use crate::pieces::{Piece, assemble, pieces, shapes};
use stem_core::files;

/// Problems that a message lists before it only counts them.
const LISTED: usize = 10;
/// Of those, places kept for tensors that belong to no part of the model.
const LISTED_EXTRA: usize = 3;
/// Parameters that a configuration may ask for beyond the checkpoint's, before the network is built to compare shapes.
const SPARE_PARAMETERS: u64 = 1 << 20;

/// What an import made.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The model's name.
    pub model: &'static str,
    /// Names of the tasks.
    pub tasks: Vec<String>,
    /// Names of the fields.
    pub fields: Vec<String>,
    /// Rows and width of the table.
    pub table: [usize; 2],
    /// Numbers of the network.
    pub parameters: u64,
    /// What follows each hidden linear map, by the configuration: a checkpoint does not hold the activation, unless it learns.
    pub hidden: String,
    /// Tensors of the checkpoint that nothing reads, left out.
    pub unread: Vec<String>,
    /// The bundle.
    pub bundle: PathBuf,
}

/// Reads a checkpoint of the reference and what the configuration says about it, and writes the bundle `out`.
///
/// # Errors
/// [`Error::File`]; [`Error::Import`] when a file is not what it should be or the two do not fit; both before `out` is touched.
/// [`Error::Core`] when `out` cannot be written.
pub fn import(checkpoint: &Path, config: &Path, out: &Path, device: &Device) -> Result<Summary> {
    let fault = |path: &Path| {
        let path = path.to_path_buf();
        move |what: String| Error::Import { path, what }
    };
    let said = ImportConfig::load(config)?;
    let schema = said.schema().map_err(fault(config))?;
    check_model(&said.model, &schema).map_err(fault(config))?;
    let vocabulary = said.vocabulary.as_ref().map(|file| config.with_file_name("").join(file));
    let inputs: Vec<&Path> = [checkpoint, config].into_iter().chain(vocabulary.as_deref()).collect();
    check_out(out, &inputs).map_err(fault(out))?;
    let tensors = read_checkpoint(checkpoint)?;
    let fit = Fit::new(&said.model, &schema, &tensors, device).map_err(fault(checkpoint))?;

    let tokens = vocabulary.as_deref().map(read_tokens).transpose()?;
    let plan = said.plan(schema, tokens.as_ref()).map_err(fault(vocabulary.as_deref().unwrap_or(config)))?;
    let widths = said.model.widths(&plan.schema);
    let table = EmbeddingTable::from_values(fit.table_values(&plan), &widths, device);
    let values = fit.network_values();
    let network = params::replace(fit.network, values).map_err(|e| fault(checkpoint)(e.to_string()))?;
    let origin = json!({ "imported": checkpoint.file_name().map(|name| name.to_string_lossy()) });
    bundle::save(out, &plan.schema, &plan.vocabularies, &said.model, &table, &network, &origin)?;
    Ok(Summary {
        model: said.model.name(),
        tasks: said.tasks.clone(),
        fields: said.fields.iter().map(|field| field.name.clone()).collect(),
        table: table.rows().dims(),
        parameters: said.model.size(&plan.schema).parameters,
        hidden: hidden_of(&said.model),
        unread: fit.unread,
        bundle: out.to_path_buf(),
    })
}

fn check_model(model: &ModelConfig, schema: &Schema) -> Result<(), String> {
    model.check(schema).map_err(|e| e.to_string())?;
    if banks(model, schema).is_empty() {
        let (name, tasks) = (model.name(), schema.tasks.len());
        return Err(format!(
            "the reference has no {name} model with {tasks} tasks and these settings, so no checkpoint of one can be imported"
        ));
    }
    Ok(())
}

/// A bundle that replaces what it is made from is a mistake.
fn check_out(out: &Path, inputs: &[&Path]) -> Result<(), String> {
    let same = |input: &&&Path| {
        out.canonicalize().ok().zip(input.canonicalize().ok()).is_some_and(|(out, input)| out == input)
    };
    match inputs.iter().find(same) {
        Some(_) => Err("the bundle would replace a file that it is made from; name another".into()),
        None => Ok(()),
    }
}

fn read_tokens(path: &Path) -> Result<crate::FeatureVocabulary> {
    serde_json::from_str(&files::read_text(path)?).map_err(|e| Error::Import {
        path: path.to_path_buf(),
        what: format!("{e}; expected the reference's feature_vocab.json: {{\"field\": {{\"token\": 1, \"__PAD__\": 0, \"__OOV__\": 2}}}}"),
    })
}

/// A checkpoint that has a tensor of the right shape for every part of ours, and no other.
struct Fit<'a> {
    tensors: &'a BTreeMap<String, RawTensor>,
    pieces: Vec<Piece>,
    network: AnyModel,
    parameters: BTreeMap<String, Vec<usize>>,
    unread: Vec<String>,
}

impl<'a> Fit<'a> {
    /// `schema` has the reference's numbers of rows.
    fn new(
        model: &ModelConfig,
        schema: &Schema,
        tensors: &'a BTreeMap<String, RawTensor>,
        device: &Device,
    ) -> Result<Self, String> {
        let parameters = model.size(schema).parameters;
        let held: u64 = tensors.values().map(|tensor| tensor.values.len() as u64).sum();
        if parameters > held.saturating_add(SPARE_PARAMETERS) {
            return Err(format!(
                "the model of the configuration has {parameters} parameters beside its embeddings, the checkpoint holds {held} \
                 numbers in all; check the sizes in [model]"
            ));
        }
        let banks = banks(model, schema);
        let network = model.init(schema, &mut ChaCha8Rng::seed_from_u64(0), device);
        let parameters = shapes(&network);
        let pieces = pieces(&banks, &parameters, tensors)?;

        let mut problems = embedding_problems(model, schema, tensors);
        let of_network = pieces.iter().filter_map(|piece| Some((&piece.theirs, network_problem(piece, tensors)?)));
        problems.extend(of_network.collect::<BTreeMap<_, _>>().into_values()); // in the order of their names
        let embeddings = schema.fields.iter().map(|field| embedding_name(&field.name));
        let read: BTreeSet<String> = pieces.iter().map(|piece| piece.theirs.clone()).chain(embeddings).collect();
        let modules = unread(model, schema);
        let below = |name: &str, module: &str| name.strip_prefix(module).is_some_and(|rest| rest.starts_with('.'));
        let is_unread = |name: &str| modules.iter().any(|module| below(name, module));
        let (unread, extra): (Vec<&String>, Vec<&String>) =
            tensors.keys().filter(|name| !read.contains(*name)).partition(|name| is_unread(name));
        let model = model.name();
        let of_no_part = |name: &String| {
            let (shape, see) = (&tensors[name].shape, see_hidden(name));
            format!("'{name}' {shape:?} belongs to no part of a {model} model with these sizes{see}")
        };
        let extra: Vec<String> = extra.into_iter().map(of_no_part).collect();
        match problems.is_empty() && extra.is_empty() {
            true => Ok(Self { tensors, pieces, network, parameters, unread: unread.into_iter().cloned().collect() }),
            false => Err(listed(model, &problems, &extra)),
        }
    }

    /// Our table: every vocabulary's rows from the reference's embedding, in our order. `[V, W]`
    fn table_values(&self, plan: &Plan) -> Vec<f32> {
        let mut values = Vec::new();
        for (spec, sources) in plan.schema.vocabularies.iter().zip(&plan.sources) {
            let tensor = &self.tensors[&embedding_name(&spec.name)];
            let is_number = spec.rows == 1; // the reference's [W, 1] is one row
            let width = tensor.shape[usize::from(!is_number)];
            for source in sources {
                match source {
                    Some(row) => values.extend_from_slice(&tensor.values[*row as usize * width..][..width]),
                    None => values.resize(values.len() + width, 0.0),
                }
            }
        }
        values
    }

    fn network_values(&self) -> BTreeMap<String, TensorData> {
        assemble(&self.pieces, &self.parameters, self.tensors).expect("every piece was found and of its shape")
    }
}

fn embedding_problems(model: &ModelConfig, schema: &Schema, tensors: &BTreeMap<String, RawTensor>) -> Vec<String> {
    let widths = model.widths(schema);
    let width: usize = widths.iter().sum();
    let mut problems = Vec::new();
    for field in &schema.fields {
        let (spec, name) = (&schema.vocabularies[field.vocabulary], &field.name);
        let is_number = matches!(field.kind, FieldKind::Number { .. });
        let expected = if is_number { [width, 1] } else { [spec.rows, width] };
        let Some(found) = tensors.get(&embedding_name(name)) else {
            if spec.name == *name {
                problems.push(format!("'{}' {expected:?} is missing: the embedding of '{name}'", embedding_name(name)));
            }
            continue;
        };
        if spec.name != *name {
            if tensors.get(&embedding_name(&spec.name)).is_some_and(|shared| shared != found) {
                problems
                    .push(format!("the embedding of '{name}' differs from that of '{}', which it shares", spec.name));
            }
            continue;
        }
        let is = |at: usize| found.shape.len() == 2 && found.shape[at] == expected[at];
        let shape: Vec<String> = found.shape.iter().map(usize::to_string).collect();
        let [rows, columns] = expected;
        let dim = setting(model, "dim").map_or("`dim`".into(), |dim| format!("`dim = {dim}`"));
        let and_tasks = if widths.len() > 1 { format!(" and {} tasks", schema.tasks.len()) } else { String::new() };
        let needed = match (is(0), is(1)) {
            (true, true) => continue,
            (true, false) if !is_number => format!("{dim}{and_tasks} need a width of {columns}"),
            (false, true) if !is_number => format!("its `rows = {rows}` needs {rows} x {columns}"),
            (false, true) => format!("{dim}{and_tasks} need {rows} x 1 for a number"),
            _ => format!("expected {rows} x {columns} (`kind`, `rows`, {dim})"),
        };
        problems.push(format!("embedding of '{name}' is {found}, {needed}", found = shape.join(" x ")));
    }
    problems
}

/// A key as the configuration writes it.
fn setting(model: &ModelConfig, key: &str) -> Option<Value> {
    serde_json::to_value(model).ok()?.get(key).cloned()
}

/// The activation, and whether there is normalisation, as the configuration has them.
fn hidden_of(model: &ModelConfig) -> String {
    let hidden = setting(model, "hidden").unwrap_or_default();
    let norm = if hidden["batch_norm"] == true { ", batch normalisation" } else { "" };
    format!("{}{norm}", hidden["activation"].as_str().unwrap_or("none"))
}

fn network_problem(piece: &Piece, tensors: &BTreeMap<String, RawTensor>) -> Option<String> {
    let (name, needed) = (&piece.theirs, &piece.shape);
    match tensors.get(name) {
        None => Some(format!("'{name}' {needed:?} is missing{}", see_hidden(name))),
        Some(found) if found.shape != *needed => {
            let keys = [
                ("tower", "`tower`"),
                ("gate", "`gate` or the number of experts"),
                ("expert", "`experts`"),
                ("bottom", "`bottom`"),
            ];
            let key = keys.iter().find(|(part, _)| piece.bank.contains(part)).map_or("", |(_, key)| key);
            let see = if key.is_empty() { String::new() } else { format!("; see {key} in [model]") };
            Some(format!("'{name}' is {:?}, the configuration needs {needed:?}{see}", found.shape))
        }
        Some(_) => None,
    }
}

/// What only batch normalisation and learned activations have is asked for by one key.
fn see_hidden(name: &str) -> &'static str {
    let is_theirs = ["running_mean", "running_var", "alpha"].iter().any(|part| name.ends_with(part));
    if is_theirs { "; see `hidden` in [model]: `batch_norm`, `activation`" } else { "" }
}

/// Both kinds of problems, so that what the file really holds is seen.
fn listed(model: &str, unfit: &[String], extra: &[String]) -> String {
    let mut what = format!(
        "it does not fit the configuration of a {model} model (shapes are [out, in], embeddings rows x width):"
    );
    let few = LISTED.saturating_sub(extra.len().min(LISTED_EXTRA));
    let of_unfit = unfit.len().min(few);
    let of_extra = extra.len().min(LISTED - of_unfit);
    unfit[..of_unfit].iter().chain(&extra[..of_extra]).for_each(|problem| what.push_str(&format!("\n  {problem}")));
    match unfit.len() + extra.len() - of_unfit - of_extra {
        0 => what,
        rest => format!("{what}\n  and {rest} more"),
    }
}
