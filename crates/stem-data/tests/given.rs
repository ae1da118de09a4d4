//! Vectors that rows of a vocabulary start from: which keys get which, and what a table of vectors may not hold.

use std::path::Path;

use stem_core::Vocabulary;
use stem_data::ranks::Threads;
use stem_data::{Dataset, Error, Known, PrepareOptions, Recipe, Rows, prepare, prepare_known, prepare_over};

const LOG: &str = "item,name,click,split
3,Rome,1,train
1,oslo ,0,train
9,Rome,1,train
2,Bern,0,valid
3,Oslo,1,test
";

/// `item` has the keys 1, 3 and 9, `name` those of training in small letters: oslo, rome.
fn recipe(item: &str, name: &str) -> Result<Recipe, Error> {
    let text = format!(
        r#"
        name = "given"
        source = [{{ name = "log", files = ["log"] }}]
        field = [
            {{ column = "name", kind = "category", trim = true, lower = true {name} }},
            {{ column = "item", kind = "category" {item} }},
        ]
        label = [{{ column = "click" }}]
        split = {{ kind = "column", column = "split" }}
        "#
    );
    Recipe::parse(&text, "recipe.toml")
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("log")).unwrap();
    std::fs::write(folder.path().join("log/a.csv"), LOG).unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn read(folder: &Path, item: &str, name: &str) -> Result<Dataset, Error> {
    prepare(&recipe(item, name)?, folder, &folder.join("columns"), &PrepareOptions::default())
}

const CSV: &str = r#", vectors = { file = "items.csv", column = "vector", separator = " " }"#;

/// Of which rows of a vocabulary, and which vectors.
fn given(dataset: &Dataset, v: usize) -> Vec<(u32, Vec<f32>)> {
    dataset.given_vectors(v).unwrap().rows().map(|(id, vector)| (id, vector.to_vec())).collect()
}

#[test]
fn every_key_of_the_vocabulary_gets_its_vector_whatever_the_format_and_their_order() {
    let json = "{\"vector\": [0.5, 1], \"what\": \" OSLO\"}\n{\"what\": \"Paris\", \"vector\": [7, 7]}\n";
    let folder = folder(&[("items.csv", "item,vector\n9,0.5 -1 2\n77,0 0 0\n3,1 2 3\n"), ("names.jsonl", json)]);
    let name = r#", vectors = { file = "names.jsonl", key = "what", column = "vector" }"#;
    read(folder.path(), CSV, name).unwrap();
    let dataset = Dataset::open(folder.path().join("columns")).unwrap();
    assert!(matches!(&dataset.vocabularies()[1], Vocabulary::Integers(keys) if keys.values()[..] == [1, 3, 9]));
    assert_eq!(given(&dataset, 1), [(2, vec![1.0, 2.0, 3.0]), (3, vec![0.5, -1.0, 2.0])]);
    assert_eq!(given(&dataset, 0), [(1, vec![0.5, 1.0])], "a key goes through the steps of its field");
    let items = dataset.given_vectors(1).unwrap();
    assert_eq!(([1, 2, 3].map(|id| items.has(id)), items.width), ([false, true, true], 3));
    let told = dataset.warnings().join("\n");
    let expected = "2 of the 3 keys of \"item\" start from a vector of items.csv, the others as without one (1 keys there are not known)";
    assert!(told.contains(expected), "{told}");
    let list = r#", vectors = { file = "items.csv", column = "vector" }"#;
    std::fs::write(folder.path().join("items.csv"), "item,vector\n3,\"[4, 5]\"\n1,\"[6, 7]\"\n9,\"[8, 9]\"\n").unwrap();
    let dataset = read(folder.path(), list, "").unwrap();
    assert_eq!(given(&dataset, 1), [(1, vec![6.0, 7.0]), (2, vec![4.0, 5.0]), (3, vec![8.0, 9.0])]);
    assert!(dataset.given_vectors(0).is_none());
    assert!(!dataset.warnings().join("\n").contains("start from a vector"), "all of them do");
    std::fs::write(folder.path().join("items.csv"), "item,vector\n3,\"[4, 55]\"\n").unwrap();
    let dataset = read(folder.path(), list, "").unwrap();
    assert_eq!(given(&dataset, 1), [(2, vec![4.0, 55.0])], "another table is read again");
}

#[test]
fn several_ranks_write_what_one_writes_and_a_measurement_asks_for_no_vectors() {
    let folder = folder(&[("items.csv", "item,vector\n9,0.5 -1\n1,1 2\n")]);
    std::fs::write(folder.path().join("log/b.csv"), LOG.replace("9,Rome", "8,Rome")).unwrap();
    let alone = read(folder.path(), CSV, "").unwrap();
    assert_eq!(given(&alone, 1).len(), 2);
    let (recipe, out) = (recipe(CSV, "").unwrap(), folder.path().join("over"));
    Threads::run(2, |ranks| {
        prepare_over(&ranks, &recipe, folder.path(), &out, &PrepareOptions::default()).unwrap();
    });
    let over = Dataset::open(&out).unwrap();
    assert_eq!(given(&over, 1), given(&alone, 1));
    assert_eq!((over.key(), over.warnings()), (alone.key(), alone.warnings()));
    std::fs::remove_file(folder.path().join("items.csv")).unwrap();
    let known =
        Known { schema: alone.schema(), vocabularies: alone.vocabularies(), idle: &[], mark: "a model has its rows" };
    let (data, out) = (folder.path(), folder.path().join("measured"));
    let measured = prepare_known(&recipe, known, Rows::All, &[], data, &out, &PrepareOptions::default()).unwrap();
    assert!(measured.given_vectors(1).is_none());
}

#[test]
fn what_a_table_of_vectors_may_not_hold_is_told_with_its_place() {
    for (table, expected) in [
        (
            "item,vector\n3,1 2\n1,1 2 3\n",
            "items.csv:3: column 'vector': expected 2 numbers, as in the first row, found 3",
        ),
        (
            "item,vector\n3,1 nan\n",
            "items.csv:2: column 'vector': expected a list of finite numbers, or a text of them with \" \" between, found \"1 nan\"",
        ),
        ("item,vector\n3,1 1e300\n", "found \"1 1e300\""),
        ("item,vector\n3,\n", "items.csv:2: column 'vector': expected a list of finite numbers"),
        (
            "item,vector\n3,1 2\n9,0 0\n3,4 5\n",
            "items.csv:4: column 'item': expected every key once, found \"3\", which row 0 of the table has too (counted from 0)",
        ),
        ("item,vector\n,1 2\n", "items.csv:2: column 'item': expected a key: leave the row out where there is none"),
        ("item,vector\nx,1 2\n", "items.csv:2: column 'item': expected an integer, as in the log, found \"x\""),
        (
            "item,vector\n77,1 2\n",
            "items.csv: none of its 1 keys (column 'item') is known: are they written as in the log?",
        ),
        ("item,vector\n", "none of its 0 keys"),
        (
            "item,vectors\n3,1 2\n",
            "items.csv: a table of vectors without a column \"vector\"; did you mean \"vectors\"? (its columns: item, vectors)",
        ),
        ("id,vector\n3,1 2\n", "a table of vectors without a column \"item\""),
        ("item,vector\n3,1 2,4\n", "items.csv"),
    ] {
        let folder = folder(&[("items.csv", table)]);
        let message = read(folder.path(), CSV, "").map(drop).unwrap_err().to_string();
        assert!(message.contains(expected), "{table}: {message}");
        assert!(!folder.path().join("columns").exists(), "nothing is left of it");
    }
    let message = read(folder(&[]).path(), CSV, "").map(drop).unwrap_err().to_string();
    assert!(message.contains("items.csv"), "{message}");
}

#[test]
fn what_a_recipe_may_not_say_of_vectors_is_a_fault_of_its_line() {
    let fault = |item: &str, name: &str| recipe(item, name).map(drop).unwrap_err().to_string();
    for (item, expected) in [
        (", vectors = { column = \"v\" }", "has no `file`"),
        (", vectors = { file = \"a.csv\" }", "has no `column`"),
        (", vectors = { file = \"a.csv\", column = \"v\", length = 3 }", "unknown key \"length\""),
        (", vectors = \"a.csv\"", "`vectors` must be a table"),
        (", hash = 10, vectors = { file = \"a.csv\", column = \"v\" }", "`vectors` does not go with `hash`"),
        (", bucketize = [1], vectors = { file = \"a.csv\", column = \"v\" }", "`vectors` does not go with `bucketize`"),
    ] {
        let message = fault(item, "");
        assert!(message.contains(expected) && message.starts_with("recipe.toml:6: "), "{message}");
    }
    let twice = fault(&format!("{CSV}, vocabulary = \"name\""), CSV);
    assert!(twice.contains("vocabulary \"name\" has `vectors` in field \"name\" already"), "{twice}");
    let number = Recipe::parse(
        "field = [{ column = \"p\", kind = \"number\", vectors = { file = \"a.csv\", column = \"v\" } }]",
        "r.toml",
    );
    assert!(number.unwrap_err().to_string().contains("`vectors` is for categories and sequences"));
}
