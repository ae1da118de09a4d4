//! What the page says is to be shipped, and why.

use crate::report_page::sound;
use stem_report::report::{
    Interval, ModelReport, PairReport, Report, Spread, StratumModel, StratumReport, StratumTask, TaskReport, verdicts,
};

/// `aucs`: mean, deviation; transfer's ends.
fn model(name: &str, parameters: u64, auc: (f64, f64), transfer: Option<(f64, f64)>) -> ModelReport {
    let transfer = transfer.map(|(low, high)| Interval { mean: (low + high) / 2.0, low, high });
    let values = vec![auc.0 - auc.1, auc.0, auc.0 + auc.1];
    let auc = Some(Spread { mean: auc.0, sd: auc.1, values });
    ModelReport {
        name: name.into(),
        parameters,
        tasks: vec![TaskReport { auc, transfer, ..TaskReport::default() }],
        ..ModelReport::default()
    }
}

fn compared(others: Vec<ModelReport>) -> Report {
    let single = model("single-task", 300, (0.77, 0.001), None);
    Report {
        tasks: vec!["like".into()],
        reference: Some("single-task".into()),
        models: [single].into_iter().chain(others).collect(),
        ..Report::default()
    }
}

fn told(report: &Report) -> String {
    verdicts(report).iter().map(|v| format!("{}: {}", v.headline, v.reasons.join(" "))).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_gain_with_evidence_is_shipped_and_told_with_its_interval() {
    let report = compared(vec![
        model("stem", 900, (0.793, 0.001), Some((0.019, 0.027))),
        model("mmoe", 100, (0.75, 0.001), Some((-0.03, -0.01))),
    ]);
    assert_eq!(
        told(&report),
        "Ship stem for like: +0.0230 AUC against single-task on all users of this test split (95 % interval over users and seeds +0.0190 to +0.0270; a gain \
         with each of 3 seeds). \
         Of 2 models that share, transfer to like is positive for 1, negative for 1 and without evidence for 0."
    );
    let page = sound(&report);
    assert!(page.contains("<strong>Ship stem for like</strong>") && page.contains("Sharing helps the task."));
    assert!(page.contains("negative: it is below zero"));
}

#[test]
fn a_tie_is_told_and_the_cheapest_of_it_shipped() {
    let report = compared(vec![
        model("stem", 900, (0.793, 0.004), Some((0.019, 0.027))),
        model("ple-me", 800, (0.791, 0.001), Some((0.018, 0.024))),
    ]);
    let verdict = verdicts(&report).remove(0);
    assert_eq!((verdict.model.as_deref(), &verdict.tied[..]), (Some("ple-me"), &["stem".to_owned()][..]));
    assert!(told(&report).contains(
        "It is a tie: these users and seeds cannot tell ple-me (AUC 0.7910 \u{b1} 0.0010) and stem (AUC 0.7930 \u{b1} 0.0040) apart, \
         and ple-me has the fewest parameters (800)."
    ));
    assert_eq!(sound(&report).matches(">tie</span>").count(), 2);
}

#[test]
fn without_evidence_single_task_is_shipped() {
    let report = compared(vec![model("stem", 900, (0.775, 0.001), Some((-0.001, 0.011)))]);
    assert_eq!(
        told(&report),
        "Ship single-task for like: no model that shares beats it with evidence on this test split. The best of the others, stem, differs by \
         +0.0050 AUC (\u{2212}0.0010 to +0.0110). stem is above it, but its interval over users and seeds holds zero, though each seed \
         gains (+0.0050 AUC, +0.0050 AUC and +0.0050 AUC): more seeds or users would tell. Of 1 model that shares, transfer to like is positive for 0, negative for 0 and \
         without evidence for 1."
    );
    let unmeasured = compared(vec![model("stem", 900, (0.775, 0.001), None)]);
    assert!(told(&unmeasured).contains("differs by +0.0050 AUC, of which no interval was measured."));
    assert!(sound(&unmeasured).contains("as far as these seeds and this test split show"));
}

#[test]
fn users_who_gain_are_named_even_where_single_task_is_shipped() {
    let mut report = compared(vec![model("stem", 900, (0.775, 0.001), Some((-0.001, 0.011)))]);
    let numbers =
        |transfer, auc| StratumTask { task: "like".into(), auc, transfer, labelled: 1812, ..StratumTask::default() };
    let stratum = |name: &str, task| StratumReport {
        name: name.into(),
        rows: 1812,
        models: vec![StratumModel { model: "stem".into(), tasks: vec![task] }],
    };
    report.pairs = vec![PairReport {
        a: "like".into(),
        b: "follow".into(),
        strata: vec![
            stratum("comparable", numbers(Some(Interval { mean: 0.02, low: 0.01, high: 0.03 }), Some(0.8))),
            stratum("follow-dominant", numbers(None, None)),
        ],
        ..PairReport::default()
    }];
    assert!(told(&report).contains("Some users gain all the same: +0.0200 with stem on comparable users."));
    let page = sound(&report);
    assert!(page.contains("\u{2013} (one class: 0 of 1,812)"), "a dash with the count");
    assert!(page.contains(">one class only</text>"));
}

/// Part of the users: its name, and every model's interval on it.
type Part<'a> = (&'a str, &'a [(&'a str, (f64, f64))]);

/// A pair of like and another task.
fn pair(other: &str, strata: &[Part<'_>]) -> PairReport {
    let stratum = |(name, models): &Part<'_>| StratumReport {
        name: (*name).into(),
        rows: 1000,
        models: models
            .iter()
            .map(|&(model, (low, high))| {
                let transfer = Some(Interval { mean: (low + high) / 2.0, low, high });
                let task = StratumTask { task: "like".into(), auc: Some(0.8), transfer, ..StratumTask::default() };
                StratumModel { model: model.into(), tasks: vec![task] }
            })
            .collect(),
    };
    PairReport {
        a: "like".into(),
        b: other.into(),
        strata: strata.iter().map(stratum).collect(),
        ..PairReport::default()
    }
}

#[test]
fn users_are_told_of_the_model_to_ship_and_losses_of_all_that_gain() {
    let mut report = compared(vec![
        model("stem", 900, (0.793, 0.001), Some((0.020, 0.026))),
        model("ple-me", 800, (0.785, 0.001), Some((0.012, 0.018))),
        model("mmoe", 100, (0.75, 0.001), Some((-0.03, -0.01))),
    ]);
    let (gain, loss) = ((0.01, 0.03), (-0.02, -0.01));
    report.pairs = vec![pair(
        "follow",
        &[
            ("like-dominant", &[("mmoe", loss), ("ple-me", loss), ("stem", gain)]),
            ("comparable", &[("mmoe", loss), ("ple-me", loss), ("stem", gain)]),
        ],
    )];
    let told = told(&report);
    assert!(
        told.starts_with(
            "Ship stem for like: +0.0230 AUC against single-task on all users of this test split (95 % interval over users and seeds +0.0200 to +0.0260; \
             a gain with each of 3 seeds), +0.0200 on like-dominant users, +0.0200 on comparable users (+0.0100 to +0.0300). Some users lose all the same: \u{2212}0.0150 \
             with ple-me on comparable users and \u{2212}0.0150 with ple-me on like-dominant users."
        ),
        "{told}"
    );
    // mmoe does not gain on all users: nothing is called out that is not promised.
    assert!(!told.contains("with mmoe"));
    sound(&report);
}

#[test]
fn a_model_to_ship_that_loses_on_comparable_users_is_called_out() {
    let mut report = compared(vec![model("stem", 900, (0.793, 0.001), Some((0.020, 0.026)))]);
    report.pairs = vec![
        pair("follow", &[("comparable", &[("stem", (0.001, 0.003))])]),
        pair("share", &[("comparable", &[("stem", (-0.03, -0.01))])]),
    ];
    let told = told(&report);
    assert!(told.contains("Users split by like and share: \u{2212}0.0200 on comparable users ("), "{told}");
    assert!(
        told.contains("Some users lose all the same: \u{2212}0.0200 with stem on comparable users of like and share."),
        "{told}"
    );
}

#[test]
fn of_many_pairs_only_the_first_are_told_one_by_one() {
    let mut report = compared(vec![model("stem", 900, (0.793, 0.001), Some((0.020, 0.026)))]);
    let others = ["follow", "share", "comment", "finish", "hate"];
    report.pairs = others.map(|other| pair(other, &[("comparable", &[("stem", (-0.03, -0.01))])])).into();
    let told = told(&report);
    assert_eq!(told.matches("Users split by").count(), 3);
    assert!(told.contains("Other pairs are under \u{201c}For which users?\u{201d}."));
    assert!(told.contains("users of like and comment and 2 more."), "{told}");
}

#[test]
fn of_a_tie_the_cheapest_that_costs_comparable_users_nothing_is_shipped() {
    let mut report = compared(vec![
        model("stem", 900, (0.793, 0.001), Some((0.020, 0.026))),
        model("ple-me", 500, (0.793, 0.001), Some((0.020, 0.026))),
        model("mmoe", 100, (0.793, 0.001), Some((0.020, 0.026))),
    ]);
    assert!(told(&report).starts_with("Ship mmoe for like"));
    let users = [("mmoe", (-0.02, -0.01)), ("ple-me", (-0.01, 0.01)), ("stem", (0.01, 0.02))];
    report.pairs = vec![pair("follow", &[("comparable", &users)])];
    let told = told(&report);
    assert!(told.starts_with("Ship ple-me for like"), "{told}");
    assert!(
        told.contains("ple-me has the fewest parameters (500) of those that cost comparable users nothing"),
        "{told}"
    );
}

#[test]
fn a_gain_that_seeds_do_not_agree_on_is_not_shipped_and_what_is_missing_is_said() {
    let with_seeds = |own: &[f64], against: &[f64]| {
        let mut report = compared(vec![model("stem", 900, (0.793, 0.001), Some((0.019, 0.027)))]);
        for (m, values) in [(0, against), (1, own)] {
            report.models[m].tasks[0].auc.as_mut().unwrap().values = values.to_vec();
        }
        told(&report)
    };
    let one = with_seeds(&[0.793], &[0.77]);
    assert!(one.starts_with("Ship single-task for like: no model that shares beats it with evidence on this"), "{one}");
    assert!(
        one.contains(
            "stem is above it by the interval, but one seed is no evidence against the luck of training: compare with \
             2 or more."
        ),
        "{one}"
    );
    let mixed = with_seeds(&[0.80, 0.79, 0.76], &[0.77, 0.77, 0.77]);
    assert!(mixed.contains("but with 2 of 3 seeds only: more of them would tell."), "{mixed}");
    let others = with_seeds(&[0.80, 0.79], &[0.77]);
    assert!(others.contains("but without the same seeds for both there is no evidence against the luck"), "{others}");
}

#[test]
fn a_higher_mean_that_is_not_shipped_says_what_it_lacks() {
    let mut report = compared(vec![
        model("stem", 900, (0.793, 0.0001), Some((0.022, 0.024))),
        model("ple", 900, (0.80, 0.0001), Some((-0.01, 0.07))),
        model("mmoe", 900, (0.81, 0.0001), Some((0.03, 0.05))),
    ]);
    report.models[3].tasks[0].auc.as_mut().unwrap().values = vec![0.76, 0.81, 0.86];
    let found = told(&report);
    assert!(found.starts_with("Ship stem for like"), "{found}");
    assert!(found.contains("mmoe has a higher mean (0.8100 \u{b1} 0.0001), but with 2 of 3 seeds only"), "{found}");
    report.models.remove(3);
    assert!(told(&report).contains(
        "ple has a higher mean (0.8000 \u{b1} 0.0001), but its interval over users and seeds holds zero, though"
    ));
}

#[test]
fn a_gain_over_a_reference_that_knows_nothing_is_doubted() {
    let told_of = |model: ModelReport| told(&compared(vec![model]));
    let sure = told_of(model("stem", 900, (0.793, 0.001), Some((0.020, 0.026))));
    assert!(!sure.contains("But "), "{sure}");
    let mut report = compared(vec![model("stem", 900, (0.52, 0.001), Some((0.040, 0.046)))]);
    report.models.iter_mut().filter(|m| m.name == "single-task").for_each(|m| {
        let auc = m.tasks[0].auc.as_mut().unwrap();
        (auc.mean, auc.values) = (0.47, vec![0.469, 0.47, 0.471]);
    });
    assert!(told(&report).contains("But single-task has learned nothing (AUC 0.4700"), "{}", told(&report));
    let worse = told_of(model("stem", 900, (0.44, 0.001), Some((0.040, 0.046))));
    assert!(worse.starts_with("Ship single-task"), "worse than guessing is no gain: {worse}");
}
