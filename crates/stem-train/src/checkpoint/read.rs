//! One checkpoint as it is read: its head first; then its tensors, once, in the order of their names, straight into the memory that they are for, and
//! checked as they come.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata};
use stem_core::files::FileError;

use super::file::{CHECKSUM, PLACE, ROWS, TABLE, title};
use super::state::Place;

/// A longer head than safetensors takes, in bytes: it is another file.
const LONGEST_HEAD: u64 = 100_000_000;
/// Bytes that are read, and checked, at once.
const PIECE: usize = 8 << 20;

/// Why a checkpoint is of no use.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// It is not what was written.
    Damaged(String),
    /// It may well be, but the disk does not give it, this version does not know it, or it does not fit the model.
    Unreadable(String),
    /// It is of another training; what differs.
    OfAnother(String),
}

impl Unusable {
    /// The same, said after something else.
    pub(super) fn after(self, text: &str) -> Self {
        match self {
            Self::Damaged(why) => Self::Damaged(format!("{text}{why}")),
            Self::Unreadable(why) => Self::Unreadable(format!("{text}{why}")),
            Self::OfAnother(why) => Self::OfAnother(format!("{text}{why}")),
        }
    }

    fn of(error: io::Error, path: &Path) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged("it is not whole (it ends too early)".into()),
            _ => {
                let error = FileError::of("read", path)(error);
                Self::Unreadable(format!("{error}: {}", error.source))
            }
        }
    }
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Damaged(why) | Self::Unreadable(why) | Self::OfAnother(why)) = self;
        f.write_str(why)
    }
}

impl<T: Into<String>> From<T> for Unusable {
    fn from(why: T) -> Self {
        Self::Damaged(why.into())
    }
}

/// What a file says of itself, before its tensors.
#[derive(Debug)]
pub(crate) struct Head {
    pub(super) path: PathBuf,
    pub(crate) place: Place,
    /// `place` as it was written.
    text: String,
    /// What the checksum has to be.
    pub(crate) checksum: String,
    tensors: BTreeMap<String, Tensor>,
}

/// Where a tensor is in the file, which is of four bytes a value.
#[derive(Debug)]
struct Tensor {
    shape: Vec<usize>,
    from: u64,
    bytes: u64,
}

/// The metadata of a safetensors file, and where its tensors begin.
fn metadata_of(file: &mut File) -> io::Result<(Metadata, u64)> {
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST_HEAD {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no safetensors file begins so"));
    }
    let mut head = vec![0; length as usize];
    file.read_exact(&mut head)?;
    Ok((serde_json::from_slice(&head)?, 8 + length))
}

fn entry<'m>(metadata: &'m Metadata, key: &str) -> Option<&'m String> {
    metadata.metadata().as_ref()?.get(key)
}

/// Whether a file is a checkpoint, whole or not.
pub(crate) fn is_checkpoint(path: &Path) -> bool {
    let metadata = File::open(path).and_then(|mut file| metadata_of(&mut file));
    metadata.is_ok_and(|(metadata, _)| entry(&metadata, PLACE).is_some())
}

impl Head {
    /// Reads the head, and finds that the file is as long as that says.
    ///
    /// # Errors
    /// Why it is of no use.
    pub(crate) fn open(path: &Path) -> Result<Self, Unusable> {
        let unreadable = |error| Unusable::of(error, path);
        let mut file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let (metadata, begin) = match metadata_of(&mut file) {
            Err(error)
                if error.kind() == io::ErrorKind::InvalidData
                    || error.get_ref().is_some_and(|e| e.is::<serde_json::Error>()) =>
            {
                return Err(format!("it is not whole ({error})").into());
            }
            read => read.map_err(unreadable)?,
        };
        let text = entry(&metadata, PLACE).ok_or("it is no checkpoint")?.clone();
        let checksum = entry(&metadata, CHECKSUM).ok_or("it is no checkpoint")?.clone();
        let mut all: Vec<_> = metadata.tensors().into_iter().collect();
        all.sort_by_key(|(_, info)| info.data_offsets);
        let (mut tensors, mut end) = (BTreeMap::new(), 0);
        for (name, info) in all {
            let (from, to) = info.data_offsets;
            let values = info.shape.iter().try_fold(1usize, |all, size| all.checked_mul(*size));
            let is_whole =
                from == end && values.and_then(|values| values.checked_mul(4)?.checked_add(from)) == Some(to);
            if !is_whole || ![Dtype::F32, Dtype::U32].contains(&info.dtype) {
                return Err(format!("it is not whole (its head says of '{name}' what cannot be)").into());
            }
            tensors.insert(
                name,
                Tensor { shape: info.shape.clone(), from: begin + from as u64, bytes: (to - from) as u64 },
            );
            end = to;
        }
        if begin + end as u64 != length {
            return Err(
                format!("it is not whole (it has {length} bytes, and its head says {})", begin + end as u64).into()
            );
        }
        let place: Place = match serde_json::from_str(&text) {
            Ok(place) => place,
            Err(error) => {
                Pass::open(path, &text, &tensors)?.finish(&checksum)?; // else it is damaged
                return Err(Unusable::Unreadable(format!(
                    "another version wrote it ({error}): go on with that one, or begin anew with --force"
                )));
            }
        };
        let head = Self { path: path.to_path_buf(), place, text, checksum, tensors };
        if head.tensors.contains_key(ROWS) != head.place.base.is_some() {
            return Err("it does not say what it is on top of".into());
        }
        head.shape_of(TABLE).ok_or("it has no table")?;
        Ok(head)
    }

    /// `[rows, width]` of a matrix of the file.
    pub(super) fn shape_of(&self, name: &str) -> Option<[usize; 2]> {
        let shape = &self.tensors.get(name)?.shape;
        Some([shape.first().copied().unwrap_or(0), shape.get(1).copied().unwrap_or(1)])
    }

    /// The names of its tensors, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The whole shape of a tensor.
    pub(super) fn whole_shape_of(&self, name: &str) -> &[usize] {
        self.tensors.get(name).map_or(&[], |tensor| &tensor.shape)
    }

    /// Begins to read its tensors.
    pub(super) fn pass(&self) -> Result<Pass<'_>, Unusable> {
        Pass::open(&self.path, &self.text, &self.tensors)
    }

    /// Reads all of it, for its checksum alone.
    pub(super) fn verify(&self) -> Result<(), Unusable> {
        self.pass()?.finish(&self.checksum)
    }
}

/// The tensors of a file, read once, in the order of their names.
pub(super) struct Pass<'h> {
    path: &'h Path,
    file: File,
    hasher: blake3::Hasher,
    /// Those to come.
    tensors: std::iter::Peekable<std::collections::btree_map::Iter<'h, String, Tensor>>,
    /// Bytes to come of the one that it is at.
    left: u64,
    piece: Vec<u8>,
}

impl<'h> Pass<'h> {
    fn open(path: &'h Path, text: &str, tensors: &'h BTreeMap<String, Tensor>) -> Result<Self, Unusable> {
        let file = File::open(path).map_err(|error| Unusable::of(error, path))?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(text.as_bytes());
        Ok(Self { path, file, hasher, tensors: tensors.iter().peekable(), left: 0, piece: Vec::new() })
    }

    /// Goes to the tensor of that name, over those before it; whether there is one.
    pub(super) fn to(&mut self, name: &str) -> Result<bool, Unusable> {
        while let Some((found, tensor)) = self.tensors.peek() {
            if found.as_str() > name {
                break;
            }
            let (found, tensor) = (found.as_str(), *tensor);
            self.tensors.next();
            self.pass_over()?;
            self.hasher.update(title(found, &tensor.shape).as_bytes());
            self.file.seek(SeekFrom::Start(tensor.from)).map_err(|error| Unusable::of(error, self.path))?;
            self.left = tensor.bytes;
            if found == name {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the next values of the tensor that it is at.
    pub(super) fn read<T: bytemuck::Pod>(&mut self, into: &mut [T]) -> Result<(), Unusable> {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(into);
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or("a tensor of it is too short")?;
        for piece in bytes.chunks_mut(PIECE) {
            self.file.read_exact(piece).map_err(|error| Unusable::of(error, self.path))?;
            self.hasher.update_rayon(piece);
        }
        Ok(())
    }

    /// Reads what is left of the tensor that it is at, for the checksum alone.
    fn pass_over(&mut self) -> Result<(), Unusable> {
        let mut piece = std::mem::take(&mut self.piece);
        piece.resize(PIECE.min(self.left as usize), 0);
        while self.left > 0 {
            let length = (self.left as usize).min(piece.len());
            self.read(&mut piece[..length])?;
        }
        self.piece = piece;
        Ok(())
    }

    /// Reads what is left, and compares the checksum.
    pub(super) fn finish(mut self, expected: &str) -> Result<(), Unusable> {
        for (name, _) in self.tensors.clone() {
            self.to(name)?;
        }
        self.pass_over()?;
        match self.hasher.finalize().to_hex().as_str() == expected {
            true => Ok(()),
            false => Err("its contents are not those that were written".into()),
        }
    }
}
