//! What a split looks like, in few numbers: what a bundle keeps of its training, for data of a later day to be held against.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dataset::Dataset;
use crate::split::Split;

/// Rows, base rates, and how each field is filled.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// Rows.
    pub rows: usize,
    /// Share of label 1 among the rows that have the label, by task; a task without such rows is not there.
    pub base_rates: BTreeMap<String, f64>,
    /// By field.
    pub fields: BTreeMap<String, FieldProfile>,
}

/// How a field is filled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FieldProfile {
    /// Share of rows without a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nulls: Option<f64>,
    /// Share of values that the vocabulary does not know; of a field of keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unseen: Option<f64>,
    /// Mean of its numbers before they are standardised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Their standard deviation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<f64>,
}

impl Profile {
    /// What a bundle keeps of its training (`Manifest::training` of `stem-core`): of the training and of the validation split. Of several
    /// states the first's; tasks that were trained apart have base rates of their own. `None` where an earlier version wrote it.
    pub fn of_training(training: &Value) -> Option<[Self; 2]> {
        let mut found = Vec::new();
        collect(training, &mut found);
        let of = |data: &Value, split: &str| serde_json::from_value::<Option<Self>>(data[split].clone()).ok().flatten();
        let mut train = of(found.first()?, "train")?;
        for data in &found[1..] {
            train.base_rates.extend(of(data, "train").unwrap_or_default().base_rates);
        }
        Some([train, of(found[0], "valid").unwrap_or_default()])
    }
}

fn collect<'v>(training: &'v Value, found: &mut Vec<&'v Value>) {
    match training {
        Value::Array(all) => all.iter().for_each(|one| collect(one, found)),
        Value::Object(keys) => {
            found.extend(keys.get("data"));
            keys.get("states").into_iter().for_each(|states| collect(states, found));
        }
        _ => {}
    }
}

impl Dataset {
    /// The profile of a split; `None` where an earlier version wrote the data set, and of a split without rows.
    pub fn profile(&self, split: Split) -> Option<Profile> {
        let (facts, statistics, schema) = (self.facts()?, self.statistics(split), self.schema());
        let rates = schema.tasks.iter().enumerate().filter_map(|(t, task)| {
            let labelled = statistics.rows - statistics.missing[t];
            (labelled > 0).then(|| (task.name.clone(), statistics.positives[t] as f64 / labelled as f64))
        });
        let fields = schema.fields.iter().zip(&facts.fields).map(|(field, facts)| {
            let (counts, numbers) = (facts.splits[split as usize], facts.numbers[split as usize]);
            let profile = FieldProfile {
                nulls: counts.null_share(),
                unseen: counts.unseen_share().filter(|_| field.kind.has_keys()),
                mean: numbers.map(|numbers| numbers.mean),
                std: numbers.map(|numbers| numbers.std),
            };
            (field.name.clone(), profile)
        });
        let profile = Profile { rows: statistics.rows, base_rates: rates.collect(), fields: fields.collect() };
        (statistics.rows > 0).then_some(profile)
    }
}
