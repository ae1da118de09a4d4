//! How much of a bundle is checked before it is used.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How much of a bundle is checked before it is used. What keeps a read within its bounds is always checked: the format, the shapes of all
/// tensors, the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// All of it: the checksum of the file, every number of the table, the order of every vocabulary. The file is read once from its
    /// beginning to its end.
    #[default]
    Full,
    /// All but the table and the vocabularies, which alone are large: a checksum of the manifest, of the names, types and shapes of all
    /// tensors, and of the network's numbers. What is damaged in the table or a vocabulary is not noticed, and scores wrongly. A bundle
    /// that an older program wrote has no such checksum; of it the network's numbers are checked to be finite.
    Header,
    /// No checksum at all.
    None,
}

impl fmt::Display for Verify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::Header => "header",
            Self::None => "none",
        })
    }
}

impl FromStr for Verify {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "full" => Ok(Self::Full),
            "header" => Ok(Self::Header),
            "none" => Ok(Self::None),
            _ => Err(format!("verify '{text}': expected full, header or none")),
        }
    }
}
