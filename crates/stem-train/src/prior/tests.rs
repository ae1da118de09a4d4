//! The learned prior is held to tables whose variances are known.

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stem_core::{Batch, Field, Schema, Task, VocabularySpec};

use super::learned::LearnedPrior;
use super::matrix::inverse;
use crate::counts::RowCounts;
use crate::ranks::Team;

const GROUPS: usize = 3;
const DIM: usize = 4;
const WIDTH: usize = GROUPS * DIM;
const ROWS: usize = 3000;
/// Curvature of the loss at an embedding.
const CURVATURE: f64 = 2.0;

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (a, b): (f64, f64) = (rng.random::<f64>().max(1e-300), rng.random());
    (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}

/// A factor `L` of a covariance `L L^T`, `[G, G]`.
fn factor(deviations: [f64; GROUPS], correlation: f64) -> [[f64; GROUPS]; GROUPS] {
    let mut all = [[0.0; GROUPS]; GROUPS]; // the Cholesky factor of (1 - c) I + c 1 1^T, then scaled
    for i in 0..GROUPS {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| all[i][k] * all[j][k]).sum();
            let entry = if i == j { 1.0 } else { correlation };
            all[i][j] = if i == j { (entry - dot).sqrt() } else { (entry - dot) / all[j][j] };
        }
    }
    for (row, deviation) in all.iter_mut().zip(deviations) {
        row.iter_mut().for_each(|x| *x *= deviation);
    }
    all
}

/// A table of one vocabulary, seen through noise: row `r` occurs `n_r` times, and its data alone would put it at
/// `seen = w + N(0, 1 / (n_r F))`.
struct Simulated {
    counts: Vec<usize>,
    seen: Vec<f64>, // [R, W]
}

impl Simulated {
    fn draw(deviations: [f64; GROUPS], correlation: f64, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let factor = factor(deviations, correlation);
        let counts: Vec<usize> = (0..ROWS).map(|_| 1 << rng.random_range(0..7)).collect();
        let mut seen = vec![0.0; ROWS * WIDTH];
        for (r, &count) in counts.iter().enumerate() {
            for d in 0..DIM {
                let z: [f64; GROUPS] = std::array::from_fn(|_| normal(&mut rng));
                for g in 0..GROUPS {
                    let w: f64 = (0..GROUPS).map(|k| factor[g][k] * z[k]).sum();
                    seen[r * WIDTH + g * DIM + d] = w + normal(&mut rng) / (count as f64 * CURVATURE).sqrt();
                }
            }
        }
        Self { counts, seen }
    }

    fn schema() -> Schema {
        let fields = vec![Field::category("user", 0)];
        Schema::new(fields, vec![VocabularySpec::new("user", ROWS + 2)], vec![Task::new("a"), Task::new("b")])
    }

    fn prior(&self, tied: bool) -> LearnedPrior {
        let mut counts = RowCounts::none(&Self::schema());
        for (r, &count) in self.counts.iter().enumerate() {
            counts.add(&Batch::new(count, vec![r as u32 + 1; count], vec![1.0; count]));
        }
        LearnedPrior::start(counts, &[DIM; GROUPS], tied, 0.1, 0.5)
    }

    /// What training ends at under a prior: the most probable table given what was seen. `[R, W]`
    fn most_probable(&self, prior: &LearnedPrior) -> Vec<f64> {
        let mut table = vec![0.0; ROWS * WIDTH];
        for (r, &count) in self.counts.iter().enumerate() {
            let data = count as f64 * CURVATURE;
            for d in 0..DIM {
                let mut precision = prior.precision_of(0, d);
                (0..GROUPS).for_each(|g| precision[g * GROUPS + g] += data);
                let posterior = inverse(&precision, GROUPS).expect("positive definite");
                for g in 0..GROUPS {
                    let of = |h: usize| posterior[g * GROUPS + h] * data * self.seen[r * WIDTH + h * DIM + d];
                    table[r * WIDTH + g * DIM + d] = (0..GROUPS).map(of).sum();
                }
            }
        }
        table
    }

    /// Looks at rows in proportion to how often they occur, as batches do, and steps of EM in between.
    fn learn(&self, tied: bool, seed: u64) -> LearnedPrior {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let occurrences: Vec<u32> =
            self.counts.iter().zip(0..).flat_map(|(&count, r)| std::iter::repeat_n(r, count)).collect();
        let mut prior = self.prior(tied);
        for _ in 0..60 {
            let table = self.most_probable(&prior);
            for _ in 0..5 {
                const LOOKED_AT: usize = 400;
                let rows: Vec<u32> =
                    (0..LOOKED_AT).map(|_| occurrences[rng.random_range(0..occurrences.len())]).collect();
                let values: Vec<f32> =
                    rows.iter().flat_map(|&r| table[r as usize * WIDTH..][..WIDTH].iter().map(|w| *w as f32)).collect();
                // the loss is a mean over samples
                let slope = || normal(&mut rng) * CURVATURE.sqrt() / LOOKED_AT as f64;
                let slopes: Vec<f32> = std::iter::repeat_with(slope).take(values.len()).map(|s| s as f32).collect();
                let ids = rows.iter().map(|r| r + 1).collect();
                prior.look(
                    &Batch::new(LOOKED_AT, ids, vec![1.0; LOOKED_AT]),
                    LOOKED_AT,
                    &values,
                    &slopes,
                    &Team::default(),
                );
            }
            prior.maximise();
        }
        prior
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn variances_and_correlations_of_a_table_are_recovered(
        deviations in prop::array::uniform3(0.2f64..2.0),
        correlation in 0.0f64..0.9,
        seed in any::<u64>(),
    ) {
        let simulated = Simulated::draw(deviations, correlation, seed);
        let found = &simulated.learn(true, seed ^ 1).summary(&Simulated::schema(), &[0, 1, 2])[0];
        let names: Vec<&str> = found.groups.iter().map(|group| group.name.as_str()).collect();
        prop_assert_eq!(names, ["a", "b", "shared"]);
        for (g, deviation) in deviations.into_iter().enumerate() {
            let learned = found.groups[g].deviation;
            prop_assert!((learned / deviation - 1.0).abs() < 0.12, "{}: {} of {}", g, learned, deviation);
            for h in 0..g {
                let learned = found.correlation[g][h];
                prop_assert!((learned - correlation).abs() < 0.12, "{} of {}", learned, correlation);
            }
        }
        let diagonal = &simulated.learn(false, seed ^ 1).summary(&Simulated::schema(), &[0, 1, 2])[0];
        prop_assert!(diagonal.correlation.is_empty());
        for (g, deviation) in deviations.into_iter().enumerate() {
            let learned = diagonal.groups[g].deviation;
            prop_assert!((learned / deviation - 1.0).abs() < 0.12, "{}: {} of {}", g, learned, deviation);
        }
    }
}

#[test]
fn a_vocabulary_without_occurrences_keeps_what_was_believed_at_first() {
    let prior = LearnedPrior::start(RowCounts::none(&Simulated::schema()), &[DIM; GROUPS], true, 0.1, 0.5);
    let mut learned = prior.clone();
    learned.maximise();
    let of = |prior: &LearnedPrior| prior.summary(&Simulated::schema(), &[0, 1, 2]);
    assert_eq!(of(&learned), of(&prior));
    assert!(
        (of(&prior)[0].correlation[0][1] - 0.5).abs() < 1e-12
            && (of(&prior)[0].groups[2].deviation - 0.1).abs() < 1e-12
    );
}

#[test]
fn variances_of_what_no_data_speak_of_stay_where_they_were() {
    let simulated = Simulated::draw([1.0; GROUPS], 0.0, 3);
    let mut prior = simulated.prior(true);
    for _ in 0..200 {
        let rows: Vec<u32> = (1..401).collect();
        let zeros = vec![0.0; rows.len() * WIDTH];
        prior.look(&Batch::new(400, rows, vec![1.0; 400]), 400, &zeros, &zeros, &Team::default());
        prior.maximise();
    }
    let found = prior.summary(&Simulated::schema(), &[0, 1, 2]);
    assert!(found[0].groups.iter().all(|group| group.deviation.is_finite() && group.deviation < 0.2), "{found:?}");
}
