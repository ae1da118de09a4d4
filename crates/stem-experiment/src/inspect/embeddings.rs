//! What a model's embeddings look like: per field and group the mean norm, the effective rank, the likeness (CKA) to the other
//! groups, and a picture of one field.

use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use stem_core::models::ModelSpec;
use stem_core::{Predictor, Schema};
use stem_data::{Dataset, Split};

use super::owner_names;
use crate::error::{Error, Result};
use crate::measured::in_order;
use stem_report::analysis::{Strata, effective_rank, linear_cka, project};
use stem_report::report::{EmbeddingReport, FieldEmbedding, Picture};

/// Rows of a field that numbers are taken from, and points of a picture.
const SAMPLED: usize = 2000;
const POINTS: usize = 600;
/// Groups that are drawn at most, the last among them: the shared one, where there is one.
const PICTURES: usize = 4;

/// What a picture's points are coloured by: the stratum where most test rows with that value lie.
#[derive(Debug)]
pub(crate) struct Colours {
    /// What the strata are called.
    pub names: Vec<String>,
    /// Of every row of the table; `names.len()` where a value has no row in any stratum.
    by_row: Vec<usize>,
}

impl Colours {
    /// Counts the test rows of every value of a field.
    pub(crate) fn of(dataset: &Dataset, field: usize, strata: &Strata, names: Vec<String>) -> Self {
        let schema = dataset.schema();
        let own = schema.slot_ranges()[field].clone();
        let mut counts = vec![[0u32; 3]; schema.rows()];
        for (first, batch) in in_order(dataset, Split::Test) {
            for (row, stratum) in batch.ids.chunks_exact(schema.slots()).zip(&strata.rows[first..]) {
                let Some(stratum) = stratum else { continue };
                let mut ids = row[own.clone()].to_vec();
                ids.sort_unstable();
                ids.dedup(); // a row counts once, however often it has the value
                ids.iter().for_each(|&id| counts[id as usize][*stratum as usize] += 1);
            }
        }
        let most = |of: &[u32; 3]| (0..3).max_by_key(|&s| (of[s], 3 - s)).filter(|&s| of[s] > 0);
        Self { by_row: counts.iter().map(|of| most(of).unwrap_or(names.len())).collect(), names }
    }
}

/// The field to draw: the one asked for, else that of the group (the user), else the one with most values.
///
/// # Errors
/// [`Error::Compare`] for a field that there is not, or that has fewer than two values.
pub(crate) fn picture_field(schema: &Schema, asked: Option<&str>) -> Result<usize> {
    let drawable = |f: &usize| rows(schema, *f).len() > 1;
    let named = |name: &str| (0..schema.fields.len()).filter(drawable).find(|&f| schema.fields[f].name == name);
    if let Some(name) = asked {
        let known = field_names(schema, drawable).join(", ");
        let expected = format!("a field with two values or more: one of {known}");
        return named(name).ok_or(Error::Compare { key: "picture", found: name.into(), expected });
    }
    let largest = || (0..schema.fields.len()).filter(drawable).max_by_key(|&f| rows(schema, f).len()).unwrap_or(0);
    Ok(schema.group.as_deref().and_then(named).unwrap_or_else(largest))
}

fn field_names(schema: &Schema, drawable: impl Fn(&usize) -> bool) -> Vec<&str> {
    (0..schema.fields.len()).filter(drawable).map(|f| schema.fields[f].name.as_str()).collect()
}

/// Table rows of a field's values, without padding and the row of the unseen.
fn rows(schema: &Schema, field: usize) -> std::ops::Range<usize> {
    let spec = &schema.fields[field];
    let start = schema.offsets()[spec.vocabulary] as usize;
    let end = start + schema.vocabularies[spec.vocabulary].rows;
    if spec.kind.has_keys() { start + 1..(end - 1).max(start + 1) } else { start..end }
}

/// All fields, and pictures of one. The same seed samples the same rows of every model.
pub(crate) fn embedding_report<C: ModelSpec>(
    predictor: &Predictor<C>,
    seed: u64,
    picture: Option<(usize, &Colours)>,
) -> Option<EmbeddingReport> {
    let schema = predictor.schema();
    let widths = predictor.table().widths();
    let owners = predictor.config().embedding_groups(schema);
    let names: Vec<String> = match owners.as_slice() {
        [] => owner_names(&[], widths.len(), &[], "embedding"),
        owners => {
            let tasks = schema.task_names();
            owners.iter().map(|&owner| tasks.get(owner).map_or("shared", String::as_str).to_string()).collect()
        }
    };
    let fields = (0..schema.fields.len()).map(|f| field_embedding(predictor, f, seed, &names)).collect();
    let pictures = picture.map_or_else(Vec::new, |(f, colours)| pictures(predictor, f, seed, &names, colours));
    (!names.is_empty()).then_some(EmbeddingReport { fields, pictures })
}

/// Embeddings of sampled values, a matrix `[n, D_k]` for every group.
fn groups_of<C: ModelSpec>(predictor: &Predictor<C>, sampled: &[u32]) -> Vec<Vec<f32>> {
    let table = predictor.table();
    if sampled.is_empty() {
        return vec![Vec::new(); table.widths().len()];
    }
    let width: usize = table.widths().iter().sum();
    let values = table.gather(sampled); // [n, W]
    let mut start = 0;
    let group = |&columns: &usize| {
        let from = start;
        start += columns;
        values.chunks(width).flat_map(|row| &row[from..from + columns]).copied().collect()
    };
    table.widths().iter().map(group).collect()
}

/// At most `count` of a field's values, ascending.
fn sample(schema: &Schema, field: usize, count: usize, seed: u64) -> Vec<u32> {
    let rows = rows(schema, field);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(field as u64);
    let drawn = index::sample(&mut rng, rows.len(), count.min(rows.len()));
    let mut sampled: Vec<u32> = drawn.into_iter().map(|i| (rows.start + i) as u32).collect();
    sampled.sort_unstable();
    sampled
}

fn field_embedding<C: ModelSpec>(
    predictor: &Predictor<C>,
    field: usize,
    seed: u64,
    names: &[String],
) -> FieldEmbedding {
    let schema = predictor.schema();
    let sampled = sample(schema, field, SAMPLED, seed);
    let widths = predictor.table().widths();
    let groups = groups_of(predictor, &sampled);
    let norm = |row: &[f32]| row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    let mean_norm = |(x, &p): (&Vec<f32>, &usize)| x.chunks(p).map(norm).sum::<f64>() / sampled.len().max(1) as f64;
    // Of few rows any two representations are alike: independent ones have a CKA of about sqrt(p q) / n.
    let enough = |k: usize, j: usize| sampled.len() >= 4 * widths[k].max(widths[j]);
    let cka = |k: usize, j: usize| linear_cka(&groups[k], widths[k], &groups[j], widths[j]);
    let with = |k: usize, j: usize| enough(k, j).then(|| cka(k, j)).flatten();
    FieldEmbedding {
        field: schema.fields[field].name.clone(),
        sampled: sampled.len() as u64,
        groups: names.to_vec(),
        norms: groups.iter().zip(widths).map(mean_norm).collect(),
        effective_rank: groups.iter().zip(widths).map(|(x, &p)| effective_rank(x, p)).collect(),
        cka: (0..groups.len()).map(|k| (0..groups.len()).map(|j| with(k, j)).collect()).collect(),
    }
}

fn pictures<C: ModelSpec>(
    predictor: &Predictor<C>,
    field: usize,
    seed: u64,
    names: &[String],
    colours: &Colours,
) -> Vec<Picture> {
    let schema = predictor.schema();
    let sampled = sample(schema, field, POINTS, seed);
    if sampled.len() < 2 {
        return Vec::new();
    }
    let groups = groups_of(predictor, &sampled);
    let last = groups.len().saturating_sub(1);
    let drawn = (0..groups.len()).filter(|&k| k + 1 < PICTURES || k == last);
    let picture = |k: usize| {
        let projection = project(&groups[k], predictor.table().widths()[k])?;
        let colour = |&row: &u32| colours.by_row[row as usize];
        Some(Picture {
            field: schema.fields[field].name.clone(),
            group: names[k].clone(),
            explained: projection.explained,
            strata: colours.names.clone(),
            points: projection.points.iter().zip(&sampled).map(|(at, row)| (at[0], at[1], colour(row))).collect(),
        })
    };
    drawn.filter_map(picture).collect()
}
