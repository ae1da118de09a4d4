//! Device, seed and data that all benches share: eight fields with the shares of the TikTok log, ids that repeat as real ones do.

pub mod ceiling;
pub mod chart;
pub mod numbers;
pub mod profile;
pub mod ranks;
pub mod study;

use burn::tensor::Device;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};
use stem_core::models::StemConfig;
use stem_core::{Batch, DeviceSpec, Field, ModelConfig, Schema, Task, VocabularySpec};

/// Share of the vocabulary that each field holds: user, item, author, item city, channel, music, device, user city.
const SHARES: [f64; 8] = [0.02, 0.6, 0.2, 0.0002, 0.00001, 0.01, 0.16, 0.0001];
/// Every field has at least so many rows.
const LEAST: usize = 4;
/// Fields up to this size are drawn uniformly, larger ones by Zipf.
const UNIFORM: usize = 100;

/// The device that `STEM_DEVICE` names, flex without it.
pub fn device() -> Device {
    DeviceSpec::from_env().and_then(DeviceSpec::open).expect("STEM_DEVICE names a device that is compiled in")
}

/// Eight category fields over about `vocabulary` rows, and `tasks` tasks.
pub fn schema(vocabulary: usize, tasks: usize) -> Schema {
    let rows = |share: &f64| ((share * vocabulary as f64) as usize).max(LEAST);
    Schema::new(
        (0..SHARES.len()).map(|f| Field::category(format!("f{f}"), f)).collect(),
        SHARES.iter().enumerate().map(|(f, share)| VocabularySpec::new(format!("f{f}"), rows(share))).collect(),
        (0..tasks).map(|t| Task::new(format!("t{t}"))).collect(),
    )
}

/// The same with a history of `length` items (the second field), as their mean; none where that is 0.
pub fn with_history(mut schema: Schema, length: usize) -> Schema {
    if length > 0 {
        schema.fields.push(Field::sequence(HISTORY, 1, length));
    }
    schema
}

/// The history, and the field whose values it holds.
pub const HISTORY: &str = "history";
/// See [`HISTORY`].
pub const ITEM: &str = "f1";
/// The user.
pub const USER: &str = "f0";
/// A field of few values: the channel.
pub const DOMAIN: &str = "f4";

/// A batch of `rows` rows: Zipf(1.3) modulo the field's size, uniform for small fields, histories full; labels at random, one in four
/// positive.
pub fn batch(schema: &Schema, rows: usize, seed: u64) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let offsets = schema.offsets();
    let zipf = Zipf::new(1e9, 1.3).expect("a Zipf distribution with an exponent above 1");
    let (mut ids, mut weights) = (Vec::with_capacity(rows * schema.slots()), Vec::new());
    for _ in 0..rows {
        for field in schema.fields.iter().flat_map(|field| std::iter::repeat_n(field, field.kind.slots())) {
            let size = schema.vocabularies[field.vocabulary].rows as u32;
            let id = if size as usize <= UNIFORM {
                rng.random_range(0..size)
            } else {
                (zipf.sample(&mut rng) as u64 % u64::from(size)) as u32
            };
            ids.push(offsets[field.vocabulary] + id);
            weights.push(1.0 / field.kind.slots() as f32);
        }
    }
    let labels: Vec<f32> = (0..rows * schema.tasks.len()).map(|_| f32::from(u8::from(rng.random_bool(0.25)))).collect();
    Batch::new(rows, ids, weights).with_labels(labels)
}

/// The small STEM of the benches: experts [64, 32], one shared and one per task.
pub fn small_stem() -> ModelConfig {
    ModelConfig::Stem(StemConfig {
        dim: 16,
        shared_experts: 1,
        experts: vec![64, 32],
        gate: vec![32],
        tower: vec![32],
        ..StemConfig::default()
    })
}
