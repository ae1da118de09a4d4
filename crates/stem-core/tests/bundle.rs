//! One file: what goes in comes out, and nothing else is taken for one.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;
use std::path::Path;
use stem_core::*;

fn bytes_of(config: &ModelConfig) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.safetensors");
    save(config, &path);
    std::fs::read(&path).unwrap()
}

fn message(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.safetensors");
    std::fs::write(&path, bytes).unwrap();
    let opened = Bundle::<ModelConfig>::open(&path).and_then(|bundle| bundle.load(&device()).map(|_| ()));
    let message = opened.unwrap_err().to_string();
    message.strip_prefix(&format!("{} is not a usable bundle: ", path.display())).unwrap().to_string()
}

/// Rewrites the manifest inside the header as a program would that gives it a checksum of its own; tensors untouched.
fn with_manifest(bytes: &[u8], edit: impl Fn(&mut serde_json::Value)) -> Vec<u8> {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let mut manifest: serde_json::Value =
        serde_json::from_str(header["__metadata__"]["stem.manifest"].as_str().unwrap()).unwrap();
    edit(&mut manifest);
    let manifest = manifest.to_string();
    let mut hasher = blake3::Hasher::new();
    hasher.update(manifest.as_bytes());
    let tensors = safetensors::SafeTensors::deserialize(bytes).unwrap();
    let mut tensors = tensors.tensors();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, tensor) in tensors {
        hasher.update(format!("{name} {:?} {:?}\n", tensor.dtype(), tensor.shape()).as_bytes());
        hasher.update(tensor.data());
    }
    header["__metadata__"]["stem.manifest"] = manifest.into();
    header["__metadata__"]["stem.checksum"] = hasher.finalize().to_hex().to_string().into();
    let mut header = header.to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes()[..], &header, &bytes[8 + length..]].concat()
}

#[test]
fn what_is_saved_is_loaded_for_every_model() {
    for config in every_model() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/b.safetensors");
        save(&config, &path);
        let bundle = Bundle::<ModelConfig>::open(&path).unwrap();
        assert_eq!(
            (&bundle.config, &bundle.vocabularies, &bundle.manifest.schema),
            (&config, &vocabularies(), &schema())
        );
        let (table, network) = bundle.load(&device()).unwrap();
        let (expected_table, expected) = init(&config, &device());
        let same = |a: &burn::tensor::Tensor<2>, b: &burn::tensor::Tensor<2>| a.to_data() == b.to_data();
        assert!(same(table.rows().tensor(), expected_table.rows().tensor()));
        assert_eq!(params::collect(&network), params::collect(&expected));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no scratch file is left");
    }
}

#[test]
fn a_bundle_is_a_safetensors_file_that_any_reader_opens() {
    let bytes = bytes_of(&stem());
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("embedding.table").unwrap().shape(), [11, 12]);
    assert_eq!(file.tensor("vocabulary.user.keys").unwrap().shape(), [3]);
    assert_eq!(file.tensor("network.net.layers.0.experts.own.layers.0.weight").unwrap().shape(), [4, 12, 6]);
    assert_eq!(file.tensor("network.net.layers.0.experts.shared.layers.0.weight").unwrap().shape(), [1, 12, 6]);
}

#[test]
fn a_missing_file_is_named() {
    let error = Bundle::<ModelConfig>::open("no/such.safetensors").unwrap_err().to_string();
    assert!(error.starts_with("cannot open no/such.safetensors: "), "{error}");
}

#[test]
fn what_is_no_bundle_says_which_check_failed() {
    let whole = bytes_of(&stem());
    let contains = |bytes: &[u8], text: &str| {
        let message = message(bytes);
        assert!(message.contains(text), "'{message}' does not contain '{text}'");
    };
    contains(&whole[..whole.len() - 1], "is it cut short?");
    contains(&whole[..100], "is it cut short?");
    contains(b"", "is it cut short?");
    contains(b"user,item\n1,2\n", "does not read as safetensors");
    let other = safetensors::serialize(Vec::<(String, safetensors::tensor::TensorView)>::new(), None).unwrap();
    contains(&other, "its metadata has no 'stem.manifest'");
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    contains(&damaged, "its checksum is another: it was damaged or edited");
    let swap = |text: &str| text.replace("\\\"like\\\"", "\\\"l1ke\\\""); // a name inside the manifest, edited by hand
    let edited = swap(&whole.iter().map(|&byte| byte as char).collect::<String>());
    let edited: Vec<u8> = edited.chars().map(|c| c as u8).collect();
    assert_ne!(edited, whole);
    contains(&edited, "its checksum is another: it was damaged or edited");
    let large = serde_json::json!([60000, 60000]);
    contains(&with_manifest(&whole, |m| m["model"]["experts"] = large.clone()), "and the file holds");
    contains(&with_manifest(&whole, |m| m["version"] = 1.into()), "format version 1, this program reads 2");
    contains(&with_manifest(&whole, |m| m["version"] = "x".into()), "format version none, this program reads 2");
    contains(&with_manifest(&whole, |m| m["model"]["dim"] = 5.into()), "schema and model need F32 [11, 15]");
    contains(&with_manifest(&whole, |m| m["model"]["dim"] = 0.into()), "`dim` is 0, expected 1 to 65536");
    contains(&with_manifest(&whole, |m| m["model"]["name"] = "other".into()), "unknown variant `other`");
    contains(&with_manifest(&whole, |m| m["model"]["tower"] = serde_json::json!([9])), "the model needs [2, 5, 9]");
    contains(&with_manifest(&whole, |m| m["model"]["layers"] = 1.into()), "belongs to no part of this model");
    contains(&with_manifest(&whole, |m| m["model"]["tower"] = serde_json::json!([3, 1])), "is missing");
    contains(
        &with_manifest(&whole, |m| m["schema"]["vocabularies"][0]["rows"] = 6.into()),
        "vocabulary 'user' has 5 rows, the schema says 6",
    );
    contains(&with_manifest(&whole, |m| m["schema"]["tasks"] = serde_json::json!([])), "it has no tasks");
}

#[test]
fn a_failed_write_leaves_the_older_bundle_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.safetensors");
    save(&stem(), &path);
    let before = std::fs::read(&path).unwrap();
    // A folder in the place of the target cannot be replaced by a file.
    let blocked = folder.path().join("blocked");
    std::fs::create_dir_all(blocked.join("inside")).unwrap();
    let (mut table, network) = init(&stem(), &device());
    let save_to = |path: &Path, table: &mut EmbeddingTable| {
        bundle::save(path, &schema(), &vocabularies(), &stem(), table, &network, &serde_json::Value::Null)
    };
    let error = save_to(&blocked, &mut table).unwrap_err().to_string();
    assert!(error.starts_with("cannot write ") && error.ends_with("what was there before is untouched"), "{error}");
    assert!(blocked.join("inside").is_dir());
    assert_eq!(std::fs::read(&path).unwrap(), before);
    save_to(&path, &mut table).unwrap(); // the table is usable after a failure
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no scratch file is left");
}
