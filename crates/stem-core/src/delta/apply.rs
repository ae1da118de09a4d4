//! Makes the new bundle of the old one and a delta.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use bytemuck::pod_collect_to_vec;
use memmap2::Mmap;
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorView};

use super::file::Raw;
use super::segments::{Segment, check, differences, sums, write};
use super::{DeltaFault, HEADER, PLAN, Plan, VERSION};
use crate::bundle::{CHECKSUM, checksum};
use crate::error::{Error, Result};
use crate::files::{self, FileError};
use crate::mapped::map_file;

/// Writes the bundle that a delta makes of `old`: the file that the delta was made of, byte for byte, put in its place once it is whole and
/// its checksum is right.
///
/// # Errors
/// [`Error::File`]; [`Error::Bundle`] where `old` is none; [`Error::Delta`] of a delta that is damaged, or was made of another bundle.
pub fn apply(old: &Path, delta: &Path, out: &Path) -> Result<()> {
    let old = Raw::open(old)?;
    let file = map_file(delta).map_err(FileError::of("open", delta))?;
    let fault = |fault| Error::Delta { path: delta.to_path_buf(), fault };
    let made = Made::read(&file, &old).map_err(fault)?;
    let mut is_right = true;
    let written = files::replace(out, |scratch| {
        made.write(File::create(scratch)?)?;
        is_right = blake3::hash(&map_file(scratch)?).to_hex().as_str() == made.plan.file;
        if is_right { Ok(()) } else { Err(io::Error::other("another checksum")) }
    });
    if is_right { Ok(written?) } else { Err(fault(DeltaFault::Outcome)) }
}

/// A delta whose every tensor can be made.
struct Made<'a> {
    plan: Plan,
    header: &'a [u8],
    tensors: Vec<MadeTensor<'a>>,
}

struct MadeTensor<'a> {
    row_bytes: usize,
    differences: bool,
    segments: Vec<Segment>,
    old: std::borrow::Cow<'a, [u8]>,
    literal: &'a [u8],
}

impl<'a> Made<'a> {
    fn read(file: &'a Mmap, old: &'a Raw) -> Result<Self, DeltaFault> {
        let unread = |error| DeltaFault::NotSafetensors(Box::new(error));
        let (_, metadata) = SafeTensors::read_metadata(file).map_err(unread)?;
        let tensors = SafeTensors::deserialize(file).map_err(unread)?;
        let entry = |key: &'static str| {
            let found = metadata.metadata().as_ref().and_then(|metadata| metadata.get(key));
            found.ok_or(DeltaFault::Foreign { key })
        };
        let (text, expected) = (entry(PLAN)?, entry(CHECKSUM)?);
        let mut views: Vec<(&str, TensorView<'a>)> = tensors.iter().collect();
        views.sort_by_key(|(name, _)| *name);
        if checksum(text, views.iter().map(|(n, t)| (*n, t.dtype(), t.shape(), t.data()))) != *expected {
            return Err(DeltaFault::Checksum);
        }
        let loose: serde_json::Value = serde_json::from_str(text).map_err(DeltaFault::Plan)?;
        if let Some(found) = loose["version"].as_u64().filter(|found| *found != u64::from(VERSION)) {
            return Err(DeltaFault::Version { found: u32::try_from(found).unwrap_or(u32::MAX), reads: VERSION });
        }
        let plan: Plan = serde_json::from_value(loose).map_err(DeltaFault::Plan)?;
        if plan.old != old.checksum {
            return Err(DeltaFault::Base { expected: plan.old, found: old.checksum.clone() });
        }
        let find = |name: &str, dtype: Dtype| {
            let found = views.binary_search_by_key(&name, |(name, _)| *name).ok().map(|place| &views[place].1);
            let unfit = || DeltaFault::Tensor { tensor: name.into(), what: "it is not there, or of another type" };
            found.filter(|view| view.dtype() == dtype).ok_or_else(unfit)
        };
        let header = find(HEADER, Dtype::U8)?.data();
        let sizes = sizes(header)?;
        let unfit = |tensor: &str, what| DeltaFault::Tensor { tensor: tensor.into(), what };
        if !sizes.iter().map(|(name, _)| name).eq(plan.tensors.iter().map(|part| &part.name)) {
            return Err(unfit(HEADER, "the new bundle has other tensors than the plan"));
        }
        let tensors = plan.tensors.iter().zip(&sizes).enumerate().map(|(place, (part, (_, total)))| {
            let before = old.find(&part.name).map(|tensor| old.bytes(tensor)).unwrap_or_default();
            let old = if part.differences { differences(before).into() } else { before.into() };
            let segments = pod_collect_to_vec(find(&format!("segments.{place}"), Dtype::U64)?.data());
            let (segments, rest) = segments.as_chunks::<3>();
            let literal = find(&format!("literal.{place}"), Dtype::U8)?.data();
            let made = MadeTensor {
                row_bytes: part.row_bytes,
                differences: part.differences,
                segments: segments.to_vec(),
                old,
                literal,
            };
            let of_numbers = !part.differences || part.row_bytes == 8;
            if !rest.is_empty() || !of_numbers {
                return Err(unfit(&part.name, "its segments are cut"));
            }
            check(&made.segments, (&made.old, literal), made.row_bytes, *total)
                .map_err(|what| unfit(&part.name, what))?;
            Ok(made)
        });
        let tensors = tensors.collect::<Result<_, _>>()?;
        Ok(Self { plan, header, tensors })
    }

    fn write(&self, file: File) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        out.write_all(self.header)?;
        for MadeTensor { row_bytes, differences, segments, old, literal } in &self.tensors {
            if *differences {
                let mut made = Vec::new();
                write(segments, (old, literal), *row_bytes, &mut made)?;
                out.write_all(&sums(&made))?;
            } else {
                write(segments, (old, literal), *row_bytes, &mut out)?;
            }
        }
        out.into_inner().map_err(io::IntoInnerError::into_error).map(drop)
    }
}

/// Tensors of the file whose head this is, in its order, with how many bytes each has.
fn sizes(header: &[u8]) -> Result<Vec<(String, usize)>, DeltaFault> {
    let unfit = || DeltaFault::Tensor { tensor: HEADER.into(), what: "it is not the head of a file" };
    let (length, text) = header.split_first_chunk::<8>().ok_or_else(unfit)?;
    if u64::from_le_bytes(*length) != text.len() as u64 {
        return Err(unfit());
    }
    let metadata: Metadata = serde_json::from_slice(text).map_err(|_| unfit())?;
    let mut all: Vec<(String, (usize, usize))> =
        metadata.tensors().into_iter().map(|(name, info)| (name, info.data_offsets)).collect();
    all.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
    Ok(all.into_iter().map(|(name, (start, end))| (name, end.saturating_sub(start))).collect())
}
