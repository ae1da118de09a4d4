//! Recipes and folders of columns that were changed by chance, 50,000 of each: an error that says what is wrong or what they are, never a panic.
//! `STEM_MUTATIONS=200000` tries so many.

use std::path::{Path, PathBuf};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};
use stem_data::{BatchPlan, Dataset, Error, Recipe, Split};

fn mutations() -> usize {
    std::env::var("STEM_MUTATIONS").ok().map_or(50_000, |text| text.parse().unwrap())
}

const RECIPES: [&str; 3] = [
    include_str!("../../../datasets/movielens-100k/recipe.toml"),
    include_str!("../../../datasets/kuairand-pure/play-time.toml"),
    r#"
name = "small"
group = "user"
null_values = ["NA"]
sql = "SELECT log.*, hour(time) AS h FROM log JOIN items ON log.item = items.item"
source = [{ name = "log", file = "log/*.csv", separator = ";" }, { name = "items", file = "items.parquet" }]
field = [
    { column = "user", kind = "category", min_count = 3, max_rows = 100 },
    { column = "tags", kind = "sequence", separator = "|", max_len = 2, keep = "last" },
    { column = "price", kind = "number", standardize = true, clip = [0.0, 9.5], log = true },
    { columns = ["user", "h"], name = "pair", kind = "category", hash = 50 },
]
label = [{ column = "view" }, { column = "click", within = "view", weight = "w" }, { column = "seconds", kind = "watch-time" }]
split = { kind = "random", valid = 0.1, test = 0.1, seed = 3 }
"#,
];

const PIECES: [&str; 28] = [
    "{",
    "}",
    "[",
    "]",
    "=",
    ",",
    "\"",
    "'",
    "#",
    "\n",
    "[[field]]\n",
    "[split]\n",
    "kind = ",
    "-1",
    "0",
    "1e999",
    "nan",
    "18446744073709551616",
    "1979-05-27",
    "true",
    "\"\"\"",
    "\\u0000",
    "SELECT",
    "(((((",
    "column = \"user\"\n",
    "é",
    "\u{0}",
    "a.b.c = 1\n",
];

fn mutate_text(text: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    let place = |rng: &mut ChaCha8Rng, text: &[u8]| rng.random_range(0..=text.len());
    let a = place(rng, text);
    let b = (a + rng.random_range(0..60)).min(text.len());
    match rng.random_range(0..7) {
        0 => drop(text.drain(a..b)),
        1 => {
            let (piece, at) = (text[a..b].to_vec(), place(rng, text));
            text.splice(at..at, piece);
        }
        2 if a < text.len() => text[a] ^= 1 << rng.random_range(0..8),
        3 => {
            // a line goes, or comes twice
            let lines: Vec<Vec<u8>> = text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            if lines.is_empty() {
                return;
            }
            let (line, times) = (rng.random_range(0..lines.len()), rng.random_range(0..2) * 2);
            let kept = lines
                .iter()
                .enumerate()
                .flat_map(|(i, one)| std::iter::repeat_n(one, if i == line { times } else { 1 }));
            *text = kept.flatten().copied().collect();
        }
        _ => {
            let piece = PIECES[rng.random_range(0..PIECES.len())];
            text.splice(a..b.min(a + rng.random_range(0..6)), piece.bytes());
        }
    }
}

#[test]
fn a_mutated_recipe_is_refused_or_read() {
    let (mut rng, mut told) = (ChaCha8Rng::seed_from_u64(17), [0; 2]);
    let number = mutations();
    for mutation in 0..number {
        let mut text = RECIPES[mutation % RECIPES.len()].as_bytes().to_vec();
        (0..=rng.random_range(0..3)).for_each(|_| mutate_text(&mut text, &mut rng));
        match Recipe::parse(&String::from_utf8_lossy(&text), "recipe.toml") {
            Ok(_) => told[1] += 1,
            Err(Error::Recipe { faults, .. }) => {
                assert!(!faults.is_empty() && faults.iter().all(|fault| !fault.what.is_empty()));
                told[0] += 1;
            }
            Err(other) => panic!("mutation {mutation}: {other}"),
        }
    }
    println!("{} refused, {} read", told[0], told[1]);
    assert!(told.iter().all(|told| *told > number / 100), "{told:?}: mutations reach both");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> =
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    all.sort();
    all
}

/// Another value in the place of one part of a document.
fn mutate_json(value: &mut Json, rng: &mut ChaCha8Rng) {
    match value {
        Json::Array(all) if !all.is_empty() && rng.random_range(0..8) > 0 => {
            let place = rng.random_range(0..all.len());
            match rng.random_range(0..16) {
                0 => drop(all.remove(place)),
                1 => all.push(all[place].clone()),
                _ => mutate_json(&mut all[place], rng),
            }
        }
        Json::Object(all) if !all.is_empty() && rng.random_range(0..8) > 0 => {
            let key = all.keys().nth(rng.random_range(0..all.len())).unwrap().clone();
            match rng.random_range(0..16) {
                0 => drop(all.remove(&key)),
                1 => drop(all.insert(format!("{key}x"), all[&key].clone())),
                _ => mutate_json(all.get_mut(&key).unwrap(), rng),
            }
        }
        value => {
            let others = [
                json!(null),
                json!(-1),
                json!(0),
                json!(u64::MAX),
                json!(1u64 << 40),
                json!(1e300),
                json!(""),
                json!([]),
                json!({}),
            ];
            *value = match value {
                Json::Number(number) if rng.random_range(0..2) == 0 => {
                    json!(number.as_i64().unwrap_or(7).wrapping_add(rng.random_range(-2..3)))
                }
                _ => others[rng.random_range(0..others.len())].clone(),
            };
        }
    }
}

/// Opens a folder, and reads what opens.
fn open(folder: &Path) -> Result<(), Error> {
    let dataset = Dataset::open(folder)?;
    for split in Split::ALL {
        for batch in dataset.batches(split, BatchPlan { size: 2, shuffle: None }).take(2) {
            let _ = batch.check(dataset.schema()); // what the trainer asks of every batch
        }
    }
    Ok(())
}

#[test]
fn a_mutated_folder_of_columns_is_refused_or_read() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/columns-v4");
    let folder = tempfile::tempdir().unwrap();
    let wholes: Vec<(PathBuf, Vec<u8>)> = files(&sample)
        .into_iter()
        .map(|path| (folder.path().join(path.strip_prefix(&sample).unwrap()), std::fs::read(&path).unwrap()))
        .collect();
    let write = |path: &Path, bytes: &[u8]| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        _ = std::fs::remove_file(path); // a file that is cut to be written anew is flushed to the disk first
        std::fs::write(path, bytes).unwrap();
    };
    wholes.iter().for_each(|(path, bytes)| write(path, bytes));
    open(folder.path()).unwrap();
    let manifest = wholes.iter().position(|(path, _)| path.ends_with("dataset.json")).unwrap();
    let document: Json = serde_json::from_slice(&wholes[manifest].1).unwrap();
    let (mut rng, mut told) = (ChaCha8Rng::seed_from_u64(17), [0; 2]);
    let number = mutations();
    for mutation in 0..number {
        let place = if mutation % 2 == 0 { manifest } else { rng.random_range(0..wholes.len()) };
        let (path, whole) = &wholes[place];
        let mut bytes = whole.clone();
        if place == manifest {
            let mut changed = document.clone();
            (0..=rng.random_range(0..3)).for_each(|_| mutate_json(&mut changed, &mut rng));
            bytes = changed.to_string().into_bytes();
        } else if bytes.is_empty() || rng.random_range(0..4) == 0 {
            bytes.resize(rng.random_range(0..bytes.len() + 9), 0xff);
        } else {
            let at = rng.random_range(0..bytes.len());
            bytes[at] ^= 1 << rng.random_range(0..8);
        }
        write(path, &bytes);
        match open(folder.path()) {
            Ok(()) => told[1] += 1,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                told[0] += 1;
            }
        }
        write(path, whole);
    }
    println!("{} refused, {} read", told[0], told[1]);
    assert!(told.iter().all(|told| *told > number / 100), "{told:?}: mutations reach both");
}
