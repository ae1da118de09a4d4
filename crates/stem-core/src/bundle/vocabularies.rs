//! The vocabularies of a bundle, as they lie in its file.

use std::sync::Arc;

use bytemuck::Pod;
use memmap2::Mmap;
use safetensors::tensor::{Dtype, SafeTensors};

use super::read::{place_in, read_tensors};
use super::{BLOCKS, BundleFault, IDLE, Manifest, PACKED_KEYS, REMAINDERS, Verify, VocabularyFault};
use crate::integer_keys::PackedKeys;
use crate::mapped::Stored;
use crate::schema::VocabularySpec;
use crate::vocabulary::{Texts, Vocabulary};

/// The vocabularies, and how long each of their keys has been idle, of which only a bundle that is verified in full is asked. Keys stay in
/// the file, but where they are not aligned in it.
pub(super) fn read(
    manifest: &Manifest,
    file: &Arc<Mmap>,
    verify: Verify,
) -> Result<(Vec<Vocabulary>, Vec<Vec<u32>>), BundleFault> {
    let Manifest { schema, version, .. } = manifest;
    let parts = Parts { tensors: read_tensors(file)?, file, may_be_packed: *version >= PACKED_KEYS };
    let read = |(place, spec): (usize, &VocabularySpec)| {
        let read = || {
            let vocabulary = read_vocabulary(spec, Vocabulary::without_keys(schema, place), &parts, verify)?;
            let Ok(view) = parts.tensors.tensor(&format!("vocabulary.{}.{IDLE}", spec.name)) else {
                return Ok((vocabulary, Vec::new()));
            };
            if verify != Verify::Full {
                return Ok((vocabulary, Vec::new()));
            }
            let counts = if view.dtype() == Dtype::U32 { view.data() } else { &[] };
            let idle: Vec<u32> = bytemuck::pod_collect_to_vec(counts);
            let (found, expected) = (idle.len(), vocabulary.len());
            if found == expected { Ok((vocabulary, idle)) } else { Err(VocabularyFault::Idle { found, expected }) }
        };
        read().map_err(|fault| BundleFault::Vocabulary { name: spec.name.clone(), fault })
    };
    schema.vocabularies.iter().enumerate().map(read).collect()
}

/// The tensors of vocabularies.
struct Parts<'a> {
    tensors: SafeTensors<'a>,
    file: &'a Arc<Mmap>,
    may_be_packed: bool,
}

impl Parts<'_> {
    /// The numbers of a tensor, where it is there and of that type.
    fn get<T: Pod>(&self, spec: &VocabularySpec, part: &str, dtype: Dtype) -> Option<Stored<T>> {
        let view = self.tensors.tensor(&format!("vocabulary.{}.{part}", spec.name)).ok()?;
        let stored = || Stored::in_file(self.file, place_in(self.file, view.data()));
        (view.dtype() == dtype).then(|| stored().unwrap_or_else(|| bytemuck::pod_collect_to_vec(view.data()).into()))
    }

    /// Blocks and remainders of packed keys, where the bundle may have such.
    fn packed(&self, spec: &VocabularySpec) -> Option<(Stored<[i64; 2]>, Stored<u8>)> {
        let blocks = self.get(spec, BLOCKS, Dtype::I64).filter(|_| self.may_be_packed)?;
        Some((blocks, self.get(spec, REMAINDERS, Dtype::U8)?))
    }
}

fn read_vocabulary(
    spec: &VocabularySpec,
    without_keys: Option<Vocabulary>,
    parts: &Parts<'_>,
    verify: Verify,
) -> Result<Vocabulary, VocabularyFault> {
    let (bytes, offsets) = (parts.get::<u8>(spec, "bytes", Dtype::U8), parts.get::<u64>(spec, "offsets", Dtype::U64));
    let vocabulary = match (parts.get::<i64>(spec, "keys", Dtype::I64), bytes, offsets) {
        (Some(keys), ..) => Vocabulary::Integers(keys.into()),
        _ if let Some((blocks, remainders)) = parts.packed(spec) => {
            let keys = spec.rows.checked_sub(2).and_then(|len| PackedKeys::from_parts(len, blocks, remainders));
            Vocabulary::Integers(keys.ok_or(VocabularyFault::Blocks)?.into())
        }
        (None, Some(bytes), Some(offsets)) => {
            let texts = match verify {
                Verify::Full => Texts::from_parts(bytes, offsets),
                Verify::Header | Verify::None => Texts::trusted(bytes, offsets),
            };
            texts.map(Vocabulary::Texts).ok_or(VocabularyFault::Texts)?
        }
        _ => without_keys.ok_or(VocabularyFault::Missing)?,
    };
    if vocabulary.rows() != spec.rows {
        return Err(VocabularyFault::Rows { found: vocabulary.rows(), expected: spec.rows });
    }
    if verify == Verify::Full && !vocabulary.is_sorted() {
        return Err(VocabularyFault::Order);
    }
    Ok(vocabulary)
}
