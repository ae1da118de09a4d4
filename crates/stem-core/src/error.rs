//! Everything that can go wrong in this crate: where, what was expected, what was found, what to do.
//!
//! A message does not hold that of its [`source`](std::error::Error::source): print the chain.

use std::path::PathBuf;

use crate::bundle::BundleFault;
use crate::delta::DeltaFault;
use crate::files::FileError;
use crate::rank::RankFault;

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What this crate's functions refuse or cannot do.
///
/// ```
/// use std::error::Error as _;
/// use stem_core::{Bundle, Error, models::ModelConfig};
///
/// let mut error: &dyn std::error::Error = &Bundle::<ModelConfig>::open("no/such.safetensors").unwrap_err();
/// let mut told = error.to_string();
/// while let Some(source) = error.source() {
///     told += &format!(": {source}");
///     error = source;
/// }
/// assert!(told.starts_with("cannot open no/such.safetensors: "));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The schema contradicts itself.
    #[error("the schema cannot be used: {what}")]
    Schema {
        /// The fault, and what to change.
        what: String,
    },
    /// A batch that no model may see.
    #[error("bad batch: {what}")]
    Batch {
        /// Place, value and expectation.
        what: String,
    },
    /// A model, layer or width that cannot be built.
    #[error("model configuration: `{key}` is {found}, expected {expected}")]
    Config {
        /// The key as written in the configuration.
        key: String,
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: String,
    },
    /// A setting for a label that the data do not have.
    #[error("unknown label \"{name}\" in {section}{} The labels are: {known}", nearest.as_ref().map_or(".".into(), |n| format!("; did you mean \"{n}\"?")))]
    UnknownLabel {
        /// Where it is named, as the experiment has it.
        section: &'static str,
        /// As it is named.
        name: String,
        /// The label most like it, if any is.
        nearest: Option<String>,
        /// All labels.
        known: String,
    },
    /// A model that cannot learn from data of this kind.
    #[error("model '{model}' does not fit this data: {what}")]
    Unfit {
        /// Name of the model.
        model: &'static str,
        /// What it needs, what is there, what to do.
        what: String,
    },
    /// A model of that name does not exist.
    #[error("unknown model '{name}'{} Known are: {known}", nearest.map_or(".".into(), |n| format!(", did you mean '{n}'?")))]
    UnknownModel {
        /// As asked for.
        name: String,
        /// The name most like it, if any is.
        nearest: Option<&'static str>,
        /// All names.
        known: String,
    },
    /// A row to be scored lacks a column.
    #[error("row {row} has no column '{column}'; the model reads: {columns}")]
    MissingColumn {
        /// The column.
        column: String,
        /// Row, counted from 0.
        row: usize,
        /// All columns that are read.
        columns: String,
    },
    /// A column of a request that has more or fewer values than there are rows.
    #[error("column '{column}' has {found} values, there are {expected} rows")]
    Length {
        /// The column.
        column: String,
        /// Its values.
        found: usize,
        /// The rows.
        expected: usize,
    },
    /// A column of a request whose type no column has.
    #[error("column '{column}': expected {expected}, found {found}")]
    ColumnType {
        /// The column.
        column: String,
        /// What may be there.
        expected: &'static str,
        /// The type.
        found: String,
    },
    /// A ranking that cannot be made of a model's scores.
    #[error(transparent)]
    Rank(#[from] RankFault),
    /// A value of a type that the column cannot take.
    #[error("column '{column}', row {row}: expected {expected}, found {found}")]
    WrongType {
        /// The column.
        column: String,
        /// Row, counted from 0.
        row: usize,
        /// What the column takes.
        expected: &'static str,
        /// What was there.
        found: String,
    },
    /// A row in which a list does not have a value for each value of the one that it stands beside, as far as the two are read.
    #[error(
        "field '{field}', row {row}: {found} values, and '{of}', which it stands beside, has {expected}: expected one for each"
    )]
    Beside {
        /// The field.
        field: String,
        /// Row, counted from 0.
        row: usize,
        /// Its values.
        found: usize,
        /// The field that it stands beside.
        of: String,
        /// The values of that one.
        expected: usize,
    },
    /// A device that is not compiled in, or that this machine lacks.
    #[error("device '{device}': {what}")]
    Device {
        /// As it was asked for.
        device: String,
        /// Why not, and what to do.
        what: String,
    },
    /// A file that could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file that is no bundle, or a damaged one.
    #[error("{} is not a usable bundle", path.display())]
    Bundle {
        /// The file.
        path: PathBuf,
        /// Which check failed: expected and found.
        #[source]
        fault: BundleFault,
    },
    /// A delta that is damaged, or none, or of another bundle.
    #[error("{} is not a usable delta", path.display())]
    Delta {
        /// The file.
        path: PathBuf,
        /// Which check failed.
        #[source]
        fault: DeltaFault,
    },
}

/// Refuses what stands under a key of a configuration unless it `holds`.
pub(crate) fn require(key: &str, found: impl ToString, expected: impl Into<String>, holds: bool) -> Result<()> {
    if holds {
        return Ok(());
    }
    Err(Error::Config { key: key.into(), found: found.to_string(), expected: expected.into() })
}

/// What an error says, and after it all that caused it.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {}", with_causes(cause)))
}
