//! One model: a bundle that was opened, checked and warmed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use stem_core::bundle::Verify;
use stem_core::burn::tensor::Device;
use stem_core::{Batch, Columns, Field, Predictor, PredictorOptions, Row, example_row, with_causes};

use super::golden::{self, Checked};
use crate::refusal::{Refusal, shortened};

/// Digits of the checksum that tell versions apart.
const VERSION_DIGITS: usize = 12;

/// A model that scores.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) name: String,
    /// A short form of the bundle's checksum.
    pub(crate) version: String,
    pub(crate) predictor: Predictor,
    /// Where the bundle lies, in words.
    file: String,
    loaded: u64,
    verify: Verify,
    golden: Checked,
    example: Map<String, Value>,
    /// Of each field with a vocabulary: its place, its slots, and the ids of padding and of the unseen.
    keyed: Vec<Keyed>,
}

#[derive(Debug)]
struct Keyed {
    field: usize,
    slots: std::ops::Range<usize>,
    padding: u32,
    unseen: u32,
}

impl Model {
    /// Opens a bundle with as many checks as `verify` says, lets it score a row of its own and its golden rows; `file` says where it lies.
    ///
    /// A file that is verified in full is copied first: it is mapped for as long as it is served, and a file that is cut under a program ends
    /// it.
    ///
    /// # Errors
    /// Which check it did not pass.
    pub(crate) fn open(name: &str, path: &Path, file: String, verify: Verify, device: &Device) -> Result<Self, String> {
        let copy = match verify {
            Verify::Full => Some(private_copy(path).map_err(|error| format!("it cannot be read: {error}"))?),
            Verify::Header | Verify::None => None,
        };
        let path = copy.as_ref().map_or(path, |copy| copy.path());
        let options = PredictorOptions::verifying(verify);
        let opened = std::panic::catch_unwind(|| Predictor::open_with(path, device, options));
        let predictor = match opened {
            Ok(opened) => opened.map_err(|error| match error {
                stem_core::Error::Bundle { fault, .. } => with_causes(&fault),
                other => with_causes(&other),
            })?,
            Err(_) => return Err("it cannot be opened: the loader failed, and the log tells more".into()),
        };
        let (schema, vocabularies) = (predictor.schema(), predictor.vocabularies());
        let example = example_row(schema, vocabularies);
        let warm: Row = serde_json::from_value(Value::Object(example.clone()))
            .map_err(|error| format!("its example row does not read: {error}"))?;
        let scores =
            predictor.predict(&[warm]).map_err(|error| format!("it does not score its example row: {error}"))?;
        for (task, &score) in schema.tasks.iter().zip(scores.rows().flatten()) {
            let (fits, what) = match task.kind.is_binary() {
                true => ((0.0..=1.0).contains(&score), "probability"),
                false => (score.is_finite(), "finite number"),
            };
            if !fits {
                return Err(format!("it scores its example row {score} for '{}', which is no {what}", task.name));
            }
        }
        let golden = golden::check(&predictor)?;
        let offsets = schema.offsets();
        let places = schema.fields.iter().enumerate().zip(schema.slot_ranges());
        let keyed = places.filter(|((_, field), _)| field.kind.has_keys()).map(|((place, field), slots)| {
            let padding = offsets[field.vocabulary];
            Keyed { field: place, slots, padding, unseen: padding + vocabularies[field.vocabulary].unseen() }
        });
        let keyed = keyed.collect();
        let version = predictor.checksum().chars().take(VERSION_DIGITS).collect();
        let loaded = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Ok(Self { name: name.into(), version, predictor, file, loaded, verify, golden, example, keyed })
    }

    /// Refuses a request that asks for another version.
    pub(crate) fn check_version(&self, asked: Option<&str>) -> Result<(), Refusal> {
        match asked {
            Some(asked) if asked != self.version => {
                let name = shortened(format!("{}, version {asked}", self.name));
                Err(Refusal::UnknownModel { name, known: format!("{}, version {}", self.name, self.version) })
            }
            _ => Ok(()),
        }
    }

    /// The columns that it reads.
    pub(crate) fn columns(&self) -> Vec<&str> {
        self.predictor.schema().columns()
    }

    /// Ids and weights of rows; of no rows nothing.
    pub(crate) fn encode(&self, columns: &Columns<'_>) -> stem_core::Result<Batch> {
        match columns.rows() {
            0 => Ok(Batch::default()),
            _ => self.predictor.encode_columns(columns),
        }
    }

    /// For each field with a vocabulary: its name, how many values a batch has of it, and how many of them are unseen. Null counts as
    /// unseen, which it is to the model.
    pub(crate) fn unseen(&self, batch: &Batch) -> impl Iterator<Item = (&Field, u64, u64)> {
        let schema = self.predictor.schema();
        let slots = schema.slots();
        self.keyed.iter().map(move |keyed| {
            let (mut values, mut unseen) = (0, 0);
            for row in batch.ids.chunks_exact(slots) {
                for id in &row[keyed.slots.clone()] {
                    values += u64::from(*id != keyed.padding);
                    unseen += u64::from(*id == keyed.unseen);
                }
            }
            (&schema.fields[keyed.field], values, unseen)
        })
    }

    /// What it is, for those who ask.
    pub(crate) fn describe(&self) -> Value {
        let schema = self.predictor.schema();
        json!({
            "name": self.name,
            "version": self.version,
            "checksum": self.predictor.checksum(),
            "file": self.file,
            "loaded_at": self.loaded,
            "model": self.predictor.config().model_name(),
            "tasks": schema.task_names(),
            "kinds": schema.tasks.iter().map(|task| task.kind.to_string()).collect::<Vec<_>>(),
            "columns": schema.columns(),
            "fields": schema.fields,
            "states": self.predictor.states(),
            "rows": rows_of(&self.predictor),
            "verified": self.verify,
            "calibrated": self.predictor.calibration().iter().filter(|map| map.is_some()).count(),
            "golden": self.golden,
            "example": self.example,
        })
    }
}

/// How the table's rows are held.
fn rows_of(predictor: &Predictor) -> Value {
    let table = predictor.table();
    let format = predictor.manifest().rows.map_or_else(|| "f32".into(), |format| format.packing().to_string());
    json!({ "count": table.dims()[0], "format": format, "mapped": table.is_in_file() })
}

/// A copy of a file, which goes when it is dropped.
fn private_copy(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut copy = tempfile::Builder::new().prefix("stem-serve-").tempfile()?;
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file")); // a pipe or a device may never end
    }
    io::copy(&mut file, copy.as_file_mut())?;
    Ok(copy)
}

/// Where a bundle is kept so that it is served again after a start.
pub(crate) fn kept(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.{}", super::names::ENDING))
}
