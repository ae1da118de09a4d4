//! What is encoded is what a predictor would make of the same raw values.

use crate::common::{Case, LOG, RECIPE};
use proptest::prelude::*;
use stem_core::{FieldKind, Row, Task, Value, Vocabulary, encode_rows};
use stem_data::{BatchPlan, Dataset, EpochRows, Split};

const IN_ORDER: BatchPlan = BatchPlan { size: 1 << 20, shuffle: None };

fn whole(dataset: &Dataset, split: Split) -> stem_core::Batch {
    dataset.batches(split, IN_ORDER).next().unwrap()
}

/// One impression: user, genres, price, label, split.
type Impression = (Option<i64>, Option<Vec<u8>>, Option<f32>, Option<bool>, bool);

fn impressions() -> impl Strategy<Value = Vec<Impression>> {
    let user = prop::option::of(-3i64..9);
    let genres = prop::option::of(prop::collection::vec(0u8..6, 1..5));
    let price = prop::option::of(-100f32..100.0);
    prop::collection::vec((user, genres, price, prop::option::of(any::<bool>()), any::<bool>()), 1..60)
}

fn genre(g: u8) -> String {
    format!("g{g}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn encoding_agrees_with_the_predictor(mut rows in impressions(), min_count in 1usize..4) {
        rows.push((Some(1), None, Some(1.0), None, true)); // never without a training row
        let text = |v: Option<String>| v.unwrap_or_default();
        let list = |g: &Vec<u8>| g.iter().map(|g| genre(*g)).collect::<Vec<_>>();
        let log: String = rows.iter().map(|(user, genres, price, click, train)| format!(
            "{},{},{},{},{}\n",
            text(user.map(|u| u.to_string())),
            text(genres.as_ref().map(|g| list(g).join("|"))),
            text(price.map(|p| p.to_string())),
            text(click.map(|c| u8::from(c).to_string())),
            if *train { "train" } else { "test" },
        )).collect();
        let recipe = format!(r#"
            name = "p"
            source = [{{ name = "log", file = "log.csv", types = {{ user = "int", genres = "text", price = "float", click = "int" }} }}]
            label = [{{ column = "click" }}]
            split = {{ kind = "column", column = "split" }}
            [[field]]
            column = "user"
            kind = "category"
            min_count = {min_count}
            [[field]]
            column = "genres"
            kind = "sequence"
            separator = "|"
            max_len = 3
            min_count = {min_count}
            [[field]]
            column = "price"
            kind = "number"
            standardize = true
        "#);
        let case = Case::new(format!("user,genres,price,click,split\n{log}"), recipe);
        let dataset = case.prepare().unwrap();
        for (split, train) in [(Split::Train, true), (Split::Test, false)] {
            let raw: Vec<&Impression> = rows.iter().filter(|row| row.4 == train).collect();
            prop_assert_eq!(dataset.rows(split), raw.len());
            if raw.is_empty() { continue }
            let batch = whole(&dataset, split);
            batch.check(dataset.schema()).unwrap();
            let values: Vec<Row> = raw.iter().map(|row| Row::new()
                .with("user", row.0)
                .with("genres", row.1.as_ref().map(list))
                .with("price", row.2.map(|price| price.to_string().parse::<f64>().unwrap()))).collect();
            let predicted = encode_rows(dataset.schema(), dataset.vocabularies(), &values).unwrap();
            prop_assert_eq!(&batch.ids, &predicted.ids);
            prop_assert_eq!(&batch.weights, &predicted.weights);
            for (label, row) in batch.labels.iter().zip(&raw) {
                prop_assert_eq!(row.3.map(|c| f32::from(u8::from(c))), (!label.is_nan()).then_some(*label));
            }
        }
        let Vocabulary::Integers(keys) = &dataset.vocabularies()[0] else { panic!("integers") };
        let seen = |key| rows.iter().filter(|r| r.4 && r.0 == Some(key)).count();
        let expected: Vec<i64> = (-3..9).filter(|&key| seen(key) >= min_count).collect();
        prop_assert_eq!(&*keys.values(), &*expected);
    }

    #[test]
    fn the_same_seed_gives_the_same_batches_and_every_row_comes_once(n in 1usize..300, size in 1usize..70, seed: u64, epoch: u64) {
        let log: String = (0..n).map(|i| format!("{i},x,{i},{},train\n", i % 2)).collect();
        let case = Case::new(format!("user,item,price,click,split\n{log}"), RECIPE);
        let dataset = case.prepare().unwrap();
        let plan = BatchPlan { size, shuffle: Some((seed, epoch)) };
        let batches: Vec<_> = dataset.batches(Split::Train, plan).collect();
        prop_assert_eq!(batches.len(), n.div_ceil(size));
        prop_assert!(batches.iter().all(|batch| batch.check(dataset.schema()).is_ok()));
        prop_assert_eq!(&batches, &dataset.batches(Split::Train, plan).collect::<Vec<_>>());
        let mut prices: Vec<f32> = batches.iter().flat_map(|b| b.weights.chunks(3).map(|w| w[2])).collect();
        if n > 50 {
            let other = BatchPlan { size, shuffle: Some((seed, epoch.wrapping_add(1))) };
            prop_assert_ne!(&batches, &dataset.batches(Split::Train, other).collect::<Vec<_>>());
        }
        prices.sort_by(f32::total_cmp);
        prop_assert!(prices.iter().enumerate().all(|(i, price)| *price == i as f32));
    }
}

#[test]
fn the_order_of_a_seed_is_the_same_for_ever() {
    let log: String = (0..10).map(|i| format!("{i},x,{i},{},train\n", i % 2)).collect();
    let case = Case::new(format!("user,item,price,click,split\n{log}"), RECIPE);
    let plan = BatchPlan { size: 10, shuffle: Some((1, 0)) };
    let batch = case.prepare().unwrap().batches(Split::Train, plan).next().unwrap();
    let order: Vec<usize> = batch.weights.chunks(3).map(|w| w[2] as usize).collect();
    assert_eq!(order, [9, 5, 6, 2, 4, 7, 0, 3, 8, 1]);
}

#[test]
fn an_epoch_goes_on_after_the_batches_that_were_taken() {
    let rows: String = (0..23).map(|i| format!("{i},x,0.5,1,train\n")).collect();
    let case = Case::new(format!("user,item,price,click,split\n{rows}1,x,1,0,valid\n1,x,1,0,test\n"), RECIPE);
    let dataset = case.prepare().unwrap();
    let plan = BatchPlan { size: 5, shuffle: Some((3, 1)) };
    let all: Vec<_> = dataset.batches(Split::Train, plan).collect();
    for taken in 0..=6 {
        let left = dataset.batches_after(Split::Train, plan, taken);
        assert_eq!(left.len(), all.len().saturating_sub(taken));
        assert_eq!(left.collect::<Vec<_>>(), all[taken.min(all.len())..]);
    }
}

#[test]
fn dropping_the_batches_stops_their_thread() {
    let log: String = (0..50).map(|i| format!("{i},x,1,{},train\n", i % 2)).collect();
    let dataset = Case::new(format!("{LOG}{log}"), RECIPE).prepare().unwrap();
    let mut batches = dataset.batches(Split::Train, BatchPlan { size: 1, shuffle: None });
    assert_eq!(batches.len(), 52);
    assert_eq!(batches.next().map(|b| b.rows), Some(1));
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(batches); // joins
        ended.send(()).unwrap();
    });
    end.recv_timeout(std::time::Duration::from_secs(20)).expect("the thread that fills batches did not end");
    assert_eq!(dataset.batches(Split::Train, BatchPlan { size: 0, shuffle: None }).count(), 52, "size 0 counts as 1");
}

#[test]
fn a_default_stands_in_for_null_and_counts_as_a_value() {
    let recipe = RECIPE
        .replace("column = \"item\"\nkind = \"category\"", "column = \"item\"\nkind = \"category\"\ndefault = \"none\"")
        .replace("kind = \"number\"", "kind = \"number\"\ndefault = 7");
    let dataset = Case::new(LOG.replace("1,x", "1,").replace("3,z", "3,"), recipe).prepare().unwrap();
    assert_eq!(dataset.vocabularies()[1], Vocabulary::texts(["none", "y"]));
    assert_eq!(dataset.schema().fields[1].default, Some(Value::Text("none".into())));
    let (train, test) = (whole(&dataset, Split::Train), whole(&dataset, Split::Test));
    assert_eq!(test.ids[1], train.ids[1]);
    assert_eq!(test.weights[2], 7.0);
}

#[test]
fn numbers_are_standardised_on_the_training_split() {
    let recipe = RECIPE.replace("kind = \"number\"", "kind = \"number\"\nstandardize = true");
    let dataset = Case::new(LOG, recipe).prepare().unwrap();
    assert_eq!(dataset.schema().fields[2].kind, FieldKind::Number { mean: 1.0, std: 0.5 });
    assert_eq!(whole(&dataset, Split::Train).weights, [1.0, 1.0, -1.0, 1.0, 1.0, 1.0]);
    assert_eq!(whole(&dataset, Split::Valid).weights[2], 2.0);
    assert_eq!(whole(&dataset, Split::Test).weights[2], 0.0, "null weighs nothing");
}

#[test]
fn fields_that_share_a_vocabulary_share_rows_and_counts() {
    let recipe = RECIPE.replace("column = \"price\"\nkind = \"number\"", "column = \"price\"\nkind = \"sequence\"\nseparator = \"|\"\nmax_len = 2\npooling = \"sum\"\nvocabulary = \"item\"\nmin_count = 2")
        .replace("column = \"item\"\nkind = \"category\"", "column = \"item\"\nkind = \"category\"\nmin_count = 2");
    let log = "user,item,price,click,split\n1,x,y|x|z,1,train\n2,y,w,0,train\n1,w,x,1,valid\n1,w,x,1,test\n";
    let dataset = Case::new(log, recipe).prepare().unwrap();
    assert_eq!(dataset.vocabularies()[1], Vocabulary::texts(["x", "y"]), "z is cut off, w is seen once");
    let batch = whole(&dataset, Split::Train);
    assert_eq!(batch.ids, [1, 5, 6, 5, 2, 6, 7, 4]);
    assert_eq!(batch.weights, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]);
}

#[test]
fn a_list_column_is_a_sequence_and_integers_stay_integers() {
    let sql =
        "sql = \"SELECT click, price, split, STRING_TO_ARRAY(item, '|') AS item, \\\"user\\\" FROM log\"\n\n[[source]]";
    let recipe = RECIPE
        .replace("[[source]]", sql)
        .replace("column = \"item\"\nkind = \"category\"", "column = \"item\"\nkind = \"sequence\"\nmax_len = 2");
    let dataset = Case::new(LOG.replace("1,x", "1,x|y|z"), recipe).prepare().unwrap();
    assert_eq!(dataset.vocabularies()[1], Vocabulary::texts(["x", "y"]));
    assert_eq!(whole(&dataset, Split::Train).weights[1..3], [0.5, 0.5]);
}

#[test]
fn a_list_takes_the_room_of_what_it_holds_and_not_of_the_longest() {
    let long = (0..50).map(|i| i.to_string()).collect::<Vec<_>>().join("|");
    let rows = (0..999).map(|i| format!("{i},{i},,1,train\n")).collect::<String>();
    let recipe = r#"
        name = "lists"
        source = [{ name = "log", file = "log.csv", types = { seen = "text" } }]
        field = [
            { column = "user", kind = "category" },
            { column = "seen", kind = "sequence", separator = "|", max_len = 100 },
        ]
        label = [{ column = "click" }]
        split = { kind = "column", column = "split" }
    "#;
    let case = Case::new(format!("user,seen,more,click,split\n{rows}1,{long},,0,train\n2,,,1,train\n"), recipe);
    let dataset = case.prepare().unwrap();
    let bytes = std::fs::metadata(case.out().join("train/ids.u32")).unwrap().len();
    assert_eq!(bytes, 64 + 4 * (999 * 3 + (2 + 50) + 2)); // a user, a length, and so many ids
    let batch = whole(&dataset, Split::Train);
    let lengths = batch.ids.chunks(51).map(|row| row[1..].iter().filter(|&&id| id != row[50]).count());
    let (ids, weights) = (&batch.ids[999 * 51..1000 * 51], &batch.weights[999 * 51..1000 * 51]);
    assert!(ids[1..].windows(2).all(|pair| pair[0] != pair[1]) && weights[1..].iter().all(|&w| w == 1.0 / 50.0));
    assert_eq!(lengths.clone().take(999).max(), Some(1));
    assert_eq!(batch.weights[1000 * 51..][..3], [1.0, 0.0, 0.0]); // of nothing, nothing
    let shuffled = dataset.batches(Split::Train, BatchPlan { size: 7, shuffle: Some((1, 0)) });
    let mut some: Vec<Vec<u32>> =
        shuffled.flat_map(|b| b.ids.chunks(51).map(<[u32]>::to_vec).collect::<Vec<_>>()).collect();
    let mut all: Vec<Vec<u32>> = batch.ids.chunks(51).map(<[u32]>::to_vec).collect();
    some.sort_unstable();
    all.sort_unstable();
    assert_eq!(some, all);
}

#[test]
fn outside_its_sample_space_a_label_is_missing() {
    let log = "user,item,price,click,buy,split\n1,x,1,1,1,train\n1,x,1,1,0,train\n1,x,1,0,1,train\n1,x,1,,1,train\n";
    let recipe = RECIPE.replace("[split]", "[[label]]\ncolumn = \"buy\"\nwithin = \"click\"\n\n[split]");
    let dataset = Case::new(log, recipe).prepare().unwrap();
    let buys: Vec<f32> = dataset.labels(Split::Train).chunks(2).map(|row| row[1]).collect();
    assert_eq!(buys[..2], [1.0, 0.0]);
    assert!(buys[2].is_nan() && buys[3].is_nan());
    assert_eq!(dataset.statistics(Split::Train).missing, [1, 2]);

    let only = dataset.only_task(1);
    assert_eq!(only.schema().tasks.len(), 1);
    assert_eq!(only.labels(Split::Train)[..2], [1.0, 0.0]);
    whole(&only, Split::Train).check(only.schema()).unwrap();
}

#[test]
fn groups_have_the_same_index_in_every_split() {
    let dataset = Case::new(LOG, RECIPE).prepare().unwrap();
    assert_eq!(dataset.groups(Split::Train), Some(&[0, 1][..]));
    assert_eq!(dataset.groups(Split::Valid), Some(&[0][..]));
    assert_eq!(dataset.groups(Split::Test), Some(&[2][..]));
    let without = Case::new(LOG, RECIPE.replace("group = \"user\"\n", "")).prepare().unwrap();
    assert_eq!(without.groups(Split::Train), None);
}

#[test]
fn a_second_run_only_opens_and_a_change_prepares_again() {
    let case = Case::new(LOG, RECIPE);
    case.prepare().unwrap();
    let written = |case: &Case| std::fs::metadata(case.out().join("dataset.json")).unwrap().modified().unwrap();
    let first = written(&case);
    case.prepare().unwrap();
    assert_eq!(written(&case), first);
    std::fs::write(case.dir.path().join("log.csv"), LOG.replace("3,z", "33,z")).unwrap();
    case.prepare().unwrap();
    assert_ne!(written(&case), first);
    let second = written(&case);
    let other = Case { recipe: case.recipe.replace("case", "other"), ..case };
    assert_eq!(other.prepare().unwrap().name(), "other");
    assert_ne!(written(&other), second);
}

#[test]
fn a_data_set_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&Case::new(LOG, RECIPE).prepare().unwrap());
}

#[test]
fn a_space_within_a_space_counts_as_masked() {
    let log = "user,view,click,buy,split\n1,1,1,1,train\n2,0,1,1,train\n3,1,0,1,train\n1,1,1,0,valid\n";
    let recipe = r#"
        name = "funnel"
        source = [{ name = "log", file = "log.csv" }]
        field = [{ column = "user", kind = "category" }]
        label = [{ column = "buy", within = "click" }, { column = "click", within = "view" }, { column = "view" }]
        split = { kind = "column", column = "split" }
    "#;
    let dataset = Case::new(log, recipe).prepare().unwrap();
    let labels: Vec<Option<f32>> =
        dataset.labels(Split::Train).iter().map(|y| Some(*y).filter(|y| !y.is_nan())).collect();
    let (one, none) = (Some(1.0), None);
    assert_eq!(labels, [one, one, one, none, none, Some(0.0), none, Some(0.0), one]);
}

#[test]
fn booleans_texts_and_empty_values_are_encoded_as_the_predictor_encodes_them() {
    let log = "flag,word,tags,click,split\ntrue,a,x|y,1,train\nfalse,\"\",,0,train\ntrue,b,\"\",1,train\nfalse,c,|x,0,valid\n";
    let recipe = r#"
        name = "texts"
        source = [{ name = "log", file = "log.csv" }]
        field = [
            { column = "flag", kind = "category" },
            { column = "word", kind = "category", default = "none" },
            { column = "tags", kind = "sequence", separator = "|", max_len = 2 },
        ]
        label = [{ column = "click" }]
        split = { kind = "column", column = "split" }
    "#;
    let dataset = Case::new(log, recipe).prepare().unwrap();
    let row = |flag: &str, word: &str, tags: &str| Row::new().with("flag", flag).with("word", word).with("tags", tags);
    let raw = [row("true", "a", "x|y"), row("FALSE", "", ""), row("true", "b", "")];
    let served = stem_core::encode_rows(dataset.schema(), dataset.vocabularies(), &raw).unwrap();
    let trained = whole(&dataset, Split::Train);
    assert_eq!((served.ids, served.weights), (trained.ids, trained.weights));
}

#[test]
fn other_settings_of_the_simulator_make_another_log() {
    let recipe = |rows: usize| {
        format!(
            r#"
            name = "small"
            source = [{{ name = "log", file = "sim.csv" }}]
            field = [{{ column = "user", kind = "category" }}]
            label = [{{ column = "a" }}]
            split = {{ kind = "random", valid = 0.2, test = 0.2, seed = 1 }}
            simulator = {{ users = 20, items = 20, rows = {rows} }}
            "#
        )
    };
    let case = Case::new("", recipe(300));
    let rows = |dataset: Dataset| Split::ALL.map(|split| dataset.rows(split)).iter().sum::<usize>();
    assert_eq!(rows(case.prepare().unwrap()), 300);
    let case = Case { recipe: recipe(400), ..case };
    assert_eq!(rows(case.prepare().unwrap()), 400);
    std::fs::remove_file(case.dir.path().join("sim.simulator.json")).unwrap();
    let case = Case { recipe: recipe(500), ..case };
    assert_eq!(rows(case.prepare().unwrap()), 400, "a log of the user's own is read as it is");
}

#[test]
fn one_task_alone_has_its_labels_in_batches_and_in_all() {
    let log = "user,view,click,split\n1,1,0,train\n2,0,1,train\n3,1,1,train\n1,1,1,valid\n";
    let recipe = r#"
        name = "two"
        source = [{ name = "log", file = "log.csv" }]
        field = [{ column = "user", kind = "category" }]
        label = [{ column = "view" }, { column = "click", within = "view" }]
        split = { kind = "column", column = "split" }
    "#;
    let dataset = Case::new(log, recipe).prepare().unwrap();
    let seen = |labels: &[f32]| labels.iter().map(|y| Some(*y).filter(|y| !y.is_nan())).collect::<Vec<_>>();
    for (task, expected) in [(0, [Some(1.0), Some(0.0), Some(1.0)]), (1, [Some(0.0), None, Some(1.0)])] {
        for alone in [dataset.only_task(task), dataset.only_task(task).only_task(0)] {
            assert_eq!(
                alone.schema().tasks,
                [Task::new(&dataset.schema().tasks[task].name)],
                "within none: there is no other"
            );
            assert_eq!(seen(alone.labels(Split::Train)), expected);
            let batch = alone.batches(Split::Train, BatchPlan { size: 9, shuffle: None }).next().unwrap();
            assert_eq!(seen(&batch.labels), expected);
            batch.check(alone.schema()).unwrap();
            assert_eq!(alone.statistics(Split::Train).positives, [dataset.statistics(Split::Train).positives[task]]);
        }
    }
}

#[test]
fn rows_of_a_group_follow_each_other_where_that_is_asked_for_in_an_order_of_each_epoch() {
    let row = |i: usize| format!("{},x,1,{},train\n", i * 7919 % 40, i % 2);
    let log: String = (0..400).map(row).collect();
    let dataset = Case::new(format!("{LOG}{log}"), RECIPE).prepare().unwrap();
    let groups = |epoch: u64| -> Vec<u32> {
        let plan = BatchPlan { size: 64, shuffle: Some((5, epoch)) };
        let of = EpochRows { whole_groups: true, ..EpochRows::default() };
        dataset.batches_of(Split::Train, plan, 0, of).flat_map(|batch| batch.groups).collect()
    };
    let first = groups(0);
    let runs = first.chunk_by(|a, b| a == b).count();
    let mut distinct = first.clone();
    distinct.sort_unstable();
    assert_eq!(distinct.len(), dataset.rows(Split::Train), "every row once");
    distinct.dedup();
    assert_eq!(runs, distinct.len(), "no group is in two places");
    assert_eq!(first, groups(0));
    assert_ne!(first, groups(1));
    let plain = dataset.batches(Split::Train, IN_ORDER).next().unwrap();
    assert!(plain.groups.is_empty(), "nothing asks for them");
}

/// Bytes that the files of a folder take on the disk, holes left out.
#[cfg(target_os = "linux")]
fn on_disk(folder: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => on_disk(&entry.path()),
        Ok(found) => found.blocks() * 512,
        Err(_) => 0, // gone since
    };
    entries.map(of).sum()
}

#[cfg(target_os = "linux")]
#[test]
fn the_disk_holds_no_number_twice_while_rows_are_encoded() {
    use std::fmt::Write;
    use std::sync::atomic::{AtomicBool, Ordering};
    const ROWS: usize = 1_200_000;
    let mut log = String::from("a,b,c,d,click,split\n");
    for row in 0..ROWS {
        let split = if row % 10 == 0 { "test" } else { "train" };
        writeln!(log, "{row},{},{},1,{},{split}", row % 7, row % 5, row % 2).unwrap();
    }
    let fields: String =
        ["a", "b", "c", "d"].map(|c| format!("[[field]]\ncolumn = \"{c}\"\nkind = \"number\"\n")).concat();
    let recipe = format!(
        "name = \"n\"\n[[source]]\nname = \"log\"\nfile = \"log.csv\"\n{fields}[[label]]\ncolumn = \"click\"\n[split]\nkind = \"column\"\ncolumn = \"split\"\n"
    );
    let case = Case::new(log, recipe);
    let raw = on_disk(case.dir.path());
    let ended = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !ended.load(Ordering::Relaxed) {
                most = on_disk(case.dir.path()).max(most);
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            most - raw
        });
        let dataset = case.prepare();
        ended.store(true, Ordering::Relaxed);
        dataset.unwrap();
        watch.join().unwrap()
    });
    let encoded = on_disk(&case.out());
    let read = (ROWS * (4 * 8 + 1)) as u64; // as 64-bit floats, and a label
    assert!(most > read.max(encoded) && most < read.max(encoded) * 3 / 2, "{most} of {read} and {encoded}");
}
