//! What may be wrong with a file that was taken for a bundle.

use super::{Packing, RowFormat};
use crate::error::Error;
use crate::params::ParameterFault;

/// Which check a bundle did not pass. The first one: a file that is cut short is told so, not that a tensor is missing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleFault {
    /// Another format, or a file that was cut.
    #[error("it does not read as safetensors; is it cut short?")]
    NotSafetensors(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A safetensors file of another program.
    #[error("its metadata has no '{key}': it was not written by stem")]
    Foreign {
        /// The entry that every bundle has.
        key: &'static str,
    },
    /// An entry of the metadata that no bundle has.
    #[error("its metadata hold '{key}', which no bundle has: it was damaged or edited")]
    Metadata {
        /// The entry.
        key: String,
    },
    /// A bundle of another version of the format.
    #[error(
        "format version {}, this program reads {} to {reads}: {}",
        found.map_or("none".into(), |found| found.to_string()),
        super::OLDEST_VERSION,
        match found.is_some_and(|found| found > u64::from(*reads)) {
            true => "this bundle was written by a newer version of stem; open it with that version, or train the model again with this one",
            false => "train or import the model again",
        }
    )]
    Version {
        /// As the manifest says; `None` where it says none.
        found: Option<u64>,
        /// The newest that this program reads.
        reads: u32,
    },
    /// States that do not answer for every task once.
    #[error("its states answer for {found}, expected each of the tasks {expected} once")]
    States {
        /// The tasks that they name, in their order.
        found: String,
        /// The schema's tasks.
        expected: String,
    },
    /// A calibration that is none.
    #[error("the calibration of '{task}' cannot be used: expected {expected}")]
    Calibration {
        /// The task that it names.
        task: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// Bytes that are not those that were written.
    #[error("its checksum is another: it was damaged or edited")]
    Checksum,
    /// A manifest with a key or a name that this program does not know, such as that of a kind of labels, in a format that it reads: nothing of it is
    /// left out by guess.
    #[error(
        "this bundle was written by a newer version of stem: its {part} has what this program does not know; open it with that version, or train the model again with this one{}",
        if *part == "model" { "; or it is of another model than was asked for" } else { "" }
    )]
    Newer {
        /// `"manifest"`, or `"model"` for the model's configuration in it.
        part: &'static str,
        /// What is not known, and what is.
        #[source]
        source: serde_json::Error,
    },
    /// A manifest that does not read.
    #[error("its manifest does not read")]
    Manifest(#[source] serde_json::Error),
    /// A configuration that is not one of the type that was asked for.
    #[error("its model's configuration does not read")]
    Model(#[source] serde_json::Error),
    /// A schema, or a model, that nobody can use.
    #[error("its schema and model do not make a network")]
    Unusable(#[source] Box<Error>),
    /// A vocabulary that does not fit the schema.
    #[error("vocabulary '{name}' cannot be used")]
    Vocabulary {
        /// Its name.
        name: String,
        /// Why not.
        #[source]
        fault: VocabularyFault,
    },
    /// A model far larger than the file.
    #[error("its model needs {needed} parameters, and the file holds {found} numbers in all")]
    TooSmall {
        /// As the configuration says.
        needed: u64,
        /// Numbers of all tensors.
        found: u64,
    },
    /// A tensor that is not there.
    #[error("tensor '{tensor}' is missing")]
    Missing {
        /// Its name.
        tensor: String,
    },
    /// A tensor that the model has no place for.
    #[error("tensor '{tensor}' belongs to no part of this model")]
    Unknown {
        /// Its name.
        tensor: String,
    },
    /// A tensor of another shape than schema and configuration say.
    #[error("tensor '{tensor}' has shape {found:?}, schema and model need {expected:?}")]
    Shape {
        /// Its name.
        tensor: String,
        /// As it is in the file.
        found: Vec<usize>,
        /// As it has to be.
        expected: Vec<usize>,
    },
    /// A tensor whose numbers are of another type.
    #[error("tensor '{tensor}' holds {found}, expected {expected}")]
    Type {
        /// Its name.
        tensor: String,
        /// As safetensors calls it.
        found: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// Packed rows that nobody can unpack.
    #[error("its rows are packed as {format:?}, which cannot be in a bundle of its version")]
    Rows {
        /// As the manifest says.
        format: RowFormat,
    },
    /// A bundle of a version that says how rows are packed, and does not say it.
    #[error("it does not say how its rows are packed")]
    NotPacked,
    /// Rows that half precision does not hold.
    #[error("its rows hold {most}, and {packing} ends at 65504: pack them as int8")]
    TooLarge {
        /// The largest magnitude.
        most: f32,
        /// What was asked for.
        packing: Packing,
    },
    /// Rows that were packed for scoring, where a training would go on from them.
    #[error("its rows are packed as {}: go on from the bundle that it was made of, whose rows are f32", format.packing())]
    Packed {
        /// As the manifest says.
        format: RowFormat,
    },
    /// Weights that make every score NaN.
    #[error(
        "tensor '{tensor}' holds {value} at place {place}, expected finite numbers: train or import the model again"
    )]
    NotFinite {
        /// Its name.
        tensor: String,
        /// The first number that is not finite.
        value: f32,
        /// Where it stands, row-major, counted from 0.
        place: usize,
    },
}

/// Why a vocabulary cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VocabularyFault {
    /// Neither integers nor texts.
    #[error("its keys are missing")]
    Missing,
    /// Offsets that cut no text.
    #[error("its texts are not cut into UTF-8")]
    Texts,
    /// Packed keys in another number of blocks than they take.
    #[error("its packed keys have not as many blocks as they take")]
    Blocks,
    /// Another size than the schema's.
    #[error("it has {found} rows, the schema says {expected}")]
    Rows {
        /// Known keys + 2, or 1 for a number.
        found: usize,
        /// As the schema says.
        expected: usize,
    },
    /// Not a count for every key.
    #[error("it counts idle trainings of {found} keys, and has {expected}")]
    Idle {
        /// Counts.
        found: usize,
        /// Keys.
        expected: usize,
    },
    /// Keys that a look-up would miss.
    #[error("its keys are not in ascending order")]
    Order,
}

impl BundleFault {
    /// A part of the manifest that does not read. The bytes are those that were written, as their checksum says: what serde does not know, another version
    /// does.
    pub(super) fn of_part(part: &'static str, error: serde_json::Error) -> Self {
        let told = error.to_string();
        match part {
            _ if told.starts_with("unknown field") || told.starts_with("unknown variant") => {
                Self::Newer { part, source: error }
            }
            "model" => Self::Model(error),
            _ => Self::Manifest(error),
        }
    }

    /// A parameter of a state's network.
    pub(super) fn of_state(state: usize, fault: ParameterFault) -> Self {
        let tensor = |name: String| format!("{}{}{name}", super::prefix(state), super::NETWORK);
        match fault {
            ParameterFault::Missing { name } => Self::Missing { tensor: tensor(name) },
            ParameterFault::Unknown { name } => Self::Unknown { tensor: tensor(name) },
            ParameterFault::Shape { name, found, expected } => Self::Shape { tensor: tensor(name), found, expected },
        }
    }
}

impl From<ParameterFault> for BundleFault {
    fn from(fault: ParameterFault) -> Self {
        Self::of_state(0, fault)
    }
}
