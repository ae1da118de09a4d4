//! Small models that the tests share. The device is the one `STEM_DEVICE` names.

#![allow(dead_code)] // every test file uses its part

pub mod oracle;

use burn::tensor::Device;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use stem_core::models::*;
use stem_core::nn::*;
use stem_core::*;

pub fn device() -> Device {
    DeviceSpec::from_env().unwrap().open().unwrap()
}

/// Errors of wgpu's kernels are larger than those of the CPU's.
pub fn tolerance() -> f32 {
    if DeviceSpec::from_env().unwrap() == DeviceSpec::Wgpu(None) { 1e-5 } else { 1e-6 }
}

/// What programs print of an error: its message and its sources'.
pub fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A user (integers 10, 20, 30), tags (texts a, b, c; at most 3, mean), an age (mean 40, std 10); two tasks.
pub fn schema() -> Schema {
    let fields = vec![
        Field::category("user", 0),
        Field::sequence("tags", 1, 3).separated_by("|"),
        Field::number("age", 2).standardized(40.0, 10.0),
    ];
    let vocabularies = [("user", 5), ("tags", 5), ("age", 1)].map(|(name, rows)| VocabularySpec::new(name, rows));
    Schema::new(fields, vocabularies.into(), ["like", "love"].map(Task::new).into()).grouped_by("user")
}

pub fn vocabularies() -> Vec<Vocabulary> {
    vec![Vocabulary::integers([30, 10, 20]), Vocabulary::texts(["c", "a", "b"]), Vocabulary::Number]
}

/// A bundle of [`schema`] with other users, who all occurred in the last training but one.
pub fn save_with_users(config: &ModelConfig, path: &std::path::Path, users: &[i64]) {
    let (mut schema, mut vocabularies, said) = (schema(), vocabularies(), serde_json::Value::Null);
    vocabularies[0] = Vocabulary::integers(users.iter().copied());
    schema.vocabularies[0].rows = vocabularies[0].rows();
    let table = EmbeddingTable::init(&schema, &config.widths(&schema), 0.5, 1, &device());
    let network = config.init(&schema, &mut rng(1), &device());
    let keys = bundle::KnownKeys { vocabularies: &vocabularies, idle: &[vec![1; users.len()]] };
    bundle::save(path, &schema, keys, config, &table, &network, &said).unwrap();
}

pub fn stem() -> ModelConfig {
    ModelConfig::Stem(stem_config())
}

pub fn stem_config() -> StemConfig {
    StemConfig {
        dim: 4,
        layers: 2,
        specific_experts: 2,
        shared_experts: 1,
        experts: vec![6, 5],
        gate: vec![4],
        tower: vec![3],
        ..StemConfig::default()
    }
}

/// Every ablation of the small STEM.
pub fn stem_ablations() -> Vec<StemConfig> {
    let base = stem_config();
    vec![
        StemConfig { stop_gradient: false, ..base.clone() },
        StemConfig { reach: Reach::OwnAndShared, ..base.clone() },
        StemConfig { shared_embedding: false, shared_experts: 0, ..base.clone() },
        StemConfig { shared_embedding: false, shared_experts: 0, reach: Reach::OwnAndShared, ..base.clone() },
        StemConfig { task_embeddings: false, ..base.clone() },
        StemConfig { gate_input: GateInput::Own, ..base.clone() },
        StemConfig { shared_dim: Some(7), ..base.clone() },
        StemConfig { shared_dim: Some(2), gate_input: GateInput::Own, ..base.clone() },
        StemConfig { specific_experts: 0, ..base.clone() },
        StemConfig { specific_experts: 0, reach: Reach::OwnAndShared, ..base.clone() },
        StemConfig { own_residual: OwnResidual::Gated, ..base.clone() },
        StemConfig { own_residual: OwnResidual::Gated, specific_experts: 1, shared_experts: 2, ..base.clone() },
        StemConfig { own_residual: OwnResidual::Gated, task_embeddings: false, ..base.clone() },
        StemConfig { own_residual: OwnResidual::Gated, shared_embedding: false, shared_experts: 0, ..base.clone() },
        StemConfig { auxiliary: vec!["love".into()], ..base.clone() },
        StemConfig { auxiliary: vec!["love".into()], shared_dim: Some(7), ..base.clone() },
        grouped(),
        StemConfig { reach: Reach::GroupAndShared, shared_dim: Some(7), ..grouped() },
        StemConfig { meta_experts: 2, reach: Reach::GroupAndShared, ..grouped() },
        StemConfig { meta_experts: 1, shared_experts: 0, shared_dim: Some(7), ..grouped() },
    ]
}

/// The small STEM with one embedding for both tasks, and the shared one.
pub fn grouped() -> StemConfig {
    StemConfig { groups: vec![vec!["love".into(), "like".into()]], ..stem_config() }
}

pub fn layered() -> LayeredSizes {
    LayeredSizes {
        dim: 4,
        layers: 2,
        specific_experts: 2,
        shared_experts: 1,
        experts: vec![6, 5],
        gate: vec![4],
        tower: vec![3],
        ..Default::default()
    }
}

pub fn mixture() -> MixtureSizes {
    MixtureSizes { dim: 4, expert_count: 3, experts: vec![6, 5], gate: vec![4], tower: vec![3], ..Default::default() }
}

pub fn bottom() -> BottomSizes {
    BottomSizes { dim: 4, bottom: vec![6, 5], tower: vec![3], ..Default::default() }
}

pub fn shared_bottom() -> ModelConfig {
    ModelConfig::SharedBottom(SharedBottomConfig(bottom()))
}

pub fn single_task() -> ModelConfig {
    ModelConfig::SingleTask(SingleTaskConfig(bottom()))
}

/// Every model of the crate, small.
pub fn every_model() -> Vec<ModelConfig> {
    let BottomSizes { dim, bottom: widths, tower, .. } = bottom();
    let models = vec![
        stem(),
        shared_bottom(),
        single_task(),
        ModelConfig::Omoe(OmoeConfig(mixture())),
        ModelConfig::Mmoe(MmoeConfig(mixture())),
        ModelConfig::Ple(PleConfig(layered())),
        ModelConfig::Aitm(AitmConfig { dim, bottom: widths, tower: tower.clone(), ..AitmConfig::default() }),
        ModelConfig::Esmm(EsmmConfig { dim, tower, ..EsmmConfig::default() }),
        ModelConfig::MmoeMe(MmoeMeConfig(mixture())),
        ModelConfig::PleMe(PleMeConfig(layered())),
    ];
    assert_eq!(models.iter().map(ModelConfig::model_name).collect::<Vec<_>>(), ModelName::ALL);
    models
}

/// The same model with crosses before it.
pub fn with_cross(config: &ModelConfig, cross: CrossConfig) -> ModelConfig {
    with_key(config, "cross", cross)
}

/// The same model with another value of a key.
pub fn with_key(config: &ModelConfig, key: &str, value: impl serde::Serialize) -> ModelConfig {
    let mut config = serde_json::to_value(config).unwrap();
    config[key] = serde_json::to_value(value).unwrap();
    serde_json::from_value(config).unwrap()
}

/// The same model with other settings between its linear maps.
pub fn with_hidden(config: &ModelConfig, hidden: HiddenConfig) -> ModelConfig {
    let mut value = serde_json::to_value(config).unwrap();
    value["hidden"] = serde_json::to_value(hidden).unwrap();
    serde_json::from_value(value).unwrap()
}

/// Weights large enough that scores differ between rows.
pub fn init(config: &ModelConfig, device: &Device) -> (EmbeddingTable, AnyModel) {
    let table = EmbeddingTable::init(&schema(), &config.widths(&schema()), 1.0, 7, &device.clone().inner());
    (table, config.init(&schema(), &mut ChaCha8Rng::seed_from_u64(7), device))
}

pub fn save(config: &ModelConfig, path: &std::path::Path) {
    let (table, network) = init(config, &device());
    let training = serde_json::json!({ "seed": 7 });
    bundle::save(path, &schema(), &vocabularies(), config, &table, &network, &training).unwrap();
}

pub fn rows() -> Vec<Row> {
    vec![
        Row::new().with("user", 10).with("tags", vec!["a", "b"]).with("age", 31.5),
        Row::new().with("user", 30).with("tags", "c|a").with("age", 44),
        Row::new().with("user", 99).with("tags", "").with("age", Value::Null),
        Row::new().with("user", Value::Null).with("tags", "zzz").with("age", "50"),
    ]
}
