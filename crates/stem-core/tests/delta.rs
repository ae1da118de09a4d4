//! Deltas: an old bundle and what changed make the new one, byte for byte; nothing else is taken for one.

use crate::common::*;
use safetensors::tensor::SafeTensors;
use std::path::{Path, PathBuf};
use stem_core::bundle::{KnownKeys, Packing};
use stem_core::delta::{DeltaFault, apply, delta};
use stem_core::models::ModelSpec;
use stem_core::nn::*;
use stem_core::*;

/// Bundles of one model over growing vocabularies.
struct Days {
    folder: tempfile::TempDir,
}

/// Keys of a day, and the number that changes a key's row: 0 leaves it as it is on every day.
struct Day<'a> {
    users: &'a [i64],
    tags: &'a [&'a str],
    changed: &'a dyn Fn(&str) -> f32,
}

impl Days {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a bundle whose rows are told by their keys alone.
    fn write(&self, name: &str, day: &Day<'_>, seed: u64) -> PathBuf {
        let path = self.path(name);
        let vocabularies =
            vec![Vocabulary::integers(day.users.to_vec()), Vocabulary::texts(day.tags), Vocabulary::Number];
        let mut schema = schema();
        for (spec, vocabulary) in schema.vocabularies.iter_mut().zip(&vocabularies) {
            spec.rows = vocabulary.rows();
        }
        let (config, widths) = (stem(), stem().widths(&schema));
        let mut names = Vec::new();
        for (vocabulary, spec) in vocabularies.iter().zip(&schema.vocabularies) {
            let keys: Vec<String> = match vocabulary {
                Vocabulary::Integers(keys) => keys.iter().map(|key| key.to_string()).collect(),
                Vocabulary::Texts(texts) => (0..texts.len()).map(|text| texts.get(text).to_string()).collect(),
                _ => vec![],
            };
            let of = |key: &str| format!("{}/{key}", spec.name);
            match vocabulary {
                Vocabulary::Number => names.push(of("only")),
                _ => names
                    .extend([of("padding")].into_iter().chain(keys.iter().map(|key| of(key))).chain([of("unseen")])),
            }
        }
        let width: usize = widths.iter().sum();
        let value = |name: &String| {
            let hash = blake3::hash(name.as_bytes());
            let first = f32::from(hash.as_bytes()[0]) / 256.0 + (day.changed)(name);
            (0..width).map(move |column| first + column as f32 / 64.0)
        };
        let table = EmbeddingTable::from_values(names.iter().flat_map(value).collect(), &widths, &device().inner());
        let network = config.init(&schema, &mut rng(seed), &device());
        let idle: Vec<Vec<u32>> =
            vocabularies.iter().map(|all| (0..all.len() as u32).map(|i| i % 3).collect()).collect();
        let keys = KnownKeys { vocabularies: &vocabularies, idle: &idle };
        bundle::save(&path, &schema, keys, &config, &table, &network, &serde_json::json!({ "seed": seed })).unwrap();
        path
    }
}

/// Users, tags, what changed, and how many rows a delta has to hold.
type Case<'c> = (&'c [i64], &'c [&'c str], &'c dyn Fn(&str) -> f32, usize);

const USERS: [i64; 6] = [10, 20, 30, 40, 50, 60];
const TAGS: [&str; 5] = ["ab", "c", "defg", "h", "xyz"];

fn first(days: &Days) -> PathBuf {
    days.write("old", &Day { users: &USERS, tags: &TAGS, changed: &|_| 0.0 }, 1)
}

fn fault(result: Result<()>) -> DeltaFault {
    match result.unwrap_err() {
        Error::Delta { fault, .. } => fault,
        other => panic!("{other}"),
    }
}

#[test]
fn an_old_bundle_and_a_delta_make_the_new_one_byte_for_byte() {
    let days = Days::new();
    let old = first(&days);
    let changed = |name: &str| if name == "user/20" || name == "tags/h" || name == "user/unseen" { 1.0 } else { 0.0 };
    let cases: [Case<'_>; 5] = [
        (&USERS, &TAGS, &|_| 0.0, 0),
        (&USERS, &TAGS, &changed, 3),
        (&[5, 10, 20, 30, 35, 40, 50, 60, 70], &["a", "ab", "c", "defg", "g", "h", "xyz"], &|_| 0.0, 5), // grown
        (&[10, 20, 25, 50, 60], &["ab", "b", "xyz"], &changed, 2 + 2), // shrunk, grown and changed
        (&[1, 2], &[], &|_| 0.0, 2),
    ];
    for (number, (users, tags, changed, rows)) in cases.into_iter().enumerate() {
        let new = days.write("new", &Day { users, tags, changed }, if number == 0 { 1 } else { 2 });
        let (file, out) = (days.path("delta"), days.path("made"));
        let size = delta(&old, &new, &file).unwrap();
        assert_eq!(size.changed_rows, rows, "case {number}");
        apply(&old, &file, &out).unwrap();
        assert_eq!(std::fs::read(&out).unwrap(), std::fs::read(&new).unwrap(), "case {number}");
        Predictor::open(&out, &device()).unwrap();
    }
    let others = std::fs::read_dir(days.folder.path()).unwrap().count();
    assert_eq!(others, 4, "old, new, delta and made; no scratch file is left");
}

#[test]
fn what_did_not_change_is_not_in_the_delta() {
    let days = Days::new();
    let users: Vec<i64> = (0..2000).collect();
    let changed = |name: &str| if name == "user/77" { 1.0 } else { 0.0 };
    let old = days.write("old", &Day { users: &users[1..], tags: &TAGS, changed: &|_| 0.0 }, 1);
    let new = days.write("new", &Day { users: &users, tags: &TAGS, changed: &changed }, 1);
    let size = delta(&old, &new, &days.path("delta")).unwrap();
    assert_eq!((size.rows, size.changed_rows), (2000 + 2 + 7 + 1, 2));
    let [of_delta, of_new] = ["delta", "new"].map(|name| std::fs::metadata(days.path(name)).unwrap().len());
    // counts beside keys move with the keys here, and are no more than 4 bytes a key
    assert!(of_delta < of_new / 5, "{of_delta} of {of_new} bytes");
}

#[test]
fn bundles_of_other_models_and_packed_rows_have_deltas_too() {
    let days = Days::new();
    let old = first(&days);
    save(&shared_bottom(), &days.path("other"));
    let bundle = Bundle::<ModelConfig>::open(&old).unwrap();
    bundle::pack(&bundle, Packing::Int8).unwrap().save(&days.path("packed"), serde_json::Value::Null).unwrap();
    for (from, to) in [("old", "other"), ("other", "old"), ("old", "packed"), ("packed", "old"), ("packed", "packed")] {
        let [from, to, file, out] = [from, to, "delta", "made"].map(|name| days.path(name));
        delta(&from, &to, &file).unwrap();
        apply(&from, &file, &out).unwrap();
        assert_eq!(std::fs::read(&out).unwrap(), std::fs::read(&to).unwrap());
    }
}

#[test]
fn a_delta_is_refused_by_another_bundle_and_where_it_is_damaged() {
    let days = Days::new();
    let old = first(&days);
    let new = days.write("new", &Day { users: &USERS, tags: &TAGS, changed: &|_| 0.5 }, 2);
    let (file, out) = (days.path("delta"), days.path("made"));
    delta(&old, &new, &file).unwrap();
    std::fs::write(&out, "what was there").unwrap();
    let base = fault(apply(&new, &file, &out));
    assert!(matches!(base, DeltaFault::Base { .. }) && base.to_string().contains("apply it to the bundle"), "{base}");
    let whole = std::fs::read(&file).unwrap();
    let damaged = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        edit(&mut bytes);
        let path = days.path("damaged");
        std::fs::write(&path, bytes).unwrap();
        fault(apply(&old, &path, &out))
    };
    for length in (1..whole.len()).step_by(97) {
        assert!(matches!(damaged(&|bytes| bytes.truncate(length)), DeltaFault::NotSafetensors(_)), "{length}");
    }
    for bit in (0..whole.len() * 8).step_by(131) {
        damaged(&|bytes| bytes[bit / 8] ^= 1 << (bit % 8)); // any fault, and no panic
    }
    assert!(matches!(damaged(&|bytes| *bytes.last_mut().unwrap() ^= 1), DeltaFault::Checksum));
    assert!(
        matches!(fault(apply(&old, &new, &out)), DeltaFault::Foreign { key: "stem.delta" }),
        "a bundle is no delta"
    );
    assert!(matches!(apply(&file, &file, &out), Err(Error::Bundle { .. })), "a delta is no bundle");
    assert!(matches!(apply(&old, &days.path("none"), &out), Err(Error::File(_))));
    assert_eq!(std::fs::read(&out).unwrap(), b"what was there");
    apply(&old, &file, &old).unwrap();
    assert_eq!(std::fs::read(&old).unwrap(), std::fs::read(&new).unwrap(), "an old bundle may be replaced");
}

/// Rewrites a delta as a program would that gives it a checksum of its own.
fn rewritten(path: &Path, out: &Path, edit: impl Fn(&mut serde_json::Value), tensors: impl Fn(&str, &mut Vec<u8>)) {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut metadata = metadata.metadata().clone().unwrap();
    let mut plan: serde_json::Value = serde_json::from_str(&metadata["stem.delta"]).unwrap();
    edit(&mut plan);
    let mut parts: Vec<_> = file.tensors();
    parts.sort_by(|a, b| a.0.cmp(&b.0));
    let parts: Vec<_> = parts
        .into_iter()
        .map(|(name, view)| {
            let mut bytes = view.data().to_vec();
            tensors(&name, &mut bytes);
            (name, view.dtype(), view.shape().to_vec(), bytes)
        })
        .collect();
    let mut hasher = blake3::Hasher::new();
    hasher.update(plan.to_string().as_bytes());
    for (name, dtype, shape, bytes) in &parts {
        hasher.update(format!("{name} {dtype:?} {shape:?}\n").as_bytes());
        hasher.update(bytes);
    }
    metadata.insert("stem.delta".into(), plan.to_string());
    metadata.insert("stem.checksum".into(), hasher.finalize().to_hex().to_string());
    let views = parts.iter().map(|(name, dtype, shape, bytes)| {
        (name.as_str(), safetensors::tensor::TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    std::fs::write(out, safetensors::serialize(views, Some(metadata)).unwrap()).unwrap();
}

#[test]
fn a_plan_that_was_made_to_mislead_is_refused() {
    let days = Days::new();
    let old = first(&days);
    let new = days.write(
        "new",
        &Day { users: &USERS, tags: &TAGS, changed: &|name| f32::from(u8::from(name == "user/20")) },
        2,
    );
    let (file, other, out) = (days.path("delta"), days.path("other"), days.path("made"));
    delta(&old, &new, &file).unwrap();
    let same = |_: &str, _: &mut Vec<u8>| ();
    let refused = |edit: &dyn Fn(&mut serde_json::Value), tensors: &dyn Fn(&str, &mut Vec<u8>)| {
        rewritten(&file, &other, edit, tensors);
        fault(apply(&old, &other, &out))
    };
    assert!(matches!(refused(&|plan| plan["version"] = 2.into(), &same), DeltaFault::Version { found: 2, reads: 1 }));
    assert!(matches!(refused(&|plan| plan["more"] = 2.into(), &same), DeltaFault::Plan(_)));
    assert!(matches!(refused(&|plan| plan["file"] = "0".into(), &same), DeltaFault::Outcome));
    let plans: [&dyn Fn(&mut serde_json::Value); 4] = [
        &|plan| plan["tensors"][0]["row_bytes"] = 0.into(),
        &|plan| plan["tensors"][0]["row_bytes"] = u64::MAX.into(),
        &|plan| plan["tensors"][0]["differences"] = true.into(),
        &|plan| drop(plan["tensors"].as_array_mut().unwrap().remove(0)),
    ];
    for (number, plan) in plans.into_iter().enumerate() {
        assert!(matches!(refused(plan, &same), DeltaFault::Tensor { .. }), "plan {number}");
    }
    // Numbers of segments that are the largest there are.
    let wild = |name: &str, bytes: &mut Vec<u8>| {
        if name.starts_with("segments.") {
            bytes.fill(0xff)
        }
    };
    assert!(matches!(refused(&|_| (), &wild), DeltaFault::Tensor { .. }));
    let head = |name: &str, bytes: &mut Vec<u8>| {
        if name == "header" {
            bytes[20] ^= 1
        }
    };
    refused(&|_| (), &head);
    assert!(!out.exists());
}
