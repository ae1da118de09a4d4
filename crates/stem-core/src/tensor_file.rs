//! How this workspace writes safetensors files: the same bytes for the same contents.
//!
//! The crate `safetensors` takes the metadata of a file as a hash map and writes them in whatever order that has, so that two files of the
//! same contents differ. It also writes beside the name that it is given and renames, which leaves a file that [`replace`] has not synced.
//!
//! [`replace`]: crate::files::replace

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use safetensors::tensor::{Dtype, TensorInfo, View};
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

/// Writes the same file of tensors that come one after the other: `fill` is asked for each, in the order in which they lie in the file, and
/// puts out its bytes as they come: none is held. What the metadata say may be known only then; a value as long stands there until it is.
///
/// # Errors
/// The system's, and a tensor of another length than its shape.
pub fn write_as_they_come<'m>(
    path: &Path,
    metadata: BTreeMap<&'m str, String>,
    tensors: &BTreeMap<String, (Dtype, Vec<usize>)>,
    mut fill: impl FnMut(&str, &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()>,
    known: impl FnOnce(&mut BTreeMap<&'m str, String>),
) -> io::Result<()> {
    let mut metadata = metadata;
    let bytes_of = |dtype: Dtype, shape: &[usize]| shape.iter().product::<usize>() * dtype.bitsize() / 8;
    let mut tensors: Vec<(&str, Dtype, &[usize])> =
        tensors.iter().map(|(name, (dtype, shape))| (&**name, *dtype, &**shape)).collect();
    tensors.sort_by_key(|(_, dtype, _)| std::cmp::Reverse(*dtype)); // stable: by name within a type
    let begin = |metadata: &BTreeMap<&str, String>| {
        let infos = tensors.iter().map(|&(name, dtype, shape)| (name, dtype, shape, bytes_of(dtype, shape)));
        let head = head_of(&metadata.iter().map(|(key, value)| (*key, &**value)).collect(), infos);
        [&(head.len() as u64).to_le_bytes()[..], &head].concat()
    };
    let mut file = BufWriter::with_capacity(BUFFER, File::create(path)?);
    let first = begin(&metadata);
    file.write_all(&first)?;
    for &(name, dtype, shape) in &tensors {
        let mut left = bytes_of(dtype, shape);
        fill(name, &mut |bytes| {
            left = left.checked_sub(bytes.len()).ok_or_else(|| io::Error::other(format!("{name} is too long")))?;
            file.write_all(bytes)
        })?;
        if left > 0 {
            return Err(io::Error::other(format!("{left} bytes of {name} are missing")));
        }
    }
    known(&mut metadata);
    let last = begin(&metadata);
    if last.len() != first.len() {
        return Err(io::Error::other("the head is longer now than it was"));
    }
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&last)?;
    file.flush()
}

/// What a file begins with, in JSON.
fn head<V: View>(metadata: &BTreeMap<&str, &str>, tensors: &[(&str, &V)]) -> Vec<u8> {
    let of =
        |(name, tensor): &(&'_ str, &V)| (name.to_string(), tensor.dtype(), tensor.shape().to_vec(), tensor.data_len());
    let tensors: Vec<_> = tensors.iter().map(of).collect();
    head_of(metadata, tensors.iter().map(|(name, dtype, shape, bytes)| (&**name, *dtype, &**shape, *bytes)))
}

fn head_of<'t>(
    metadata: &BTreeMap<&str, &str>,
    tensors: impl Iterator<Item = (&'t str, Dtype, &'t [usize], usize)>,
) -> Vec<u8> {
    let mut entries = vec![entry("__metadata__", metadata)];
    let mut from = 0;
    for (name, dtype, shape, bytes) in tensors {
        let to = from + bytes;
        entries.push(entry(name, &TensorInfo { dtype, shape: shape.to_vec(), data_offsets: (from, to) }));
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
    use safetensors::tensor::TensorView;

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

    #[test]
    fn tensors_that_come_one_stretch_after_the_other_make_the_file_that_they_make_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let [whole, stretches] = ["whole", "stretches"].map(|name| folder.path().join(name));
        let (floats, rows) = ([1.0f32, 2.0, 3.0, 4.0], [5u32, 6]);
        let (of_keys, of_floats) = ([7i64], bytemuck::cast_slice::<f32, u8>(&floats));
        let bytes: BTreeMap<&str, (Dtype, Vec<usize>, &[u8])> = [
            ("a", (Dtype::U32, vec![2], bytemuck::cast_slice(&rows))),
            ("b", (Dtype::F32, vec![2, 2], of_floats)),
            ("c", (Dtype::F32, vec![4], of_floats)),
            ("keys", (Dtype::I64, vec![1], bytemuck::cast_slice(&of_keys))),
        ]
        .into();
        let views: BTreeMap<&str, TensorView<'_>> = bytes
            .iter()
            .map(|(name, (dtype, shape, bytes))| (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()))
            .collect();
        write(&whole, &[("sum", "21"), ("what", "it is")].into(), &views).unwrap();
        let outlines: BTreeMap<String, (Dtype, Vec<usize>)> =
            bytes.iter().map(|(name, (dtype, shape, _))| (name.to_string(), (*dtype, shape.clone()))).collect();
        let metadata: BTreeMap<&str, String> = [("what", "it is".to_string()), ("sum", "00".into())].into();
        let known = |metadata: &mut BTreeMap<&str, String>| drop(metadata.insert("sum", "21".into()));
        for most in [3, 100] {
            let mut sum = 0;
            let fill = |name: &str, put: &mut dyn FnMut(&[u8]) -> io::Result<()>| {
                bytes[name].2.chunks(most).try_for_each(|part| {
                    sum += part.len();
                    put(part)
                })
            };
            write_as_they_come(&stretches, metadata.clone(), &outlines, fill, |_| {}).unwrap();
            assert_eq!(sum, 8 + 2 * 16 + 8);
            assert_ne!(std::fs::read(&whole).unwrap(), std::fs::read(&stretches).unwrap(), "the sum is not known yet");
            let fill = |name: &str, put: &mut dyn FnMut(&[u8]) -> io::Result<()>| put(bytes[name].2);
            write_as_they_come(&stretches, metadata.clone(), &outlines, fill, known).unwrap();
            assert_eq!(std::fs::read(&whole).unwrap(), std::fs::read(&stretches).unwrap());
        }
        let short = |name: &str, put: &mut dyn FnMut(&[u8]) -> io::Result<()>| put(&bytes[name].2[1..]);
        let short = write_as_they_come(&stretches, metadata, &outlines, short, known);
        assert!(short.unwrap_err().to_string().contains("1 bytes of keys are missing"));
    }
}
