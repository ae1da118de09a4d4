//! How often the interval of a difference holds the truth, where the truth is known to be nothing.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::{Bootstrap, Difference, Interval, Metric, Ranked, Sample};

const USERS: usize = 150;
const ROWS: usize = USERS * 12;
const NULLS: u64 = 300;

/// How two models differ that are equally good in the mean.
#[derive(Clone, Copy)]
struct Luck {
    /// Errors of a model on a user's rows, the same with every seed.
    users: f32,
    /// The same, with every seed others.
    users_by_seed: f32,
    /// How much more or less of one error, that all make, a seed makes on all rows: it is better or worse.
    seeds: f32,
}

fn normal(rng: &mut ChaCha8Rng) -> f32 {
    StandardNormal.sample(rng)
}

/// Two models with these seeds that are equally good but for luck, and the difference that is found.
fn null(luck: Luck, seeds: usize, repetition: u64, metric: Metric, by_user: bool) -> Difference {
    let mut rng = ChaCha8Rng::seed_from_u64(1000 + repetition);
    let users: Vec<u32> = (0..ROWS as u32).map(|row| row / (ROWS / USERS) as u32).collect();
    let of_users = |rng: &mut ChaCha8Rng| -> Vec<f32> { (0..USERS).map(|_| normal(rng)).collect() };
    let likes = of_users(&mut rng);
    let truth: Vec<f32> = users.iter().map(|&u| likes[u as usize] + normal(&mut rng) - 0.5).collect();
    let chance = |t: f32| 1.0 / (1.0 + (-t).exp());
    let labels: Vec<f32> = truth.iter().map(|&t| f32::from(u8::from(rng.random::<f32>() < chance(t)))).collect();
    let error: Vec<f32> = (0..ROWS).map(|_| normal(&mut rng)).collect();
    let alone: Vec<u32> = (0..ROWS as u32).collect();
    let sample = Sample::new(&labels, if by_user { &users } else { &alone }, None);
    let mut model = || -> Vec<Ranked> {
        let of_model = of_users(&mut rng);
        let mut seed = || {
            let (of_seed, more) = (of_users(&mut rng), 0.7 + luck.seeds * normal(&mut rng));
            let score = |row: usize| {
                let user = users[row] as usize;
                let wrong = luck.users * of_model[user] + luck.users_by_seed * of_seed[user] + more * error[row];
                chance(truth[row] + wrong)
            };
            sample.rank(&(0..ROWS).map(score).collect::<Vec<f32>>())
        };
        (0..seeds).map(|_| seed()).collect()
    };
    let (reference, other) = (model(), model());
    let bootstrap = Bootstrap { resamples: 200, seed: repetition };
    bootstrap.paired_by(metric, &reference, &[other])[0].expect("both classes are there")
}

/// The share of nulls whose interval holds zero: over users and seeds, and over users alone.
fn covered(luck: Luck, seeds: usize, metric: Metric, by_user: bool) -> [f64; 2] {
    let holds = |interval: Interval| u32::from(interval.low <= 0.0 && interval.high >= 0.0);
    let (mut both, mut users) = (0, 0);
    for repetition in 0..NULLS {
        let found = null(luck, seeds, repetition, metric, by_user);
        (both, users) = (both + holds(found.interval), users + holds(found.users));
    }
    [both, users].map(|held| f64::from(held) / NULLS as f64)
}

const LUCK_OF_USERS: Luck = Luck { users: 0.6, users_by_seed: 0.0, seeds: 0.0 };
const LUCK_OF_SEEDS: Luck = Luck { users: 0.0, users_by_seed: 0.0, seeds: 0.2 };
const LUCK_OF_BOTH: Luck = Luck { users: 0.5, users_by_seed: 0.4, seeds: 0.2 };

fn check(luck: Luck, metric: Metric) -> Vec<[f64; 2]> {
    let found: Vec<[f64; 2]> = [2, 3, 5].map(|seeds| covered(luck, seeds, metric, true)).into();
    assert!(found.iter().all(|[both, _]| (0.90..=0.99).contains(both)), "{metric:?}: {found:?}");
    found
}

#[test]
fn nine_of_ten_nulls_or_more_are_covered_where_users_are_the_luck() {
    check(LUCK_OF_USERS, Metric::Auc);
}

#[test]
fn nine_of_ten_nulls_or_more_are_covered_where_seeds_are_the_luck_and_fewer_over_users_alone() {
    let found = check(LUCK_OF_SEEDS, Metric::Auc);
    assert!(found.iter().all(|[_, users]| *users < 0.8), "{found:?}");
}

#[test]
fn nine_of_ten_nulls_or_more_are_covered_where_users_and_seeds_are_the_luck() {
    check(LUCK_OF_BOTH, Metric::Auc);
}

#[test]
fn nine_of_ten_nulls_or_more_of_auc_within_users_and_of_logloss_are_covered() {
    for luck in [LUCK_OF_SEEDS, LUCK_OF_BOTH] {
        check(luck, Metric::Gauc);
        check(luck, Metric::Logloss);
    }
}

#[test]
fn rows_of_one_user_are_no_independent_witnesses() {
    let [[by_user, _], [by_row, _]] = [true, false].map(|by_user| covered(LUCK_OF_USERS, 1, Metric::Auc, by_user));
    assert!((0.91..=0.98).contains(&by_user) && by_row + 0.02 < by_user, "{by_user} by user, {by_row} by row");
}
