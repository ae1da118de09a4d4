//! The page as a reader gets it: well-formed, self-contained, every chart with its marks and its table, whatever the data.

use crate::report_page::{charts, check, part, sound};
use crate::report_sample::{crowded, many, sample};
use stem_report::report::{
    EpochPoint, GateMap, Interval, LearningCurve, ModelReport, Provenance, Report, StratumTask, TaskReport, render,
};

fn of_kind(page: &str, kind: &str) -> Vec<(usize, usize)> {
    charts(page).into_iter().filter(|(k, ..)| k == kind).map(|(_, marks, rows)| (marks, rows)).collect()
}

#[test]
fn every_chart_of_the_sample_has_its_marks_and_its_table() {
    let page = sound(&sample());
    assert_eq!(of_kind(&page, "transfer"), [(6, 6); 2]);
    assert_eq!(of_kind(&page, "strata"), [(18, 21); 2]);
    // Seven means and three seeds each.
    assert_eq!(of_kind(&page, "learning"), [(28, 21); 6]);
    assert_eq!(of_kind(&page, "roc"), [(7, 7); 2]);
    assert_eq!(of_kind(&page, "calibration"), [(7, 70); 2]);
    assert_eq!(of_kind(&page, "gates"), [(6, 2); 8]);
    assert_eq!(of_kind(&page, "norms"), [(4, 4), (12, 4)]);
    assert_eq!(of_kind(&page, "rank"), [(4, 4), (12, 4)]);
    assert_eq!(of_kind(&page, "cka"), [(9, 3); 4]);
    // 200 points of either part in pieces of 40, one picture per embedding group.
    assert_eq!(of_kind(&page, "picture"), [(15, 3); 3]);
    assert_eq!((of_kind(&page, "parameters"), of_kind(&page, "seconds")), (vec![(7, 7)], vec![(7, 7)]));
}

#[test]
fn one_model_without_a_reference_gives_a_page_without_empty_parts() {
    let mut report = sample();
    report.models.retain(|m| m.name == "stem");
    (report.reference, report.pairs, report.search, report.warnings) = (None, vec![], None, vec![]);
    report.models[0].tasks.iter_mut().for_each(|task| task.transfer = None);
    let page = sound(&report);
    for absent in ["id=\"transfer\"", "id=\"users\"", "id=\"cost\"", "id=\"search\"", "id=\"warnings\"", ">best</span>"]
    {
        assert!(!page.contains(absent), "{absent}");
    }
    for there in
        ["id=\"verdict\"", "id=\"run\"", "id=\"quality\"", "id=\"learning\"", "id=\"curves\"", "stem scores AUC 0.78"]
    {
        assert!(page.contains(there), "{there}");
    }
}

#[test]
fn one_seed_is_said_to_show_no_spread() {
    let mut report = sample();
    for spread in report.models.iter_mut().flat_map(|m| &mut m.tasks).flat_map(|t| [&mut t.auc, &mut t.gauc]).flatten()
    {
        spread.values.truncate(1);
    }
    report.models.iter_mut().for_each(|m| m.learning.truncate(1));
    let page = sound(&report);
    assert!(page.contains("One seed: no spread is known"));
    assert_eq!(of_kind(&page, "learning")[0].0, 7);
}

#[test]
fn nothing_at_all_gives_a_page() {
    assert!(sound(&Report::default()).contains("Nothing was measured."));
    let named = Report { tasks: vec!["like".into()], models: vec![ModelReport::default()], ..Report::default() };
    assert!(sound(&named).contains("Nothing to say about like"));
}

#[test]
fn numbers_that_are_none_are_dashes_or_left_out() {
    let mut report = sample();
    for (m, model) in report.models.iter_mut().enumerate() {
        let bad = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 0.0, -0.0][m % 7];
        model.seconds = vec![bad];
        model.memory_gb = Some(bad);
        for task in &mut model.tasks {
            for spread in
                [&mut task.auc, &mut task.gauc, &mut task.logloss, &mut task.calibration].into_iter().flatten()
            {
                (spread.mean, spread.sd) = (bad, bad);
            }
            task.transfer = Some(Interval { mean: bad, low: bad, high: bad });
            task.roc.iter_mut().for_each(|point| *point = [bad; 2]);
            task.calibration_curve.iter_mut().for_each(|bin| (bin.mean_prediction, bin.mean_label) = (bad, bad));
        }
        for epoch in model.learning.iter_mut().flat_map(|l| &mut l.epochs) {
            epoch.loss = vec![bad];
            epoch.auc = vec![Some(bad), None];
        }
        for map in &mut model.gates {
            map.values = vec![vec![bad]];
        }
        if let Some(embeddings) = &mut model.embeddings {
            embeddings
                .fields
                .iter_mut()
                .for_each(|f| (f.norms, f.effective_rank, f.cka) = (vec![bad], vec![Some(bad)], vec![]));
            for picture in &mut embeddings.pictures {
                picture.points = vec![(bad, bad, 99), (0.0, 1.0, usize::MAX)];
                picture.explained = [bad; 2];
            }
        }
        model.gates.push(GateMap { layer: usize::MAX, ..GateMap::default() });
    }
    for task in
        report.pairs.iter_mut().flat_map(|p| &mut p.strata).flat_map(|s| &mut s.models).flat_map(|m| &mut m.tasks)
    {
        (task.auc, task.transfer) = (Some(f64::NAN), Some(Interval { mean: f64::NAN, low: 1e300, high: -1e300 }));
    }
    (report.provenance.seconds, report.pairs[0].cuts) = (f64::NAN, [f64::NAN; 2]);
    sound(&report);
}

#[test]
fn names_of_any_characters_do_not_break_out() {
    for hostile in
        ["<script>alert(1)</script>", "\"&'", "</title></svg><b>", "a\u{0}b\u{202e}c", "\u{6f22}\u{5b57} \u{1f600}", ""]
    {
        let harmless: String = hostile.chars().map(|_| 'x').collect();
        let page = sound(&named(hostile));
        // Names that had to be cut have a title, and not all names are equally wide.
        let elements = |page: &str| check(page) - page.matches("<title").count();
        assert_eq!(elements(&page), elements(&render(&named(&harmless))), "{hostile:?}");
        assert!(!page.contains("alert(1)<") && !page.contains("<b>") && !page.contains('\u{0}'));
    }
}

/// The sample with one name for much that has one.
fn named(name: &str) -> Report {
    let mut report = sample();
    report.title = name.into();
    report.tasks[0] = name.into();
    report.pairs.iter_mut().for_each(|p| p.a = name.into());
    for stratum in report.pairs.iter_mut().flat_map(|p| &mut p.strata) {
        stratum.name = name.into();
        stratum.models.iter_mut().for_each(|m| m.tasks[0].task = name.into());
    }
    (report.provenance.command, report.warnings) = (name.into(), vec![name.into()]);
    for model in &mut report.models {
        model.settings = vec![(name.into(), name.into())];
        for map in &mut model.gates {
            (map.rows, map.stratum) = (vec![name.into(); 2], Some(name.into()));
            map.pair = Some((name.into(), "follow".into()));
        }
        for picture in model.embeddings.iter_mut().flat_map(|e| &mut e.pictures) {
            picture.strata = vec![name.into(); 3];
        }
    }
    report
}

#[test]
fn a_crowded_report_is_drawn() {
    let page = sound(&crowded());
    // A stratum of one class has no marks, but a dash.
    assert_eq!(of_kind(&page, "strata").iter().map(|(marks, _)| *marks).collect::<Vec<_>>(), [18, 18, 12, 12]);
}

#[test]
fn models_of_the_same_name_and_many_tasks_and_pairs_are_drawn() {
    let mut report = sample();
    let tasks: Vec<TaskReport> = report.models[6].tasks.clone();
    report.tasks = (0..6).map(|t| format!("task {t}")).collect();
    for model in &mut report.models {
        model.name = "same".into();
        model.tasks = tasks.iter().cycle().take(6).cloned().collect();
    }
    report.reference = Some("same".into());
    report.pairs = vec![report.pairs[0].clone(); 3];
    sound(&report);
}

#[test]
fn many_tasks_make_a_page_that_is_not_too_heavy_and_fold_what_few_look_at() {
    let report = many();
    let page = sound(&report);
    assert!(page.len() < 3_000_000, "{} bytes", page.len());
    assert_eq!(of_kind(&page, "picture").len(), 21);
    // Four models with gates: two layers of all users, and of three parts of the users of three pairs.
    assert_eq!(of_kind(&page, "gates").len(), 4 * (2 + 2 * 3 * 3));
    assert_eq!(page.matches("<summary>By users: 18 pictures</summary>").count(), 4);
    assert!(page.contains("numbers of the other pairs are in comparison.json"));
    assert!(page.contains("Layer 1, comparable users of like and follow<"));
    assert!(!page.contains("comparable users of like and finish<"));
    // All pairs have their charts, those after the third folded up.
    assert_eq!(of_kind(&page, "strata").len(), 42);
    let open: Vec<&str> = headings(&page, "<h3>").into_iter().filter(|h| h.contains(" and ")).collect();
    assert_eq!(open, ["like and follow", "like and share", "like and comment"]);
    assert_eq!(headings(&page, "<summary>").into_iter().filter(|h| h.contains(" and ")).count(), 18);
}

fn headings<'a>(page: &'a str, tag: &str) -> Vec<&'a str> {
    page.split(tag).skip(1).filter_map(|rest| rest.split('<').next()).collect()
}

#[test]
fn three_pictures_of_600_points_for_each_of_seven_models_stay_light() {
    let mut report = sample();
    let embeddings = report.models[6].embeddings.clone();
    report.models.iter_mut().for_each(|model| model.embeddings = embeddings.clone());
    let page = sound(&report);
    assert_eq!(of_kind(&page, "picture").len(), 21);
    assert!(page.len() < 1_500_000, "{} bytes", page.len());
}

#[test]
fn with_one_pair_few_gates_are_open_and_name_the_users_alone() {
    let page = sound(&sample());
    assert!(page.contains("<figcaption>Layer 1, comparable users</figcaption>"));
    assert!(!page.contains("By users:") && !page.contains("comparison.json"));
}

#[test]
fn users_are_said_to_be_cut_by_their_share_of_the_second_task() {
    let page = sound(&sample());
    assert!(page.contains(
        "Cut at a share of follow of 0.21 and 0.35 among a user&#39;s positives of like and follow in the training split; 0 is \
         like alone."
    ));
}

#[test]
fn numbers_of_users_stand_beside_their_transfer_and_are_dashes_where_there_are_none() {
    let page = sound(&sample());
    let users = part(&page, "users");
    for column in ["gAUC", "logloss", "calibration"] {
        assert_eq!(users.matches(&format!("<th scope=\"col\">{column}</th>")).count(), 2, "{column}");
    }
    // Single-task has no transfer, and users of the second task no calibration.
    let row = users.rsplit("<tr>").find(|row| row.contains(">single-task<")).unwrap();
    assert_eq!(row.matches("\u{2013}</td>").count(), 5, "{row}");
    let old: StratumTask = serde_json::from_str(r#"{"task": "like", "positives": 3, "auc": 0.7}"#).unwrap();
    assert_eq!((old.gauc, old.logloss, old.calibration), (None, None, None));
}

#[test]
fn a_task_that_stopped_before_the_others_has_a_shorter_line() {
    let curve = |seed| LearningCurve {
        seed,
        epochs: (1..=5)
            .map(|epoch| {
                let (loss, auc) = if epoch > 2 { (f64::NAN, None) } else { (0.5, Some(0.7)) };
                EpochPoint {
                    epoch,
                    loss: vec![0.6 - 0.01 * epoch as f64, loss],
                    auc: vec![Some(0.75), auc],
                    ..EpochPoint::default()
                }
            })
            .collect(),
        ..LearningCurve::default()
    };
    let models = vec![ModelReport { name: "single-task".into(), learning: vec![curve(1)], ..ModelReport::default() }];
    let report = Report { tasks: vec!["like".into(), "follow".into()], models, ..Report::default() };
    let page = sound(&report);
    let lines: Vec<usize> = page
        .split("class=\"mark line")
        .skip(1)
        .map(|rest| rest.split('/').next().unwrap_or_default().matches(',').count())
        .collect();
    assert_eq!(lines, [5, 5, 2, 2], "places of the lines: AUC and loss of like, then of follow");
    let ends: Vec<&str> =
        page.split("<tbody>").skip(1).filter_map(|rest| rest.split("</tbody>").next()?.rsplit("<td").next()).collect();
    assert_eq!((of_kind(&page, "learning"), ends.len()), (vec![(1, 1); 4], 4));
    assert!(page.contains("A line ends where training did;"));
}

#[test]
fn settings_are_folded_up_in_what_was_run() {
    let mut report = sample();
    let page = sound(&report);
    assert!(page.contains("<summary>Settings</summary>") && page.contains("<summary>Settings of each model</summary>"));
    assert!(page.contains("optimizer = adam, lr = 0.001, l2 = 1e-6"));
    report.provenance = Provenance::default();
    report.models.truncate(1);
    assert!(sound(&report).contains("<summary>Settings of the model</summary>"));
    report.models[0].settings.clear();
    assert!(!sound(&report).contains("id=\"run\""));
}

#[test]
fn one_model_even_with_pairs_and_a_reference_is_told_alone() {
    let mut report = sample();
    report.models.truncate(1);
    let page = sound(&report);
    for absent in ["id=\"transfer\"", "id=\"users\"", "id=\"cost\"", "the models", "each model", "they learned"] {
        assert!(!page.contains(absent), "{absent}");
    }
    assert!(page.contains("1,482,240 parameters") && page.contains("single-task scores AUC"));
}
