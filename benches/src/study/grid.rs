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
    /// Keys of `[stem]`.
    pub stem: &'static str,
}

const LEARNED: &str = "prior = { name = \"learned\" }\n";
const FIXED: &str = "prior = { name = \"fixed\", l2 = L2 }\n";

/// The two that every model is trained with.
pub const BOTH: [Setting; 2] = [
    Setting { name: "fixed", what: "one L2 number for all rows", train: FIXED, stem: "" },
    Setting { name: "learned", what: "learned, tied, starts with a correlation of 0.5", train: LEARNED, stem: "" },
];

/// What is tried of STEM alone, beside the learned prior as it is.
pub const TRIED: [Setting; 6] = [
    Setting {
        name: "corr0",
        what: "starts without correlation",
        train: "prior = { name = \"learned\", correlation = 0.0 }\n",
        stem: "",
    },
    Setting {
        name: "corr8",
        what: "starts with a correlation of 0.8",
        train: "prior = { name = \"learned\", correlation = 0.8 }\n",
        stem: "",
    },
    Setting {
        name: "diagonal",
        what: "variances alone (`tied = false`), for each dimension",
        train: "prior = { name = \"learned\", tied = false }\n",
        stem: "",
    },
    Setting {
        name: "open",
        what: "no stop-gradient (`stop_gradient = false`)",
        train: LEARNED,
        stem: "stop_gradient = false\n",
    },
    Setting {
        name: "netl2",
        what: "L2 of 1e-5 on the network too (`network_l2`)",
        train: "prior = { name = \"learned\" }\nnetwork_l2 = 1e-5\n",
        stem: "",
    },
    Setting {
        name: "restart",
        what: "the table starts again each epoch (`table_restart`, MEDA)",
        train: "prior = { name = \"learned\" }\ntable_restart = true\n",
        stem: "",
    },
];

/// Which settings a model is trained with.
pub fn settings(model: &str) -> impl Iterator<Item = &'static Setting> {
    let tried = if model == "stem" { &TRIED[..] } else { &[] };
    BOTH.iter().chain(tried)
}

/// Keys of `[train]` that a data set's own experiment sets and the study does not: the start is what is asked about.
const LEFT_OUT: [&str; 3] = ["embedding_l2", "embedding_std", "prior"];

impl DataSet {
    /// The recipe, from that of its folder.
    pub fn recipe(&self, recipe: &str) -> String {
        let line = |line: &str| {
            let own = self.simulator.iter().find(|(key, _)| is_key(line, key));
            own.map_or_else(|| line.to_owned(), |(key, value)| format!("{key} = {value}"))
        };
        lines(recipe.lines().map(line))
    }

    /// The experiment of a setting, from that of its folder.
    pub fn experiment(&self, experiment: &str, setting: &Setting) -> String {
        let train = setting.train.replace("L2", &format!("{:e}", self.l2));
        // The conflict log is learned slowly; fifteen epochs are over before anybody has stopped.
        let longer = if self.simulator.is_empty() { "" } else { "epochs = 40\npatience = 3\n" };
        let is_left_out = |line: &&str| {
            LEFT_OUT.iter().any(|key| is_key(line, key)) || (!longer.is_empty() && is_key(line, "epochs"))
        };
        let line = |line: &str| match line {
            "[train]" => format!("[train]\n{longer}{train}").trim_end().to_owned(),
            "[stem]" => format!("[stem]\n{}", setting.stem).trim_end().to_owned(),
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
        for (data, setting) in DATA.iter().flat_map(|data| settings("stem").map(move |setting| (data, setting))) {
            let experiment = data.experiment(&of(data, "experiment.toml"), setting);
            let parsed: toml::Table = experiment.parse().unwrap();
            let name = if setting.name == "fixed" { "fixed" } else { "learned" };
            assert_eq!(parsed["train"]["prior"]["name"].as_str(), Some(name), "{}", data.name);
            assert!(parsed["train"].get("embedding_std").is_none() && parsed["train"].get("embedding_l2").is_none());
            let stops = parsed["stem"].get("stop_gradient").and_then(toml::Value::as_bool).unwrap_or(true);
            assert_eq!(stops, setting.name != "open");
            assert!(MODELS.iter().all(|model| parsed.contains_key(*model)), "{}", data.name);
        }
    }
}
