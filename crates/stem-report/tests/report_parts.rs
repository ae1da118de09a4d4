//! What the parts of the page tell besides their charts.

use crate::report_page::{part, sound};
use crate::report_sample::{crowded, many, sample};
use stem_report::report::{EpochPoint, LearningCurve, Metric, ModelReport, Report};

#[test]
fn embeddings_come_last_and_are_folded_up() {
    let page = sound(&sample());
    let ids: Vec<&str> = page.split("<section id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(
        ids,
        [
            "verdict",
            "run",
            "quality",
            "transfer",
            "users",
            "learning",
            "curves",
            "gates",
            "priors",
            "cost",
            "search",
            "warnings",
            "embeddings"
        ]
    );
    let embeddings = part(&page, "embeddings");
    let before = embeddings.split("<details class=\"part\">").next().unwrap();
    assert!(!before.contains("<figure>") && embeddings.matches("<figure>").count() > 5);
}

#[test]
fn a_warning_that_is_given_twice_is_printed_once() {
    let report = crowded();
    let page = sound(&report);
    let of = |text: &str| part(&page, "warnings").matches(text).count();
    assert_eq!((report.warnings.len(), of("<li>"), of(&report.warnings[0])), (4, 3, 1));
    assert!(part(&page, "verdict").contains(">3 warnings</a>"));
}

#[test]
fn quality_has_a_row_for_every_task_and_model_and_is_as_wide_for_many_tasks() {
    let columns = |report: &Report| {
        let page = sound(report);
        let quality = part(&page, "quality").to_owned();
        let head: Vec<String> = quality
            .split("<th scope=\"col\">")
            .skip(1)
            .filter_map(|rest| rest.split('<').next().map(String::from))
            .collect();
        (head, quality.matches("<th scope=\"row\"").count())
    };
    let head = ["task", "model", "valid AUC", "AUC", "gAUC", "logloss", "calibration"].map(String::from);
    assert_eq!(columns(&sample()), (head.to_vec(), 14));
    assert_eq!(columns(&many()), (head.to_vec(), 49));
    let mut report = sample();
    report.metric = Metric::Logloss;
    assert_eq!(columns(&report).0[2], "valid logloss");
    report.models.iter_mut().flat_map(|m| &mut m.tasks).for_each(|task| task.valid = None);
    assert!(!columns(&report).0[2].contains("valid"));
}

#[test]
fn how_much_is_the_stopping_stands_in_a_table_of_its_own() {
    let mut report = sample();
    let page = sound(&report);
    let transfer = part(&page, "transfer");
    assert!(transfer.contains("each task&#39;s best") && transfer.contains("one stopping point"));
    // Two models on two tasks.
    let table = transfer.rsplit("<tbody>").next().unwrap();
    assert_eq!(table.matches("<tr>").count(), 4);
    report.models.iter_mut().flat_map(|m| &mut m.tasks).for_each(|task| task.joint = None);
    assert!(!part(&sound(&report), "transfer").contains("one stopping point"));
}

#[test]
fn users_that_were_cut_in_another_way_are_said_to_be() {
    let page = sound(&crowded());
    let users = part(&page, "users");
    assert!(users.contains(
        "Cut by a smoothed share, because many users have the same share. Here a is the number of a user&#39;s"
    ));
    assert_eq!(users.matches("Cut at a share of").count(), 1, "of the other pair");
}

/// A training of one task, measured twice an epoch.
fn curve(seed: u64, logloss: &[f64]) -> LearningCurve {
    let point = |(i, &logloss): (usize, &f64)| EpochPoint {
        epoch: i / 2 + 1,
        at: (i + 1) as f64 / 2.0,
        loss: vec![0.5 - 0.01 * i as f64],
        auc: vec![Some(0.7 + 0.01 * i as f64)],
        logloss: vec![Some(logloss)],
        ..EpochPoint::default()
    };
    let epochs = logloss.iter().enumerate().map(point).collect();
    LearningCurve { seed, epochs, kept: vec![Some(1)], max_epochs: Some(2), ..LearningCurve::default() }
}

#[test]
fn what_happened_in_training_is_said_and_what_was_kept_is_ringed() {
    let learning = vec![curve(1, &[0.5, 0.4, 0.41, 0.44]), curve(2, &[0.5, 0.4, 0.401, 0.402])];
    let models = vec![ModelReport { name: "stem".into(), learning, ..ModelReport::default() }];
    let mut report = Report { tasks: vec!["like".into()], models, ..Report::default() };
    let page = sound(&report);
    let told = part(&page, "learning");
    assert!(
        told.contains(
            "like, overfitting: after its best the validation logloss rises by more than 1 % while the training loss falls, with stem \
             (1 of 2 seeds, up to 10.0 %). The ring is around what is kept."
        ),
        "{told}"
    );
    assert!(!told.contains("epochs ran out"), "what is kept is from the first epoch");
    // AUC, logloss and training loss, a ring for either seed.
    assert_eq!(told.matches("<circle class=\"kept ").count(), 6);
    for place in ["epoch 0.5", "epoch 1", "epoch 1.5", "epoch 2"] {
        assert_eq!(told.matches(&format!("<th scope=\"col\">{place}</th>")).count(), 3, "{place}");
    }
    report.models[0].learning.iter_mut().for_each(|curve| curve.kept.clear());
    let page = sound(&report);
    let told = part(&page, "learning");
    assert!(
        told.contains(
            "like, epochs ran out: the last one allowed was still the best, with stem (2 of 2 seeds). Give more epochs."
        ),
        "{told}"
    );
}
