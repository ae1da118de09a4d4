//! A file of `torch.save(model.state_dict())`, read as tensors by name. Nothing in it is run, and nothing but tensors is accepted.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use pytorch_reader::{DType, FileFormat, MAX_PICKLE_SIZE, PickleValue, PytorchReader, Tensor};
use zip::ZipArchive;

use crate::error::{Error, Result};
use crate::names::RawTensor;
use crate::pickle::check_calls;
use stem_core::files::FileError;

/// All tensors together may take so many times the file's bytes: embeddings under several names are there once.
const MAX_VIEWS: u64 = 16;
const SAVE_IT: &str = "write it in Python with torch.save(model.state_dict(), FILE)";

/// Reads a checkpoint: a dictionary from names to tensors of floats, which become `f32`. Counters that batch normalisation keeps
/// (`*.num_batches_tracked`) are left out.
///
/// # Errors
/// [`Error::File`] when the file cannot be read. [`Error::Import`] when it is no checkpoint, is cut short or damaged, holds anything
/// but tensors (the key and the Python type are named), integers, or weights that are not finite.
pub fn read_checkpoint(path: &Path) -> Result<BTreeMap<String, RawTensor>> {
    let io = FileError::of("read", path);
    let file = std::fs::metadata(path).map_err(io)?;
    let tensors = if !file.is_file() {
        Err(format!("it is no file; {SAVE_IT}"))
    } else if file.len() == 0 {
        Err(format!("it is empty; {SAVE_IT}"))
    } else {
        read(path, file.len())
    };
    tensors.map_err(|what| Error::Import { path: path.to_path_buf(), what })
}

fn read(path: &Path, bytes: u64) -> Result<BTreeMap<String, RawTensor>, String> {
    let unreadable =
        |e: &dyn std::fmt::Display| format!("it does not read as a checkpoint ({e}); is it cut short? {SAVE_IT}");
    let root = PytorchReader::read_pickle_data(path, None).map_err(|e| unreadable(&e))?;
    let PickleValue::Dict(entries) = root else {
        let found = python_type(&root);
        return Err(format!("it holds a Python object of type '{found}', expected a dictionary of tensors; {SAVE_IT}"));
    };
    let reader = PytorchReader::new(path).map_err(|e| unreadable(&e))?;
    let format = reader.metadata().format_type.clone();
    let tensors = reader.into_tensors();
    check_entries(&entries, &tensors)?;
    if format != FileFormat::Zip {
        return Err(format!(
            "it is no zip archive, which torch.save writes since PyTorch 1.6; load it there and {SAVE_IT}"
        ));
    }
    check_calls(&data_pickle(path).map_err(|e| unreadable(&e))?).map_err(|e| {
        format!("its pickle {e}: a state dict holds tensors only, so the file is not read. If you trust it, {SAVE_IT}")
    })?;
    check_sizes(&tensors, bytes)?;
    let mut read = BTreeMap::new();
    for (name, tensor) in tensors {
        if !name.ends_with("num_batches_tracked") {
            let values = floats(&tensor)?;
            read.insert(name, RawTensor { shape: tensor.shape().to_vec(), values });
        }
    }
    Ok(read)
}

/// Every entry is a tensor, but for the module versions that PyTorch keeps under `_metadata`.
fn check_entries(entries: &HashMap<String, PickleValue>, tensors: &HashMap<String, Tensor>) -> Result<(), String> {
    let strange = |(name, value): &(&String, &PickleValue)| {
        let versions = *name == "_metadata" && is_versions(value);
        !(versions || tensors.contains_key(*name))
    };
    if let Some((name, value)) = entries.iter().filter(strange).min_by_key(|(name, _)| *name) {
        let (name, found) = (name.escape_debug(), python_type(value));
        return Err(format!("key '{name}' holds a Python object of type '{found}', expected a tensor; {SAVE_IT}"));
    }
    if tensors.is_empty() { Err(format!("its dictionary holds no tensors; {SAVE_IT}")) } else { Ok(()) }
}

/// A dictionary of plain dictionaries.
fn is_versions(value: &PickleValue) -> bool {
    let plain = |value: &PickleValue| matches!(value, PickleValue::Int(_) | PickleValue::Bool(_) | PickleValue::None);
    let module = |value: &PickleValue| matches!(value, PickleValue::Dict(parts) if parts.values().all(plain));
    matches!(value, PickleValue::Dict(modules) if modules.values().all(module))
}

fn python_type(value: &PickleValue) -> &str {
    match value {
        PickleValue::None => "NoneType",
        PickleValue::Bool(_) => "bool",
        PickleValue::Int(_) => "int",
        PickleValue::Float(_) => "float",
        PickleValue::String(_) => "str",
        PickleValue::Bytes(_) => "bytes",
        PickleValue::List(_) => "list",
        PickleValue::Dict(_) => "dict",
        PickleValue::Unsupported(name) => name,
    }
}

/// The archive's `data.pkl`, found as the reader of tensors finds it.
fn data_pickle(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut archive = ZipArchive::new(BufReader::new(File::open(path)?))?;
    let is_pickle = |name: &&str| *name == "data.pkl" || name.ends_with("/data.pkl");
    let names = archive.file_names().collect::<zip::result::ZipResult<Vec<_>>>()?;
    let name = names.iter().map(|name| &**name).filter(is_pickle).min_by_key(|name| name.len());
    let name = name.ok_or_else(|| std::io::Error::other("no data.pkl"))?.to_string();
    let mut pickle = Vec::new();
    archive.by_name(&name)?.take(MAX_PICKLE_SIZE).read_to_end(&mut pickle)?;
    Ok(pickle)
}

/// Refuses tensors that would grow far beyond the file: a view with a stride of 0 has any size.
fn check_sizes(tensors: &HashMap<String, Tensor>, bytes: u64) -> Result<(), String> {
    if let Some((name, tensor)) = tensors.iter().find(|(_, tensor)| tensor.byte_len() as u64 > bytes) {
        return Err(format!(
            "tensor '{name}' has shape {:?}, {} bytes, in a file of {bytes} bytes; save tensors that are contiguous, and the \
             archive without compression",
            tensor.shape(),
            tensor.byte_len()
        ));
    }
    let all = tensors.values().map(|tensor| tensor.byte_len() as u64).fold(0, u64::saturating_add);
    if all > bytes.saturating_mul(MAX_VIEWS) {
        return Err(format!("its tensors take {all} bytes, more than {MAX_VIEWS} times those of the file ({bytes})"));
    }
    Ok(())
}

/// Values of a tensor of floats, all finite.
fn floats(tensor: &Tensor) -> Result<Vec<f32>, String> {
    let name = &tensor.name;
    let widen: fn(&[u8]) -> Vec<f32> = match tensor.dtype() {
        DType::F32 => |bytes| each(bytes, f32::from_ne_bytes),
        DType::F64 => |bytes| each(bytes, |b| f64::from_ne_bytes(b) as f32),
        DType::F16 => |bytes| each(bytes, |b| half(u16::from_ne_bytes(b))),
        DType::BF16 => |bytes| each(bytes, |b| f32::from_bits(u32::from(u16::from_ne_bytes(b)) << 16)),
        other => return Err(format!("tensor '{name}' holds {other:?} values, expected floats")),
    };
    let bytes = tensor.read().map_err(|e| format!("{e}; is the file cut short or damaged?"))?;
    let values = widen(&bytes);
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(values),
        Some(place) => Err(format!(
            "tensor '{name}' {:?} has the value {} at place {place}, expected finite weights; take a checkpoint from before \
             the training diverged",
            tensor.shape(),
            values[place]
        )),
    }
}

fn each<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<N>().0.iter().map(|b| value(*b)).collect()
}

/// IEEE 754 binary16.
fn half(bits: u16) -> f32 {
    let (exponent, fraction) = ((bits >> 10) & 31, f32::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(i32::from(exponent) - 15),
    };
    if bits >> 15 == 0 { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_floats_are_widened_exactly() {
        let known: [(u16, f32); 7] = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2f32.powi(-24)),
            (0x0400, 2f32.powi(-14)),
            (0x3555, 0.333_251_95),
        ];
        for (bits, value) in known {
            assert_eq!(half(bits), value);
        }
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
    }
}
