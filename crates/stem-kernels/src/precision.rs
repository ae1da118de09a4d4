//! How exact products are.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How exact products are. What is read and written is f32 in either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// f32 throughout.
    #[default]
    F32,
    /// Factors rounded to bfloat16 and sums taken in f32, where the machine has instructions for it and the product is large
    /// enough to gain; else as [`Precision::F32`].
    Bf16,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        })
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" => Ok(Precision::F32),
            "bf16" => Ok(Precision::Bf16),
            _ => Err(format!("precision '{text}': expected f32 or bf16")),
        }
    }
}
