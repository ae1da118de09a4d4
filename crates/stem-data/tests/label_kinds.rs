//! Labels that are numbers: what is read, what is fitted on the training rows, and what every part of a data set gives of them.

use std::path::Path;

use stem_core::{TargetTransform, TaskKind};
use stem_data::{
    BatchPlan, Dataset, EpochRows, Error, Known, PrepareOptions, Recipe, Rows, Split, prepare, prepare_known,
};
use stem_report::analysis::LabelKind;

const LOG: &str = "item,click,seconds,stars,split
1,1,10,4,train
2,0,,0,train
3,1,30,2,train
4,1,20,,train
5,1,500,3,valid
6,0,7,1,test
";

fn recipe(labels: &str) -> Result<Recipe, Error> {
    let text = format!(
        r#"
        name = "kinds"
        source = [{{ name = "log", file = "log.csv" }}]
        field = [{{ column = "item", kind = "category" }}]
        label = [{labels}]
        split = {{ kind = "column", column = "split" }}
        "#
    );
    Recipe::parse(&text, "recipe.toml")
}

fn read(folder: &Path, log: &str, labels: &str) -> Result<Dataset, Error> {
    std::fs::write(folder.join("log.csv"), log).unwrap();
    prepare(&recipe(labels)?, folder, &folder.join("columns"), &PrepareOptions::default())
}

fn fault(log: &str, labels: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    read(folder.path(), log, labels).map(drop).unwrap_err().to_string()
}

/// NaN as text, so that lists of labels can be compared.
fn shown(labels: &[f32]) -> Vec<String> {
    labels.iter().map(f32::to_string).collect()
}

const ALL: &str = r#"
    { column = "seconds", kind = "regression", within = "click" },
    { column = "click" },
    { column = "stars", kind = "ordinal", classes = 5 }
"#;

#[test]
fn numbers_are_read_beside_binary_labels_in_batches_in_views_and_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    read(folder.path(), LOG, ALL).unwrap();
    let dataset = Dataset::open(folder.path().join("columns")).unwrap();
    let expected = ["10", "1", "4", "NaN", "0", "0", "30", "1", "2", "20", "1", "NaN"];
    assert_eq!(shown(dataset.labels(Split::Train)), expected);
    let batches = dataset.batches(Split::Train, BatchPlan { size: 3, shuffle: None });
    let batched: Vec<f32> = batches
        .flat_map(|batch| {
            batch.check(dataset.schema()).unwrap();
            batch.labels
        })
        .collect();
    assert_eq!(shown(&batched), expected);
    assert_eq!(shown(dataset.only_task(0).labels(Split::Train)), ["10", "NaN", "30", "20"]);
    assert_eq!(shown(dataset.only_task(1).labels(Split::Train)), ["1", "0", "1", "1"]);
    assert_eq!(shown(dataset.only_task(2).labels(Split::Train)), ["4", "0", "2", "NaN"]);
    assert_eq!(shown(dataset.labels(Split::Test)), ["NaN", "0", "1"], "not clicked: the time is of another space");
    let counts = dataset.statistics(Split::Train);
    assert_eq!(
        (&counts.positives[..], &counts.missing[..]),
        (&[3, 3, 2][..], &[1, 0, 1][..]),
        "numbers above 0 are counted"
    );
}

#[test]
fn what_is_learned_is_fitted_on_the_training_rows_that_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let kinds = |labels: &str| -> Vec<TaskKind> {
        let dataset = read(folder.path(), LOG, labels).unwrap();
        dataset.schema().tasks.iter().map(|task| task.kind.clone()).collect()
    };
    let deviation = (200.0f64 / 3.0).sqrt() as f32;
    let standardised = TaskKind::Regression { transform: TargetTransform::None, mean: 20.0, std: deviation };
    assert_eq!(kinds(ALL), [standardised, TaskKind::Binary, TaskKind::Ordinal { classes: 5 }]);
    let plain = TaskKind::Regression { transform: TargetTransform::None, mean: 0.0, std: 1.0 };
    assert_eq!(kinds(r#"{ column = "seconds", kind = "regression", standardize = false }"#), [plain]);
    let logs = [10.0f64, 30.0, 20.0].map(f64::ln_1p);
    let found = kinds(r#"{ column = "seconds", kind = "regression", transform = "log1p" }"#);
    let TaskKind::Regression { transform: TargetTransform::Log1p, mean, .. } = found[0] else { panic!("{found:?}") };
    assert!(
        (f64::from(mean) - logs.iter().sum::<f64>() / 3.0).abs() < 1e-6,
        "valid and test are not looked at: {mean}"
    );
    for (kind, expected) in [
        ("count", TaskKind::Count { scale: 20.0 }),
        ("watch-time", TaskKind::WatchTime { scale: 20.0 }),
        ("zero-inflated", TaskKind::ZeroInflated { scale: 20.0 }),
    ] {
        assert_eq!(kinds(&format!(r#"{{ column = "seconds", kind = "{kind}" }}"#)), [expected]);
    }
    assert_eq!(kinds(r#"{ column = "stars", classes = 5 }"#), [TaskKind::Ordinal { classes: 5 }]);
}

#[test]
fn an_epoch_of_sampled_negatives_asks_binary_labels_alone() {
    let folder = tempfile::tempdir().unwrap();
    let row = |i: usize| format!("{i},{},{}\n", u8::from(i.is_multiple_of(10)), 1 + i % 7);
    let log: String = ["item,click,seconds,split\n".to_string()]
        .into_iter()
        .chain((0..500).map(|i| row(i).replace('\n', ",train\n")))
        .collect();
    let labels = r#"{ column = "seconds", kind = "regression" }, { column = "click" }"#;
    let dataset = read(folder.path(), &log, labels).unwrap();
    assert_eq!(dataset.positive_rows(Split::Train), 50);
    let plan = BatchPlan { size: 64, shuffle: Some((1, 0)) };
    for batch in dataset.batches_of(Split::Train, plan, 0, EpochRows { keep: Some(0.5), ..EpochRows::default() }) {
        for (labels, weight) in batch.labels.chunks_exact(2).zip(&batch.row_weights) {
            assert_eq!(*weight, if labels[1] == 1.0 { 1.0 } else { 2.0 }, "{labels:?}");
        }
    }
}

#[test]
fn labels_that_do_not_fit_their_kind_are_told_with_line_and_value() {
    for (seconds, labels, expected) in [
        ("x", r#"{ column = "seconds", kind = "regression" }"#, "is text, for instance \"x\""),
        (
            "inf",
            r#"{ column = "seconds", kind = "regression" }"#,
            ":4: column 'seconds': expected a finite number or null, found inf",
        ),
        (
            "-3",
            r#"{ column = "seconds", kind = "regression", transform = "log1p" }"#,
            ":4: column 'seconds': expected a finite number of 0 or more or null, found -3",
        ),
        (
            "2.5",
            r#"{ column = "seconds", kind = "count" }"#,
            ":4: column 'seconds': expected a whole number of 0 or more or null, found 2.5",
        ),
        (
            "1e40",
            r#"{ column = "seconds", kind = "watch-time" }"#,
            ":4: column 'seconds': expected a number that 32-bit floats can hold",
        ),
        (
            "501",
            r#"{ column = "seconds", kind = "ordinal", classes = 501 }"#,
            ":4: column 'seconds': expected a level from 0 to 500 (`classes = 501`, counted from 0) or null, found 501",
        ),
        (
            "30",
            r#"{ column = "seconds" }"#,
            ":2: column 'seconds': expected 0, 1 or null (a label of numbers has a `kind`",
        ),
    ] {
        let log = LOG.replace("1,1,10,", "1,1,10.0,").replace("3,1,30", &format!("3,1,{seconds}"));
        let found = fault(&log, labels);
        assert!(found.contains("'seconds'") || found.contains("\"seconds\""), "{found}");
        assert!(found.contains(expected), "{found}");
    }
    let constant = LOG.replace(",10,", ",20,").replace(",30,", ",20,");
    let found = fault(&constant, r#"{ column = "seconds", kind = "regression" }"#);
    assert!(found.contains("label \"seconds\" is 20 in all 3 training rows that have it"), "{found}");
}

#[test]
fn keys_that_are_for_another_kind_are_told_with_their_line() {
    for (label, expected) in [
        (r#"kind = "regresion""#, "`kind` is \"regresion\", expected one of \"binary\", \"regression\""),
        (r#"kind = "ordinal""#, "needs `classes`"),
        (r#"kind = "count", classes = 3"#, "`classes` is for a label of `kind = \"ordinal\" or \"classes\"`"),
        (r#"transform = "log1p""#, "`transform` is for a label of `kind = \"regression\"`"),
        (r#"kind = "count", standardize = true"#, "`standardize` is for a label of `kind = \"regression\"`"),
        (r#"kind = "ordinal", classes = 1"#, "`classes` is 1, expected an integer of at least 2"),
    ] {
        let found = recipe(&format!(r#"{{ column = "seconds", {label} }}"#)).map(drop).unwrap_err().to_string();
        assert!(found.contains(expected), "{found}");
    }
    let labels = r#"{ column = "click", within = "seconds" }, { column = "seconds", kind = "regression" }"#;
    let found = recipe(labels).map(drop).unwrap_err().to_string();
    assert!(found.contains("label \"click\" is within \"seconds\", which is a number"), "{found}");
}

#[test]
fn two_numbers_that_are_above_zero_in_the_same_rows_are_not_called_the_same_label() {
    let folder = tempfile::tempdir().unwrap();
    let labels = r#"{ column = "seconds", kind = "regression" }, { column = "stars", kind = "count" }"#;
    let log = "item,seconds,stars,split\n1,10,1,train\n2,30,2,train\n3,0,0,train\n1,10,1,valid\n1,10,1,test\n";
    let dataset = read(folder.path(), log, labels).unwrap();
    assert!(!dataset.warnings().iter().any(|warning| warning.contains("identical")), "{:?}", dataset.warnings());
}

#[test]
fn rows_of_a_later_day_take_what_the_model_was_fitted_on_and_must_be_of_its_kinds() {
    let folder = tempfile::tempdir().unwrap();
    let first = read(folder.path(), LOG, ALL).unwrap();
    let known = Known { schema: first.schema(), vocabularies: first.vocabularies(), idle: &[], mark: "first" };
    let later = |labels: &str| {
        std::fs::write(folder.path().join("log.csv"), LOG.replace(",10,", ",999,")).unwrap();
        let out = folder.path().join("later");
        prepare_known(&recipe(labels)?, known, Rows::All, &[], folder.path(), &out, &PrepareOptions::default())
    };
    let dataset = later(ALL).unwrap();
    assert_eq!(dataset.schema().tasks, first.schema().tasks);
    assert_eq!(shown(&dataset.labels(Split::Test)[..3]), ["999", "1", "4"]);
    let found = later(&ALL.replace("classes = 5", "classes = 6")).map(drop).unwrap_err().to_string();
    assert!(
        found.contains("label \"stars\" is ordinal of 6 classes here and ordinal of 5 classes in the model"),
        "{found}"
    );
}

/// Videos of 10 and of 100 seconds, of which 0 to 9 tenths are watched.
fn watched(lengths: [&str; 2]) -> String {
    let row = |i: usize| {
        let split = ["train", "valid", "test"][i / 20];
        format!("{i},{},{},{split}\n", lengths[i % 2], [1, 10][i % 2] * (i / 2 % 10))
    };
    ["item,length,seconds,split\n".to_string()].into_iter().chain((0..60).map(row)).collect()
}

fn watched_recipe(label: &str, length: &str) -> Result<Recipe, Error> {
    let text = format!(
        r#"
        name = "watched"
        source = [{{ name = "log", file = "log.csv" }}]
        field = [{{ column = "item", kind = "category" }}, {{ column = "length", {length} }}]
        label = [{{ column = "seconds", kind = "watch-quantile", {label} }}]
        split = {{ kind = "column", column = "split" }}
        "#
    );
    Recipe::parse(&text, "recipe.toml")
}

#[test]
fn ranks_are_fitted_on_training_rows_of_about_the_same_duration() {
    let folder = tempfile::tempdir().unwrap();
    let prepared = |log: &str, label: &str, length: &str| {
        std::fs::write(folder.path().join("log.csv"), log).unwrap();
        let recipe = watched_recipe(label, length)?;
        prepare(&recipe, folder.path(), &folder.path().join("columns"), &PrepareOptions::default())
    };
    let number = r#"kind = "number", standardize = true"#;
    let label = r#"duration = "length", buckets = 2"#;
    let first = prepared(&watched(["10", "100"]), label, number).unwrap();
    let kind = &first.schema().tasks[0].kind;
    let TaskKind::WatchQuantile(fitted) = kind else { panic!("{kind:?}") };
    assert_eq!((fitted.duration(), fitted.buckets()), ("length", 2));
    // Lengths weigh -1 and 1: of each the mean of the ranks 0 to 1 has 4.5 tenths watched.
    for (weight, tenth) in [(-1.0, 1.0), (1.0, 10.0)] {
        assert_eq!(kind.score(&[0.0], weight), 4.5 * tenth);
        assert!((kind.target(9.0 * tenth, weight) - 3f32.sqrt()).abs() < 1e-6);
    }
    // What a model has fitted is what a later day takes.
    let known = Known { schema: first.schema(), vocabularies: first.vocabularies(), idle: &[], mark: "first" };
    std::fs::write(folder.path().join("log.csv"), watched(["20", "50"])).unwrap();
    let (recipe, out) = (watched_recipe(label, number).unwrap(), folder.path().join("later"));
    let later = prepare_known(&recipe, known, Rows::BySplit, &[], folder.path(), &out, &PrepareOptions::default());
    assert_eq!(later.unwrap().schema().tasks, first.schema().tasks);

    let message =
        |log: String, label: &str, length: &str| prepared(&log, label, length).map(drop).unwrap_err().to_string();
    let found = message(watched(["10", "10"]), label, number);
    assert!(found.contains("nearly all training rows that have it are of one \"length\""), "{found}");
    for (label, length, expected) in [
        ("buckets = 2", number, "needs `duration`"),
        (r#"duration = "lenght""#, number, "`duration` of label \"seconds\" is \"lenght\", which is no field"),
        (label, r#"kind = "category""#, "which is no number"),
        (label, r#"kind = "number", bucketize = { quantiles = 4 }"#, "which is no number"),
        (r#"duration = "length", buckets = 1"#, number, "`buckets` is 1, expected an integer of at least 2"),
        (r#"duration = "length", buckets = 2000"#, number, "`buckets` is more than 1000"),
        (
            r#"duration = "length", classes = 3"#,
            number,
            "`classes` is for a label of `kind = \"ordinal\" or \"classes\"`",
        ),
    ] {
        let found = message(watched(["10", "100"]), label, length);
        assert!(found.contains(expected), "{found}");
    }
    let found = recipe_of("watch-time", r#", duration = "length""#).map(drop).unwrap_err().to_string();
    assert!(found.contains("`duration` is for a label of `kind = \"watch-quantile\"`"), "{found}");
}

fn recipe_of(kind: &str, keys: &str) -> Result<Recipe, Error> {
    recipe(&format!(r#"{{ column = "seconds", kind = "{kind}"{keys} }}"#))
}

#[test]
fn classes_are_counted_from_0_and_judged_by_accuracy() {
    let classes = |more: &str| format!("{{ column = \"stars\", kind = \"classes\"{more} }}, {{ column = \"click\" }}");
    let folder = tempfile::tempdir().unwrap();
    let dataset = read(folder.path(), LOG, &classes(", classes = 5, metric = \"accuracy\"")).unwrap();
    assert_eq!(dataset.schema().tasks[0].kind, TaskKind::Classes { classes: 5 });
    assert_eq!(dataset.label_kinds(), [LabelKind::Class, LabelKind::Binary]);
    assert_eq!(shown(dataset.labels(Split::Train))[..4], ["4", "1", "0", "0"]);
    for (more, expected) in [
        (
            ", classes = 4",
            "log.csv:2: column 'stars': expected a class from 0 to 3 (`classes = 4`, counted from 0) or null, found 4",
        ),
        ("", "recipe.toml:5: a label of `kind = \"classes\"` needs `classes`: how many there are, 0 among them"),
        (", classes = 5, metric = \"xauc\"", "`metric` of label \"stars\" is XAUC: of classes accuracy is measured"),
        (", classes = 5, transform = \"log1p\"", "`transform` is for a label of `kind = \"regression\"`"),
    ] {
        let message = fault(LOG, &classes(more));
        assert!(message.contains(expected), "{message}");
    }
    let of_levels = fault(LOG, "{ column = \"stars\", kind = \"ordinal\", classes = 5, metric = \"accuracy\" }");
    assert!(of_levels.contains("`metric` of label \"stars\" is accuracy"), "{of_levels}");
}
