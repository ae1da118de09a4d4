//! What a request takes: one row that is encoded or raw, 500 candidates with a shared user, as 500 whole rows of that user and as 500 of as many users, over f32
//! and packed rows. 12 of 16 fields are the user's, width 16, about a million table rows. Every way is timed in turn, many times; prints a JSON line with the least
//! and the median time of each, in microseconds.
//!
//! ```text
//! cargo run --release --bin request_time
//! ```

use std::time::Instant;

use clap::Parser;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value as Json, json};
use stem_benches::small_stem;
use stem_core::bundle::{self, Packing};
use stem_core::models::ModelSpec;
use stem_core::nn::EmbeddingTable;
use stem_core::{
    Bundle, Columns, DeviceSpec, Field, ModelConfig, Predictor, Request, Row, Schema, Task, Vocabulary, VocabularySpec,
};

const FIELDS: usize = 16;
const USER: usize = 12;

/// Scores the same candidates in several ways.
#[derive(Parser)]
struct Args {
    /// Rows of the table, about.
    #[arg(long, default_value_t = 1_000_000)]
    vocab: usize,
    /// Candidates.
    #[arg(long, default_value_t = 500)]
    candidates: usize,
    /// Times that each way is timed.
    #[arg(long, default_value_t = 200)]
    rounds: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let (device, each) = (DeviceSpec::default().open()?, args.vocab / FIELDS);
    let fields = (0..FIELDS).map(|f| Field::category(format!("f{f}"), f)).collect();
    let specs = (0..FIELDS).map(|f| VocabularySpec::new(format!("f{f}"), each + 2)).collect();
    let (schema, spec) = (Schema::new(fields, specs, ["a", "b"].map(Task::new).into()), small_stem());
    let keys: Vec<Vocabulary> =
        (0..FIELDS).map(|_| Vocabulary::integers((0..each as i64).map(|key| key * 7))).collect();
    let table = EmbeddingTable::init(&schema, &spec.widths(&schema), 0.05, 1, &device);
    let network = spec.init(&schema, &mut ChaCha8Rng::seed_from_u64(1), &device);
    bundle::save(&path("f32"), &schema, &keys, &spec, &table, &network, &Json::Null)?;
    let whole = Bundle::<ModelConfig>::open(path("f32"))?;
    for packing in [Packing::F16, Packing::Int8, Packing::Int4] {
        bundle::pack(&whole, packing)?.save(&path(&packing.to_string()), Json::Null)?;
    }
    let names = ["f32", "f16", "int8", "int4"];
    let predictors: Vec<Predictor> =
        names.iter().map(|name| Predictor::open(path(name), &device)).collect::<Result<_, _>>()?;

    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut key = || rng.random_range(0..each as i64) * 7;
    let user: Vec<i64> = (0..USER).map(|_| key()).collect();
    let items: Vec<Vec<i64>> = (USER..FIELDS).map(|_| (0..args.candidates).map(|_| key()).collect()).collect();
    let of_user = || user.iter().enumerate().map(|(f, key)| (format!("f{f}"), *key));
    let of_item = |i: usize| (USER..).zip(&items).map(move |(f, keys)| (format!("f{f}"), keys[i]));
    let rows: Vec<Row> = (0..args.candidates).map(|i| of_user().chain(of_item(i)).collect()).collect();
    let plain = &predictors[0];
    let (one, all) = (plain.encode(&rows[..1])?, plain.encode(&rows)?);
    let full = (0..USER).fold(Columns::new(args.candidates), |columns, f| {
        columns.column(format!("f{f}"), vec![user[f]; args.candidates])
    });
    let full = (USER..).zip(&items).fold(full, |columns, (f, keys)| columns.column(format!("f{f}"), &keys[..]));
    let users: Vec<Vec<i64>> = (0..USER).map(|_| (0..args.candidates).map(|_| key()).collect()).collect();
    let columns = users.iter().chain(&items).enumerate();
    let others = columns.fold(Columns::new(args.candidates), |all, (f, keys)| all.column(format!("f{f}"), &keys[..]));
    let others_encoded = plain.encode_columns(&others)?;
    let shared: Vec<Request<'_, '_>> = predictors
        .iter()
        .map(|predictor| {
            let request = of_user().fold(predictor.request(args.candidates), |all, (name, key)| all.shared(name, key));
            (USER..).zip(&items).fold(request, |all, (f, keys)| all.column(format!("f{f}"), &keys[..]))
        })
        .collect();
    let mut scores = Vec::new();
    shared[0].score_into(&mut scores)?;
    assert_eq!(scores, plain.score(&all)?.into_values(), "all ways score alike");
    let mut alone = Vec::new();
    for row in &rows {
        alone.extend(plain.predict(std::slice::from_ref(row))?.into_values());
    }
    let apart = scores.iter().zip(&alone).map(|(all, one)| (all - one).abs()).fold(0.0, f32::max);
    eprintln!("a candidate alone and among the others: {apart:e} apart"); // 0 with AVX-512

    let ways = [
        "one encoded row",
        "one raw row",
        "whole rows",
        "whole rows by column",
        "shared user",
        "encoded",
        "users by column",
        "users encoded",
        "f16",
        "int8",
        "int4",
    ];
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); ways.len()];
    for _ in 0..args.rounds {
        for (way, times) in times.iter_mut().enumerate() {
            let begun = Instant::now();
            match way {
                0 => drop(plain.score(&one)?),
                1 => drop(plain.predict(&rows[..1])?),
                2 => drop(plain.predict(&rows)?),
                3 => drop(plain.score(&plain.encode_columns(&full)?)?),
                4 => shared[0].score_into(&mut scores)?,
                5 => drop(plain.score(&all)?),
                6 => drop(plain.score(&plain.encode_columns(&others)?)?),
                7 => drop(plain.score(&others_encoded)?),
                packed => shared[packed - 7].score_into(&mut scores)?,
            }
            times.push(begun.elapsed().as_secs_f64() * 1e6);
        }
    }
    let mut told = Map::new();
    for (way, times) in ways.iter().zip(&mut times) {
        times.sort_unstable_by(f64::total_cmp);
        let round = |time: f64| (time * 10.0).round() / 10.0;
        told.insert((*way).into(), json!([round(times[0]), round(times[times.len() / 2])]));
    }
    println!("{}", Json::Object(told));
    Ok(())
}
