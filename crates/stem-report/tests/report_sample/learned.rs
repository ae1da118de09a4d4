//! What models learned: trainings, gates, embeddings.

use super::{Noise, STRATA, TASKS};
use stem_report::report::{EmbeddingReport, EpochPoint, FieldEmbedding, GateMap, LearningCurve, Picture, PriorReport};

/// Two measurements an epoch of `stem`, one of the others; the epochs of `mmoe` run out.
pub fn learning(name: &str, seed: u64, aucs: [f64; 2], noise: &mut Noise) -> LearningCurve {
    let last = 9 + (seed as usize * 5 + (aucs[0] * 1e4) as usize) % 6;
    let (each, overfits) = (if name == "stem" { 2 } else { 1 }, name != "mmoe");
    let epochs = (1..=each * last).map(|measured| {
        let at = measured as f64 / each as f64;
        let epoch = measured.div_ceil(each);
        let done = 1.0 - (-0.45 * at).exp();
        let over = if overfits { (at - 7.0).max(0.0) * 0.0012 } else { -0.002 * at };
        let auc = aucs.map(|auc| Some(0.62 + (auc - 0.62) * done - over + 0.0008 * noise.next()));
        let mut point = EpochPoint {
            epoch,
            at,
            loss: [0.62, 0.44].map(|l| l - 0.09 * done - 0.003 * at + 0.0005 * noise.next()).into(),
            auc: auc.into(),
            logloss: [0.63, 0.45].map(|l| Some(l - 0.08 * done + 3.0 * over + 0.0005 * noise.next())).into(),
            others: Vec::new(),
        };
        // Trained apart: the second task had stopped three epochs before the first.
        if name == "single-task" && epoch + 3 > last {
            (point.loss[1], point.auc[1], point.logloss[1]) = (f64::NAN, None, None);
        }
        point
    });
    let max_epochs = Some(if overfits { 20 } else { last });
    LearningCurve { seed, epochs: epochs.collect(), max_epochs, ..LearningCurve::default() }
}

pub fn gates(name: &str, noise: &mut Noise) -> Vec<GateMap> {
    if name != "stem" && name != "ple" {
        return Vec::new();
    }
    let strata = [None].into_iter().chain(STRATA.iter().map(|s| Some((*s).to_owned())));
    let map = |stratum: Option<String>| {
        let mut row = |own: usize| -> Vec<f64> {
            let mut weights = [0.24 + 0.1 * noise.next(); 3];
            weights[own] = 0.42 + 0.08 * noise.next();
            weights[1 - own] = if name == "ple" { 0.0 } else { 0.12 + 0.05 * noise.next() };
            let sum: f64 = weights.iter().sum();
            weights.iter().map(|w| w / sum).collect()
        };
        let values = vec![row(0), row(1)];
        GateMap {
            layer: 0,
            pair: stratum.is_some().then(|| (TASKS[0].into(), TASKS[1].into())),
            stratum,
            rows: TASKS.map(Into::into).into(),
            columns: ["like", "follow", "shared"].map(Into::into).into(),
            values,
        }
    };
    strata.map(map).collect()
}

pub fn embeddings(several: bool, noise: &mut Noise) -> EmbeddingReport {
    let groups: Vec<String> =
        if several { ["like", "follow", "shared"].map(Into::into).into() } else { vec!["all tasks".into()] };
    let n = groups.len();
    let fields =
        ["user", "item", "user_group", "item_category"].iter().zip([5000, 5000, 12, 40]).map(|(field, sampled)| {
            FieldEmbedding {
                field: (*field).into(),
                sampled,
                groups: groups.clone(),
                norms: (0..n).map(|_| 0.9 + 0.4 * noise.next()).collect(),
                effective_rank: (0..n).map(|_| Some(9.0 + 4.0 * noise.next())).collect(),
                cka: (0..n)
                    .map(|a| (0..n).map(|b| Some(if a == b { 1.0 } else { 0.1 + 0.12 * (a + b) as f64 })).collect())
                    .collect(),
            }
        });
    let fields = fields.collect();
    let point = |i: usize, noise: &mut Noise| {
        let stratum = i % 3;
        let centre = [(-1.2, 0.3), (0.1, -0.5), (1.1, 0.6)][stratum];
        let mut bell = || (noise.next() + noise.next() + noise.next()) * 0.55;
        (centre.0 + bell(), centre.1 + bell(), stratum)
    };
    let shown = if several { &groups[..] } else { &[] };
    let picture = |group: &String| Picture {
        field: "user".into(),
        group: group.clone(),
        explained: [0.412, 0.187],
        strata: STRATA.map(Into::into).into(),
        points: (0..600).map(|i| point(i, noise)).collect(),
    };
    let pictures = shown.iter().map(picture).collect();
    EmbeddingReport { fields, pictures }
}

/// A learned prior of two fields.
pub fn priors() -> Vec<PriorReport> {
    let of = |fields: &str, correlation: f64| PriorReport {
        fields: fields.into(),
        groups: ["click", "like", "shared"].map(str::to_string).into(),
        deviations: vec![0.2, 0.1, 0.3],
        correlation: (0..3).map(|g| (0..3).map(|h| if g == h { 1.0 } else { correlation }).collect()).collect(),
    };
    vec![of("user_id", 0.31), of("video_id", -0.12)]
}
