//! Several ranks prepare what one process prepares, byte for byte.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use stem_data::ranks::Threads;
use stem_data::{PrepareOptions, Recipe, prepare, prepare_over};

/// Rows of a log: lists longer than they are read, keys of three fields in two vocabularies, nulls, values that one file alone has.
fn part(place: usize, rows: usize) -> String {
    let mut text = "user,item,history,category,price,shares,when,day,click,seconds,weight\n".to_string();
    for i in 0..rows {
        let n = place * 1000 + i * 7919 % 997;
        let key = |k: usize| format!("Item {}", (n * (k + 3) + place) % 61);
        let history: Vec<String> = (0..n % 9).map(key).collect();
        let (user, item) = (n * 31 % 47, if n.is_multiple_of(11) { String::new() } else { key(1) });
        let words = ["red", "RED", "blue", "only here"];
        let category = match n {
            n if n.is_multiple_of(5) => "",
            n if place == 2 => words[n % 4],
            n => words[n % 3],
        };
        let price = if n.is_multiple_of(13) { String::new() } else { format!("{}", (n % 101) as f64 / 7.0) };
        let (click, seconds) = (u8::from(n * n % 7 < 3), (n % 50) as f64 / 3.0);
        text += &format!(
            "{user},{item},{},{category},{price},{},{},d{},{click},{seconds},{}\n",
            history.join("|"),
            n % 17,
            1_700_000_000 + (n * 17 % 4000) * 600,
            n % 6,
            1.0 + (n % 3) as f64,
        );
    }
    text
}

fn recipe(split: &str, more: &str) -> String {
    format!(
        r#"
name = "ranks"
group = "user"
weight = "weight"
{more}
[[source]]
name = "log"
files = ["log"]
[[field]]
column = "user"
kind = "category"
[[field]]
column = "item"
kind = "category"
default = "none"
min_count = 2
[[field]]
column = "history"
kind = "sequence"
separator = "|"
max_len = 3
keep = "last"
vocabulary = "item"
min_count = 2
[[field]]
column = "category"
kind = "category"
hash = 7
[[field]]
column = "price"
kind = "number"
[[field]]
column = "shares"
kind = "category"
bucketize = {{ quantiles = 4 }}
[[label]]
column = "click"
mature_after = {{ column = "when", wait = 60000 }}
[[label]]
column = "seconds"
kind = "regression"
[split]
{split}
"#
    )
}

/// Files and folders below a folder; of the manifest what is not a time.
fn read(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name().into_string().unwrap())).unwrap();
        if path.is_dir() {
            all.extend(read(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        if name == "dataset.json" {
            let mut manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            for mark in manifest["files"].as_object_mut().unwrap().values_mut() {
                mark.as_object_mut().unwrap().remove("modified").unwrap();
            }
            bytes = manifest.to_string().into_bytes();
        }
        all.insert(name, bytes);
    }
    all
}

fn write_log(folder: &Path, rows: &[usize]) {
    std::fs::create_dir(folder.join("log")).unwrap();
    for (place, rows) in rows.iter().enumerate() {
        let text = part(place, *rows);
        let path = folder.join(format!("log/part-{place}.csv"));
        if place % 2 == 0 {
            std::fs::write(path, text).unwrap();
            continue;
        }
        let file = std::fs::File::create(path.with_extension("csv.gz")).unwrap();
        let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        packed.finish().unwrap();
    }
}

/// Prepares a recipe alone and by 2, 3 and 5 ranks, and holds all that is written to what one process writes.
fn hold(folder: &Path, recipe: &str) {
    hold_on(&[2, 3, 5], folder, recipe);
}

fn hold_on(counts: &[usize], folder: &Path, recipe: &str) {
    let (recipe, options) = (Recipe::parse(recipe, "recipe.toml").unwrap(), PrepareOptions::default());
    let alone = prepare(&recipe, folder, &folder.join("alone"), &options).unwrap();
    let expected = read(&folder.join("alone"));
    assert!(expected.len() > 10, "{:?}", expected.keys());
    for &ranks in counts {
        let out = folder.join(format!("of-{ranks}"));
        let found = Threads::run(ranks, |ranks| {
            let dataset = prepare_over(&ranks, &recipe, folder, &out, &options).unwrap();
            assert_eq!(dataset.is_some(), ranks.is_first());
            dataset.map(|dataset| dataset.warnings().to_vec())
        });
        assert_eq!(found[0].as_deref(), Some(alone.warnings()), "{ranks} ranks");
        let found = read(&out);
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (name, bytes) in &expected {
            let shown = || {
                if name.ends_with("json") { String::from_utf8_lossy(&found[name]).into_owned() } else { String::new() }
            };
            assert!(found[name] == *bytes, "{ranks} ranks: {name} is another: {}", shown());
        }
        let again =
            Threads::run(ranks, |ranks| prepare_over(&ranks, &recipe, folder, &out, &options).unwrap().is_some());
        assert_eq!(again.iter().filter(|first| **first).count(), 1, "it is found done");
    }
    let left: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with(".stem")), "{left:?}");
}

#[test]
fn columns_vocabularies_and_facts_are_those_of_one_process_however_rows_are_split() {
    for split in [
        "kind = \"random\"\nvalid = 0.2\ntest = 0.2\nseed = 5",
        "kind = \"time\"\ncolumn = \"when\"\nvalid = 0.2\ntest = 0.2",
        "kind = \"last\"\ncolumn = \"user\"\norder = \"when\"\nvalid = 1\ntest = 2",
        "kind = \"hash\"\ncolumn = \"user\"\nvalid = 0.2\ntest = 0.2\nseed = 2",
        "kind = \"column\"\ncolumn = \"day\"\ntrain = \"d0\"\nvalid = \"d1\"\ntest = \"d2\"",
    ] {
        let folder = tempfile::tempdir().unwrap();
        write_log(folder.path(), &[300, 150, 220, 90]);
        hold(folder.path(), &recipe(split, ""));
    }
}

#[test]
fn the_rows_of_a_select_with_a_join_are_shared_out_too() {
    let folder = tempfile::tempdir().unwrap();
    write_log(folder.path(), &[200, 90, 10]);
    let users: String = (0..40).map(|user| format!("{user},{}\n", user % 7)).collect();
    std::fs::write(folder.path().join("users.csv"), format!("id,shares\n{users}")).unwrap();
    let sql = "sql = \"\"\"SELECT l.\"user\", l.item, l.history, LOWER(l.category) AS category, l.price, u.shares, l.\"when\", l.click, l.seconds, l.weight FROM log l JOIN users u ON l.\"user\" = u.id WHERE l.price > 0.5\"\"\"";
    let recipe = recipe("kind = \"random\"\nvalid = 0.2\ntest = 0.2\nseed = 5", sql);
    let users = "[[source]]\nname = \"users\"\nfile = \"users.csv\"\n[[field]]\ncolumn = \"user\"";
    hold(folder.path(), &recipe.replacen("[[field]]\ncolumn = \"user\"", users, 1));
}

#[test]
fn files_of_other_columns_and_of_more_rows_than_a_message_has_are_put_together() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("log")).unwrap();
    let row = |i: usize, more: &str| format!("{},{},{}{more}\n", i % 5000, i % 7, u8::from(i.is_multiple_of(3)));
    let short: String = (0..50).map(|i| row(i, "")).collect();
    let long: String = (0..70_000).map(|i| row(i * 3, &format!(",{}", i as f64 / 8.0))).collect();
    std::fs::write(folder.path().join("log/a.csv"), format!("user,item,click\n{short}")).unwrap();
    std::fs::write(folder.path().join("log/b.csv"), format!("user,item,click,price\n{long}")).unwrap();
    let recipe = r#"
        name = "drift"
        source = [{ name = "log", files = ["log"] }]
        field = [{ column = "user", kind = "category" }, { column = "item", kind = "category" }, { column = "price", kind = "number" }]
        label = [{ column = "click" }]
        split = { kind = "random", valid = 0.2, test = 0.2, seed = 1 }
    "#;
    hold(folder.path(), recipe);
}

#[test]
fn of_more_rows_than_are_looked_at_for_copies_the_same_are_though_two_fields_have_one_vocabulary() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("log")).unwrap();
    for (place, rows) in [100_000, 190_000].into_iter().enumerate() {
        let row = |i: usize| {
            format!("k{},k{},{}\n", i * 7919 % 250_007, i * 104_729 % 240_007, u8::from(i.is_multiple_of(3)))
        };
        let rows: String = (0..rows).map(|i| row(i + place * 50_000)).collect();
        std::fs::write(folder.path().join(format!("log/{place}.csv")), format!("item,last,click\n{rows}")).unwrap();
    }
    let recipe = r#"
        name = "copies"
        source = [{ name = "log", files = ["log"] }]
        field = [{ column = "item", kind = "category" }, { column = "last", kind = "category", vocabulary = "item" }]
        label = [{ column = "click" }]
        split = { kind = "random", valid = 0.2, test = 0.2, seed = 1 }
    "#;
    hold_on(&[2], folder.path(), recipe);
}

#[test]
fn ranks_that_read_other_data_and_selects_that_look_further_are_refused_on_all() {
    let folder = tempfile::tempdir().unwrap();
    write_log(folder.path(), &[40, 40]);
    let split = "kind = \"random\"\nvalid = 0.2\ntest = 0.2\nseed = ";
    let told = |more: &str, seeds: [u8; 2]| {
        let refused = Threads::run(2, |ranks| {
            let recipe =
                Recipe::parse(&recipe(&format!("{split}{}", seeds[ranks.rank()]), more), "recipe.toml").unwrap();
            let done =
                prepare_over(&ranks, &recipe, folder.path(), &folder.path().join("out"), &PrepareOptions::default());
            done.unwrap_err().to_string()
        });
        assert_eq!(refused[0], refused[1]);
        refused[0].clone()
    };
    let found = told("", [1, 2]);
    assert!(
        found.starts_with("rank 1 is not of this preparation: its recipe or its data are others than rank 0's"),
        "{found}"
    );
    let found = told("sql = \"SELECT * FROM log ORDER BY price\"", [1, 1]);
    assert!(found.contains("ORDER BY looks at more than one of them; start `stem prepare` alone"), "{found}");
    assert!(!folder.path().join("out").exists());
}
