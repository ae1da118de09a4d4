//! The test rows cut by whose feedback their users give: for every pair of tasks, three strata.

use stem_data::{Dataset, Split};

use stem_report::analysis::{Shares, Strata, Stratum};
use stem_report::metrics::column;

/// Two tasks and the strata of the test rows.
#[derive(Debug)]
pub(crate) struct Pair {
    /// Places of the tasks.
    pub tasks: [usize; 2],
    /// What the strata are called, in the order of [`Stratum::ALL`].
    pub names: [String; 3],
    /// Of every test row.
    pub strata: Strata,
}

/// All pairs of tasks whose labels are 0 and 1, cut at terciles of the test rows where no `cuts` are given. None without groups.
pub(crate) fn pairs(dataset: &Dataset, cuts: Option<[f64; 2]>) -> Vec<Pair> {
    let (Some(train), Some(test)) = (dataset.groups(Split::Train), dataset.groups(Split::Test)) else {
        return Vec::new();
    };
    let names = dataset.schema().task_names();
    let labels = |t: usize| column(dataset.labels(Split::Train), t, names.len());
    let pair = |a: usize, b: usize| {
        let shares = Shares::of(labels(a), labels(b), train);
        let strata = match cuts {
            Some(cuts) => shares.cut(test, cuts),
            None => shares.terciles(test),
        };
        let dominant = |t: usize| format!("{}-dominant", names[t]);
        Pair { tasks: [a, b], names: [dominant(a), "comparable".into(), dominant(b)], strata }
    };
    let tasks = &dataset.schema().tasks;
    let binary: Vec<usize> = (0..tasks.len()).filter(|&t| tasks[t].kind.is_binary()).collect();
    let pairs = binary.iter().enumerate().flat_map(|(place, &a)| binary[place + 1..].iter().map(move |&b| (a, b)));
    pairs.map(|(a, b)| pair(a, b)).collect()
}

impl Pair {
    /// The strata with their names.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (Stratum, &str)> {
        Stratum::ALL.into_iter().zip(self.names.iter().map(String::as_str))
    }
}
