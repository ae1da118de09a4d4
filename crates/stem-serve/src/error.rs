//! What keeps a server from starting. What a request is refused for is a [`Refusal`](crate::Refusal).

use std::path::PathBuf;

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What keeps a server from starting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting with which nothing can be answered.
    #[error("`{key}` is {found}, expected {expected}")]
    Setting {
        /// The setting.
        key: String,
        /// What it is.
        found: String,
        /// What it may be.
        expected: String,
    },
    /// A folder without a bundle.
    #[error("{} holds no NAME.safetensors: name a bundle, or a folder of bundles", folder.display())]
    NoBundle {
        /// The folder.
        folder: PathBuf,
    },
    /// No bundle can be served.
    #[error("{} cannot be served: {reason}", path.display())]
    Bundle {
        /// The file.
        path: PathBuf,
        /// Which check it did not pass.
        reason: String,
    },
    /// A name that no model has.
    #[error("`{key}` names the model '{name}'; known are: {known}")]
    UnknownModel {
        /// The setting that names it.
        key: &'static str,
        /// The name.
        name: String,
        /// All names.
        known: String,
    },
    /// A token that nobody can show.
    #[error("the token from {from} is empty or holds characters that no header can")]
    Token {
        /// The file, or the variable.
        from: String,
    },
    /// A certificate or key that cannot be used.
    #[error("{} cannot be used for TLS: {what}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A file that could not be read or written.
    #[error(transparent)]
    File(#[from] stem_core::files::FileError),
    /// Something of the operating system: a thread, a socket.
    #[error("cannot {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
}
