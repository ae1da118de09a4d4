//! Options that several subcommands have: what is read, and how it is trained.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stem_core::precision::Precision;
use stem_core::{DeviceSpec, ModelName};
use stem_data::{
    Dataset, Known, LabelRecipe, PrepareOptions, Recipe, Rows, prepare, prepare_grown, prepare_known, prepare_over,
};
use stem_experiment::{Experiment, Hands, RunOptions};
use stem_report::analysis::Metric;
use stem_train::ranks::Team;

use crate::command_line::command_line;
use crate::console::{Console, Result};

/// The recipe that is looked for in the current folder; `stem init` writes it.
const RECIPE: &str = "recipe.toml";

/// What is read.
#[derive(clap::Args)]
#[command(next_help_heading = "Data")]
pub(crate) struct DataArgs {
    /// Recipe: sources, SQL, fields, labels, split
    #[arg(long, value_name = "FILE", default_value = RECIPE)]
    pub(crate) recipe: PathBuf,
    /// Folder of the raw tables. By default the recipe's. A recipe with a simulator writes its log there when it is missing
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Folder of the encoded columns, for several runs to share. By default OUT/columns
    #[arg(long, value_name = "FOLDER")]
    pub(crate) columns: Option<PathBuf>,
}

/// How it is trained, and where to.
#[derive(clap::Args)]
#[command(next_help_heading = "Training")]
pub(crate) struct RunArgs {
    /// Experiment: how to train, sizes of the models. By default experiment.toml beside the recipe, if there
    #[arg(long, value_name = "FILE", alias = "config")]
    pub(crate) experiment: Option<PathBuf>,
    /// Epochs at most, instead of the experiment's
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Precision of products while training, f32 or bf16, instead of the experiment's
    #[arg(long)]
    precision: Option<Precision>,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// Replace what another run or comparison left in OUT
    #[arg(long)]
    pub(crate) force: bool,
    /// Go on from the last checkpoint in OUT (`checkpoint_every` of the experiment), to the same end as if it had never stopped
    #[arg(long)]
    pub(crate) resume: bool,
}

/// Where it is computed.
#[derive(clap::Args)]
pub(crate) struct DeviceArgs {
    /// Device: flex, ndarray, wgpu or wgpu:INDEX, of those compiled in
    #[arg(long, default_value_t)]
    pub(crate) device: DeviceSpec,
}

impl DataArgs {
    /// A recipe, and the folder of its tables where it is named.
    pub(crate) fn of(recipe: &Path, data: Option<&Path>) -> Self {
        Self { recipe: recipe.into(), data: data.map(Path::to_path_buf), columns: None }
    }

    /// Reads the recipe.
    ///
    /// # Errors
    /// A recipe that cannot be followed, or that would write its log where nobody asked for it.
    pub(crate) fn open(&self) -> Result<Source> {
        if self.recipe == Path::new(RECIPE) && !self.recipe.exists() {
            return Err(
                format!("there is no {RECIPE} here: name one with --recipe, or let `stem init` write one").into()
            );
        }
        let recipe = Recipe::load(&self.recipe)?;
        let data = match &self.data {
            Some(data) => data.clone(),
            None => {
                self.recipe.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).into()
            }
        };
        let source = Source { recipe, data };
        if self.data.is_none() && source.recipe.simulator.is_some() && !source.tables().all(|table| table.exists()) {
            let recipe = self.recipe.display();
            return Err(
                format!("{recipe} simulates its log: say with --data into which folder it is to be written").into()
            );
        }
        Ok(source)
    }

    /// The folder of the encoded columns.
    pub(crate) fn columns(&self, out: &Path) -> PathBuf {
        self.columns.clone().unwrap_or_else(|| out.join("columns"))
    }
}

/// A recipe, and the folder of its tables.
pub(crate) struct Source {
    recipe: Recipe,
    data: PathBuf,
}

impl Source {
    /// The raw tables.
    pub(crate) fn tables(&self) -> impl Iterator<Item = PathBuf> {
        self.recipe.sources.iter().flat_map(|source| &source.files).map(|file| self.data.join(file))
    }

    /// The recipe, and the folder of its tables.
    pub(crate) fn parts(&self) -> (&Recipe, &Path) {
        (&self.recipe, &self.data)
    }

    /// What the recipe decides a comparison by.
    pub(crate) fn verdict(&self) -> Metric {
        self.recipe.verdict.unwrap_or_default()
    }

    /// What it decides each label by, where it says so.
    pub(crate) fn metrics(&self) -> BTreeMap<String, Metric> {
        let of = |label: &LabelRecipe| Some((label.column.clone(), label.metric?));
        self.recipe.labels.iter().filter_map(of).collect()
    }

    /// Encodes them; only opens `columns` where nothing has changed.
    ///
    /// # Errors
    /// Tables that cannot be read as the recipe says, and a stop.
    pub(crate) fn encode(&self, columns: &Path, console: &Console) -> Result<Dataset> {
        let options = PrepareOptions { progress: console.progress(), stop: console.stop() };
        Ok(prepare(&self.recipe, &self.data, columns, &options)?)
    }

    /// The same by several ranks, each of its own files; `None` on all but the first.
    ///
    /// # Errors
    /// Those of [`encode`](Self::encode), and a SELECT that cannot be shared out.
    pub(crate) fn encode_over(&self, ranks: &Team, columns: &Path, console: &Console) -> Result<Option<Dataset>> {
        let options = PrepareOptions { progress: console.progress(), stop: console.stop() };
        Ok(prepare_over(ranks, &self.recipe, &self.data, columns, &options)?)
    }

    /// Encodes them for a model that is trained on with them: its vocabularies, and what is new.
    ///
    /// # Errors
    /// Those of [`encode`](Self::encode), and a recipe that does not fit the model.
    pub(crate) fn encode_grown(&self, model: Known<'_>, columns: &Path, console: &Console) -> Result<Dataset> {
        let options = PrepareOptions { progress: console.progress(), stop: console.stop() };
        Ok(prepare_grown(&self.recipe, model, &self.data, columns, &options)?)
    }

    /// Encodes rows as a model takes them that was trained before, cut by the columns `by`.
    ///
    /// # Errors
    /// Those of [`encode`](Self::encode), and a recipe that does not fit the model.
    pub(crate) fn encode_known(
        &self,
        known: Known<'_>,
        rows: Rows,
        by: &[String],
        columns: &Path,
        console: &Console,
    ) -> Result<Dataset> {
        let options = PrepareOptions { progress: console.progress(), stop: console.stop() };
        Ok(prepare_known(&self.recipe, known, rows, by, &self.data, columns, &options)?)
    }
}

impl RunArgs {
    /// The experiment asked for, else `experiment.toml` beside the recipe, else the defaults; with what the command line says.
    ///
    /// # Errors
    /// A file that does not read or parse, and settings that cannot train.
    pub(crate) fn load_experiment(&self, data: &DataArgs) -> Result<Experiment> {
        let beside = data.recipe.with_file_name("experiment.toml");
        let mut experiment = match &self.experiment {
            Some(path) => Experiment::load(path)?,
            None if beside.exists() => Experiment::load(beside)?,
            None => Experiment::default(),
        };
        experiment.train.epochs = self.epochs.unwrap_or(experiment.train.epochs);
        experiment.train.precision = self.precision.unwrap_or(experiment.train.precision);
        experiment.train.check()?;
        Ok(experiment)
    }
}

/// How a run is carried out.
pub(crate) fn options(run: &RunArgs, source: &Source, console: &Console) -> RunOptions {
    RunOptions {
        metrics: source.metrics().into_values().chain([source.verdict()]).collect(),
        device: run.device.device,
        progress: console.progress(),
        stop: console.stop(),
        overwrite: run.force,
        resume: run.resume,
        command: command_line(),
        ranks: Team::default(),
        hands: Hands::default(),
    }
}

/// Says how a folder that is taken can be had: what the library calls overwriting is an option here.
pub(crate) fn by_force(error: stem_experiment::Error) -> Box<dyn std::error::Error> {
    use stem_experiment::Error::{Occupied, OtherComparison};
    match error {
        Occupied { folder, what } => {
            format!("{} holds {what}: name another folder with --out, or replace it with --force", folder.display())
                .into()
        }
        OtherComparison { folder, what } => format!(
            "{} {what}: name another folder with --out, or take it over with --force, which trains again what differs",
            folder.display()
        )
        .into(),
        other => other.into(),
    }
}

/// Refuses to write over what is read.
///
/// # Errors
/// An output that is one of the inputs.
pub(crate) fn refuse_replacing<'a>(outputs: &[PathBuf], inputs: impl IntoIterator<Item = &'a Path>) -> Result {
    for input in inputs {
        if let Some(output) = outputs.iter().find(|output| same(output, input)) {
            return Err(format!(
                "{} is read and would be replaced by {}: name another output",
                input.display(),
                output.display()
            )
            .into());
        }
    }
    Ok(())
}

/// Whether both are there and one file or folder.
fn same(a: &Path, b: &Path) -> bool {
    a.canonicalize().ok().zip(b.canonicalize().ok()).is_some_and(|(a, b)| a == b)
}

/// All models, for `--help`.
pub(crate) fn model_names() -> String {
    ModelName::ALL.iter().map(|model| model.as_str()).collect::<Vec<_>>().join(", ")
}
