//! What may be wrong with a delta, and with what it is applied to.

/// Why a delta cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaFault {
    /// Another format, or a file that was cut.
    #[error("it does not read as safetensors; is it cut short?")]
    NotSafetensors(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A file of another kind.
    #[error("its metadata has no '{key}': it is no delta of stem")]
    Foreign {
        /// The entry that every delta has.
        key: &'static str,
    },
    /// Bytes that are not those that were written.
    #[error("its checksum is another: it was damaged or edited")]
    Checksum,
    /// A plan that does not read.
    #[error("its plan does not read")]
    Plan(#[source] serde_json::Error),
    /// A delta of another version of the format.
    #[error("its format is of version {found}, this program reads {reads}")]
    Version {
        /// As it says.
        found: u32,
        /// The one that this program reads.
        reads: u32,
    },
    /// A delta of another bundle.
    #[error(
        "it was made of the bundle with checksum {expected}, and this one has {found}: apply it to the bundle that it was made of"
    )]
    Base {
        /// Of the bundle that it was made of.
        expected: String,
        /// Of the bundle that it is applied to.
        found: String,
    },
    /// A plan that cannot be followed.
    #[error("its plan for tensor '{tensor}' cannot be followed: {what}")]
    Tensor {
        /// The tensor.
        tensor: String,
        /// Why not.
        what: &'static str,
    },
    /// A plan that leads to another file than it says.
    #[error("what it makes has another checksum than the bundle that it was made for")]
    Outcome,
}
