//! What a state dict does not say: which fields and tasks there are, and what the model's sizes are called. And from it the schema,
//! the vocabularies, and the order in which the reference's embedding rows become ours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use stem_core::{
    Field, FieldKind, Keep, ModelConfig, ModelName, Pooling, Schema, Task, Value, Vocabulary, VocabularySpec,
};

use crate::error::{Error, Result};
use stem_core::files;

const PADDING: &str = "__PAD__";
const UNSEEN: &str = "__OOV__";

/// The configuration of an import, a TOML file.
///
/// ```
/// let text = r#"
/// tasks = ["like", "love"]
/// [model]
/// name = "stem"
/// dim = 4
/// [[field]]
/// name = "user"
/// rows = 9
/// "#;
/// let config = stem_reference::ImportConfig::parse(text, "import.toml")?;
/// assert_eq!(config.fields[0].rows, Some(9));
/// # Ok::<(), stem_reference::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportConfig {
    /// Labels, in the order of the reference's configuration.
    pub tasks: Vec<String>,
    /// Column that groups rows for gAUC.
    pub group: Option<String>,
    /// The reference's `feature_vocab.json`, relative to this file. Without it the values of a row are the reference's ids.
    pub vocabulary: Option<PathBuf>,
    /// Name and sizes of the model, as in an experiment's section.
    #[serde(deserialize_with = "named_model")]
    pub model: ModelConfig,
    /// In the order of the reference's features.
    #[serde(rename = "field")]
    pub fields: Vec<ImportField>,
}

/// One feature of the reference.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportField {
    /// Name of the feature there, and of the column here.
    pub name: String,
    /// Category, sequence or number.
    #[serde(default)]
    pub kind: ImportKind,
    /// The reference's `vocab_size`: padding, tokens and out-of-vocabulary. Not for numbers, nor needed with `shares`.
    pub rows: Option<usize>,
    /// An earlier field whose embedding it uses: the reference's `share_embedding`.
    pub shares: Option<String>,
    /// Values of a sequence that are kept.
    pub max_len: Option<usize>,
    /// How a sequence becomes one vector; the mean by default.
    pub pooling: Option<Pooling>,
    /// What separates the values of a sequence that is one text.
    pub separator: Option<String>,
    /// Stands in for null: the reference's `fill_na`.
    pub default: Option<Value>,
}

/// Kind of a feature, the reference's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImportKind {
    /// `categorical`
    #[default]
    Category,
    /// `sequence`
    Sequence,
    /// `numeric`
    Number,
}

/// The reference's `feature_vocab.json`: ids by token, by field.
pub type FeatureVocabulary = BTreeMap<String, BTreeMap<String, i64>>;

/// What an import writes beside the weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Fields, vocabularies, tasks.
    pub schema: Schema,
    /// One per entry of the schema's vocabularies.
    pub vocabularies: Vec<Vocabulary>,
    /// For every row of each vocabulary the row of the reference that it takes; `None` is a row of zeros.
    pub sources: Vec<Vec<Option<u32>>>,
}

/// A model whose name is told the nearest, where it is none.
fn named_model<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ModelConfig, D::Error> {
    let table = toml::Table::deserialize(deserializer)?;
    let name = table.get("name").and_then(toml::Value::as_str);
    let name = name.ok_or_else(|| D::Error::custom("[model] has no `name`: stem, ple ..."))?;
    name.parse::<ModelName>().map_err(D::Error::custom)?;
    table.try_into().map_err(D::Error::custom)
}

impl ImportConfig {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Import`], which names line and key.
    pub fn load(path: &Path) -> Result<Self> {
        Self::parse(&files::read_text(path)?, path)
    }

    /// Parses TOML; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Import`], which names line and key.
    pub fn parse(text: &str, path: impl AsRef<Path>) -> Result<Self> {
        toml::from_str(text)
            .map_err(|e| Error::Import { path: path.as_ref().to_path_buf(), what: e.to_string().trim_end().into() })
    }

    /// The schema with the reference's numbers of rows. What a checkpoint must hold follows from it.
    ///
    /// # Errors
    /// In words: a key that is missing, or that the field's kind does not have.
    pub fn schema(&self) -> Result<Schema, String> {
        let (mut fields, mut vocabularies) = (Vec::<Field>::new(), Vec::new());
        for field in &self.fields {
            let kind = field.kind()?;
            let vocabulary = match &field.shares {
                None => {
                    vocabularies.push(VocabularySpec::new(&field.name, field.own_rows()?));
                    vocabularies.len() - 1
                }
                Some(other) => shared_vocabulary(field, other, &fields, &vocabularies)?,
            };
            let mut read = Field::new(&field.name, kind, vocabulary);
            (read.separator, read.default) = (field.separator.clone(), field.default.clone());
            fields.push(read);
        }
        let mut schema = Schema::new(fields, vocabularies, self.tasks.iter().map(Task::new).collect());
        schema.group = self.group.clone();
        schema.check().map(|()| schema).map_err(|e| e.to_string())
    }

    /// Keys and rows of every vocabulary: by the reference's tokens, or by its ids where `tokens` is `None`. Takes the result of
    /// [`schema`](Self::schema).
    ///
    /// # Errors
    /// In words: a field that `tokens` lacks, an id outside the embedding, with two tokens or with none.
    pub fn plan(&self, mut schema: Schema, tokens: Option<&FeatureVocabulary>) -> Result<Plan, String> {
        let (mut vocabularies, mut sources) = (Vec::new(), Vec::new());
        for (index, spec) in schema.vocabularies.iter_mut().enumerate() {
            let mut readers = schema.fields.iter().filter(|field| field.vocabulary == index);
            let is_number = matches!(readers.next().map(|field| &field.kind), Some(FieldKind::Number { .. }));
            let (vocabulary, source) = match tokens {
                _ if is_number => (Vocabulary::Number, vec![Some(0)]),
                None => by_id(spec.rows),
                Some(tokens) => {
                    let own = tokens_of(tokens, &spec.name)?;
                    if let Some(field) = readers.find(|field| tokens.get(&field.name).is_some_and(|its| its != own)) {
                        return Err(format!(
                            "'{}' shares the embedding of '{}', but not its tokens",
                            field.name, spec.name
                        ));
                    }
                    by_token(own, spec)?
                }
            };
            spec.rows = vocabulary.rows();
            vocabularies.push(vocabulary);
            sources.push(source);
        }
        schema.check().map_err(|e| e.to_string())?;
        Ok(Plan { schema, vocabularies, sources })
    }
}

impl ImportField {
    fn kind(&self) -> Result<FieldKind, String> {
        let (name, is) = (&self.name, |kind| self.kind == kind);
        let sequences_alone = [
            ("max_len", self.max_len.is_some()),
            ("pooling", self.pooling.is_some()),
            ("separator", self.separator.is_some()),
        ];
        if let Some((key, _)) = sequences_alone.iter().find(|(_, given)| *given && !is(ImportKind::Sequence)) {
            return Err(format!("field '{name}' has `{key}`, which is for `kind = \"sequence\"`"));
        }
        if is(ImportKind::Number) && (self.rows.is_some() || self.shares.is_some()) {
            return Err(format!("field '{name}' is a number: it has no `rows` and no `shares`"));
        }
        match self.kind {
            ImportKind::Category => Ok(FieldKind::Category),
            ImportKind::Number => Ok(FieldKind::Number { mean: 0.0, std: 1.0 }),
            ImportKind::Sequence => {
                let max_len = self.max_len.ok_or_else(|| {
                    format!("field '{name}' is a sequence without `max_len`: the reference's feature_map.json has it")
                })?;
                Ok(FieldKind::Sequence { max_len, pooling: self.pooling.unwrap_or_default(), keep: Keep::First })
            }
        }
    }

    fn own_rows(&self) -> Result<usize, String> {
        match (self.kind, self.rows) {
            (ImportKind::Number, _) => Ok(1),
            (_, Some(rows)) => Ok(rows),
            (_, None) => Err(format!(
                "field '{}' has no `rows`: give it its `vocab_size` in the reference's feature_map.json",
                self.name
            )),
        }
    }
}

/// The vocabulary of an earlier field that is no number.
fn shared_vocabulary(
    field: &ImportField,
    other: &str,
    earlier: &[Field],
    vocabularies: &[VocabularySpec],
) -> Result<usize, String> {
    let is_other = |field: &&Field| field.name == other && !matches!(field.kind, FieldKind::Number { .. });
    let vocabulary = earlier.iter().find(is_other).map(|field| field.vocabulary).ok_or_else(|| {
        format!(
            "field '{}' has `shares = \"{other}\"`: no category or sequence of that name stands before it",
            field.name
        )
    })?;
    match field.rows.filter(|&rows| rows != vocabularies[vocabulary].rows) {
        None => Ok(vocabulary),
        Some(rows) => {
            let owner = &vocabularies[vocabulary];
            Err(format!(
                "field '{}' has `rows = {rows}`, the embedding of '{}' that it shares {}",
                field.name, owner.name, owner.rows
            ))
        }
    }
}

/// Ids `0..=rows - 2` are keys, 0 among them; the last row is that of the unseen.
fn by_id(rows: usize) -> (Vocabulary, Vec<Option<u32>>) {
    let last = rows as u32 - 1; // a checked schema has 2 rows or more, and no more than i32::MAX
    (Vocabulary::integers(0..i64::from(last)), std::iter::once(None).chain((0..=last).map(Some)).collect())
}

fn tokens_of<'a>(tokens: &'a FeatureVocabulary, field: &str) -> Result<&'a BTreeMap<String, i64>, String> {
    tokens.get(field).ok_or_else(|| {
        let known: Vec<&str> = tokens.keys().map(String::as_str).collect();
        format!("it has no field '{field}'; it has: {}", known.join(", "))
    })
}

/// Tokens are keys, in our order; every row of the embedding has one.
fn by_token(tokens: &BTreeMap<String, i64>, spec: &VocabularySpec) -> Result<(Vocabulary, Vec<Option<u32>>), String> {
    let (field, rows) = (&spec.name, spec.rows);
    let mut owners: Vec<Option<&str>> = vec![None; rows];
    for (token, &id) in tokens {
        let owner = usize::try_from(id).ok().and_then(|id| owners.get_mut(id)).ok_or_else(|| {
            format!(
                "field '{field}': token '{token}' has id {id}, its embedding the rows 0 to {} (`rows = {rows}`)",
                rows - 1
            )
        })?;
        if let Some(other) = owner.replace(token) {
            return Err(format!("field '{field}': tokens '{other}' and '{token}' both have id {id}"));
        }
    }
    for name in [PADDING, UNSEEN] {
        if !tokens.contains_key(name) {
            return Err(format!("field '{field}' has no token '{name}'"));
        }
    }
    if let Some(id) = owners.iter().position(Option::is_none) {
        return Err(format!("field '{field}': no token has id {id}, its embedding has {rows} rows (`rows`)"));
    }
    let known = || tokens.iter().filter(|(token, _)| ![PADDING, UNSEEN].contains(&token.as_str()));
    let integer = |token: &str| token.parse::<i64>().ok().filter(|key| key.to_string() == token);
    let integers: Option<BTreeMap<i64, i64>> = known().map(|(token, &id)| Some((integer(token)?, id))).collect();
    let (vocabulary, ids): (_, Vec<i64>) = match integers.filter(|keys| !keys.is_empty()) {
        Some(keys) => (Vocabulary::integers(keys.keys().copied()), keys.into_values().collect()),
        None => (Vocabulary::texts(known().map(|(token, _)| token)), known().map(|(_, &id)| id).collect()),
    };
    let row = |id: i64| Some(id as u32); // checked above to lie below `rows`
    Ok((vocabulary, std::iter::once(None).chain(ids.into_iter().chain([tokens[UNSEEN]]).map(row)).collect()))
}
