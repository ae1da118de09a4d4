//! The learning rate of every step: a warm-up, then constant, lowered on plateaus, or along a cosine.
//!
//! ```text
//! warm-up     rate * (step + 1) / W                                            step < W
//! cosine      rate * (f + (1 - f) (1 + cos(pi * (step - W) / (S - W))) / 2)    W <= step < S
//! plateau     rate * factor^(epochs in which no evaluation was better)
//! ```
//!
//! `W` steps of warm-up, `S` planned steps, `f` the final fraction; steps count from 0. The warm-up is Goyal et al.'s (2017), the
//! cosine Loshchilov and Hutter's (2017, equation 5) without restarts.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::error::{Result, require};

/// How the rate goes on after the warm-up. Keys that are not written have defaults.
///
/// ```toml
/// schedule = { name = "cosine", final_fraction = 0.1 }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "name",
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "a table like { name = \"plateau\" }"
)]
pub enum ScheduleConfig {
    /// The same rate in every step.
    Constant {}, // braces: serde lets a unit variant have any keys
    /// Lowered by validation; the default.
    Plateau {
        /// The rate is multiplied with it after every epoch in which no evaluation was better, for any task whose weights are not settled.
        #[serde(default = "default_factor")]
        factor: f64,
    },
    /// Down along half a cosine over all planned steps, whatever validation says.
    Cosine {
        /// Where the cosine ends, as a part of the full rate.
        #[serde(default)]
        final_fraction: f64,
    },
}

fn default_factor() -> f64 {
    0.1
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        ScheduleConfig::Plateau { factor: default_factor() }
    }
}

impl ScheduleConfig {
    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) with the key, what stands there and what may.
    pub fn check(&self) -> Result<()> {
        match *self {
            ScheduleConfig::Constant {} => Ok(()),
            ScheduleConfig::Plateau { factor } => {
                require("schedule.factor", factor, "above 0, at most 1", factor > 0.0 && factor <= 1.0)
            }
            ScheduleConfig::Cosine { final_fraction } => {
                let holds = (0.0..=1.0).contains(&final_fraction);
                require("schedule.final_fraction", final_fraction, "0 to 1", holds)
            }
        }
    }
}

/// The rate of a training, step by step.
#[derive(Debug, Clone, PartialEq)]
pub struct RateSchedule {
    config: ScheduleConfig,
    /// The rate after the warm-up, as validation has lowered it.
    full: f64,
    warm_up_steps: usize,
    total_steps: usize,
}

impl RateSchedule {
    /// For a training of `total_steps`, of which the first `warm_up_steps` climb to `learning_rate`. A training that is shorter
    /// than its warm-up ends on the climb.
    pub fn new(config: ScheduleConfig, learning_rate: f64, warm_up_steps: usize, total_steps: usize) -> Self {
        Self { config, full: learning_rate, warm_up_steps, total_steps }
    }

    /// The rate of a step, counted from 0. Steps beyond the planned ones have the last rate of the cosine.
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warm_up_steps {
            return self.full * ((step + 1) as f64 / self.warm_up_steps as f64);
        }
        match self.config {
            ScheduleConfig::Constant {} | ScheduleConfig::Plateau { .. } => self.full,
            ScheduleConfig::Cosine { final_fraction } => {
                let planned = self.total_steps.saturating_sub(self.warm_up_steps).max(1);
                let passed = ((step - self.warm_up_steps) as f64 / planned as f64).min(1.0);
                self.full * (final_fraction + (1.0 - final_fraction) * (1.0 + (PI * passed).cos()) / 2.0)
            }
        }
    }

    /// The rate after the warm-up, as validation has lowered it.
    pub(crate) fn full(&self) -> f64 {
        self.full
    }

    /// Goes on with such a rate after the warm-up.
    pub(crate) fn restore(&mut self, full: f64) {
        self.full = full;
    }

    /// Tells that no evaluation of an epoch was better than the best; a plateau lowers the rate.
    pub fn epoch_was_worse(&mut self) {
        if let ScheduleConfig::Plateau { factor } = self.config {
            self.full *= factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[derive(Debug, PartialEq, Default, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Train {
        schedule: ScheduleConfig,
    }

    fn parse(schedule: &str) -> Result<ScheduleConfig, toml::de::Error> {
        toml::from_str::<Train>(&format!("schedule = {schedule}")).map(|train| train.schedule)
    }

    fn rates(schedule: &RateSchedule, steps: usize) -> Vec<f64> {
        (0..steps).map(|step| schedule.rate(step)).collect()
    }

    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}, expected {expected:?}");
    }

    #[test]
    fn keys_that_are_not_written_have_defaults_and_unknown_ones_are_refused() {
        assert_eq!(toml::from_str::<Train>("").unwrap().schedule, ScheduleConfig::Plateau { factor: 0.1 });
        assert_eq!(parse(r#"{ name = "plateau" }"#).unwrap(), ScheduleConfig::Plateau { factor: 0.1 });
        assert_eq!(parse(r#"{ name = "plateau", factor = 1 }"#).unwrap(), ScheduleConfig::Plateau { factor: 1.0 });
        assert_eq!(parse(r#"{ name = "cosine" }"#).unwrap(), ScheduleConfig::Cosine { final_fraction: 0.0 });
        assert_eq!(parse(r#"{ name = "constant" }"#).unwrap(), ScheduleConfig::Constant {});
        for refused in [
            r#"{ name = "constant", factor = 0.5 }"#,
            r#"{ name = "plateau", final_fraction = 0.5 }"#,
            r#"{ name = "cosine", factor = 0.5 }"#,
            r#"{ name = "linear" }"#,
            "{ factor = 0.5 }",
        ] {
            parse(refused).expect_err(refused);
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for schedule in
            [ScheduleConfig::Constant {}, ScheduleConfig::default(), ScheduleConfig::Cosine { final_fraction: 0.25 }]
        {
            let train = Train { schedule };
            assert_eq!(toml::from_str::<Train>(&toml::to_string(&train).unwrap()).unwrap(), train);
        }
    }

    #[test]
    fn nonsense_is_refused_by_key() {
        let key = |config: ScheduleConfig| match config.check() {
            Err(Error::Config { key, .. }) => Some(key),
            _ => None,
        };
        for factor in [0.0, -0.5, 1.5, f64::NAN] {
            assert_eq!(key(ScheduleConfig::Plateau { factor }), Some("schedule.factor"));
        }
        for final_fraction in [-0.1, 1.1, f64::NAN] {
            assert_eq!(key(ScheduleConfig::Cosine { final_fraction }), Some("schedule.final_fraction"));
        }
        for sound in [
            ScheduleConfig::Constant {},
            ScheduleConfig::Plateau { factor: 1.0 },
            ScheduleConfig::Cosine { final_fraction: 0.0 },
        ] {
            assert_eq!(key(sound), None);
        }
    }

    #[test]
    fn a_plateau_lowers_the_rate_after_every_worse_epoch_and_nothing_else_does() {
        for (config, expected) in [
            (ScheduleConfig::Plateau { factor: 0.5 }, 0.25),
            (ScheduleConfig::Constant {}, 1.0),
            (ScheduleConfig::Cosine { final_fraction: 0.0 }, 1.0),
        ] {
            let mut schedule = RateSchedule::new(config, 1.0, 0, 100);
            schedule.epoch_was_worse();
            schedule.epoch_was_worse();
            assert_eq!(schedule.rate(0), expected, "{config:?}");
        }
    }

    #[test]
    fn the_warm_up_climbs_in_equal_steps_to_the_full_rate_under_every_schedule() {
        for config in
            [ScheduleConfig::Constant {}, ScheduleConfig::default(), ScheduleConfig::Cosine { final_fraction: 0.0 }]
        {
            let schedule = RateSchedule::new(config, 0.8, 4, 100);
            assert_close(&rates(&schedule, 5), &[0.2, 0.4, 0.6, 0.8, 0.8]);
        }
    }

    #[test]
    fn the_cosine_starts_after_the_warm_up_and_ends_at_the_final_fraction() {
        let schedule = RateSchedule::new(ScheduleConfig::Cosine { final_fraction: 0.2 }, 1.0, 2, 6);
        let half = 0.5f64.sqrt();
        let expected = [0.5, 1.0, 1.0, 0.2 + 0.4 * (1.0 + half), 0.6, 0.2 + 0.4 * (1.0 - half), 0.2, 0.2];
        assert_close(&rates(&schedule, 8), &expected);
    }

    #[test]
    fn a_training_shorter_than_its_warm_up_has_finite_rates_that_never_fall() {
        for total in [0, 1, 3] {
            for warm_up in [0, 1, 3, 10] {
                let schedule = RateSchedule::new(ScheduleConfig::Cosine { final_fraction: 0.0 }, 1.0, warm_up, total);
                assert!(rates(&schedule, 20).iter().all(|rate| (0.0..=1.0).contains(rate)));
                assert!(rates(&schedule, warm_up).is_sorted());
            }
        }
    }
}
