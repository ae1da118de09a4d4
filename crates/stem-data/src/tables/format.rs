//! How the tables are written that are scored, and those that scores are written to.

use std::fmt;
use std::str::FromStr;

use crate::recipe::Format;

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableFormat {
    /// Text, one row a line, values between commas; the first line names the columns.
    Csv,
    /// The same between tabs. A quote is a letter, unless the names of the columns stand in quotes.
    Tsv,
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC (Feather).
    Ipc,
    /// One JSON object a line.
    JsonLines,
}

impl TableFormat {
    /// What the end of a file's name says; `.gz` and `.zst` after it are passed over.
    pub fn of_name(name: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        let plain = [".gz", ".zst"].iter().find_map(|end| lower.strip_suffix(end)).unwrap_or(&lower);
        if plain.ends_with(".jsonl") || plain.ends_with(".ndjson") {
            return Some(Self::JsonLines);
        }
        Format::of_name(name).map(|format| match format {
            Format::Csv => Self::Csv,
            Format::Tsv => Self::Tsv,
            Format::Parquet => Self::Parquet,
            Format::Ipc => Self::Ipc,
        })
    }

    /// Whether its cells are text without a type: CSV and TSV.
    pub fn is_untyped(self) -> bool {
        matches!(self, Self::Csv | Self::Tsv)
    }
}

impl fmt::Display for TableFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Parquet => "parquet",
            Self::Ipc => "ipc",
            Self::JsonLines => "jsonl",
        })
    }
}

impl FromStr for TableFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let all = [Self::Csv, Self::Tsv, Self::Parquet, Self::Ipc, Self::JsonLines];
        let found = all.into_iter().find(|format| format.to_string() == name);
        found.ok_or_else(|| format!("\"{name}\" is no format, expected csv, tsv, parquet, ipc or jsonl"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_tells_its_format() {
        for (name, format) in [
            ("a.csv", Some(TableFormat::Csv)),
            ("a.TSV.gz", Some(TableFormat::Tsv)),
            ("a.b.pq", Some(TableFormat::Parquet)),
            ("a.feather", Some(TableFormat::Ipc)),
            ("a.ndjson.zst", Some(TableFormat::JsonLines)),
            ("a.jsonl", Some(TableFormat::JsonLines)),
            ("a.json", None),
            ("csv", None),
        ] {
            assert_eq!(TableFormat::of_name(name), format, "{name}");
        }
        assert_eq!("jsonl".parse(), Ok(TableFormat::JsonLines));
        assert!("xlsx".parse::<TableFormat>().is_err_and(|what| what.contains("csv, tsv, parquet, ipc or jsonl")));
    }
}
