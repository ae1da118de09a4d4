//! Reports that are hard to lay out, and large ones.

use super::sample;
use stem_report::report::{GateMap, ModelReport, PairReport, Report};

/// The same users' numbers, of two other tasks.
fn between(pair: &mut PairReport, a: &str, b: &str) {
    (pair.a, pair.b) = (a.into(), b.into());
    for model in pair.strata.iter_mut().flat_map(|s| &mut s.models) {
        (model.tasks[0].task, model.tasks[1].task) = (a.into(), b.into());
    }
    for (stratum, name) in
        pair.strata.iter_mut().zip([format!("{a}-dominant"), "comparable".into(), format!("{b}-dominant")])
    {
        stratum.name = name;
    }
}

/// Seven models on seven tasks: 21 pairs, two layers of gates by the users of each, three pictures for every model.
pub fn many() -> Report {
    let mut report = sample();
    report.title = "seven models, seven tasks".into();
    report.tasks = ["like", "follow", "share", "comment", "finish", "hate", "profile"].map(Into::into).into();
    let tasks = report.tasks.clone();
    let pair = |i: usize| tasks[i + 1..].iter().map(move |b| (i, b));
    let pairs: Vec<(String, String)> = (0..7).flat_map(pair).map(|(i, b)| (tasks[i].clone(), b.clone())).collect();
    report.pairs = pairs
        .iter()
        .map(|(a, b)| {
            let mut pair = report.pairs[0].clone();
            between(&mut pair, a, b);
            pair
        })
        .collect();
    let embeddings = report.models[6].embeddings.clone();
    for model in &mut report.models {
        model.tasks = model.tasks.iter().cycle().take(7).cloned().collect();
        model.embeddings = embeddings.clone();
        for epoch in model.learning.iter_mut().flat_map(|l| &mut l.epochs) {
            epoch.loss = epoch.loss.iter().cycle().take(7).copied().collect();
            epoch.auc = epoch.auc.iter().cycle().take(7).copied().collect();
            epoch.logloss = epoch.logloss.iter().cycle().take(7).copied().collect();
        }
        if ["single-task", "shared-bottom", "aitm"].contains(&model.name.as_str()) {
            continue;
        }
        let values = |r: usize| (0..8).map(|c| if r == c { 0.3 } else { 0.1 }).collect();
        let map = |layer, stratum: Option<String>, pair| GateMap {
            layer,
            stratum,
            pair,
            rows: tasks.clone(),
            columns: tasks.iter().cloned().chain(["shared".into()]).collect(),
            values: (0..7).map(values).collect(),
        };
        model.gates = (0..2)
            .flat_map(|layer| {
                let by_users = report.pairs.iter().flat_map(move |p| {
                    p.strata.iter().map(move |s| map(layer, Some(s.name.clone()), Some((p.a.clone(), p.b.clone()))))
                });
                [map(layer, None, None)].into_iter().chain(by_users)
            })
            .collect();
    }
    report
}

/// The sample made hard to lay out: more models than colours, six tasks, long names and names that are markup.
pub fn crowded() -> Report {
    let mut report = sample();
    let names = [
        "a-task-with-quite-a-long-name_and_more",
        "<script>alert(1)</script>",
        "\"&'",
        "\u{8bc4}\u{8bba}",
        "x",
        "share",
    ];
    report.title =
        "A title that is long, to see where it breaks: <b>&amp;</b> and_a_word_without_any_place_to_break_it_at_all"
            .into();
    report.tasks = names.map(Into::into).into();
    let more: Vec<ModelReport> = report.models[1..].to_vec();
    report.models.extend(
        more.into_iter().map(|m| ModelReport { name: format!("{} with a longer name, \"wide\"", m.name), ..m }),
    );
    for model in &mut report.models {
        model.tasks = model.tasks.iter().cycle().take(6).cloned().collect();
        for map in &mut model.gates {
            map.rows = report.tasks.clone();
            map.columns = report.tasks.iter().cloned().chain(["shared".into()]).collect();
            map.values = (0..6).map(|r| (0..7).map(|c| if r == c { 0.4 } else { 0.1 }).collect()).collect();
        }
    }
    let mut other = report.pairs[0].clone();
    between(&mut report.pairs[0], names[0], names[1]);
    between(&mut other, names[0], names[1]);
    if let Some(stratum) = other.strata.last_mut() {
        stratum.rows = 12;
        for task in stratum.models.iter_mut().flat_map(|m| &mut m.tasks) {
            (task.positives, task.labelled, task.auc, task.transfer) = (0, 12, None, None);
        }
    }
    other.note = Some("Cut by a smoothed share, because many users have the same share.".into());
    report.pairs.push(other);
    // Said by two models, and meant once.
    report.warnings.push(report.warnings[0].clone());
    report.warnings.push("one_word_".repeat(40));
    report
}
