//! What is trained: every model under a fixed and under the learned prior on every data set, and STEM with one thing of it changed.

/// A data set of the study.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DataSet {
    /// Its name in results and texts.
    pub name: &'static str,
    /// The folder of its recipe and experiment, below `datasets`.
    pub folder: &'static str,
    /// Keys of the recipe's `[simulator]` that are others.
    pub simulator: &'static [(&'static str, f64)],
    /// The one L2 number of a fixed prior.
    pub l2: f64,
}

/// The conflict setting with other correlations of the tasks' tastes, and with few rows for each user; and the logs of real people.
pub const DATA: [DataSet; 8] = [
    DataSet { name: "rho -0.5", folder: "simulated", simulator: &[("correlation", -0.5)], l2: 1e-6 },
    DataSet { name: "rho 0", folder: "simulated", simulator: &[("correlation", 0.0)], l2: 1e-6 },
    DataSet { name: "rho 0.5", folder: "simulated", simulator: &[("correlation", 0.5)], l2: 1e-6 },
    DataSet { name: "rho 0.9", folder: "simulated", simulator: &[("correlation", 0.9)], l2: 1e-6 },
    DataSet {
        name: "few rows, rho -0.5",
        folder: "simulated",
        simulator: &[FEW[0], FEW[1], ("correlation", -0.5)],
        l2: 1e-6,
    },
    DataSet {
        name: "few rows, rho 0.9",
        folder: "simulated",
        simulator: &[FEW[0], FEW[1], ("correlation", 0.9)],
        l2: 1e-6,
    },
    DataSet { name: "MovieLens", folder: "movielens-100k", simulator: &[], l2: 1e-6 },
    DataSet { name: "KuaiRand", folder: "kuairand-pure", simulator: &[], l2: 1e-5 },
];

/// Twenty rows a user.
const FEW: [(&str, f64); 2] = [("users", 5000.0), ("rows", 100_000.0)];

/// The models of the tables.
pub const MODELS: [&str; 6] = ["single-task", "shared-bottom", "mmoe", "ple", "aitm", "stem"];

/// A way to train.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Its name in results.
    pub name: &'static str,
    /// What it is, for a table of STEM's.
    pub what: &'static str,
    /// Keys of `[train]`; `L2` stands for the data set's number.
    pub train: &'static str,
    /// Keys of the model's section.
    pub model: &'static str,
    /// The one [data set](DataSet) whose fields and labels it names; `None` where it fits all.
    pub only: Option<&'static str>,
}

impl Setting {
    /// Whether it can be trained on a data set.
    pub fn fits(&self, data: &DataSet) -> bool {
        self.only.is_none_or(|only| only == data.name)
    }
}

const LEARNED: &str = "prior = { name = \"learned\" }\n";
const FIXED: &str = "prior = { name = \"fixed\", l2 = L2 }\n";

/// The two that every model is trained with.
pub const BOTH: [Setting; 2] = [
    Setting { name: "fixed", what: "one L2 number for all rows", train: FIXED, model: "", only: None },
    Setting {
        name: "learned",
        what: "learned, tied, starts with a correlation of 0.5",
        train: LEARNED,
        model: "",
        only: None,
    },
];

/// What is tried of STEM alone, beside the learned prior as it is.
pub const TRIED: [Setting; 6] = [
    Setting {
        name: "corr0",
        what: "starts without correlation",
        train: "prior = { name = \"learned\", correlation = 0.0 }\n",
        model: "",
        only: None,
    },
    Setting {
        name: "corr8",
        what: "starts with a correlation of 0.8",
        train: "prior = { name = \"learned\", correlation = 0.8 }\n",
        model: "",
        only: None,
    },
    Setting {
        name: "diagonal",
        what: "variances alone (`tied = false`), for each dimension",
        train: "prior = { name = \"learned\", tied = false }\n",
        model: "",
        only: None,
    },
    Setting {
        name: "open",
        what: "no stop-gradient (`stop_gradient = false`)",
        train: LEARNED,
        model: "stop_gradient = false\n",
        only: None,
    },
    Setting {
        name: "netl2",
        what: "L2 of 1e-5 on the network too (`network_l2`)",
        train: "prior = { name = \"learned\" }\nnetwork_l2 = 1e-5\n",
        model: "",
        only: None,
    },
    Setting {
        name: "restart",
        what: "the table starts again each epoch (`table_restart`, MEDA)",
        train: "prior = { name = \"learned\" }\ntable_restart = true\n",
        model: "",
        only: None,
    },
];

/// What STEM can be given beside, one at a time and under the learned prior: rivals' cures, features, balances.
pub const SWITCHES: [Setting; 11] = [
    with("own-gated", "`own_residual = \"gated\"` (HoME)", "own_residual = \"gated\"\n"),
    with(
        "swish-norm",
        "`hidden = { activation = \"swish\", batch_norm = true }` (HoME)",
        "hidden = { activation = \"swish\", batch_norm = true }\n",
    ),
    with("feature-gate", "`feature_gate = { rank = 8 }` (HoME)", "feature_gate = { rank = 8 }\n"),
    with("cross", "`cross = { layers = 2, rank = 8 }` (DCN-v2)", "cross = { layers = 2, rank = 8 }\n"),
    with("fm", "`fm = true`", "fm = true\n"),
    balanced("uncertainty", "`balance = { name = \"uncertainty\" }`", "balance = { name = \"uncertainty\" }\n"),
    balanced("famo", "`balance = { name = \"famo\" }`", "balance = { name = \"famo\" }\n"),
    balanced("stch", "`balance = { name = \"stch\" }`", "balance = { name = \"stch\" }\n"),
    balanced("grad-norm", "`balance = { name = \"grad-norm\" }`", "balance = { name = \"grad-norm\" }\n"),
    balanced("pc-grad", "`balance = { name = \"pc-grad\" }`", "balance = { name = \"pc-grad\" }\n"),
    balanced("multi-balance", "`balance = { name = \"multi-balance\" }`", "balance = { name = \"multi-balance\" }\n"),
];

macro_rules! groups {
    () => {
        "groups = [[\"is_click\", \"long_view\"], [\"is_like\", \"is_profile_enter\"]]\n"
    };
}

macro_rules! hierarchy {
    () => {
        concat!(groups!(), "reach = \"group-and-shared\"\nmeta_experts = 1\n")
    };
}

/// The same where fields or labels have to be named: those of KuaiRand, of which two are dense and two are rare.
pub const NAMED: [Setting; 7] = [
    on_kuairand("domain", "`domain = { field = \"tab\" }` (EPNet)", "domain = { field = \"tab\" }\n"),
    on_kuairand(
        "domain-towers",
        "the same with `towers = true`, `personal = [\"user_id\", \"video_id\"]` (PEPNet)",
        "domain = { field = \"tab\", towers = true, personal = [\"user_id\", \"video_id\"] }\n",
    ),
    on_kuairand(
        "interest",
        "`interest`: the three histories attended (DIN)",
        "interest = { candidates = { watch_seq = \"video_id\", like_seq = \"video_id\", long_watch_seq = \"video_id\" } }\n",
    ),
    on_kuairand(
        "auxiliary",
        "`auxiliary`: the two dense tasks (STEM-AL)",
        "auxiliary = [\"is_click\", \"long_view\"]\n",
    ),
    on_kuairand("groups", "`groups`: the dense tasks, and the rare ones", groups!()),
    on_kuairand(
        "hierarchy",
        "the same with `reach = \"group-and-shared\"`, `meta_experts = 1` (HoME's hierarchy)",
        hierarchy!(),
    ),
    on_kuairand(
        "home",
        "the same with HoME's three cures above",
        concat!(
            hierarchy!(),
            "own_residual = \"gated\"\nfeature_gate = { rank = 8 }\n",
            "hidden = { activation = \"swish\", batch_norm = true }\n",
        ),
    ),
];

const fn on_kuairand(name: &'static str, what: &'static str, model: &'static str) -> Setting {
    Setting { name, what, train: LEARNED, model, only: Some("KuaiRand") }
}

const fn with(name: &'static str, what: &'static str, model: &'static str) -> Setting {
    Setting { name, what, train: LEARNED, model, only: None }
}

/// Every model has the learned prior unless its experiment names another.
const fn balanced(name: &'static str, what: &'static str, train: &'static str) -> Setting {
    Setting { name, what, train, model: "", only: None }
}

/// What was trained, and left out of the library again: it has rows in the table, and is trained no more (docs/decisions/0032).
pub const ABANDONED: [Setting; 1] = [with("own-mean", "left out again: the mean of own experts added (AdaTT)", "")];

/// Models beside the tables', as they are trained.
pub const RIVALS: [(&str, Setting); 2] = [
    (
        "mmoe-me",
        Setting { name: "learned", what: "`mmoe-me`, an embedding an expert", train: LEARNED, model: "", only: None },
    ),
    (
        "mmoe-me",
        with(
            "crocodile",
            "the same with `elementwise_gates = true`, `covariance = {}` (Crocodile)",
            "elementwise_gates = true\ncovariance = {}\n",
        ),
    ),
];

/// Every model with every setting that it is trained with, on the data sets that it [fits](Setting::fits).
pub fn trainings() -> impl Iterator<Item = (&'static str, &'static Setting)> {
    let both = MODELS.iter().flat_map(|model| BOTH.iter().map(move |setting| (*model, setting)));
    let of_stem = TRIED.iter().chain(&SWITCHES).chain(&NAMED).map(|setting| ("stem", setting));
    both.chain(of_stem).chain(RIVALS.iter().map(|(model, setting)| (*model, setting)))
}

/// Keys of `[train]` that a data set's own experiment sets and the study does not: the start is what is asked about.
const LEFT_OUT: [&str; 3] = ["embedding_l2", "embedding_std", "prior"];

/// The conflict log is learned slowly, and not evenly: with the experiment's own settings the rate is lowered tenfold at the first epoch without a
/// gain, when much is still to be learned, and all is over before it is.
const LONGER: &str = "epochs = 40\npatience = 5\nschedule = { name = \"plateau\", factor = 0.3 }\n";

impl DataSet {
    /// The recipe, from that of its folder.
    pub fn recipe(&self, recipe: &str) -> String {
        let line = |line: &str| {
            let own = self.simulator.iter().find(|(key, _)| is_key(line, key));
            own.map_or_else(|| line.to_owned(), |(key, value)| format!("{key} = {value}"))
        };
        lines(recipe.lines().map(line))
    }

    /// The experiment of a model and setting, from that of its folder.
    pub fn experiment(&self, experiment: &str, model: &str, setting: &Setting) -> String {
        let train = setting.train.replace("L2", &format!("{:e}", self.l2));
        let longer = if self.simulator.is_empty() { "" } else { LONGER };
        let is_left_out = |line: &&str| {
            LEFT_OUT.iter().any(|key| is_key(line, key)) || (!longer.is_empty() && is_key(line, "epochs"))
        };
        let section = format!("[{model}]");
        let line = |line: &str| match line {
            "[train]" => format!("[train]\n{longer}{train}").trim_end().to_owned(),
            _ if line == section => format!("{section}\n{}", setting.model).trim_end().to_owned(),
            _ => line.to_owned(),
        };
        lines(experiment.lines().filter(|line| !is_left_out(line)).map(line))
    }
}

fn is_key(line: &str, key: &str) -> bool {
    line.split_once('=').is_some_and(|(own, _)| own.trim() == key)
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(data: &DataSet, file: &str) -> String {
        let datasets = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("datasets");
        std::fs::read_to_string(datasets.join(data.folder).join(file)).unwrap()
    }

    #[test]
    fn every_recipe_says_what_its_data_set_is_of() {
        for data in DATA {
            let recipe = data.recipe(&of(&data, "recipe.toml"));
            for (key, value) in data.simulator {
                assert_eq!(recipe.matches(&format!("\n{key} = {value}\n")).count(), 1, "{}: {key}", data.name);
            }
        }
    }

    #[test]
    fn every_experiment_has_the_prior_of_its_setting_and_no_other() {
        let all = DATA.iter().flat_map(|data| trainings().map(move |training| (data, training)));
        for (data, (model, setting)) in all.filter(|(data, (_, setting))| setting.fits(data)) {
            let experiment = data.experiment(&of(data, "experiment.toml"), model, setting);
            let parsed: toml::Table = experiment.parse().unwrap();
            let name = if setting.name == "fixed" { "fixed" } else { "learned" };
            let prior = parsed["train"].get("prior").map_or("learned", |prior| prior["name"].as_str().unwrap());
            assert_eq!(prior, name, "{}", data.name);
            assert!(parsed["train"].get("embedding_std").is_none() && parsed["train"].get("embedding_l2").is_none());
            let stops = parsed["stem"].get("stop_gradient").and_then(toml::Value::as_bool).unwrap_or(true);
            assert_eq!(stops, setting.name != "open");
            let keys: toml::Table = setting.model.parse().unwrap();
            let own = parsed.get(model).and_then(toml::Value::as_table);
            assert!(
                own.is_some_and(|own| keys.iter().all(|(key, value)| own.get(key) == Some(value))),
                "{}: {model}",
                data.name
            );
        }
    }
}
