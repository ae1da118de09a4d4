//! Data of a later day, encoded as a model takes them: fields, transforms and vocabularies are those of its training.

use stem_core::models::ModelSpec;
use stem_core::{Bundle, Field, FieldKind, PADDING, Predictor, Schema, Transform, Vocabulary};

use crate::dictionary::{Dictionary, FIRST, Keys};
use crate::encoding::{Encoding, count, marks};
use crate::error::{Error, Fault, Result};
use crate::gather::CodedRows;
use crate::recipe::{FieldRecipe, Kind, LabelRecipe, Recipe, SplitRecipe};

/// What a training decided: a bundle's schema and vocabularies.
#[derive(Debug, Clone, Copy)]
pub struct Known<'k> {
    /// Fields, tasks and sizes.
    pub schema: &'k Schema,
    /// One for each entry of the schema's.
    pub vocabularies: &'k [Vocabulary],
    /// For each vocabulary, and each of its keys: in how many trainings in a row it has not occurred
    /// ([`KnownKeys::idle`](stem_core::bundle::KnownKeys::idle)). It matters where a model is trained on.
    pub idle: &'k [Vec<u32>],
    /// What tells this training from others, such as the checksum of its bundle.
    pub mark: &'k str,
}

impl<'k, C> From<&'k Bundle<C>> for Known<'k> {
    fn from(bundle: &'k Bundle<C>) -> Self {
        let Bundle { manifest, vocabularies, idle, checksum, .. } = bundle;
        Self { schema: &manifest.schema, vocabularies, idle, mark: checksum }
    }
}

impl<'k, C: ModelSpec> From<&'k Predictor<C>> for Known<'k> {
    fn from(predictor: &'k Predictor<C>) -> Self {
        let (schema, vocabularies) = (predictor.schema(), predictor.vocabularies());
        Self { schema, vocabularies, idle: &[], mark: predictor.checksum() }
    }
}

/// Which rows of a recipe's SELECT are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rows {
    /// All of them, as the test split: whatever the recipe says of splits, none was trained on.
    #[default]
    All,
    /// All of them, in the splits of the recipe.
    BySplit,
}

impl Known<'_> {
    /// The recipe with the fields and labels of the schema, in its order and with its sizes, for these rows.
    ///
    /// # Errors
    /// [`Error::Recipe`] with every field and label that does not fit.
    pub(crate) fn recipe(&self, recipe: &Recipe, rows: Rows) -> Result<Recipe> {
        let mut faults = Vec::new();
        let fields_line = recipe.fields.first().map_or(1, |field| field.line);
        let fields = self.schema.fields.iter().filter_map(|field| {
            let found = recipe.fields.iter().find(|own| own.name == field.name);
            let Some(own) = found else {
                let what = format!("the model reads a field \"{}\", which this recipe does not have", field.name);
                faults.push(Fault { line: fields_line, what });
                return None;
            };
            self.field(own, field).map_err(|what| faults.push(Fault { line: own.line, what })).ok()
        });
        let fields = fields.collect();
        for own in recipe.fields.iter().filter(|own| self.schema.fields.iter().all(|field| field.name != own.name)) {
            tracing::warn!("{}: field \"{}\" is left out: the model does not know it", recipe.name, own.name);
        }
        let labels = self.labels(recipe, &mut faults);
        if faults.is_empty() {
            let split = match rows {
                Rows::All => SplitRecipe::Random { valid: 0.0, test: 1.0, seed: 1 },
                Rows::BySplit => recipe.split.clone(),
            };
            return Ok(Recipe { fields, labels, split, ..recipe.clone() });
        }
        faults.sort_by_key(|fault| fault.line);
        Err(Error::Recipe { path: recipe.path.clone(), faults })
    }

    /// The labels of the schema's tasks, in its order.
    pub(crate) fn labels(&self, recipe: &Recipe, faults: &mut Vec<Fault>) -> Vec<LabelRecipe> {
        let line = recipe.labels.first().map_or(1, |label| label.line);
        let labels = self.schema.tasks.iter().filter_map(|task| {
            let own = recipe.labels.iter().find(|label| label.column == task.name);
            if let Some((own, here)) = own.map(|own| (own, own.kind.unfitted().to_string()))
                && here != task.kind.to_string()
            {
                let what = format!("label \"{}\" is {here} here and {} in the model", own.column, task.kind);
                faults.push(Fault { line: own.line, what });
            }
            if own.is_none() {
                let what = format!("the model scores \"{}\", which is no label of this recipe", task.name);
                faults.push(Fault { line, what });
            }
            own.map(|own| LabelRecipe { within: task.within.clone(), ..own.clone() })
        });
        labels.collect()
    }

    /// A field of the recipe with the settings of the schema.
    pub(crate) fn field(&self, own: &FieldRecipe, field: &Field) -> Result<FieldRecipe, String> {
        let name = &field.name;
        let differs = |what: &str, here: &str, there: &str| {
            Err(format!("field \"{name}\" {what} {here} here and {there} in the model"))
        };
        if own.columns != field.columns() {
            return differs("reads", &own.columns.join(", "), &field.columns().join(", "));
        }
        if own.separator != field.separator {
            let shown =
                |separator: &Option<String>| separator.as_ref().map_or("nothing".into(), |s| format!("\"{s}\""));
            return differs("is cut by", &shown(&own.separator), &shown(&field.separator));
        }
        let mut transforms = field.transforms.clone();
        transforms.retain(|step| !matches!(step, Transform::Cross { .. })); // by its columns
        let quantiles = match (own.quantiles, transforms.last()) {
            (Some(buckets), Some(Transform::Bucketize { .. })) => transforms.pop().map(|_| buckets),
            (Some(_), _) => return differs("is", "cut into buckets", "not"),
            (None, _) => None,
        };
        let kind = match (own.kind, &field.kind) {
            (Kind::Category, FieldKind::Category) => Kind::Category,
            (Kind::Sequence { .. }, &FieldKind::Sequence { max_len, pooling, keep }) => {
                Kind::Sequence { max_len, pooling, keep }
            }
            (Kind::Number { standardize }, FieldKind::Number { .. }) => Kind::Number { standardize },
            (Kind::Vector { len: here }, &FieldKind::Vector { len }) if here == len => Kind::Vector { len },
            (Kind::Vector { len: here }, &FieldKind::Vector { len }) => {
                return differs("has", &format!("{here} numbers"), &len.to_string());
            }
            (here, there) => return differs("is", word(here), word_of(there)),
        };
        let spec = &self.schema.vocabularies[field.vocabulary];
        let hash = spec.hashed.map(|_| spec.rows.saturating_sub(2));
        let vocabulary = Some(spec.name.clone());
        let default = field.default.clone();
        Ok(FieldRecipe { kind, transforms, quantiles, hash, min_count: 1, vocabulary, default, ..own.clone() })
    }

    /// How the codes of rows become the ids of the vocabularies. A key that they do not know is unseen.
    ///
    /// # Errors
    /// Codes that cannot be read.
    pub(crate) fn encoding(&self, recipe: &Recipe, rows: &mut CodedRows) -> Result<Encoding> {
        let keys: Vec<Option<Keys>> =
            rows.vocabularies.iter_mut().map(|v| v.dictionary.as_mut().map(Dictionary::take_keys)).collect();
        let counts = count(recipe, &rows.coded())?;
        let marks = marks(rows, &keys);
        let ids = keys.into_iter().zip(self.vocabularies).zip(self.schema.offsets()).map(|((keys, known), start)| {
            let local = keys.map_or(vec![0], |keys| ids_of(&keys, known));
            local.into_iter().map(|id| start + id).collect()
        });
        let mut schema = self.schema.clone();
        schema.group = recipe.group.clone();
        let vocabularies = self.vocabularies.to_vec();
        let (varied, idle) = (vec![true; vocabularies.len()], vec![Vec::new(); vocabularies.len()]);
        Ok(Encoding { ids: ids.collect(), varied, schema, vocabularies, idle, counts, marks })
    }
}

/// The local id of every code.
pub(crate) fn ids_of(keys: &Keys, known: &Vocabulary) -> Vec<u32> {
    let mut ids = vec![PADDING, known.unseen()];
    debug_assert_eq!(ids.len(), FIRST as usize, "padding and null come before the first key");
    match keys {
        Keys::Integers(keys) => ids.extend(keys.iter().map(|&key| known.id_of_integer(key))),
        Keys::Texts(texts) => ids.extend((0..texts.len()).map(|place| known.id_of_text(texts.get(place)))),
        Keys::Hashed(buckets) => ids.extend(1..=buckets.len() as u32),
    }
    ids
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Category => "a category",
        Kind::Sequence { .. } => "a sequence",
        Kind::Number { .. } => "a number",
        Kind::Vector { .. } => "a vector",
    }
}

fn word_of(kind: &FieldKind) -> &'static str {
    match kind {
        FieldKind::Category => "a category",
        FieldKind::Sequence { .. } => "a sequence",
        FieldKind::Number { .. } => "a number",
        FieldKind::Vector { .. } => "a vector",
        _ => "of another kind",
    }
}
