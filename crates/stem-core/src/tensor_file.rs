//! How this workspace writes safetensors files: the same bytes for the same contents.
//!
//! The crate `safetensors` takes the metadata of a file as a hash map and writes them in whatever order that has, so that two files of the
//! same contents differ. It also writes beside the name that it is given and renames, which leaves a file that [`replace`] has not synced.
//!
//! [`replace`]: crate::files::replace

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use safetensors::tensor::{TensorInfo, View};
use serde::Serialize;

/// A head is padded to a multiple of so many bytes, so that what follows is aligned.
const ALIGNMENT: usize = 8;
/// Bytes that wait to be written together.
const BUFFER: usize = 1 << 20;

/// Writes a safetensors file into `path`: metadata in the order of their keys, then tensors, those of the widest type first and each type's in
/// the order of their names, as the crate `safetensors` orders them.
///
/// # Errors
/// The system's.
pub fn write<N: AsRef<str> + Ord, V: View>(
    path: &Path,
    metadata: &BTreeMap<&str, &str>,
    tensors: &BTreeMap<N, V>,
) -> io::Result<()> {
    let mut tensors: Vec<(&str, &V)> = tensors.iter().map(|(name, tensor)| (name.as_ref(), tensor)).collect();
    tensors.sort_by_key(|(_, tensor)| std::cmp::Reverse(tensor.dtype())); // stable: by name within a type
    let mut file = BufWriter::with_capacity(BUFFER, File::create(path)?);
    let head = head(metadata, &tensors);
    file.write_all(&(head.len() as u64).to_le_bytes())?;
    file.write_all(&head)?;
    tensors.iter().try_for_each(|(_, tensor)| file.write_all(&tensor.data()))?;
    file.flush()
}

/// What a file begins with, in JSON.
fn head<V: View>(metadata: &BTreeMap<&str, &str>, tensors: &[(&str, &V)]) -> Vec<u8> {
    let mut entries = vec![entry("__metadata__", metadata)];
    let mut from = 0;
    for (name, tensor) in tensors {
        let to = from + tensor.data_len();
        let info = TensorInfo { dtype: tensor.dtype(), shape: tensor.shape().to_vec(), data_offsets: (from, to) };
        entries.push(entry(name, &info));
        from = to;
    }
    let mut head = format!("{{{}}}", entries.join(",")).into_bytes();
    head.resize(head.len().next_multiple_of(ALIGNMENT), b' ');
    head
}

fn entry(name: &str, value: &impl Serialize) -> String {
    let of = |value: Result<String, _>| value.expect("texts and numbers are plain data");
    format!("{}:{}", of(serde_json::to_string(name)), of(serde_json::to_string(value)))
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;
    use safetensors::tensor::{Dtype, TensorView};

    use super::*;

    #[test]
    fn what_is_written_reads_as_safetensors_and_is_the_same_bytes_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.safetensors");
        let (floats, keys, text) = ([1.5f32, -2.0, 0.0, 4.0], [7i64, 8], "texts \"in\" quotes");
        let view = |dtype, shape: &[usize], bytes| TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
        let tensors = BTreeMap::from([
            ("bytes", view(Dtype::U8, &[17], text.as_bytes())),
            ("a.table", view(Dtype::F32, &[2, 2], bytemuck::cast_slice(&floats))),
            ("empty", view(Dtype::F32, &[0, 3], &[])),
            ("keys", view(Dtype::I64, &[2], bytemuck::cast_slice(&keys))),
        ]);
        let metadata: BTreeMap<&str, &str> =
            ["z", "a", "m", "b", "y", "c"].into_iter().map(|key| (key, text)).collect();
        write(&path, &metadata, &tensors).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let (length, found) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(length % ALIGNMENT, 0);
        assert_eq!(found.metadata().as_ref().unwrap().len(), 6);
        assert!(found.metadata().as_ref().unwrap().values().all(|value| value == text));
        assert_eq!(found.offset_keys(), ["keys", "a.table", "empty", "bytes"], "the widest first: all are aligned");
        let found = SafeTensors::deserialize(&bytes).unwrap();
        for (name, tensor) in &tensors {
            assert_eq!(found.tensor(name).unwrap(), *tensor, "{name}");
        }
        // As the crate writes it, but for the order of the metadata.
        let one = BTreeMap::from([("m", text)]);
        write(&path, &one, &tensors).unwrap();
        let theirs = safetensors::serialize(&tensors, Some([("m".into(), text.into())].into())).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), theirs);
        let keys: Vec<usize> = ["\"a\":", "\"b\":", "\"c\":", "\"m\":", "\"y\":", "\"z\":"]
            .map(|key| String::from_utf8_lossy(&bytes[8..8 + length]).find(key).unwrap())
            .into();
        assert!(keys.is_sorted(), "by their keys: {keys:?}");
    }
}
