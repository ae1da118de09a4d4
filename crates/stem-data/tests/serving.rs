//! Whatever type a column has and whatever is done to its values: a value that is served names the row, and weighs what it weighed,
//! that the same value of the training table did.

use crate::common::Case;
use polars::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use stem_core::{Row, Value, encode_rows};
use stem_data::{BatchPlan, Dataset, Split};

const IN_ORDER: BatchPlan = BatchPlan { size: 1 << 20, shuffle: None };

/// A column of the table: what a program holds, and what a text file or a request in JSON would hold of it.
struct Raw {
    name: &'static str,
    column: Column,
    values: Vec<Value>,
    as_text: Vec<Value>,
}

impl Raw {
    fn new<T: Clone + Into<Value>>(
        name: &'static str,
        drawn: Vec<Option<T>>,
        column: impl FnOnce(Vec<Option<T>>) -> Column,
        text: impl Fn(T) -> String,
    ) -> Self {
        let values = drawn.iter().cloned().map(Value::from).collect();
        let as_text =
            drawn.iter().cloned().map(|value| value.map_or(Value::Null, |value| text(value).into())).collect();
        Self { name, column: column(drawn).with_name(name.into()), values, as_text }
    }
}

/// Null in one of nine.
fn draw<T>(rng: &mut StdRng, rows: usize, mut one: impl FnMut(&mut StdRng) -> T) -> Vec<Option<T>> {
    (0..rows).map(|_| (rng.random_range(0..9) > 0).then(|| one(rng))).collect()
}

fn word(rng: &mut StdRng) -> String {
    let words = ["Paris", " paris", "PARIS ", "Ölüdeniz", "İzmir", "東京", "7", "x", "true", "\u{1f}", " ", "a|b"];
    words[rng.random_range(0..words.len())].to_string()
}

/// Values as a column of their type.
macro_rules! of {
    ($values:expr) => {
        Series::new("".into(), $values).into_column()
    };
}

/// Lists as a column.
macro_rules! of_lists {
    ($lists:expr) => {{
        let lists = $lists.into_iter().map(|list| list.map(|list| Series::new("".into(), list)));
        of!(lists.collect::<Vec<_>>())
    }};
}

/// One column of every type that is read.
fn table(rows: usize, seed: u64) -> Vec<Raw> {
    let rng = &mut StdRng::seed_from_u64(seed);
    let micros = 1_709_280_000_000_000i64;
    let stamp = |t: i64| chrono::DateTime::from_timestamp_micros(t).unwrap();
    let list = |values: Vec<i64>| serde_json::to_string(&values).unwrap();
    let mut raw = vec![
        Raw::new("int", draw(rng, rows, |rng| rng.random_range(-9i64..9)), |v| of!(v), |v| v.to_string()),
        Raw::new("small", draw(rng, rows, |rng| rng.random_range(-9i8..9)), |v| of!(v), |v| format!(" {v}")),
        Raw::new(
            "hash_id",
            draw(rng, rows, |rng| rng.random::<u64>() >> rng.random_range(0..3)),
            |v| of!(v),
            |v| v.to_string(),
        ),
        Raw::new(
            "flag",
            draw(rng, rows, |rng| rng.random::<bool>()),
            |v| of!(v),
            |v| if v { "True".into() } else { "false".into() },
        ),
        Raw::new(
            "whole",
            draw(rng, rows, |rng| f64::from(rng.random_range(-5i32..5))),
            |v| of!(v),
            |v| format!("{v:.1}"),
        ),
        Raw::new(
            "half",
            draw(rng, rows, |rng| rng.random_range(-3f32..90.0)),
            |v| of!(v),
            |v| f64::from(v).to_string(),
        ),
        Raw::new("price", draw(rng, rows, |rng| rng.random_range(-0.5f64..900.0)), |v| of!(v), |v| v.to_string()),
        Raw::new("city", draw(rng, rows, word), |v| of!(v), |v| v),
        Raw::new("tags", draw(rng, rows, |rng| [word(rng), word(rng), word(rng)].join(";")), |v| of!(v), |v| v),
    ];
    let lists =
        draw(rng, rows, |rng| (0..rng.random_range(0..7)).map(|_| rng.random_range(0i64..20)).collect::<Vec<_>>());
    raw.push(Raw::new("seen", lists, |v| of_lists!(v), list));
    let vectors = draw(rng, rows, |rng| (0..3).map(|_| rng.random_range(-1f32..1.0)).collect::<Vec<_>>());
    raw.push(Raw::new("image", vectors, |v| of_lists!(v), |v| serde_json::to_string(&v).unwrap()));
    let words = draw(rng, rows, |rng| (0..rng.random_range(0..4)).map(|_| word(rng)).collect::<Vec<_>>());
    raw.push(Raw::new("words", words, |v| of_lists!(v), |v| serde_json::to_string(&v).unwrap()));
    let times: Vec<Option<i64>> = draw(rng, rows, |rng| micros + rng.random_range(0..90_000_000_000_000i64));
    let datetime =
        |times: Vec<Option<i64>>| of!(times).cast(&DataType::Datetime(TimeUnit::Microseconds, None)).unwrap();
    let mut time = Raw::new("time", times.clone(), datetime, |t| stamp(t).format("%Y-%m-%d %H:%M:%S%.6f").to_string());
    time.values = times.iter().map(|t| t.map(|t| stamp(t).to_rfc3339()).into()).collect(); // a program has no other way to hold it
    raw.push(time);
    let milliseconds = times.iter().map(|t| t.map(|t| t.div_euclid(1000))).collect();
    raw.push(Raw::new("ms", milliseconds, |v| of!(v), |v| v.to_string()));
    let days: Vec<Option<i32>> = draw(rng, rows, |rng| rng.random_range(19_000..20_000));
    let day = |days: Vec<Option<i32>>| of!(days).cast(&DataType::Date).unwrap();
    let mut day = Raw::new("day", days, day, |d| stamp(i64::from(d) * 86_400_000_000).format("%Y-%m-%d").to_string());
    day.values = day.as_text.clone();
    raw.push(day);
    raw
}

const RECIPE: &str = r#"
name = "types"
source = [{ name = "log", file = "log.parquet" }]
label = [{ column = "click" }]
split = { kind = "column", column = "split" }
field = [
    { column = "int", kind = "category", min_count = 2, default = 3 },
    { column = "small", kind = "category", hash = 5 },
    { column = "hash_id", kind = "category", hash = 1000 },
    { column = "hash_id", name = "hash_id_known", kind = "category" },
    { column = "flag", kind = "category" },
    { column = "whole", kind = "category", vocabulary = "int_too" },
    { column = "int", name = "int_again", kind = "category", vocabulary = "int_too" },
    { column = "half", kind = "number", standardize = true },
    { column = "price", kind = "number", clip = [0, 100], log1p = true, standardize = true, default = 5 },
    { column = "price", name = "price_level", bucketize = [0, 1, 10.5, 100] },
    { column = "price", name = "price_share", bucketize = { quantiles = 4 }, log1p = true, default = 7.5 },
    { column = "half", name = "half_level", bucketize = { quantiles = 7 }, clip = [0, inf] },
    { column = "city", kind = "category" },
    { column = "city", name = "town", kind = "category", trim = true, lower = true, default = " NOWHERE" },
    { column = "city", name = "place", kind = "category", trim = true, hash = 7 },
    { column = "tags", kind = "sequence", separator = ";", max_len = 2 },
    { column = "tags", name = "last_tags", kind = "sequence", separator = ";", max_len = 2, keep = "last", trim = true, lower = true, default = "None;Other" },
    { column = "seen", kind = "sequence", max_len = 3, pooling = "sum" },
    { column = "seen", name = "newest", kind = "sequence", max_len = 3, keep = "last", hash = 11 },
    { column = "words", kind = "sequence", max_len = 9, trim = true },
    { column = "image", kind = "vector", length = 3 },
    { column = "time", name = "hour", part = "hour" },
    { column = "time", name = "weekday", part = "weekday", utc_offset = "+05:30" },
    { column = "ms", name = "hour_too", part = "hour", unit = "ms" },
    { column = "day", name = "month", part = "month" },
    { column = "day", kind = "category" },
    { cross = ["int", "city"], hash = 101 },
    { cross = ["flag", "whole", "hash_id"], name = "all", hash = 101 },
    { cross = ["city", "flag"], lower = true },
]
"#;

fn prepared(raw: &[Raw], rows: usize) -> (Case, Dataset) {
    let case = Case::new("", RECIPE);
    let split = (0..rows).map(|row| if row % 3 < 2 { "train" } else { "test" }).collect::<Vec<_>>();
    let click = (0..rows).map(|row| (row % 7 == 0) as i32).collect::<Vec<_>>();
    let known = [of!(split).with_name("split".into()), of!(click).with_name("click".into())];
    let columns = raw.iter().map(|raw| raw.column.clone()).chain(known).collect();
    let mut frame = DataFrame::new(rows, columns).unwrap();
    let file = std::fs::File::create(case.dir.path().join("log.parquet")).unwrap();
    ParquetWriter::new(file).finish(&mut frame).unwrap();
    let dataset = case.prepare().unwrap_or_else(|error| panic!("{error}"));
    (case, dataset)
}

#[test]
fn a_hundred_thousand_values_are_served_as_they_were_prepared() {
    let rows = 4_000;
    let raw = table(rows, 7);
    let (_case, dataset) = prepared(&raw, rows);
    let schema = dataset.schema();
    let mut values = 0;
    for (split, of_split) in [(Split::Train, [true, true, false]), (Split::Test, [false, false, true])] {
        let batch = dataset.batches(split, IN_ORDER).next().unwrap();
        batch.check(schema).unwrap();
        let places: Vec<usize> = (0..rows).filter(|row| of_split[row % 3]).collect();
        for text in [false, true] {
            let row = |place: &usize| -> Row {
                raw.iter()
                    .map(|raw| (raw.name, if text { &raw.as_text } else { &raw.values }[*place].clone()))
                    .collect()
            };
            let rows: Vec<Row> = places.iter().map(row).collect();
            let served = encode_rows(schema, dataset.vocabularies(), &rows).unwrap_or_else(|error| panic!("{error}"));
            for ((field, range), slots) in
                schema.fields.iter().zip(schema.slot_ranges()).zip(std::iter::repeat(schema.slots()))
            {
                for (b, row) in rows.iter().enumerate() {
                    let own = b * slots + range.start..b * slots + range.end;
                    let raw = field.columns().iter().map(|column| row.get(column)).collect::<Vec<_>>();
                    assert_eq!(
                        served.ids[own.clone()],
                        batch.ids[own.clone()],
                        "'{}' of {raw:?}, text: {text}",
                        field.name
                    );
                    assert_eq!(
                        served.weights[own.clone()],
                        batch.weights[own],
                        "'{}' of {raw:?}, text: {text}",
                        field.name
                    );
                    values += 1;
                }
            }
        }
    }
    assert!(values >= 100_000, "{values}");
}
