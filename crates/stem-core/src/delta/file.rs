//! A bundle as tensors alone: whatever its model is.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;
use safetensors::tensor::{Dtype, SafeTensors};

use crate::bundle::{BundleFault, CHECKSUM, MANIFEST, Manifest, checksum};
use crate::error::{Error, Result};
use crate::files::FileError;
use crate::mapped::map_file;

/// A bundle whose checksum was found right.
pub(super) struct Raw {
    pub(super) file: Mmap,
    pub(super) checksum: String,
    pub(super) manifest: Manifest,
    /// Bytes before the first tensor.
    pub(super) head: usize,
    /// In the order of the file.
    pub(super) tensors: Vec<RawTensor>,
}

/// A tensor in its file.
#[derive(Debug, Clone)]
pub(super) struct RawTensor {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// From the beginning of the file.
    place: Range<usize>,
}

impl Raw {
    /// Opens a bundle of any model, and reads it whole for its checksum.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = map_file(path).map_err(FileError::of("open", path))?;
        Self::read(file).map_err(|fault| Error::Bundle { path: path.to_path_buf(), fault })
    }

    fn read(file: Mmap) -> Result<Self, BundleFault> {
        let unread = |error| BundleFault::NotSafetensors(Box::new(error));
        let (header, metadata) = SafeTensors::read_metadata(&file).map_err(unread)?;
        let tensors = SafeTensors::deserialize(&file).map_err(unread)?;
        let entry = |key: &'static str| {
            let found = metadata.metadata().as_ref().and_then(|metadata| metadata.get(key));
            found.ok_or(BundleFault::Foreign { key })
        };
        let (text, expected) = (entry(MANIFEST)?, entry(CHECKSUM)?);
        let by_name: BTreeMap<&str, _> = tensors.iter().collect();
        let parts = by_name.iter().map(|(name, view)| (*name, view.dtype(), view.shape(), view.data()));
        if checksum(text, parts) != *expected {
            return Err(BundleFault::Checksum);
        }
        let place = |part: &[u8]| {
            let start = part.as_ptr() as usize - file.as_ptr() as usize;
            start..start + part.len()
        };
        let all = by_name.iter().map(|(name, view)| RawTensor {
            name: name.to_string(),
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            place: place(view.data()),
        });
        let mut all: Vec<RawTensor> = all.collect();
        all.sort_by(|a, b| {
            let place = |tensor: &RawTensor| (tensor.place.start, tensor.place.end);
            (place(a), &a.name).cmp(&(place(b), &b.name)) // empty ones before those at their place
        });
        let manifest: Manifest = serde_json::from_str(text).map_err(BundleFault::Manifest)?;
        manifest.schema.check().map_err(|error| BundleFault::Unusable(Box::new(error)))?;
        Ok(Self { checksum: expected.clone(), manifest, head: header + 8, tensors: all, file })
    }

    pub(super) fn find(&self, name: &str) -> Option<&RawTensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    pub(super) fn bytes(&self, tensor: &RawTensor) -> &[u8] {
        &self.file[tensor.place.clone()]
    }
}
