//! A checkpoint becomes a bundle that scores as the reference does, or is refused with everything that does not fit.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::common::checkpoint::{BOTTOM, Bench, Checkpoint, assert_close, bottom, fixture, rows};
use crate::common::fixtures;
use proptest::prelude::*;
use stem_core::{Batch, DeviceSpec, Row, Value};
use stem_reference::{import, read_checkpoint};

const STEM: &str = r#"
tasks = ["like", "love"]
group = "f0"

[model]
name = "stem"
dim = 4
layers = 1
specific_experts = 1
shared_experts = 2
experts = [12, 8]
gate = [6]
tower = [7, 5]
"#;

/// `[[field]]` of the fixtures' four categories.
fn four_fields() -> String {
    let field = |(f, rows): (usize, usize)| format!("[[field]]\nname = \"f{f}\"\nrows = {rows}\n");
    [9, 14, 6, 11].into_iter().enumerate().map(field).collect()
}

#[test]
fn an_imported_checkpoint_scores_as_the_reference_does() {
    let checkpoint = fixtures().join("STEM.model");
    let expected = fixtures().join("STEM.safetensors");
    let bench = Bench::new(checkpoint);
    let summary = bench.import(&(STEM.to_string() + &four_fields())).unwrap();
    assert_eq!((summary.model, summary.table, summary.unread.len()), ("stem", [9 + 14 + 6 + 11 + 4, 12], 4));
    assert_eq!((summary.tasks, summary.fields.len()), (vec!["like".to_string(), "love".to_string()], 4));

    let (ids, predictions) = fixture(&expected);
    assert!(ids.contains(&0), "padding is among the inputs");
    let predictor = bench.predictor();
    let scores = predictor.predict(&rows(4, &ids, |_, id| id)).unwrap();
    assert_eq!(scores.tasks(), ["like", "love"]);
    assert_close(scores.rows(), &predictions);

    let offsets = predictor.schema().offsets();
    let encoded_ids = ids.iter().enumerate().map(|(i, &id)| offsets[i % 4] + id as u32 + 1).collect();
    let encoded = Batch::new(16, encoded_ids, vec![1.0; ids.len()]);
    assert_close(predictor.score(&encoded).unwrap().rows(), &predictions);
}

#[test]
fn the_last_id_of_the_reference_is_that_of_the_unseen() {
    let checkpoint = fixtures().join("STEM.model");
    let bench = Bench::new(checkpoint);
    bench.import(&(STEM.to_string() + &four_fields())).unwrap();
    let predict = |id: i64| {
        let row = rows(4, &[id, 1, 1, 1], |_, id| id);
        bench.predictor().predict(&row).unwrap().rows().next().unwrap().to_vec()
    };
    assert_eq!(predict(8), predict(1000));
    assert_ne!(predict(7), predict(8));
}

#[test]
fn tokens_of_the_references_vocabulary_find_their_rows() {
    let checkpoint = fixtures().join("STEM.model");
    let expected = fixtures().join("STEM.safetensors");
    // f0 and f1 have integers, against the order of their ids; f2 and f3 texts
    let token = |f: usize, id: i64| match f {
        0 => (100 - id).to_string(),
        1 => (id * id - 30).to_string(),
        2 => format!("0{id}"),
        _ => format!("{}é{id}", ["z", "a", ""][id as usize % 3]),
    };
    let mut vocabulary: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for (f, size) in [9, 14, 6, 11].into_iter().enumerate() {
        let mut tokens: BTreeMap<String, i64> = (1..size - 1).map(|id| (token(f, id), id)).collect();
        tokens.extend([("__PAD__".to_string(), 0), ("__OOV__".to_string(), size - 1)]);
        vocabulary.insert(format!("f{f}"), tokens);
    }
    let bench = Bench::new(checkpoint);
    bench.write("feature_vocab.json", serde_json::to_string(&vocabulary).unwrap().as_bytes());
    bench.import(&format!("vocabulary = \"feature_vocab.json\"\n{STEM}{}", four_fields())).unwrap();

    let (ids, predictions) = fixture(&expected);
    let whole = |row: &usize| ids[row * 4..row * 4 + 4].iter().all(|&id| id != 0);
    let kept: Vec<usize> = (0..16).filter(whole).collect();
    assert!(!kept.is_empty());
    let ids: Vec<i64> = kept.iter().flat_map(|row| ids[row * 4..row * 4 + 4].to_vec()).collect();
    let predictions: Vec<f32> = kept.iter().flat_map(|row| predictions[row * 2..row * 2 + 2].to_vec()).collect();
    let unseen = [8, 13, 5, 10];
    let value = |f: usize, id: i64| if id == unseen[f] { Value::Null } else { Value::Text(token(f, id)) };
    assert_close(bench.predictor().predict(&rows(4, &ids, value)).unwrap().rows(), &predictions);
}

#[test]
fn a_wrong_width_names_the_embedding_and_the_key() {
    let checkpoint = fixtures().join("STEM.model");
    let bench = Bench::new(checkpoint);
    let config = STEM.replace("dim = 4", "dim = 8") + &four_fields();
    bench.refuses(&config, &["embedding of 'f0' is 9 x 12, `dim = 8` and 2 tasks need a width of 24"]);
    let config = STEM.to_string() + &four_fields().replace("rows = 14", "rows = 15");
    bench.refuses(&config, &["embedding of 'f1' is 14 x 12, its `rows = 15` needs 15 x 12"]);
}

#[test]
fn tensors_of_a_wrong_shape_are_named_with_both_shapes() {
    let checkpoint = fixtures().join("STEM.model");
    let bench = Bench::new(checkpoint);
    let config = STEM.replace("tower = [7, 5]", "tower = [7, 3]") + &four_fields();
    bench.refuses(
        &config,
        &[
            "'tower.0.mlp.2.weight' is [5, 7], the configuration needs [3, 7]; see `tower` in [model]",
            "'tower.1.mlp.4.weight' is [1, 5], the configuration needs [1, 3]",
        ],
    );
}

#[test]
fn tensors_too_few_or_too_many_are_all_named() {
    let checkpoint = fixtures().join("STEM.model");
    let bench = Bench::new(checkpoint);
    let config = STEM.replace("shared_experts = 2", "shared_experts = 1") + &four_fields();
    bench.refuses(
        &config,
        &[
            "'stem_layers.0.shared_experts.1.mlp.0.weight' [12, 16] belongs to no part of a stem model",
            "'stem_layers.0.gate.0.mlp.2.bias' is [4], the configuration needs [3]",
        ],
    );
    let config = STEM.replace("shared_experts = 2", "shared_experts = 3") + &four_fields();
    bench.refuses(&config, &["'stem_layers.0.shared_experts.2.mlp.2.weight' [8, 12] is missing"]);
    let config = STEM.replace("tasks = [\"like\", \"love\"]", "tasks = [\"a\", \"b\", \"c\"]") + &four_fields();
    bench.refuses(&config, &["and 3 tasks need a width of 16", "and ", " more"]);
    let config = STEM.replace("layers = 1", "layers = 2") + &four_fields();
    bench.refuses(&config, &["'stem_layers.1.gate.0.mlp.0.bias' [6] is missing"]);
}

#[test]
fn sizes_far_beyond_the_checkpoint_are_refused_before_they_take_memory() {
    let checkpoint = fixtures().join("STEM.model");
    let bench = Bench::new(checkpoint);
    let config = STEM.replace("experts = [12, 8]", "experts = [65536, 65536, 65536]") + &four_fields();
    bench.refuses(&config, &["parameters beside its embeddings, the checkpoint holds", "check the sizes in [model]"]);
    let config = STEM.to_string() + &four_fields().replace("rows = 9", "rows = 2000000000");
    bench.refuses(&config, &["embedding of 'f0' is 9 x 12, its `rows = 2000000000`"]);
    let config = STEM.to_string() + &four_fields().replace("rows = 9", "rows = 9000000000");
    bench.refuses(&config, &["more than the"]);
}

#[test]
fn a_bundle_never_replaces_its_checkpoint() {
    let bench = Bench::of(&bottom());
    let config = bench.write("import.toml", BOTTOM.as_bytes());
    let device = DeviceSpec::default().open().unwrap();
    let before = std::fs::read(&bench.checkpoint).unwrap();
    let message = import(&bench.checkpoint, &config, &bench.checkpoint, &device).unwrap_err().to_string();
    assert!(message.contains("would replace a file that it is made from"), "{message}");
    assert_eq!(std::fs::read(&bench.checkpoint).unwrap(), before);
}

fn shared_tensor(values: &[f32]) -> Checkpoint {
    bottom().floats("embedding_layer.embedding_layer.embedding_layers.seen.weight", &[4, 2], values)
}

#[test]
fn numbers_sequences_and_shared_embeddings_are_imported() {
    let same = shared_tensor(&[0.0, 0.0, 1.0, 0.5, 2.0, 1.0, 4.0, 2.0]);
    for checkpoint in [bottom(), same] {
        let bench = Bench::of(&checkpoint);
        let summary = bench.import(BOTTOM).unwrap();
        assert_eq!((summary.table, summary.parameters), ([6, 2], 9));
        let rows = [
            Row::new().with("item", 1).with("seen", "2 7").with("price", 8.0), // 1.5 + (3 + 6) / 2 + 3
            Row::new().with("item", 9).with("seen", "").with("price", Value::Null), // 6 + 0 + 0.75
        ];
        let sigmoid = |logit: f32| 1.0 / (1.0 + (-logit).exp());
        assert_close(bench.predictor().predict(&rows).unwrap().rows(), &[9.0 - 1.0, 6.75 - 1.0].map(sigmoid));
    }
}

#[test]
fn a_shared_embedding_that_differs_is_refused() {
    Bench::of(&shared_tensor(&[1.0; 8])).refuses(BOTTOM, &["the embedding of 'seen' differs from that of 'item'"]);
}

#[test]
fn a_number_takes_a_column() {
    let config = BOTTOM.replace("kind = \"number\"\ndefault = 2.0", "rows = 5");
    Bench::of(&bottom())
        .refuses(&config, &["embedding of 'price' is 2 x 1, expected 5 x 2 (`kind`, `rows`, `dim = 2`)"]);
}

#[test]
fn dropout_between_linear_maps_only_moves_their_numbers() {
    let checkpoint = || {
        Checkpoint::new()
            .floats("embedding_layer.embedding_layer.embedding_layers.f.weight", &[3, 1], &[0.0, 1.0, 2.0])
            .floats("bottom.mlp.0.weight", &[2, 1], &[1.0, 2.0])
            .floats("bottom.mlp.0.bias", &[2], &[0.0, 0.0])
            .floats("bottom.mlp.3.weight", &[1, 2], &[1.0, 1.0])
            .floats("bottom.mlp.3.bias", &[1], &[0.0])
            .floats("tower.0.mlp.0.weight", &[1, 1], &[1.0])
            .floats("tower.0.mlp.0.bias", &[1], &[0.0])
    };
    let config = "tasks = [\"t\"]\n[model]\nname = \"shared-bottom\"\ndim = 1\nbottom = [2, 1]\ntower = []\n\
                  [[field]]\nname = \"f\"\nrows = 3\n";
    let bench = Bench::of(&checkpoint());
    bench.import(config).unwrap();
    let score = bench.predictor().predict(&[Row::new().with("f", 1)]).unwrap().get(0, "t").unwrap();
    assert!((score - 1.0 / (1.0 + (-3.0f32).exp())).abs() < 1e-6);
    let deeper = Bench::of(&checkpoint().floats("bottom.mlp.6.weight", &[1, 1], &[1.0]));
    deeper.refuses(config, &["'bottom.mlp.6.weight' [1, 1] belongs to no part of a shared-bottom model"]);
}

#[test]
fn the_padding_row_is_zero_and_key_zero_is_the_references_row() {
    let bench = Bench::of(&bottom());
    bench.import(BOTTOM).unwrap();
    let bytes = std::fs::read(bench.bundle()).unwrap();
    let bundle = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let table: Vec<f32> = {
        let view = bundle.tensor("embedding.table").unwrap();
        view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    };
    let item =
        &read_checkpoint(&bench.checkpoint).unwrap()["embedding_layer.embedding_layer.embedding_layers.item.weight"];
    assert_eq!(table[..2], [0.0, 0.0]);
    assert_eq!(table[2..10], item.values[..]);
    assert_eq!(table[10..], [0.25, 0.125]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn a_damaged_checkpoint_is_imported_or_refused_but_never_fatal(
        flips in prop::collection::vec((0usize..4700, any::<u8>()), 1..4), // the pickle, which stands first
    ) {
        let path = fixtures().join("STEM.model");
        let mut bytes = std::fs::read(path).unwrap();
        flips.into_iter().for_each(|(place, value)| bytes[place] = value);
        let mut bench = Bench::new(PathBuf::new());
        bench.checkpoint = bench.write("damaged.model", &bytes);
        let _ = bench.import(&(STEM.to_string() + &four_fields()));
    }
}
