//! The space of one model: which keys it has, and configurations drawn from them.

use std::collections::HashSet;
use std::iter;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::settings::{find, same, split};
use super::{SearchConfig, Settings, Values};

/// Draws per configuration asked for, after which new ones are hoped for no more.
const DRAWS: usize = 100;

/// What is searched of one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Space {
    axes: Vec<Axis>,
}

/// One key.
#[derive(Debug, Clone, PartialEq)]
struct Axis {
    key: String,
    values: Values,
    /// What stands there in the experiment.
    base: Option<Value>,
    /// Of random numbers: the place of the key in the search, the same for every model.
    stream: u64,
}

impl Space {
    /// The keys that apply to `model`: all of `train`, those under `model.` that `settings` has, and those under its own name.
    /// `train` and `settings` are the experiment as it stands, `config` is a checked one.
    pub fn of(config: &SearchConfig, model: &str, train: &Value, settings: &Value) -> Self {
        let axis = |(stream, (key, values)): (usize, (&String, &Values))| {
            let base = match split(key) {
                ("train", path) => find(train, path),
                ("model", path) => Some(find(settings, path)?),
                (name, path) if name == model => find(settings, path),
                _ => return None,
            };
            Some(Axis { key: key.clone(), values: values.clone(), base: base.cloned(), stream: stream as u64 })
        };
        Self { axes: config.space.iter().enumerate().filter_map(axis).collect() }
    }

    /// How many configurations there are, beside the experiment's own; `None` where a key is real.
    pub fn configurations(&self) -> Option<u64> {
        self.axes.iter().try_fold(1u64, |product, axis| Some(product.saturating_mul(axis.values.count()?)))
    }

    /// At most `count` configurations to try, no two alike. The first is the experiment as it stands, to be beaten. All in their order if there are no more, the last key changing fastest; else drawn. Every key has random
    /// numbers of its own, whatever the model: where models share a key, they try the same values of it.
    pub fn sample(&self, count: usize, seed: u64) -> Vec<Settings> {
        let size = self.configurations();
        let all = || (0..size.unwrap_or(0)).filter_map(|i| self.point(i)).filter(|point| !self.is_base(point));
        let all_fit = size.is_some() && all().nth(count.saturating_sub(1)).is_none();
        let draws = if all_fit { 0 } else { DRAWS.saturating_mul(count) };

        let mut rngs: Vec<ChaCha8Rng> = self.axes.iter().map(|axis| axis.rng(seed)).collect();
        let drawn = iter::repeat_with(|| self.draw(&mut rngs)).take(draws).filter(|point| !self.is_base(point));
        let mut seen = HashSet::new();
        let others = drawn.chain(all()).filter(|point| seen.insert(point.clone())); // all: what draws have not hit
        iter::once(Settings::default()).chain(others).take(count).collect()
    }

    /// The keys, in their order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.axes.iter().map(|axis| axis.key.as_str())
    }

    fn draw(&self, rngs: &mut [ChaCha8Rng]) -> Settings {
        let draw = |(axis, rng): (&Axis, &mut ChaCha8Rng)| (axis.key.clone(), axis.values.draw(rng));
        Settings(self.axes.iter().zip(rngs).map(draw).collect())
    }

    /// The configuration at an index below their number.
    fn point(&self, mut index: u64) -> Option<Settings> {
        let mut point = Vec::with_capacity(self.axes.len());
        for axis in self.axes.iter().rev() {
            let count = axis.values.count()?;
            point.push((axis.key.clone(), axis.values.nth(index % count)?));
            index /= count;
        }
        point.reverse();
        Some(Settings(point))
    }

    /// Whether a configuration sets only what the experiment has anyway.
    fn is_base(&self, point: &Settings) -> bool {
        let holds = |(axis, (_, value)): (&Axis, &(String, Value))| axis.base.as_ref().is_some_and(|b| same(b, value));
        self.axes.iter().zip(&point.0).all(holds)
    }
}

impl Axis {
    fn rng(&self, seed: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(self.stream);
        rng
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GRID: &str = "method = 'grid'\n[space]\n'model.dim' = [8, 16]\n'train.table' = ['dense', 'row-sparse']";
    const REALS: &str = "[space]\n'train.learning_rate' = { low = 1e-4, high = 1e-2, log = true }
        'stem.shared_experts' = { low = 1, high = 4 }\n'model.hidden.dropout' = [0.0, 0.2]";

    fn config(text: &str) -> SearchConfig {
        SearchConfig::parse(text).unwrap()
    }

    fn train() -> Value {
        json!({ "learning_rate": 1e-3, "table": "dense", "optimizer": { "name": "adam", "beta1": 0.9 }, "task_weights": {} })
    }

    fn stem() -> Value {
        json!({ "dim": 16, "shared_experts": 2, "hidden": { "dropout": 0.0 } })
    }

    fn mmoe() -> Value {
        json!({ "dim": 16, "expert_count": 4, "hidden": { "dropout": 0.0 } })
    }

    fn of_stem(text: &str) -> Space {
        Space::of(&config(text), "stem", &train(), &stem())
    }

    /// The values of one key.
    fn column(sample: &[Settings], key: &str) -> Vec<Value> {
        let of = |settings: &Settings| settings.0.iter().find(|(k, _)| k == key).map(|(_, value)| value.clone());
        sample.iter().filter_map(of).collect()
    }

    fn all_differ(sample: &[Settings]) -> bool {
        sample.iter().collect::<HashSet<_>>().len() == sample.len()
    }

    #[test]
    fn a_model_has_the_keys_of_training_those_it_shares_and_its_own() {
        let config = config(
            "[space]\n'train.learning_rate' = [0.1]\n'model.expert_count' = [1]\n'stem.dim' = [1]\n'mmoe.dim' = [1]",
        );
        let keys = |name: &str, settings: Value| -> Vec<String> {
            Space::of(&config, name, &train(), &settings).keys().map(String::from).collect()
        };
        assert_eq!(keys("stem", stem()), ["stem.dim", "train.learning_rate"]);
        assert_eq!(keys("mmoe", mmoe()), ["mmoe.dim", "model.expert_count", "train.learning_rate"]);
    }

    #[test]
    fn the_experiment_as_it_stands_comes_first_and_is_not_tried_twice() {
        let space = of_stem(GRID);
        assert_eq!(space.configurations(), Some(4));
        let point = |dim: u32, table: &str| {
            Settings(vec![("model.dim".into(), json!(dim)), ("train.table".into(), json!(table))])
        };
        let expected = [Settings::default(), point(8, "dense"), point(8, "row-sparse"), point(16, "row-sparse")];
        assert_eq!(space.sample(9, 1), expected);
        assert_eq!(space.sample(4, 1), expected);
        assert_eq!(space.sample(1, 1), [Settings::default()]);
        assert_eq!(space.sample(0, 1), []);
    }

    #[test]
    fn a_model_without_a_key_has_the_experiment_alone() {
        let space = of_stem("[space]\n'mmoe.dim' = [8]");
        assert_eq!((space.configurations(), space.sample(9, 1)), (Some(1), vec![Settings::default()]));
    }

    #[test]
    fn of_a_finite_space_all_are_tried_where_there_are_no_more_and_else_so_many_that_differ() {
        let space = of_stem("[space]\n'model.dim' = { low = 1, high = 1000, log = true }");
        for count in [1, 2, 30, 999, 1000] {
            let sample = space.sample(count, 1);
            assert!(sample.len() == count && all_differ(&sample) && !column(&sample, "model.dim").contains(&json!(16)));
        }
        assert_eq!(space.sample(2000, 1).len(), 1000);
        let outside = of_stem("[space]\n'model.dim' = [1, 2, 3]");
        assert_eq!((outside.sample(4, 1).len(), outside.sample(3, 1).len()), (4, 3));
    }

    #[test]
    fn a_huge_grid_is_never_built() {
        let wide = |key: &str| format!("'train.{key}' = {{ low = 0, high = 9000000000000000000 }}\n");
        let space = of_stem(&format!("method = 'grid'\n[space]\n{}{}", wide("a"), wide("b")));
        assert_eq!(space.configurations(), Some(u64::MAX));
        let sample = space.sample(50, 1);
        assert!(sample.len() == 50 && all_differ(&sample));
    }

    #[test]
    fn reals_run_out_where_three_digits_do() {
        let space = of_stem("[space]\n'train.learning_rate' = { low = 1.0, high = 1.02 }");
        assert_eq!((space.configurations(), space.sample(20, 1).len()), (None, 4)); // 1, 1.01, 1.02 and the experiment's
    }

    #[test]
    fn a_seed_draws_the_same_and_another_seed_something_else() {
        let space = of_stem(REALS);
        assert_eq!(space.sample(20, 1), space.sample(20, 1));
        assert_ne!(space.sample(20, 1), space.sample(20, 2));
        assert_eq!(space.sample(20, 1)[..9], space.sample(9, 1));
        assert!(all_differ(&space.sample(20, 1)));
    }

    #[test]
    fn models_try_the_same_values_of_what_they_share() {
        let stem = of_stem(REALS).sample(20, 1);
        let mmoe = Space::of(&config(REALS), "mmoe", &train(), &mmoe()).sample(20, 1);
        for key in ["train.learning_rate", "model.hidden.dropout"] {
            assert_eq!(column(&stem, key), column(&mmoe, key));
        }
        assert_eq!((column(&stem, "stem.shared_experts").len(), column(&mmoe, "stem.shared_experts").len()), (19, 0));
    }
}
