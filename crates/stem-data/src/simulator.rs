//! A log whose truth is known: users and items with tastes for each task, and a setting for how far the tastes agree.
//!
//! For task `k`, user `u` and item `i`, with everything drawn once from normal distributions:
//!
//! ```text
//! t_0(u) = unit normal, `width` wide          t_k(u) = c * t_0(u) + sqrt(1 - c^2) * noise      c = correlation
//! v(i)   = normal, scale taste / sqrt(width)
//! logit  = base_k + propensity * n_k(u) + popularity * n_k(i) + t_k(u) . v(i)
//! ```
//!
//! Users are drawn with log-normal activity, items with Zipf exposure. The log is a raw CSV that takes the same path as real
//! data: `user,item,user_group,item_category`, one 0/1 column a task, and `p_TASK`, the true probability (no feature!).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use stem_core::files;

use crate::error::{Error, Result};
use crate::random;
use crate::stop::StopFlag;

/// Settings of the simulator. The default is the *conflict* setting: two tasks that pull users apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimulatorConfig {
    /// The same seed writes the same file. Default 1.
    pub seed: u64,
    /// Default 800.
    pub users: usize,
    /// Default 800.
    pub items: usize,
    /// Impressions. Default 400,000.
    pub rows: usize,
    /// Names of the tasks. Default `a`, `b`.
    pub tasks: Vec<String>,
    /// Logit of an average impression, for each task. Default -0.3, -2.0.
    pub base: Vec<f64>,
    /// Width of tastes; at least 2. Default 6.
    pub width: usize,
    /// Correlation of each later task's tastes with the first task's, in -1..=1. Default -0.5.
    pub correlation: f64,
    /// Scale of taste in the logit. Default 1.2.
    pub taste: f64,
    /// Standard deviation of a user's propensity, one draw a task. Default 1.
    pub propensity: f64,
    /// Standard deviation of an item's popularity, one draw a task. Default 0.5.
    pub popularity: f64,
    /// Users are drawn with weight `exp(activity * normal)`. Default 0.8.
    pub activity: f64,
    /// Item number `r` is drawn with weight `r^-exposure`. Default 0.8.
    pub exposure: f64,
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            users: 800,
            items: 800,
            rows: 400_000,
            tasks: vec!["a".into(), "b".into()],
            base: vec![-0.3, -2.0],
            width: 6,
            correlation: -0.5,
            taste: 1.2,
            propensity: 1.0,
            popularity: 0.5,
            activity: 0.8,
            exposure: 0.8,
        }
    }
}

/// Rows between two looks at the stop flag.
const STOP_EVERY: usize = 4096;
/// Numbers of all tastes together: 8 GB.
const MOST: usize = 1_000_000_000;

impl SimulatorConfig {
    /// Refuses settings that make no log.
    ///
    /// # Errors
    /// [`Error::Simulator`].
    pub fn check(&self) -> Result<()> {
        let fault = |key, found: String, expected| Err(Error::Simulator { key, found, expected });
        for (key, count, least) in
            [("users", self.users, 1), ("items", self.items, 1), ("rows", self.rows, 1), ("width", self.width, 2)]
        {
            if count < least {
                return fault(key, count.to_string(), if least == 1 { "at least 1" } else { "at least 2" });
            }
        }
        let plain = |name: &String| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if self.tasks.is_empty() || !self.tasks.iter().all(plain) {
            return fault("tasks", format!("{:?}", self.tasks), "at least one name of letters, digits and _");
        }
        let columns = ["user", "item", "user_group", "item_category"].map(String::from);
        let names = columns.into_iter().chain(self.tasks.iter().flat_map(|task| [task.clone(), format!("p_{task}")]));
        let mut seen = std::collections::HashSet::new();
        if let Some(twice) = names.into_iter().find(|name| !seen.insert(name.clone())) {
            return fault(
                "tasks",
                format!("{:?} (column {twice} twice)", self.tasks),
                "names that make different columns",
            );
        }
        let numbers = self.users.max(self.items).checked_mul(self.tasks.len()).and_then(|n| n.checked_mul(self.width));
        if numbers.is_none_or(|n| n > MOST) {
            let found = format!("{} and {}", self.users, self.items);
            return fault("users and items", found, "at most a billion numbers of taste in all");
        }
        if self.base.len() != self.tasks.len() || self.base.iter().any(|b| !b.is_finite()) {
            return fault("base", format!("{:?}", self.base), "one finite number for each of `tasks`");
        }
        if !(-1.0..=1.0).contains(&self.correlation) {
            return fault("correlation", self.correlation.to_string(), "a number between -1 and 1");
        }
        for (key, scale) in [
            ("taste", self.taste),
            ("propensity", self.propensity),
            ("popularity", self.popularity),
            ("activity", self.activity),
            ("exposure", self.exposure),
        ] {
            if !(0.0..=100.0).contains(&scale) {
                return fault(key, scale.to_string(), "a number between 0 and 100");
            }
        }
        Ok(())
    }

    /// Draws the log and writes it: to a scratch file beside `path`, then renamed. Rows are streamed, so a log may be larger
    /// than memory.
    ///
    /// # Errors
    /// [`Error::Simulator`] and [`Error::File`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        self.write_until(path.as_ref(), &StopFlag::default())
    }

    /// The same; gives [`Error::Stopped`] when `stop` is set before all is written.
    pub(crate) fn write_until(&self, path: &Path, stop: &StopFlag) -> Result<()> {
        self.check()?;
        let written = files::replace(path, |scratch| {
            self.write_to(File::create(scratch)?, stop)?;
            if stop.is_set() { Err(std::io::Error::other("stopped")) } else { Ok(()) }
        });
        if stop.is_set() { Err(Error::Stopped) } else { Ok(written?) }
    }

    fn write_to(&self, file: impl Write, stop: &StopFlag) -> std::io::Result<()> {
        let people = Population::draw(self);
        let mut random = random::stream(b"rows\0\0\0\0", self.seed, 0);
        let mut out = BufWriter::with_capacity(1 << 18, file);
        write!(out, "user,item,user_group,item_category")?;
        self.tasks.iter().try_for_each(|task| write!(out, ",{task}"))?;
        self.tasks.iter().try_for_each(|task| write!(out, ",p_{task}"))?;
        writeln!(out)?;
        let mut chances = vec![0.0; self.tasks.len()];
        for row in 0..self.rows {
            if row % STOP_EVERY == 0 && stop.is_set() {
                break;
            }
            let user = pick(&people.activity, &mut random);
            let item = pick(&people.exposure, &mut random);
            let group = people.user_group(user, self);
            let category = people.item_category(item, self);
            write!(out, "{user},{item},{group},{category}")?;
            for (task, chance) in chances.iter_mut().enumerate() {
                *chance = people.chance(user, item, task, self);
                write!(out, ",{}", u8::from(random::unit(&mut random) < *chance))?;
            }
            chances.iter().try_for_each(|chance| write!(out, ",{chance:.6}"))?;
            writeln!(out)?;
        }
        out.flush()
    }
}

/// All users and items.
struct Population {
    tastes: Vec<f64>,       // [users, T, width]
    propensities: Vec<f64>, // [users, T]
    items: Vec<f64>,        // [items, width]
    popularities: Vec<f64>, // [items, T]
    activity: Vec<f64>,     // [users] cumulated weights
    exposure: Vec<f64>,     // [items]
}

impl Population {
    fn draw(config: &SimulatorConfig) -> Self {
        let (tasks, width) = (config.tasks.len(), config.width);
        let mut random = random::stream(b"people\0\0", config.seed, 0);
        let mut normals = |n: usize, scale: f64| -> Vec<f64> { (0..n).map(|_| normal(&mut random) * scale).collect() };
        let mut tastes = normals(config.users * tasks * width, 1.0);
        let (own, shared) = ((1.0 - config.correlation * config.correlation).sqrt(), config.correlation);
        for user in tastes.chunks_exact_mut(tasks * width) {
            let (first, later) = user.split_at_mut(width);
            for task in later.chunks_exact_mut(width) {
                task.iter_mut().zip(&*first).for_each(|(t, f)| *t = shared * f + own * *t);
            }
        }
        let propensities = normals(config.users * tasks, config.propensity);
        let items = normals(config.items * width, config.taste / (width as f64).sqrt());
        let popularities = normals(config.items * tasks, config.popularity);
        let activity = cumulate(normals(config.users, config.activity).into_iter().map(f64::exp));
        let exposure = cumulate((1..=config.items).map(|rank| (rank as f64).powf(-config.exposure)));
        Self { tastes, propensities, items, popularities, activity, exposure }
    }

    fn taste(&self, user: usize, task: usize, config: &SimulatorConfig) -> &[f64] {
        let start = (user * config.tasks.len() + task) * config.width;
        &self.tastes[start..start + config.width]
    }

    fn item(&self, item: usize, config: &SimulatorConfig) -> &[f64] {
        &self.items[item * config.width..(item + 1) * config.width]
    }

    /// Signs of the first taste for the first two tasks: 0 to 3 (0 or 1 with one task).
    fn user_group(&self, user: usize, config: &SimulatorConfig) -> u8 {
        let sign = |task| u8::from(self.taste(user, task, config)[0] > 0.0);
        if config.tasks.len() == 1 { sign(0) } else { 2 * sign(0) + sign(1) }
    }

    /// Signs of the item's first two numbers: 0 to 3.
    fn item_category(&self, item: usize, config: &SimulatorConfig) -> u8 {
        let v = self.item(item, config);
        2 * u8::from(v[0] > 0.0) + u8::from(v[1] > 0.0)
    }

    /// True probability of feedback.
    fn chance(&self, user: usize, item: usize, task: usize, config: &SimulatorConfig) -> f64 {
        let tasks = config.tasks.len();
        let taste: f64 = self.taste(user, task, config).iter().zip(self.item(item, config)).map(|(t, v)| t * v).sum();
        let logit =
            config.base[task] + self.propensities[user * tasks + task] + self.popularities[item * tasks + task] + taste;
        1.0 / (1.0 + (-logit).exp())
    }
}

fn normal(random: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(random)
}

fn cumulate(weights: impl Iterator<Item = f64>) -> Vec<f64> {
    let sums = weights.scan(0.0, |sum, weight| {
        *sum += weight;
        Some(*sum)
    });
    sums.collect()
}

/// An index with probability proportional to its weight.
fn pick(cumulated: &[f64], random: &mut ChaCha8Rng) -> usize {
    let total = cumulated.last().copied().unwrap_or(0.0);
    let point = random::unit(random) * total;
    cumulated.partition_point(|&sum| sum <= point).min(cumulated.len() - 1)
}
