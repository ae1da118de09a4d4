//! Tensors of a request become columns: `[B]` and `[B, 1]` a value for each row, `[B, L]` a list for each.

use stem_core::{Cells, Value};

use super::messages::{Choice, Contents, InferRequest, Parameter, Tensor};
use crate::refusal::{Refusal, shortened};
use crate::request::{Rows, place_of};

const TYPES: &str = "BOOL, INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64, FP32, FP64 or BYTES";

/// The columns of a request, and what it asks for.
pub(crate) struct Tensors {
    settings: String,
    /// The version that is asked for, if one is.
    pub(crate) version: Option<String>,
    rows: usize,
    columns: Vec<(String, Cells<'static>)>,
}

impl Tensors {
    /// Takes a request apart. A tensor with the parameter `shared` has one row, which all rows share; of the request the parameter
    /// `ignore_unknown` is read.
    ///
    /// # Errors
    /// Tensors of other types, of shapes that their values do not have, and more rows than a request may have.
    pub(crate) fn read(request: InferRequest, limit: usize) -> Result<Self, Refusal> {
        let InferRequest { model_name, model_version, parameters, inputs, raw_input_contents, .. } = request;
        if !(raw_input_contents.is_empty() || raw_input_contents.len() == inputs.len()) {
            let (found, expected) = (
                format!("of {} tensors", raw_input_contents.len()),
                format!("one of each of the {} inputs", inputs.len()),
            );
            return Err(Refusal::Setting { key: "raw_input_contents".into(), found, expected });
        }
        let mut raw = raw_input_contents.into_iter();
        let (mut shared, mut columns, mut rows) = (serde_json::Map::new(), Vec::new(), None);
        for tensor in inputs {
            let is_shared = is_set(&tensor.parameters, "shared")?;
            let name = tensor.name.clone();
            let (count, cells) = cells(tensor, raw.next(), limit)?;
            if is_shared {
                let value = match cells.get(0) {
                    Some(value) if count == 1 => value.to_value(),
                    _ => return Err(Refusal::Length { column: shortened(name), found: count, expected: 1 }),
                };
                let is_odd = |value: &Value| matches!(value, Value::Float(float) if !float.is_finite());
                let has_odd = match &value {
                    Value::List(all) => all.iter().any(is_odd),
                    one => is_odd(one),
                };
                if has_odd {
                    let (expected, found) = ("finite numbers".into(), shortened(value.to_string()));
                    return Err(Refusal::WrongType { column: shortened(name), row: None, expected, found });
                }
                let told = serde_json::to_value(value).map_err(|_| Refusal::Internal)?;
                if shared.insert(name.clone(), told).is_some() {
                    return Err(Refusal::DuplicateKey { key: shortened(name), row: None });
                }
                continue;
            }
            let expected = *rows.get_or_insert(count);
            if count != expected {
                return Err(Refusal::Length { column: shortened(name), found: count, expected });
            }
            columns.push((name, cells));
        }
        let rows = rows.ok_or(Refusal::NoRows)?;
        let mut settings =
            serde_json::json!({ "shared": shared, "ignore_unknown": is_set(&parameters, "ignore_unknown")? });
        if !model_name.is_empty() {
            settings["model"] = model_name.into();
        }
        let version = Some(model_version).filter(|version| !version.is_empty());
        Ok(Self { settings: settings.to_string(), version, rows, columns })
    }

    pub(crate) fn settings(&self) -> &[u8] {
        self.settings.as_bytes()
    }

    /// The rows, of which the columns `known` are kept.
    pub(crate) fn rows(self, known: &[&str], ignore_unknown: bool) -> Result<Rows, Refusal> {
        let mut own = vec![None; known.len()];
        for (name, cells) in self.columns {
            if let Some(place) = place_of(&name, known, &own, ignore_unknown)? {
                own[place] = Some(cells);
            }
        }
        Rows::of_table(self.settings.as_bytes(), (known, ignore_unknown), (self.rows, own))
    }
}

fn is_set(parameters: &std::collections::HashMap<String, Parameter>, key: &str) -> Result<bool, Refusal> {
    match parameters.get(key).map(|parameter| &parameter.choice) {
        None => Ok(false),
        Some(Some(Choice::Bool(set))) => Ok(*set),
        Some(other) => Err(Refusal::Setting {
            key: key.into(),
            found: shortened(format!("{other:?}")),
            expected: "a bool_param".into(),
        }),
    }
}

/// How many rows a tensor has, and their values.
///
/// # Errors
/// Types and shapes that no column has, values that are not what the shape says, and more rows than `limit`.
fn cells(tensor: Tensor, raw: Option<Vec<u8>>, limit: usize) -> Result<(usize, Cells<'static>), Refusal> {
    let Tensor { name, datatype, shape, contents, .. } = tensor;
    let told = |expected: String, found: String| Refusal::WrongType {
        column: shortened(name.clone()),
        row: None,
        expected,
        found: shortened(found),
    };
    let sizes = || -> Option<(usize, usize)> {
        match shape[..] {
            [rows] => Some((usize::try_from(rows).ok()?, 1)),
            [rows, length] => Some((usize::try_from(rows).ok()?, usize::try_from(length).ok()?)),
            _ => None,
        }
    };
    let (rows, length) =
        sizes().ok_or_else(|| told("a shape [rows] or [rows, length]".into(), format!("{shape:?}")))?;
    if rows > limit {
        return Err(Refusal::TooManyRows { limit });
    }
    let unknown = || told(TYPES.into(), format!("'{datatype}'"));
    let values = match raw {
        Some(bytes) => of_bytes(&datatype, &bytes).ok_or_else(unknown)?,
        None => of_contents(&datatype, *contents.unwrap_or_default()).ok_or_else(unknown)?,
    };
    let values = values.map_err(|found| told(format!("values of {datatype}"), found.into()))?;
    if rows.checked_mul(length) != Some(values.len()) {
        return Err(told(format!("{} of shape {shape:?}", datatype), format!("{} values", values.len())));
    }
    match shape.len() {
        2 if length != 1 => {
            let ends: Vec<usize> = (1..=rows).map(|row| row * length).collect(); // also of no length
            Ok((rows, Cells::lists(values, ends)))
        }
        _ => Ok((rows, values)),
    }
}

type Read = Result<Cells<'static>, &'static str>;

/// Values as the message has them; none of a type that is unknown.
fn of_contents(datatype: &str, contents: Contents) -> Option<Read> {
    let Contents { bools, ints, longs, unsigned, unsigned_longs, floats, doubles, bytes } = contents;
    Some(match datatype {
        "BOOL" => Ok(bools.into_iter().map(i64::from).collect::<Vec<_>>().into()),
        "INT8" | "INT16" | "INT32" => Ok(ints.into_iter().map(i64::from).collect::<Vec<_>>().into()),
        "INT64" => Ok(longs.into()),
        "UINT8" | "UINT16" | "UINT32" => Ok(unsigned.into_iter().map(i64::from).collect::<Vec<_>>().into()),
        "UINT64" => Ok(unsigned_longs.into_iter().map(Value::from).collect::<Vec<_>>().into()),
        "FP32" => Ok(floats.into()),
        "FP64" => Ok(doubles.into()),
        "BYTES" => bytes.into_iter().map(text).collect::<Result<Vec<_>, _>>().map(Cells::from),
        _ => return None,
    })
}

/// Values as little-endian bytes, one after another; of texts each behind its length.
fn of_bytes(datatype: &str, bytes: &[u8]) -> Option<Read> {
    fn each<const N: usize, V>(bytes: &[u8], of: impl Fn([u8; N]) -> V) -> Result<Vec<V>, &'static str> {
        let (values, rest) = bytes.as_chunks::<N>();
        if rest.is_empty() {
            Ok(values.iter().map(|value| of(*value)).collect())
        } else {
            Err("bytes that are cut within a value")
        }
    }
    Some(match datatype {
        "BOOL" => each(bytes, |[byte]| i64::from(byte != 0)).map(Cells::from),
        "INT8" => each(bytes, |value| i64::from(i8::from_le_bytes(value))).map(Cells::from),
        "INT16" => each(bytes, |value| i64::from(i16::from_le_bytes(value))).map(Cells::from),
        "INT32" => each(bytes, |value| i64::from(i32::from_le_bytes(value))).map(Cells::from),
        "INT64" => each(bytes, i64::from_le_bytes).map(Cells::from),
        "UINT8" => each(bytes, |[byte]| i64::from(byte)).map(Cells::from),
        "UINT16" => each(bytes, |value| i64::from(u16::from_le_bytes(value))).map(Cells::from),
        "UINT32" => each(bytes, |value| i64::from(u32::from_le_bytes(value))).map(Cells::from),
        "UINT64" => each(bytes, |value| Value::from(u64::from_le_bytes(value))).map(Cells::from),
        "FP32" => each(bytes, f32::from_le_bytes).map(Cells::from),
        "FP64" => each(bytes, f64::from_le_bytes).map(Cells::from),
        "BYTES" => texts(bytes).map(Cells::from),
        _ => return None,
    })
}

fn texts(mut bytes: &[u8]) -> Result<Vec<String>, &'static str> {
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        let cut = "bytes that are cut within a value";
        let (length, rest) = bytes.split_first_chunk().ok_or(cut)?;
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(cut)?;
        texts.push(text(value.to_vec())?);
        bytes = rest;
    }
    Ok(texts)
}

fn text(bytes: Vec<u8>) -> Result<String, &'static str> {
    String::from_utf8(bytes).map_err(|_| "bytes that are no UTF-8")
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn request() -> InferRequest {
        let tensor = |name: &str, datatype: &str, shape: &[i64], contents| Tensor {
            name: name.into(),
            datatype: datatype.into(),
            shape: shape.to_vec(),
            contents: Some(Box::new(contents)),
            ..Tensor::default()
        };
        let mut user = tensor("user", "INT64", &[1], Contents { longs: vec![7], ..Contents::default() });
        user.parameters.insert("shared".into(), Parameter { choice: Some(Choice::Bool(true)) });
        let texts = ["a", "b", "c", ""].map(|text| text.as_bytes().to_vec()).to_vec();
        let tags = tensor("tags", "BYTES", &[2, 2], Contents { bytes: texts, ..Contents::default() });
        let age = tensor("age", "FP32", &[2, 1], Contents { floats: vec![1.5, -2.0], ..Contents::default() });
        InferRequest { model_name: "shop".into(), inputs: vec![user, tags, age], ..InferRequest::default() }
    }

    fn rows(bytes: &[u8]) -> Option<Result<usize, Refusal>> {
        let request = InferRequest::decode(bytes).ok()?; // tonic refuses what is no message
        let known = ["user", "tags", "age"];
        let read = || {
            let columns = Tensors::read(request, 100)?.rows(&known, true)?.into_columns();
            for row in 0..columns.rows() {
                known.iter().for_each(|name| drop(columns.get(row, name).map(|value| value.to_value())));
            }
            Ok(columns.rows())
        };
        Some(read())
    }

    /// `STEM_MUTATIONS=200000` tries so many.
    #[test]
    fn a_mutated_message_is_refused_or_read() {
        let number = std::env::var("STEM_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(50_000);
        let mut raw = request();
        raw.inputs.remove(0);
        raw.inputs.iter_mut().for_each(|tensor| tensor.contents = None);
        raw.raw_input_contents = vec![b"\x01\0\0\0a\0\0\0\0\x01\0\0\0b\0\0\0\0".to_vec(), vec![0; 8]];
        let bodies = [request().encode_to_vec(), raw.encode_to_vec()];
        let (mut rng, mut told) = (ChaCha8Rng::seed_from_u64(17), [0; 3]);
        for mutation in 0..number {
            let mut body = bodies[mutation % 2].clone();
            for _ in 0..=rng.random_range(0..3) {
                let at = rng.random_range(0..body.len());
                match rng.random_range(0..4) {
                    0 => body[at] ^= 1 << rng.random_range(0..8),
                    1 => body[at] = [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)],
                    2 => body.truncate(at.max(1)),
                    _ => {
                        let piece = body[at..(at + 12).min(body.len())].to_vec();
                        let to = rng.random_range(0..body.len());
                        body.splice(to..to, piece);
                    }
                }
            }
            match rows(&body) {
                None => told[0] += 1,
                Some(Err(refusal)) => {
                    assert!(!refusal.to_string().is_empty() && refusal.kind() != "internal");
                    told[1] += 1;
                }
                Some(Ok(rows)) => {
                    assert!(rows <= 100);
                    told[2] += 1;
                }
            }
        }
        println!("{told:?}: no message, refused, read");
        assert!(told.iter().all(|told| *told > number / 200), "{told:?}: mutations reach all");
    }
}
