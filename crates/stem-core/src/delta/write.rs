//! Makes a delta of two bundles.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use bytemuck::pod_collect_to_vec;
use safetensors::tensor::Dtype;

use super::file::{Raw, RawTensor};
use super::segments::{Segments, differences};
use super::{HEADER, PLAN, Part, Plan, VERSION};
use crate::bundle::{BLOCKS, REMAINDERS, TABLE, Tensor, write_tensors};
use crate::error::Result;
use crate::integer_keys::PackedKeys;
use crate::schema::Schema;
use crate::vocabulary::Vocabulary;

/// How much of a bundle changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DeltaSize {
    /// Rows of the tables of all states.
    pub rows: usize,
    /// Those of them that stand in the delta.
    pub changed_rows: usize,
}

/// Writes what changed from the bundle `old` to the bundle `new`, whatever their models are.
///
/// # Errors
/// [`Error::File`](crate::Error::File); [`Error::Bundle`](crate::Error::Bundle) where one of them is none.
pub fn delta(old: &Path, new: &Path, out: &Path) -> Result<DeltaSize> {
    let (old, new) = (Raw::open(old)?, Raw::open(new)?);
    let keys = Keys::of(&old, &new);
    let (mut parts, mut made, mut size) = (Vec::new(), Vec::new(), DeltaSize::default());
    for tensor in &new.tensors {
        let (part, segments) = keys.compare(&old, &new, tensor);
        if tensor.name.ends_with(TABLE) {
            size.rows += tensor.shape.first().copied().unwrap_or(0);
            size.changed_rows += segments.literal.len() / part.row_bytes;
        }
        parts.push(part);
        made.push(segments);
    }
    let plan = Plan {
        version: VERSION,
        old: old.checksum.clone(),
        new: new.checksum.clone(),
        file: blake3::hash(&new.file).to_hex().to_string(),
        tensors: parts,
    };
    let mut tensors = BTreeMap::new();
    let bytes = |bytes: &'_ [u8]| Tensor { dtype: Dtype::U8, shape: vec![bytes.len()], bytes: bytes.to_vec().into() };
    tensors.insert(HEADER.to_string(), bytes(&new.file[..new.head]));
    for (place, Segments { all, literal }) in made.iter().enumerate() {
        let segments = Tensor {
            dtype: Dtype::U64,
            shape: vec![all.len(), 3],
            bytes: bytemuck::cast_slice::<[u64; 3], u8>(all).into(),
        };
        let literal = Tensor { dtype: Dtype::U8, shape: vec![literal.len()], bytes: literal.into() };
        tensors.extend([(format!("segments.{place}"), segments), (format!("literal.{place}"), literal)]);
    }
    let plan = serde_json::to_string(&plan).expect("a plan is plain data");
    write_tensors(out, &tensors, (PLAN, &plan), None)?;
    Ok(size)
}

/// Rows of the new bundle that may be copies of rows of the old one.
struct Keys {
    /// By vocabulary's name: the old key of each new one.
    of_keys: BTreeMap<String, Vec<Option<usize>>>,
    /// The old row of each new row of a table.
    of_rows: Vec<Option<usize>>,
}

impl Keys {
    fn of(old: &Raw, new: &Raw) -> Self {
        let (ours, theirs) = (&new.manifest.schema, &old.manifest.schema);
        let (starts, old_starts) = (starts(ours), starts(theirs));
        let (mut of_keys, mut of_rows) = (BTreeMap::new(), vec![None; ours.rows()]);
        for (place, spec) in ours.vocabularies.iter().enumerate() {
            let Some(old_place) = theirs.vocabularies.iter().position(|other| other.name == spec.name) else {
                continue;
            };
            let (rows, old_rows) = (starts[place].clone(), old_starts[old_place].clone());
            let (Some(keys), Some(old_keys)) = (vocabulary(new, place), vocabulary(old, old_place)) else { continue };
            let found = same_keys(&old_keys, &keys);
            let has_keys = matches!(keys, Vocabulary::Integers(_) | Vocabulary::Texts(_));
            if !has_keys && rows.len() == old_rows.len() {
                rows.clone().zip(old_rows).for_each(|(row, old)| of_rows[row] = Some(old));
            } else if has_keys {
                let known = found.iter().enumerate().filter_map(|(key, old)| Some((key, (*old)?)));
                known.for_each(|(key, old)| of_rows[rows.start + 1 + key] = Some(old_rows.start + 1 + old));
                of_rows[rows.start] = Some(old_rows.start); // padding
                of_rows[rows.end - 1] = Some(old_rows.end - 1); // the unseen
            }
            of_keys.insert(spec.name.clone(), found);
        }
        Self { of_keys, of_rows }
    }

    /// How a tensor is made of the old one.
    fn compare(&self, old: &Raw, new: &Raw, tensor: &RawTensor) -> (Part, Segments) {
        let bytes = new.bytes(tensor);
        let before = old.find(&tensor.name).filter(|before| before.dtype == tensor.dtype);
        let old_bytes = before.map(|before| old.bytes(before)).unwrap_or_default();
        let rows = tensor.shape.first().copied().unwrap_or(1).max(1);
        let row_bytes = (bytes.len() / rows).max(1);
        let part = |row_bytes, differences| Part { name: tensor.name.clone(), row_bytes, differences };
        let with = |row_bytes, from: &dyn Fn(usize) -> Option<usize>| {
            (part(row_bytes, false), Segments::between(old_bytes, bytes, row_bytes, from))
        };
        if bytes == old_bytes {
            return with(bytes.len().max(1), &Some);
        }
        let one_width = before.is_some_and(|before| before.shape.get(1..) == tensor.shape.get(1..));
        if tensor.name.ends_with(TABLE) && one_width {
            return with(row_bytes, &|row| self.of_rows.get(row).copied().flatten());
        }
        let in_vocabulary = tensor.name.strip_prefix("vocabulary.").and_then(|name| name.rsplit_once('.'));
        let Some((keys, (vocabulary, of))) = in_vocabulary.and_then(|name| Some((self.of_keys.get(name.0)?, name)))
        else {
            return with(bytes.len().max(1), &|_| None);
        };
        let key = |key: usize| keys.get(key).copied().flatten();
        match of {
            "offsets" => {
                // the first is 0, the others are the ends of the texts
                let from = |row: usize| if row == 0 { Some(0) } else { Some(key(row - 1)? + 1) };
                let (old, new) = (differences(old_bytes), differences(bytes));
                (part(8, true), Segments::between(&old, &new, 8, from))
            }
            "bytes" => {
                let texts = |raw: &Raw| -> Vec<u64> {
                    let offsets = raw.find(&format!("vocabulary.{vocabulary}.offsets"));
                    offsets.map_or_else(Vec::new, |offsets| pod_collect_to_vec(raw.bytes(offsets)))
                };
                let (ours, theirs) = (texts(new), texts(old));
                let mut from = vec![None; bytes.len()];
                for (text, range) in ours.windows(2).enumerate() {
                    let Some(start) = key(text).and_then(|old| theirs.get(old)) else { continue };
                    for (place, byte) in (range[0] as usize..range[1] as usize).zip(*start as usize..) {
                        from[place] = Some(byte);
                    }
                }
                with(1, &|byte| from[byte])
            }
            BLOCKS | REMAINDERS => with(bytes.len().max(1), &|_| None), // one new key moves all that come after it
            _ => with(row_bytes, &key), // keys that are integers, and counts beside keys
        }
    }
}

/// The rows of each vocabulary in a table.
fn starts(schema: &Schema) -> Vec<Range<usize>> {
    let offsets = schema.offsets();
    let rows = |(place, start): (usize, &u32)| {
        let start = *start as usize;
        start..start + schema.vocabularies[place].rows
    };
    offsets.iter().enumerate().map(rows).collect()
}

/// A vocabulary of a bundle. `None` where its tensors are not there.
fn vocabulary(raw: &Raw, place: usize) -> Option<Vocabulary> {
    let schema = &raw.manifest.schema;
    let name = &schema.vocabularies.get(place)?.name;
    let part = |part: &str| raw.find(&format!("vocabulary.{name}.{part}")).map(|tensor| raw.bytes(tensor));
    if let Some(keys) = part("keys") {
        return Some(Vocabulary::Integers(pod_collect_to_vec::<_, i64>(keys).into()));
    }
    if let (Some(blocks), Some(remainders)) = (part(BLOCKS), part(REMAINDERS)) {
        let len = schema.vocabularies[place].rows.checked_sub(2)?;
        let blocks = pod_collect_to_vec::<_, [i64; 2]>(blocks);
        return Some(Vocabulary::Integers(
            PackedKeys::from_parts(len, blocks.into(), remainders.to_vec().into())?.into(),
        ));
    }
    match (part("bytes"), part("offsets")) {
        (Some(bytes), Some(offsets)) => {
            let texts = crate::vocabulary::Texts::from_parts(bytes.to_vec(), pod_collect_to_vec::<_, u64>(offsets));
            Some(Vocabulary::Texts(texts?))
        }
        _ => Vocabulary::without_keys(schema, place),
    }
}

/// For each key of `new` its place in `old`.
fn same_keys(old: &Vocabulary, new: &Vocabulary) -> Vec<Option<usize>> {
    match (old, new) {
        (Vocabulary::Integers(old), Vocabulary::Integers(new)) => new.iter().map(|key| old.position(key)).collect(),
        (Vocabulary::Texts(known), Vocabulary::Texts(new)) => {
            let place = |text| Some(old.id_of_text(text)).filter(|id| *id != old.unseen()).map(|id| id as usize - 1);
            (0..new.len()).map(|text| place(new.get(text))).filter(|_| !known.is_empty()).collect()
        }
        _ => Vec::new(),
    }
}
