//! A report of plausible numbers: seven models, two tasks, three strata, three seeds.

mod crowded;
mod learned;

pub use crowded::{crowded, many};

use learned::{embeddings, gates, learning, priors};
use stem_report::report::{
    CalibrationBin, Interval, LabelKind, Metric, ModelReport, PairReport, Provenance, Report, SearchReport, Spread,
    StratumModel, StratumReport, StratumTask, TaskReport, Trial,
};

const TASKS: [&str; 2] = ["like", "follow"];
const STRATA: [&str; 3] = ["like-dominant", "comparable", "follow-dominant"];
const SEEDS: [u64; 3] = [1, 2, 3];

/// Name, parameters, seconds, AUC of either task, transfer in the three strata.
type Facts = (&'static str, u64, f64, [f64; 2], [f64; 3]);

const MODELS: [Facts; 7] = [
    ("single-task", 1_482_240, 148.0, [0.7700, 0.7812], [0.0, 0.0, 0.0]),
    ("shared-bottom", 512_706, 61.0, [0.7494, 0.7665], [-0.009, -0.028, -0.016]),
    ("mmoe", 648_330, 97.0, [0.7697, 0.7674], [0.004, -0.003, -0.012]),
    ("ple", 731_914, 121.0, [0.7479, 0.7645], [-0.012, -0.027, -0.018]),
    ("aitm", 540_118, 74.0, [0.7529, 0.7810], [-0.006, -0.021, 0.0]),
    ("ple-me", 2_190_412, 203.0, [0.7847, 0.7835], [0.016, -0.011, 0.012]),
    ("stem", 2_231_850, 231.0, [0.7851, 0.7921], [0.007, 0.024, 0.012]),
];

/// Numbers that look random and are the same every time.
struct Noise(u64);

impl Noise {
    /// Between -1 and 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1u32 << 30) - 1.0
    }
}

/// The whole report.
pub fn sample() -> Report {
    let mut noise = Noise(7);
    Report {
        title: "simulated-conflict: seven models, two tasks".into(),
        provenance: provenance(),
        tasks: TASKS.map(Into::into).into(),
        reference: Some("single-task".into()),
        metric: Metric::Auc,
        metrics: Vec::new(),
        models: MODELS.iter().map(|facts| model(facts, &mut noise)).collect(),
        pairs: vec![pair(&mut noise)],
        warnings: vec![
            "Three seeds: intervals are wide, and a difference under 0.002 is not to be relied on.".into(),
            "follow-dominant users have 9,804 test rows, fewer than a tenth of all.".into(),
        ],
        search: Some(search(&mut noise)),
        evaluation: None,
        replay: None,
    }
}

fn provenance() -> Provenance {
    Provenance {
        recipe: "simulated-conflict".into(),
        rows: [320_000, 40_000, 40_000],
        seeds: SEEDS.into(),
        device: "flex, 2 threads".into(),
        versions: vec![
            ("stem-train".into(), "0.1.0".into()),
            ("burn".into(), "0.22.1".into()),
            ("rustc".into(), "1.95.0".into()),
        ],
        command: "stem compare --recipe datasets/simulated/recipe.toml --data out/simulated \\\n    \
                  --models single-task,shared-bottom,mmoe,ple,aitm,ple-me,stem --seeds 1,2,3 --out out/compare"
            .into(),
        finished: "2026-05-04 16:20 UTC".into(),
        seconds: 2805.0,
        settings: [
            ("batch_size", "1024"),
            ("epochs", "20"),
            ("patience", "2"),
            ("embedding_dim", "16"),
            ("resamples", "1000"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into(),
    }
}

fn spread(mean: f64, scale: f64, noise: &mut Noise) -> Option<Spread> {
    let values: Vec<f64> = SEEDS.iter().map(|_| mean + scale * noise.next()).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let sd = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt();
    Some(Spread { mean, sd, values })
}

fn interval(mean: f64, half: f64) -> Option<Interval> {
    Some(Interval { mean, low: mean - half, high: mean + half })
}

fn model(&(name, parameters, seconds, aucs, _): &Facts, noise: &mut Noise) -> ModelReport {
    ModelReport {
        name: name.into(),
        parameters,
        seconds: SEEDS.iter().map(|_| seconds + 4.0 * noise.next()).collect(),
        memory_gb: Some(0.2 + parameters as f64 * 4e-8),
        tasks: (0..2).map(|t| task(name, t, aucs[t], noise)).collect(),
        settings: [
            ("optimizer", "adam"),
            ("lr", "0.001"),
            ("l2", "1e-6"),
            ("experts", "2 per task, 1 shared"),
            ("hidden", "64, 32"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into(),
        learning: SEEDS.iter().map(|&seed| learning(name, seed, aucs, noise)).collect(),
        gates: gates(name, noise),
        priors: if name == "stem" { priors() } else { Vec::new() },
        embeddings: (name == "stem" || name == "shared-bottom").then(|| embeddings(name == "stem", noise)),
    }
}

fn task(name: &str, t: usize, auc: f64, noise: &mut Noise) -> TaskReport {
    let measured = spread(auc, 0.0015, noise);
    let mean = measured.as_ref().map_or(auc, |s| s.mean);
    // TPR = FPR^k has the area 1 / (1 + k).
    let k = 1.0 / mean - 1.0;
    let rate = [0.34, 0.16][t];
    let mut bin = |i: i32| {
        let p = rate * (0.25 + 0.2 * f64::from(i));
        CalibrationBin { mean_prediction: p, mean_label: (p * (1.0 + 0.08 * noise.next())).min(0.98), rows: 4000 }
    };
    let bins: Vec<CalibrationBin> = (0..10).map(&mut bin).collect();
    TaskReport {
        gauc: spread(auc - 0.065, 0.002, noise),
        logloss: spread([0.99, 0.83][t] - auc * 0.55, 0.001, noise),
        calibration: spread(1.0 + 0.03 * noise.next(), 0.012, noise),
        transfer: (name != "single-task").then(|| interval(auc - MODELS[0].3[t], 0.0028)).flatten(),
        calibration_curve: bins,
        valid: spread(auc + 0.002, 0.0015, noise),
        joint: ["stem", "ple-me"].contains(&name).then(|| spread(auc - 0.004, 0.0015, noise)).flatten(),
        roc: (0..=60).map(|i| f64::from(i) / 60.0).map(|x| [x, x.powf(k)]).collect(),
        uncalibrated: None,
        others: Default::default(),
        kind: LabelKind::Binary,
        auc: measured,
    }
}

fn pair(noise: &mut Noise) -> PairReport {
    let strata = STRATA.iter().zip([19_420u64, 8_112, 9_804]).enumerate().map(|(s, (name, rows))| {
        let models = MODELS.iter().map(|(model, .., changes)| {
            let tasks = TASKS.iter().enumerate().map(|(t, task)| {
                let change = changes[s] * [1.0, 0.8][t] + 0.001 * noise.next();
                let transfer = (*model != "single-task").then(|| interval(change, 0.0042)).flatten();
                StratumTask {
                    task: (*task).into(),
                    positives: rows * [34, 16][t] / 100,
                    labelled: rows,
                    auc: Some(0.765 + change),
                    gauc: Some(0.701 + change),
                    logloss: Some([0.561, 0.402][t] - change / 2.0),
                    calibration: (s < 2).then(|| 1.0 + 0.03 * noise.next()),
                    transfer,
                }
            });
            StratumModel { model: (*model).into(), tasks: tasks.collect() }
        });
        StratumReport { name: (*name).into(), rows, models: models.collect() }
    });
    PairReport {
        a: TASKS[0].into(),
        b: TASKS[1].into(),
        cuts: [0.21, 0.35],
        note: None,
        unassigned: 2664,
        strata: strata.collect(),
    }
}

fn search(noise: &mut Noise) -> SearchReport {
    let mut trials = Vec::new();
    for (model, .., aucs, _) in MODELS {
        for (i, rate) in ["0.003", "0.001", "0.0003"].iter().enumerate() {
            trials.push(Trial {
                model: model.into(),
                settings: vec![
                    ("lr".into(), (*rate).into()),
                    ("l2".into(), "1e-6".into()),
                    ("dim".into(), "16".into()),
                ],
                epochs: 6 + i * 3,
                score: (i != 2 || model != "ple")
                    .then(|| aucs[0] - 0.002 * (i as f64 - 1.0).abs() + 0.0006 * noise.next()),
                won: i == 1,
            });
        }
    }
    SearchReport {
        budget: "Three trials for every model, seed 1, scored by the mean validation AUC over tasks.".into(),
        note: "The winner's settings were then run with every seed. A trial without a score did not finish.".into(),
        trials,
    }
}
