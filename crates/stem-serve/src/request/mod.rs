//! A request's body: its settings first, then its rows, read as the model that is meant takes them.
//!
//! The body is walked twice and never held as a tree: what is kept of it are the values of columns that are read. They take a constant
//! times the bytes of the body, whatever is in it.

#[cfg(feature = "arrow")]
pub(crate) mod arrow;
mod head;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod mutated;
mod rows;
mod value;

use std::cell::RefCell;

use serde::Deserializer;
use serde::de::DeserializeSeed;

pub(crate) use head::Head;
pub(crate) use rows::Rows;

use crate::config::Limits;
#[cfg(feature = "grpc")]
use crate::grpc::Tensors;

use crate::refusal::Refusal;
#[cfg(any(feature = "arrow", feature = "grpc"))]
use crate::refusal::shortened;

/// A request as it came, before it is known which columns are read.
pub(crate) enum Given {
    /// An object with settings and rows.
    Json(Vec<u8>),
    /// An Arrow stream.
    #[cfg(feature = "arrow")]
    Arrow(arrow::Table),
    /// The tensors of a gRPC request.
    #[cfg(feature = "grpc")]
    Tensors(Tensors),
}

impl Given {
    /// Takes a body as its content type says; one that says nothing else is JSON.
    ///
    /// # Errors
    /// A body that is too deep, and an Arrow stream that does not read.
    pub(crate) fn read(body: Body, limits: &Limits) -> Result<Self, Refusal> {
        let given = match body {
            Body::Bytes(BodyForm::Json, bytes) => Self::Json(bytes),
            #[cfg(feature = "arrow")]
            Body::Bytes(BodyForm::Arrow, bytes) => Self::Arrow(arrow::Table::read(bytes, limits)?),
            #[cfg(not(feature = "arrow"))]
            Body::Bytes(BodyForm::Arrow, _) => return Err(Refusal::ContentType { found: ARROW }),
            #[cfg(feature = "grpc")]
            Body::Tensors(tensors) => Self::Tensors(tensors),
        };
        check_depth(given.settings(), limits.depth)?;
        Ok(given)
    }

    /// The settings, as a JSON object.
    pub(crate) fn settings(&self) -> &[u8] {
        match self {
            Self::Json(body) => body,
            #[cfg(feature = "arrow")]
            Self::Arrow(table) => table.settings(),
            #[cfg(feature = "grpc")]
            Self::Tensors(tensors) => tensors.settings(),
        }
    }

    /// The version of the model that is asked for, if one is.
    pub(crate) fn version(&self) -> Option<&str> {
        match self {
            #[cfg(feature = "grpc")]
            Self::Tensors(tensors) => tensors.version.as_deref(),
            _ => None,
        }
    }

    /// The rows, of which the columns `known` are kept.
    ///
    /// # Errors
    /// Columns that are unknown, rows that do not read or are too many.
    pub(crate) fn rows(self, known: &[&str], ignore_unknown: bool, limit: usize) -> Result<Rows, Refusal> {
        match self {
            Self::Json(body) => Rows::read(&body, known, ignore_unknown, limit),
            #[cfg(feature = "arrow")]
            Self::Arrow(table) => table.rows(known, ignore_unknown),
            #[cfg(feature = "grpc")]
            Self::Tensors(tensors) => tensors.rows(known, ignore_unknown),
        }
    }
}

/// What a request came as.
pub(crate) enum Body {
    /// The body of a request over HTTP.
    Bytes(BodyForm, Vec<u8>),
    /// A message of gRPC, taken apart.
    #[cfg(feature = "grpc")]
    Tensors(Tensors),
}

impl Body {
    /// Whether so little is to be read that it is done at once.
    pub(crate) fn is_at_most(&self, bytes: usize) -> bool {
        match self {
            Self::Bytes(_, body) => body.len() <= bytes,
            #[cfg(feature = "grpc")]
            Self::Tensors(_) => false,
        }
    }
}

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyForm {
    Json,
    Arrow,
}

/// The content type of an Arrow IPC stream.
pub(crate) const ARROW: &str = "application/vnd.apache.arrow.stream";

/// The keys of a request.
const KEYS: &[&str] = &["model", "rows", "shared", "columns", "ignore_unknown", "top_k", "weights", "powers"];

/// Where a refusal is laid down while a parser, which knows texts alone, comes back.
pub(crate) struct Fault(RefCell<Option<Refusal>>);

impl Fault {
    /// Lays a refusal down; gives the parser something to stop with.
    fn refuse<E: serde::de::Error>(&self, refusal: Refusal) -> E {
        self.0.borrow_mut().get_or_insert(refusal);
        E::custom("refused")
    }
}

/// Reads a body with a seed that lays refusals down in `fault`.
fn read<'de, S: DeserializeSeed<'de>>(body: &'de [u8], seed: S, fault: &Fault) -> Result<S::Value, Refusal> {
    let mut parser = serde_json::Deserializer::from_slice(body);
    let read = seed.deserialize(&mut parser).and_then(|value| parser.end().map(|()| value));
    read.map_err(|error| fault.0.borrow_mut().take().unwrap_or_else(|| unreadable(body, &error)))
}

/// What the parser says, and what a value was that JSON has no word for.
fn unreadable(body: &[u8], error: &serde_json::Error) -> Refusal {
    let line = body.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let from = line.get(error.column().saturating_sub(2)..).unwrap_or_default();
    let is_no_number = ["NaN", "nan", "Infinity", "-Infinity", "inf", "-inf"].iter().any(|word| {
        let (word, at) = (word.as_bytes(), line.get(error.column().saturating_sub(1)..).unwrap_or_default());
        from.starts_with(word) || at.starts_with(word)
    });
    let hint = if is_no_number { "; JSON has no NaN and no infinity: send null, or leave the row out" } else { "" };
    Refusal::Body { what: format!("{error}{hint}") }
}

/// Refuses lists and objects that are too deep inside each other, before anything recurses.
pub(crate) fn check_depth(body: &[u8], limit: usize) -> Result<(), Refusal> {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in body {
        match (in_text, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'[' | b'{') => {
                depth += 1;
                if depth > limit {
                    return Err(Refusal::TooDeep { limit });
                }
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// The place of a column of a table among those that are `known`, where `own` has none yet; `None` where it is to be left out.
#[cfg(any(feature = "arrow", feature = "grpc"))]
pub(crate) fn place_of<T>(
    name: &str,
    known: &[&str],
    own: &[Option<T>],
    ignore_unknown: bool,
) -> Result<Option<usize>, Refusal> {
    match known.iter().position(|known| *known == name) {
        Some(place) if own[place].is_some() => Err(Refusal::DuplicateKey { key: name.into(), row: None }),
        None if !ignore_unknown => {
            let nearest = nearest(name, known.iter().copied());
            Err(Refusal::UnknownColumn { column: shortened(name.into()), row: None, nearest })
        }
        place => Ok(place),
    }
}

/// The known name most like one that is not, if any is much like it.
pub(crate) fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<String> {
    const LONGEST: usize = 100; // a name that is longer is like none
    let name = name.to_lowercase();
    let of = |known: &'n str| (strsim::damerau_levenshtein(&name, &known.to_lowercase()), known);
    let near = known.into_iter().filter(|known| name.len() <= LONGEST && known.len() <= LONGEST).map(of);
    let best = near.min_by_key(|(distance, _)| *distance);
    best.filter(|(distance, known)| 2 * distance <= known.len()).map(|(_, known)| known.to_string())
}

/// A fault that nothing has been laid down in.
pub(crate) fn no_fault() -> Fault {
    Fault(RefCell::new(None))
}

/// Skips a value.
struct Skip;

impl<'de> DeserializeSeed<'de> for Skip {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        <serde::de::IgnoredAny as serde::Deserialize>::deserialize(deserializer).map(|_| ())
    }
}

/// As [`serde::de::Error::custom`]: a value that is not what was expected.
fn unexpected<E: serde::de::Error>(found: &str, expected: &str) -> E {
    E::custom(format_args!("found {found}, expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_of_texts() {
        assert_eq!(check_depth(br#"{"a": ["[[[[[[", "\"[[[", {}]}"#, 3), Ok(()));
        assert_eq!(check_depth(br#"{"a": [[{}]]}"#, 3), Err(Refusal::TooDeep { limit: 3 }));
        assert_eq!(check_depth(b"]]]]}}}}[[[", 3), Ok(()));
    }

    #[test]
    fn the_nearest_name_is_much_like_it_or_none() {
        let known = ["user", "item", "user_group"];
        assert_eq!(nearest("User", known).as_deref(), Some("user"));
        assert_eq!(nearest("usergroup", known).as_deref(), Some("user_group"));
        assert_eq!(nearest("zzz", known), None);
    }
}
