//! One file: what goes in comes out, and nothing else is taken for one.

use crate::common::*;
use safetensors::tensor::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::Path;
use stem_core::bundle::{BundleFault, Packing, Verify, VocabularyFault};
use stem_core::models::*;
use stem_core::nn::*;
use stem_core::*;

fn bytes_of(config: &ModelConfig) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.safetensors");
    save(config, &path);
    std::fs::read(&path).unwrap()
}

/// The fault of a file of these bytes.
fn fault(bytes: &[u8]) -> BundleFault {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.safetensors");
    std::fs::write(&path, bytes).unwrap();
    let opened = Bundle::<ModelConfig>::open(&path).and_then(|bundle| bundle.load(&device()).map(|_| ()));
    let error = opened.unwrap_err();
    assert_eq!(error.to_string(), format!("{} is not a usable bundle", path.display()));
    match error {
        Error::Bundle { fault, .. } => fault,
        other => panic!("{other}"),
    }
}

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// Rewrites a bundle as a program would that gives it a checksum of its own.
fn rewritten(bytes: &[u8], edit: impl Fn(&mut serde_json::Value), edit_tensors: impl Fn(&mut Tensors)) -> Vec<u8> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let mut tensors: Tensors = file
        .tensors()
        .into_iter()
        .map(|(name, tensor)| (name, (tensor.dtype(), tensor.shape().to_vec(), tensor.data().to_vec())))
        .collect();
    edit_tensors(&mut tensors);
    let (_, metadata) = SafeTensors::read_metadata(bytes).unwrap();
    let mut metadata = metadata.metadata().clone().unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&metadata["stem.manifest"]).unwrap();
    edit(&mut manifest);
    let manifest = manifest.to_string();
    let mut hasher = blake3::Hasher::new();
    hasher.update(manifest.as_bytes());
    for (name, (dtype, shape, bytes)) in &tensors {
        hasher.update(format!("{name} {dtype:?} {shape:?}\n").as_bytes());
        hasher.update(bytes);
    }
    metadata.insert("stem.manifest".into(), manifest);
    metadata.insert("stem.checksum".into(), hasher.finalize().to_hex().to_string());
    metadata.remove("stem.head"); // as of a program that wrote none
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (name.as_str(), safetensors::tensor::TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize(views, Some(metadata)).unwrap()
}

fn with_manifest(bytes: &[u8], edit: impl Fn(&mut serde_json::Value)) -> Vec<u8> {
    rewritten(bytes, edit, |_| ())
}

fn with_tensors(bytes: &[u8], edit: impl Fn(&mut Tensors)) -> Vec<u8> {
    rewritten(bytes, |_| (), edit)
}

/// The order of metadata was that of a hash map, which is another one in each.
#[test]
fn bundles_of_equal_contents_are_equal_files() {
    let config = &every_model()[0];
    let first = bytes_of(config);
    for _ in 0..8 {
        assert!(bytes_of(config) == first, "two bundles of the same contents differ");
    }
}

#[test]
fn what_is_saved_is_loaded_for_every_model() {
    for config in every_model() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/b.safetensors");
        save(&config, &path);
        let bundle = Bundle::<ModelConfig>::open(&path).unwrap();
        assert_eq!(
            (&bundle.config, &bundle.vocabularies, &bundle.manifest.schema),
            (&config, &vocabularies(), &schema())
        );
        let (table, network) = bundle.load(&device()).unwrap();
        let (expected_table, expected) = init(&config, &device());
        let same = |a: &burn::tensor::Tensor<2>, b: &burn::tensor::Tensor<2>| a.to_data() == b.to_data();
        assert!(same(table.rows().tensor(), expected_table.rows().tensor()));
        assert_eq!(params::collect(&network), params::collect(&expected));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no scratch file is left");
    }
}

#[test]
fn a_bundle_is_a_safetensors_file_that_any_reader_opens() {
    let bytes = bytes_of(&stem());
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("embedding.table").unwrap().shape(), [11, 12]);
    assert_eq!(file.tensor("vocabulary.user.keys").unwrap().shape(), [3]);
    assert_eq!(file.tensor("network.net.layers.0.experts.own.layers.0.weight").unwrap().shape(), [4, 12, 6]);
    assert_eq!(file.tensor("network.net.layers.0.experts.shared.layers.0.weight").unwrap().shape(), [1, 12, 6]);
}

#[test]
fn a_missing_file_is_named() {
    let error = Bundle::<ModelConfig>::open("no/such.safetensors").unwrap_err();
    assert_eq!(error.to_string(), "cannot open no/such.safetensors");
    assert!(std::error::Error::source(&error).is_some(), "the system's reason is its source");
}

#[test]
fn what_is_no_bundle_says_which_check_failed() {
    let whole = bytes_of(&stem());
    let contains = |bytes: &[u8], text: &str| {
        let message = chain(&fault(bytes));
        assert!(message.contains(text), "'{message}' does not contain '{text}'");
    };
    contains(&whole[..whole.len() - 1], "is it cut short?");
    contains(&whole[..100], "is it cut short?");
    contains(b"", "is it cut short?");
    contains(b"user,item\n1,2\n", "does not read as safetensors");
    let other = safetensors::serialize(Vec::<(String, safetensors::tensor::TensorView)>::new(), None).unwrap();
    contains(&other, "its metadata has no 'stem.manifest'");
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    contains(&damaged, "its checksum is another: it was damaged or edited");
    let swap = |text: &str| text.replace("\\\"like\\\"", "\\\"l1ke\\\""); // a name inside the manifest, edited by hand
    let edited = swap(&whole.iter().map(|&byte| byte as char).collect::<String>());
    let edited: Vec<u8> = edited.chars().map(|c| c as u8).collect();
    assert_ne!(edited, whole);
    contains(&edited, "its checksum is another: it was damaged or edited");
    let large = serde_json::json!([60000, 60000]);
    contains(&with_manifest(&whole, |m| m["model"]["experts"] = large.clone()), "and the file holds");
    contains(&with_manifest(&whole, |m| m["version"] = 1.into()), "format version 1, this program reads 2 to 8");
    contains(&with_manifest(&whole, |m| m["version"] = "x".into()), "format version none, this program reads 2 to 8");
    contains(
        &with_manifest(&whole, |m| m["model"]["dim"] = 5.into()),
        "has shape [11, 12], schema and model need [11, 15]",
    );
    contains(&with_manifest(&whole, |m| m["model"]["dim"] = 0.into()), "`dim` is 0, expected 1 to 65536");
    contains(&with_manifest(&whole, |m| m["model"]["name"] = "other".into()), "unknown variant `other`");
    contains(
        &with_manifest(&whole, |m| m["model"]["tower"] = serde_json::json!([9])),
        "schema and model need [2, 5, 9]",
    );
    contains(&with_manifest(&whole, |m| m["model"]["layers"] = 1.into()), "belongs to no part of this model");
    contains(&with_manifest(&whole, |m| m["model"]["tower"] = serde_json::json!([3, 1])), "is missing");
    contains(
        &with_manifest(&whole, |m| m["schema"]["vocabularies"][0]["rows"] = 6.into()),
        "vocabulary 'user' cannot be used: it has 5 rows, the schema says 6",
    );
    contains(&with_manifest(&whole, |m| m["schema"]["tasks"] = serde_json::json!([])), "it has no tasks");
}

#[test]
fn a_fault_is_a_type_with_its_source() {
    use std::error::Error as _;
    let whole = bytes_of(&stem());
    let missing = fault(&with_tensors(&whole, |tensors| drop(tensors.remove("embedding.table"))));
    assert!(matches!(missing, BundleFault::Missing { tensor } if tensor == "embedding.table"));
    let unknown = fault(&with_tensors(&whole, |tensors| {
        let table = tensors["embedding.table"].clone();
        tensors.insert("network.more".into(), table);
    }));
    assert!(matches!(unknown, BundleFault::Unknown { tensor } if tensor == "network.more"));
    let other_type = fault(&with_tensors(&whole, |tensors| tensors.get_mut("embedding.table").unwrap().0 = Dtype::I32));
    assert_eq!(other_type.to_string(), "tensor 'embedding.table' holds I32, expected F32");
    assert!(matches!(fault(&whole[..9]), BundleFault::NotSafetensors(_)));
    assert!(fault(&whole[..9]).source().is_some());
    let version = fault(&with_manifest(&whole, |m| m["version"] = 9.into()));
    assert!(matches!(version, BundleFault::Version { found: Some(9), reads: 8 }));
    assert!(version.source().is_none());
    for version in [6, 7] {
        let silent = fault(&with_manifest(&whole, |m| m["version"] = version.into()));
        assert!(matches!(silent, BundleFault::NotPacked), "{silent}");
    }
    for (version, largest) in [(5, 1.0), (6, -1.0)] {
        let rows = serde_json::json!({ "format": "int8", "largest": largest });
        let unlike = fault(&with_manifest(&whole, |m| (m["version"], m["rows"]) = (version.into(), rows.clone())));
        assert!(matches!(unlike, BundleFault::Rows { .. }), "{unlike}");
    }
    let rows = serde_json::json!({ "format": "int8", "largest": 1.0 });
    let unlike = fault(&with_manifest(&whole, |m| (m["version"], m["rows"]) = (6.into(), rows.clone())));
    assert_eq!(
        unlike.to_string(),
        "its rows are packed as int8: go on from the bundle that it was made of, whose rows are f32"
    );
    let manifest = fault(&with_manifest(&whole, |m| m["schema"]["tasks"] = 3.into()));
    assert!(matches!(&manifest, BundleFault::Manifest(_)), "{manifest}");
    let model = fault(&with_manifest(&whole, |m| m["model"]["dim"] = "wide".into()));
    assert!(matches!(model, BundleFault::Model(_)), "{model}");
    let schema = fault(&with_manifest(&whole, |m| m["schema"]["tasks"][1]["within"] = "love".into()));
    let expected = "its schema and model do not make a network: the schema cannot be used: task 'love' is within itself, by way of 'love'";
    assert_eq!(chain(&schema), expected);
}

/// A program that is older than a bundle knows no kind, key or part that came later: it says so, and scores nothing by guess.
#[test]
fn what_only_a_newer_version_can_have_written_is_refused_as_that() {
    let whole = bytes_of(&stem());
    let refused = |part: &str, unknown: &str, edit: &dyn Fn(&mut serde_json::Value)| {
        let fault = fault(&with_manifest(&whole, |manifest| edit(manifest)));
        assert!(matches!(&fault, BundleFault::Newer { part: found, .. } if *found == part), "{unknown}: {fault}");
        let told = format!(
            "this bundle was written by a newer version of stem: its {part} has what this program does not know; open it with that version"
        );
        let message = chain(&fault);
        assert!(message.starts_with(&told) && message.contains(&format!("`{unknown}`, ")), "{message}");
    };
    let json = |text: &str| -> serde_json::Value { serde_json::from_str(text).unwrap() };
    refused("manifest", "survival", &|m| m["schema"]["tasks"][0]["kind"] = json(r#"{ "name": "survival" }"#));
    refused("manifest", "horizon", &|m| {
        m["schema"]["tasks"][0]["kind"] = json(r#"{ "name": "count", "scale": 1.0, "horizon": 7 }"#);
    });
    refused("manifest", "graph", &|m| m["schema"]["fields"][1]["kind"] = "graph".into());
    refused("manifest", "decay", &|m| m["schema"]["fields"][1]["decay"] = 0.5.into());
    refused("manifest", "stem-words", &|m| {
        m["schema"]["fields"][1]["transforms"] = json(r#"[{ "step": "stem-words" }]"#)
    });
    refused("manifest", "mode", &|m| {
        m["schema"]["fields"][2]["transforms"] = json(r#"[{ "step": "clip", "least": 0.0, "mode": "soft" }]"#);
    });
    refused("manifest", "shards", &|m| m["shards"] = 2.into());
    refused("manifest", "license", &|m| m["schema"]["license"] = "none".into());
    refused("manifest", "isotonic-2", &|m| m["calibration"] = json(r#"{ "like": { "name": "isotonic-2" } }"#));
    refused("model", "transformer", &|m| m["model"]["name"] = "transformer".into());
    refused("model", "graph_gate", &|m| m["model"]["graph_gate"] = json(r#"{ "field": "user" }"#));
    refused("model", "order", &|m| m["model"]["cross"] = json(r#"{ "layers": 1, "rank": 2, "order": 3 }"#));
    refused("model", "maxout", &|m| m["model"]["hidden"]["activation"] = "maxout".into());
    let newer = chain(&fault(&with_manifest(&whole, |m| m["version"] = 9.into())));
    let expected = "format version 9, this program reads 2 to 8: this bundle was written by a newer version of stem; open it with that version, or train the model \
                    again with this one";
    assert_eq!(newer, expected);
}

#[test]
fn weights_that_are_not_finite_are_refused_with_their_tensor() {
    let whole = bytes_of(&stem());
    let tower = "network.net.towers.bank.layers.0.weight";
    for (tensor, place, value) in
        [("embedding.table", 3, f32::NAN), (tower, 0, f32::INFINITY), (tower, 1, f32::NEG_INFINITY)]
    {
        let edited = with_tensors(&whole, |tensors| {
            let bytes = &mut tensors.get_mut(tensor).unwrap_or_else(|| panic!("no '{tensor}'")).2;
            bytes[4 * place..4 * place + 4].copy_from_slice(&value.to_le_bytes());
        });
        let expected = format!(
            "tensor '{tensor}' holds {value} at place {place}, expected finite numbers: train or import the model again"
        );
        assert_eq!(fault(&edited).to_string(), expected);
    }
}

#[test]
fn keys_that_a_look_up_would_miss_are_refused() {
    let whole = bytes_of(&stem());
    let of = |name: &str, edit: &dyn Fn(&mut Tensors)| match fault(&with_tensors(&whole, edit)) {
        BundleFault::Vocabulary { name: found, fault } if found == name => fault,
        other => panic!("{other}"),
    };
    let keys = |keys: [i64; 3]| {
        move |tensors: &mut Tensors| {
            tensors.get_mut("vocabulary.user.keys").unwrap().2 = bytemuck::cast_slice(&keys).to_vec()
        }
    };
    assert_eq!(of("user", &keys([20, 10, 30])), VocabularyFault::Order);
    assert_eq!(of("user", &keys([10, 20, 20])), VocabularyFault::Order);
    let text = |bytes: &'static [u8]| {
        move |tensors: &mut Tensors| tensors.get_mut("vocabulary.tags.bytes").unwrap().2 = bytes.into()
    };
    assert_eq!(of("tags", &text(b"acb")), VocabularyFault::Order);
    assert_eq!(of("tags", &text(b"aab")), VocabularyFault::Order);
    assert_eq!(of("tags", &text(b"ab\xff")), VocabularyFault::Texts);
    assert_eq!(of("user", &|tensors| drop(tensors.remove("vocabulary.user.keys"))), VocabularyFault::Missing);
}

/// What `samples/bundle-v2.safetensors` was written by, once: STEM over every kind of field, weights from a formula.
fn write_sample(path: &Path) {
    let fields = vec![
        Field::category("user", 0),
        Field::category("city", 1).with_default("Oslo"),
        Field::sequence("tags", 2, 3).separated_by("|"),
        Field::sequence("seen", 3, 2).pooled(Pooling::Sum),
        Field::number("age", 4).standardized(40.0, 10.0),
    ];
    let keys = vec![
        Vocabulary::integers([-5, 10, 20]),
        Vocabulary::texts(["Bergen", "Oslo", "Troms\u{f8}"]),
        Vocabulary::texts(["a", "b"]),
        Vocabulary::integers([7, 9]),
        Vocabulary::Number,
    ];
    let names = ["user", "city", "tags", "seen", "age"];
    let specs = names.iter().zip(&keys).map(|(name, keys)| VocabularySpec::new(*name, keys.rows())).collect();
    let tasks = vec![Task::new("click"), Task::new("buy").within("click")];
    let schema = Schema::new(fields, specs, tasks).grouped_by("user");
    let config = StemConfig {
        dim: 2,
        layers: 2,
        specific_experts: 1,
        shared_experts: 1,
        experts: vec![3],
        gate: vec![2],
        tower: vec![2],
        ..StemConfig::default()
    };
    let config = ModelConfig::Stem(config);
    let number = |i: usize| ((i * 37 % 101) as f32 - 50.0) / 64.0;
    let widths = config.widths(&schema);
    let values = (0..schema.rows() * widths.iter().sum::<usize>()).map(number).collect();
    let table = EmbeddingTable::from_values(values, &widths, &device().inner());
    let network = config.init(&schema, &mut rng(0), &device());
    let values = params::collect(&network).into_iter().map(|(name, data)| {
        let count = data.shape().as_slice().iter().product();
        let values = (0..count).map(|i| number(i + name.len())).collect();
        (name, burn::tensor::TensorData::new::<f32, _>(values, data.shape().as_slice().to_vec()))
    });
    let network = params::replace(network, values.collect()).unwrap();
    bundle::save(path, &schema, &keys, &config, &table, &network, &serde_json::json!({ "seed": 1 })).unwrap();
}

fn sample_scores(path: &Path) -> Vec<f32> {
    let json = r#"[
        { "user": 10, "city": "Troms\u00f8", "tags": "b|a|x", "seen": [9, 7], "age": 31.5 },
        { "user": "-5", "city": null, "tags": ["a"], "seen": [], "age": null },
        { "user": 99, "city": "Rome", "tags": "", "seen": 9, "age": "55", "unread": true }
    ]"#;
    let rows: Vec<Row> = serde_json::from_str(json).unwrap();
    Predictor::open(path, &device()).unwrap().predict(&rows).unwrap().into_values()
}

/// Bundles that were written once are read for ever: this one was written by version 0.1.0 and is never written again.
#[test]
fn the_committed_bundle_of_version_2_scores_as_it_did() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/bundle-v2.safetensors");
    let scores = sample_scores(&sample);
    let expected = [0.5539409, 0.6758511, 0.5790971, 0.6781444, 0.57096696, 0.6764555];
    assert!(scores.iter().zip(expected).all(|(a, b)| (a - b).abs() <= tolerance()), "{scores:?}, once {expected:?}");

    let folder = tempfile::tempdir().unwrap();
    let today = folder.path().join("today.safetensors");
    write_sample(&today);
    let [old, new] = [&sample, &today].map(|path| std::fs::read(path).unwrap());
    let shapes = |bytes: &[u8]| -> BTreeMap<_, _> {
        let tensors = SafeTensors::deserialize(bytes).unwrap();
        tensors.tensors().into_iter().map(|(name, t)| (name, (t.dtype(), t.shape().to_vec()))).collect()
    };
    assert_eq!(shapes(&old), shapes(&new), "another format wants another version, and a sample of its own");
    assert_eq!(Bundle::<ModelConfig>::open(&today).unwrap().manifest.version, 2);
    assert_eq!(sample_scores(&today), scores);
}

/// Each state answers for its own tasks, whatever their order in the schema.
#[test]
fn a_bundle_of_several_states_scores_each_task_with_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (table, _) = init(&stem(), &device());
    let parts = ["love", "like"].iter().zip(1..).map(|(task, seed)| {
        let (part, network) = (path(task), stem().init(&schema(), &mut rng(seed), &device()));
        let (schema, said) = (schema(), serde_json::json!({ "seed": seed }));
        bundle::save(&part, &schema, &vocabularies(), &stem(), &table, &network, &said).unwrap();
        (Bundle::<ModelConfig>::open(&part).unwrap(), vec![task.to_string()])
    });
    let parts: Vec<_> = parts.collect();
    let whole = path("whole");
    bundle::combine(&whole, &parts, &serde_json::json!({ "seed": 3 })).unwrap();
    assert_eq!(Bundle::<ModelConfig>::open(&whole).unwrap().tasks_of_states(), [[1], [0]]);
    let scores = |path: &Path| Predictor::open(path, &device()).unwrap().predict(&rows()).unwrap();
    let (all, love, like) = (scores(&whole), scores(&path("love")), scores(&path("like")));
    for row in 0..rows().len() {
        let apart = |task: &str, other: &Scores| (all.get(row, task).unwrap() - other.get(row, task).unwrap()).abs();
        assert!(apart("love", &love) <= tolerance() && apart("like", &like) <= tolerance());
        assert!(apart("like", &love) > 1e-4, "two states");
    }
    let bytes = std::fs::read(&whole).unwrap();
    let states = |states: serde_json::Value, version: u32| {
        fault(&with_manifest(&bytes, |manifest| {
            manifest["states"] = states.clone();
            manifest["version"] = version.into();
        }))
    };
    for (named, version) in [
        (serde_json::json!([["like"], ["love"]]), 2), // a version without a word for states
        (serde_json::json!([]), 3),
        (serde_json::json!([["like", "love"], []]), 3),
        (serde_json::json!([["like"], ["like"]]), 3),
        (serde_json::json!([["like"]]), 3),
    ] {
        assert!(matches!(states(named.clone(), version), BundleFault::States { .. }), "{named} in version {version}");
    }
    let twice = parts.into_iter().map(|(bundle, _)| (bundle, vec!["like".to_string()])).collect::<Vec<_>>();
    assert!(bundle::combine(&path("twice"), &twice, &serde_json::Value::Null).is_err());
    assert!(!path("twice").exists());
}

/// What is done to scores goes with the bundle, of several states with the state that answers for the task.
#[test]
fn a_calibrated_bundle_scores_by_its_maps_and_one_that_maps_to_no_probabilities_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (table, network) = init(&stem(), &device());
    let platt = Calibration::Platt { slope: 0.5, offset: -1.0 };
    let isotonic = Calibration::Isotonic { scores: vec![0.2, 0.8], probabilities: vec![0.1, 0.3] };
    let maps = |of: &[(&str, &Calibration)]| of.iter().map(|(task, map)| (task.to_string(), (*map).clone())).collect();
    let save = |name: &str, calibration: &BTreeMap<String, Calibration>| {
        let (path, said) = (path(name), serde_json::Value::Null);
        let (schema, keys) = (schema(), vocabularies());
        bundle::save_calibrated(&path, &schema, &keys, &stem(), &table, &network, &said, calibration).unwrap();
        Bundle::<ModelConfig>::open(&path).unwrap()
    };
    let scores = |path: &Path| Predictor::open(path, &device()).unwrap();
    assert_eq!(save("plain", &BTreeMap::new()).manifest.version, 2, "others need not know of calibration");
    let plain = scores(&path("plain")).predict(&rows()).unwrap();
    let one = save("one", &maps(&[("like", &platt), ("love", &isotonic)]));
    assert_eq!(one.manifest.version, 4);
    let predictor = scores(&path("one"));
    let calibrated = predictor.predict(&rows()).unwrap();
    for row in 0..rows().len() {
        let of = |scores: &Scores, task: &str| scores.get(row, task).unwrap();
        for (task, map) in [("like", &platt), ("love", &isotonic)] {
            let expected = map.apply(of(&plain, task));
            assert!((of(&calibrated, task) - expected).abs() < 1e-6, "{task}");
            assert!((expected - of(&plain, task)).abs() > 1e-3);
        }
    }
    assert_eq!(predictor.uncalibrated().predict(&rows()).unwrap(), plain);

    let other = save("other", &maps(&[("like", &isotonic)]));
    let parts = [(one, vec!["like".to_string()]), (other, vec!["love".to_string()])];
    bundle::combine(&path("whole"), &parts, &serde_json::Value::Null).unwrap();
    let whole = Bundle::<ModelConfig>::open(path("whole")).unwrap();
    assert_eq!((whole.manifest.version, &whole.manifest.calibration), (4, &maps(&[("like", &platt)])));

    let bytes = std::fs::read(path("one")).unwrap();
    for (key, value, expected) in [
        ("like", serde_json::json!({ "name": "platt", "slope": -1.0, "offset": 0.0 }), "a slope above 0 and an offset"),
        ("hate", serde_json::to_value(&platt).unwrap(), "one of the model's tasks"),
    ] {
        let edited = with_manifest(&bytes, |manifest| manifest["calibration"][key] = value.clone());
        match fault(&edited) {
            BundleFault::Calibration { task, expected: found } => assert_eq!((task.as_str(), found), (key, expected)),
            other => panic!("{other}"),
        }
    }
    assert!(matches!(
        fault(&with_manifest(&bytes, |manifest| manifest["version"] = 2.into())),
        BundleFault::Calibration { .. }
    ));
}

#[test]
fn a_line_that_calibrates_numbers_leads_to_none_that_the_label_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let (table, network) = init(&stem(), &device());
    let mut schema = schema();
    let love = schema.task("love").unwrap();
    schema.tasks[love] = Task::new("love").of_kind(TaskKind::WatchTime { scale: 1.0 });
    let scores = |name: &str, calibration: &BTreeMap<String, Calibration>| {
        let (path, keys, said) = (folder.path().join(name), vocabularies(), serde_json::Value::Null);
        bundle::save_calibrated(&path, &schema, &keys, &stem(), &table, &network, &said, calibration).unwrap();
        Predictor::open(&path, &device()).unwrap().predict(&rows()).unwrap().task("love").unwrap().collect::<Vec<f32>>()
    };
    let raw = scores("raw", &BTreeMap::new());
    let offset = -f64::from(raw.iter().sum::<f32>()) / raw.len() as f64; // some are below 0 then
    let line = Calibration::Linear { slope: 1.0, offset };
    let lines = BTreeMap::from([("love".to_string(), line.clone())]);
    let expected: Vec<f32> = raw.iter().map(|score| line.apply(*score).max(0.0)).collect();
    let found = scores("line", &lines);
    assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} expected {expected:?}");
    assert!(found.contains(&0.0) && found.iter().any(|score| *score > 0.0), "{found:?}");
}

#[test]
fn idle_counts_of_keys_come_back_and_must_be_as_many_as_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.safetensors");
    let (table, network) = init(&stem(), &device());
    let (vocabularies, said) = (vocabularies(), serde_json::Value::Null);
    let counted: Vec<Vec<u32>> = vocabularies.iter().map(|vocabulary| (0..vocabulary.len() as u32).collect()).collect();
    let keys = bundle::KnownKeys { vocabularies: &vocabularies, idle: &counted };
    bundle::save(&path, &schema(), keys, &stem(), &table, &network, &said).unwrap();
    let bundle = Bundle::<ModelConfig>::open(&path).unwrap();
    assert_eq!((bundle.idle, bundle.manifest.version), (counted, 2));
    let bytes = std::fs::read(&path).unwrap();
    let name = "vocabulary.user.idle";
    for (dtype, shape, values) in [(Dtype::U32, vec![1], vec![0; 4]), (Dtype::U8, vec![3], vec![0; 3])] {
        let edited = rewritten(
            &bytes,
            |_| {},
            |tensors| drop(tensors.insert(name.into(), (dtype, shape.clone(), values.clone()))),
        );
        assert!(matches!(fault(&edited), BundleFault::Vocabulary { fault: VocabularyFault::Idle { .. }, .. }));
    }
    save(&stem(), &path);
    assert!(Bundle::<ModelConfig>::open(&path).unwrap().idle.iter().all(Vec::is_empty));
}

#[test]
fn integer_keys_are_packed_beside_rows_and_give_the_same_ids() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let users: Vec<i64> = [-1].into_iter().chain((0..1000).map(|user| 3 * user + user % 3)).collect();
    save_with_users(&stem(), &path("plain"), &users);
    let plain = Bundle::<ModelConfig>::open(path("plain")).unwrap();
    bundle::pack(&plain, Packing::Int8).unwrap().save(&path("packed"), serde_json::Value::Null).unwrap();
    let bytes = std::fs::read(path("packed")).unwrap();
    let names = SafeTensors::deserialize(&bytes).unwrap().names().join(" ");
    assert!(names.contains("vocabulary.user.blocks") && names.contains("vocabulary.user.remainders"), "{names}");
    assert!(!names.contains("vocabulary.user.keys") && !names.contains("idle"), "{names}");
    for verify in [Verify::Full, Verify::Header, Verify::None] {
        let packed = Bundle::<ModelConfig>::open_verified(path("packed"), verify).unwrap();
        assert_eq!((packed.manifest.version, &packed.vocabularies), (7, &plain.vocabularies));
        let [before, after] = [&plain, &packed].map(|bundle| bundle.vocabularies[0].key_bytes());
        assert!(after < before / 4, "{after} of {before}");
        for key in -5..3010 {
            let [before, after] = [&plain, &packed].map(|bundle| bundle.vocabularies[0].id_of_integer(key));
            assert_eq!(before, after, "user {key}");
        }
    }
    assert!(Predictor::open(path("packed"), &device()).unwrap().check_golden().unwrap() > 0);

    let vocabulary = |bytes: &[u8]| match fault(bytes) {
        BundleFault::Vocabulary { name, fault } if name == "user" => fault,
        other => panic!("{other}"),
    };
    let older = with_manifest(&bytes, |m| m["version"] = 6.into());
    assert_eq!(vocabulary(&older), VocabularyFault::Missing, "version 6 has no word for packed keys");
    let fewer = with_tensors(&bytes, |tensors| {
        let blocks = tensors.get_mut("vocabulary.user.blocks").unwrap();
        (blocks.1[0], blocks.2) = (blocks.1[0] - 1, blocks.2[16..].to_vec());
    });
    assert_eq!(vocabulary(&fewer).to_string(), "its packed keys have not as many blocks as they take");
    let unordered = with_tensors(&bytes, |tensors| {
        let remainders = &mut tensors.get_mut("vocabulary.user.remainders").unwrap().2;
        remainders.fill(0);
        remainders[0] = 0xff; // the first key comes behind the second
    });
    assert_eq!(vocabulary(&unordered), VocabularyFault::Order);

    save(&stem(), &path("few"));
    let few = Bundle::<ModelConfig>::open(path("few")).unwrap();
    bundle::pack(&few, Packing::Int8).unwrap().save(&path("packed"), serde_json::Value::Null).unwrap();
    let version = Bundle::<ModelConfig>::open(path("packed")).unwrap().manifest.version;
    assert_eq!(version, 6, "three keys are no smaller so, and older programs read them");
}

#[test]
fn a_failed_write_leaves_the_older_bundle_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.safetensors");
    save(&stem(), &path);
    let before = std::fs::read(&path).unwrap();
    // A folder in the place of the target cannot be replaced by a file.
    let blocked = folder.path().join("blocked");
    std::fs::create_dir_all(blocked.join("inside")).unwrap();
    let (table, network) = init(&stem(), &device());
    let save_to = |path: &Path| {
        bundle::save(path, &schema(), &vocabularies(), &stem(), &table, &network, &serde_json::Value::Null)
    };
    let error = save_to(&blocked).unwrap_err().to_string();
    assert!(error.starts_with("cannot write ") && error.ends_with("what was there before is untouched"), "{error}");
    assert!(blocked.join("inside").is_dir());
    assert_eq!(std::fs::read(&path).unwrap(), before);
    save_to(&path).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no scratch file is left");
}

/// A rank is undone by the row's own duration, which is a number that the model reads; packed or not, in version 8.
#[test]
fn a_rank_among_rows_of_a_duration_is_undone_in_a_bundle_by_the_rows_duration() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (table, network) = init(&stem(), &device());
    let mut schema = schema();
    // Ages weigh (age - 40) / 10. Of the younger 0 to 10 seconds are watched, of the older 100 to 110.
    let watched = (0..22).map(|i| ((i / 11) as f32, (100 * (i / 11) + i % 11) as f32)).collect();
    let quantiles = DurationQuantiles::fit("age", watched, 2);
    let love = schema.task("love").unwrap();
    schema.tasks[love] = Task::new("love").of_kind(TaskKind::WatchQuantile(quantiles));
    let (keys, said) = (vocabularies(), serde_json::Value::Null);
    bundle::save(&path("plain"), &schema, &keys, &stem(), &table, &network, &said).unwrap();
    let plain = Bundle::<ModelConfig>::open(path("plain")).unwrap();
    bundle::pack(&plain, Packing::F16).unwrap().save(&path("packed"), said).unwrap();
    for name in ["plain", "packed"] {
        assert_eq!(Bundle::<ModelConfig>::open(path(name)).unwrap().manifest.version, 8, "older programs refuse it");
        let predictor = Predictor::open(path(name), &device()).unwrap();
        assert!(predictor.check_golden().unwrap() > 0);
        let row = |age: Value| Row::new().with("user", 10).with("tags", "a").with("age", age);
        let rows = [row(35.into()), row(50.into()), row(Value::Null), row((-1e6).into()), row(1e6.into())];
        let scores: Vec<f32> = predictor.predict(&rows).unwrap().task("love").unwrap().collect();
        let of = |low: f32| low..=low + 10.0;
        // an age that is not said weighs as much as the mean one, and is of the younger
        for (score, low) in scores.iter().zip([0.0, 100.0, 0.0, 0.0, 100.0]) {
            assert!(of(low).contains(score), "{name}: {scores:?}");
        }
        let explained = predictor.explain(&rows[1..2]).unwrap();
        assert!((explained[0].scores["love"] - scores[1]).abs() < 1e-3, "{name}: {:?}", explained[0].scores);
    }
    let bytes = std::fs::read(path("plain")).unwrap();
    let edited = |edit: &dyn Fn(&mut serde_json::Value)| {
        fault(&with_manifest(&bytes, |m| edit(&mut m["schema"]["tasks"][love]["kind"])))
    };
    contains_fault(
        &edited(&|kind| kind["duration"] = "tags".into()),
        "has the duration 'tags', which is no field of numbers",
    );
    contains_fault(&edited(&|kind| kind["edges"] = serde_json::json!([1.0, 0.5])), "do not rise");
    contains_fault(&edited(&|kind| kind["tables"][1] = serde_json::json!([])), "table of quantiles, of bucket 1");
}

fn contains_fault(fault: &BundleFault, expected: &str) {
    let message = chain(fault);
    assert!(message.contains(expected), "{message}");
}
