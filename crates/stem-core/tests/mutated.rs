//! Bundles and deltas whose parts were changed by chance and whose checksums are right: an error or a model, never a panic, and no more
//! memory than the file is large, times a constant.
//!
//! 50,000 of each; `STEM_MUTATIONS=200000` tries so many.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value as Json, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use stem_core::bundle::{Packing, Verify};
use stem_core::delta::{apply, delta};
use stem_core::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What is allocated is counted for the whole process, so one test runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Bytes that opening and scoring may allocate in all, over and over the same memory included: so many, and so many times the file.
const LEAST: usize = 64 << 20;
const TIMES: usize = 1000;

/// Another value in the place of one part of a document.
fn mutate(value: &mut Json, rng: &mut ChaCha8Rng) {
    let inside = match value {
        Json::Array(all) => all.len(),
        Json::Object(all) => all.len(),
        _ => 0,
    };
    if inside > 0 && rng.random_range(0..8) > 0 {
        let place = rng.random_range(0..inside);
        return match value {
            Json::Array(all) => match rng.random_range(0..24) {
                0 => drop(all.remove(place)),
                1 => all.push(all[place].clone()),
                _ => mutate(&mut all[place], rng),
            },
            Json::Object(all) => {
                let key = all.keys().nth(place).unwrap().clone();
                match rng.random_range(0..24) {
                    0 => drop(all.remove(&key)),
                    1 => drop(all.insert(format!("{key}x"), all[&key].clone())),
                    _ => mutate(all.get_mut(&key).unwrap(), rng),
                }
            }
            _ => unreachable!("it has parts"),
        };
    }
    *value = match (rng.random_range(0..14), &*value) {
        (0, _) => Json::Null,
        (1, _) => json!(-1),
        (2, _) => json!(0),
        (3, _) => json!(u64::MAX),
        (4, _) => json!(u32::MAX),
        (5, _) => json!(1e300),
        (6, _) => json!(true),
        (7, _) => json!(""),
        (8, _) => json!("\u{1f}\0\u{fffd}"),
        (9, _) => json!([]),
        (10, _) => json!({}),
        (_, Json::Number(number)) => json!(number.as_i64().unwrap_or(7).wrapping_add(rng.random_range(-3..4))),
        (11, old) => json!([old, old]),
        (_, Json::String(text)) => json!(format!("{text}{text}")),
        (_, _) => json!(65_537),
    };
}

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// A file's text under `key`, and its tensors.
fn parts(bytes: &[u8], key: &str) -> (Json, Tensors) {
    let (file, (_, metadata)) = (SafeTensors::deserialize(bytes).unwrap(), SafeTensors::read_metadata(bytes).unwrap());
    let text = serde_json::from_str(&metadata.metadata().as_ref().unwrap()[key]).unwrap();
    let of =
        |(name, view): (String, TensorView<'_>)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()));
    (text, file.tensors().into_iter().map(of).collect())
}

/// Changes bytes of a tensor, or how many rows it has.
fn mutate_tensor((dtype, shape, bytes): &mut (Dtype, Vec<usize>, Vec<u8>), rng: &mut ChaCha8Rng) {
    let row = shape.first().map_or(0, |rows| bytes.len() / (*rows).max(1));
    match rng.random_range(0..8) {
        0 if shape[0] > 0 && row > 0 => {
            shape[0] -= 1;
            bytes.truncate(shape[0] * row);
        }
        1 => {
            shape[0] += 1;
            bytes.resize(bytes.len() + row.max(if shape.len() == 1 { dtype.bitsize() / 8 } else { 0 }), 0xff);
        }
        2 => bytes.fill(0xff),
        3 => bytes.fill(0),
        _ => {
            for _ in 0..=rng.random_range(0..4) {
                if !bytes.is_empty() {
                    let place = rng.random_range(0..bytes.len());
                    bytes[place] = rng.random();
                }
            }
        }
    }
}

/// The file of a text and tensors, with a checksum that is right.
fn file(key: &str, text: &Json, tensors: &Tensors) -> Option<Vec<u8>> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(text.to_string().as_bytes());
    for (name, (dtype, shape, bytes)) in tensors {
        hasher.update(format!("{name} {dtype:?} {shape:?}\n").as_bytes());
        hasher.update(bytes);
    }
    let checksum = hasher.finalize().to_hex().to_string();
    let metadata = [(key.to_string(), text.to_string()), ("stem.checksum".into(), checksum)].into();
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        TensorView::new(*dtype, shape.clone(), bytes).map(|view| (name.as_str(), view))
    });
    safetensors::serialize(views.collect::<Result<Vec<_>, _>>().ok()?, Some(metadata)).ok()
}

/// Tries mutations of a document and its tensors.
fn try_all(key: &str, wholes: &[Vec<u8>], path: &Path, mut open: impl FnMut(usize) -> bool) -> [usize; 2] {
    let number = std::env::var("STEM_MUTATIONS").ok().map(|text| text.parse::<usize>().unwrap());
    let (mut rng, mut told) = (ChaCha8Rng::seed_from_u64(17), [0; 2]);
    let all: Vec<(Json, Tensors)> = wholes.iter().map(|whole| parts(whole, key)).collect();
    // what is parsed is the same on every device; a GPU takes its time with each
    let is_flex = std::env::var("STEM_DEVICE").map_or(true, |name| name == "flex");
    for mutation in 0..number.unwrap_or(if is_flex { 50_000 } else { 500 }) {
        let (mut text, mut tensors) = all[mutation % all.len()].clone();
        for _ in 0..=rng.random_range(0..3) {
            if rng.random_range(0..3) > 0 {
                mutate(&mut text, &mut rng);
            } else {
                let name = tensors.keys().nth(rng.random_range(0..tensors.len())).unwrap().clone();
                match rng.random_range(0..16) {
                    0 => drop(tensors.remove(&name)),
                    _ => mutate_tensor(tensors.get_mut(&name).unwrap(), &mut rng),
                }
            }
        }
        let Some(bytes) = file(key, &text, &tensors) else { continue };
        _ = std::fs::remove_file(path); // a file that is cut to be written anew is flushed to the disk first
        std::fs::write(path, &bytes).unwrap();
        let region = Region::new(ALLOCATOR);
        let is_taken = open(mutation);
        let allocated = region.change().bytes_allocated;
        assert!(
            allocated <= LEAST + TIMES * bytes.len(),
            "mutation {mutation}: {allocated} for {} bytes: {text}",
            bytes.len()
        );
        told[usize::from(is_taken)] += 1;
    }
    println!("{key}: {} refused, {} taken", told[0], told[1]);
    told
}

#[test]
fn a_mutated_bundle_is_refused_or_scores() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    save(&stem(), &path("stem"));
    save(&shared_bottom(), &path("bottom"));
    save_with_users(&stem(), &path("users"), &(0..300).map(|user| user * user).collect::<Vec<_>>()); // their keys are packed too
    let bundle = Bundle::<ModelConfig>::open(path("users")).unwrap();
    bundle::pack(&bundle, Packing::Int8).unwrap().save(&path("packed"), Json::Null).unwrap();
    let wholes = ["stem", "bottom", "packed"].map(|name| std::fs::read(path(name)).unwrap());
    let mutated = path("mutated");
    let [refused, taken] = try_all("stem.manifest", &wholes, &mutated, |mutation| {
        let verify = if mutation % 2 == 0 { Verify::Full } else { Verify::None };
        match Predictor::open_with(&mutated, &device(), PredictorOptions::verifying(verify)) {
            Err(Error::Bundle { .. }) => false,
            Err(other) => panic!("mutation {mutation}: {other}"),
            Ok(predictor) => {
                let row = example_row(predictor.schema(), predictor.vocabularies());
                let row: Result<Row, _> = serde_json::from_value(Json::Object(row));
                let _ = row.map(|row| predictor.predict(&[row]));
                let _ = predictor.check_golden();
                true
            }
        }
    });
    assert!(refused > 0 && taken > 0, "{refused} refused, {taken} taken: mutations reach both");
}

#[test]
fn a_mutated_delta_is_refused_or_makes_what_it_says() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    save(&stem(), &path("old"));
    save(&shared_bottom(), &path("new"));
    delta(&path("old"), &path("new"), &path("delta")).unwrap();
    let (whole, mutated) = (std::fs::read(path("delta")).unwrap(), path("mutated"));
    let [refused, _] =
        try_all("stem.delta", &[whole], &mutated, |mutation| match apply(&path("old"), &mutated, &path("made")) {
            Err(Error::Delta { .. }) => false,
            Err(other) => panic!("mutation {mutation}: {other}"),
            Ok(()) => {
                assert_eq!(std::fs::read(path("made")).unwrap(), std::fs::read(path("new")).unwrap());
                true
            }
        });
    assert!(refused > 0);
}
