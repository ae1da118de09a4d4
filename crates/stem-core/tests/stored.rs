//! Tables that stay in the bundle's file: mapped, packed, verified as far as was asked for.

use crate::common::*;
use safetensors::tensor::SafeTensors;
use std::path::{Path, PathBuf};
use stem_core::bundle::{BundleFault, Packing, Verify};
use stem_core::models::ModelSpec;
use stem_core::nn::*;
use stem_core::*;

struct Saved {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn saved(config: &ModelConfig) -> Saved {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.safetensors");
    save(config, &path);
    Saved { _folder: folder, path }
}

fn packed(from: &Path, packing: Packing) -> PathBuf {
    let out = from.with_file_name(format!("{packing}.safetensors"));
    let bundle = Bundle::<ModelConfig>::open(from).unwrap();
    bundle::pack(&bundle, packing).unwrap().save(&out, serde_json::Value::Null).unwrap();
    out
}

fn bits(scores: &Scores) -> Vec<u32> {
    scores.rows().flatten().map(|score| score.to_bits()).collect()
}

fn open(path: &Path, verify: Verify) -> Result<Predictor> {
    Predictor::open_with(path, &device(), PredictorOptions::verifying(verify))
}

fn on_flex() -> bool {
    DeviceSpec::from_env().unwrap() == DeviceSpec::Flex
}

#[test]
fn a_table_that_is_read_in_its_file_scores_as_one_that_was_copied_for_every_model() {
    for config in every_model() {
        let saved = saved(&config);
        for verify in [Verify::Full, Verify::Header, Verify::None] {
            let predictor = open(&saved.path, verify).unwrap();
            assert_eq!(predictor.table().is_in_file(), on_flex());
            let (table, network) = Bundle::<ModelConfig>::open(&saved.path).unwrap().load(&device()).unwrap();
            let batch = predictor.encode(&rows()).unwrap();
            let layout = SlotLayout::new(&schema(), table.widths());
            let expected = score(&network, &table, &layout, &schema(), &batch);
            let found = predictor.score(&batch).unwrap();
            assert_eq!(bits(&found), expected.iter().map(|score| score.to_bits()).collect::<Vec<_>>(), "{config:?}");
            let plain = fused::without(|| predictor.score(&batch).unwrap());
            assert!(found.rows().flatten().zip(plain.rows().flatten()).all(|(a, b)| (a - b).abs() <= tolerance()));
            let ids: Vec<u32> = (0..schema().rows() as u32).collect();
            table.rows().read(|values| assert_eq!(predictor.table().gather(&ids), values));
        }
    }
}

/// What is done to a file.
type Edit<'e> = &'e dyn Fn(&mut [u8]);

/// The place in the file of a tensor's first byte.
fn place(bytes: &[u8], tensor: &str) -> usize {
    let file = SafeTensors::deserialize(bytes).unwrap();
    file.tensor(tensor).unwrap().data().as_ptr() as usize - bytes.as_ptr() as usize
}

#[test]
fn each_way_to_verify_notices_what_it_promises_and_no_more() {
    let saved = saved(&stem());
    let whole = std::fs::read(&saved.path).unwrap();
    let opened = |edit: &dyn Fn(&mut [u8]), verify: Verify| {
        let mut bytes = whole.clone();
        edit(&mut bytes);
        let path = saved.path.with_file_name("edited.safetensors");
        std::fs::write(&path, bytes).unwrap();
        open(&path, verify).map(|predictor| predictor.predict(&rows()).unwrap())
    };
    let at = |tensor: &str| {
        let place = place(&whole, tensor);
        move |bytes: &mut [u8]| bytes[place] ^= 1
    };
    let (table, keys) = (at("embedding.table"), at("vocabulary.user.keys"));
    let network = at("network.net.layers.0.experts.own.layers.0.weight");
    let seed = whole.windows(8).position(|text| text == b"seed\\\":7").unwrap();
    let manifest = |bytes: &mut [u8]| bytes[seed + 7] ^= 1; // 7 to 6
    let edits: [(Edit<'_>, [bool; 3]); 4] = [
        (&table, [false, true, true]),
        (&keys, [false, true, true]),
        (&network, [false, false, true]),
        (&manifest, [false, false, true]),
    ];
    for (number, (edit, taken)) in edits.into_iter().enumerate() {
        for (verify, taken) in [Verify::Full, Verify::Header, Verify::None].into_iter().zip(taken) {
            let found = opened(edit, verify);
            assert_eq!(found.is_ok(), taken, "edit {number} under {verify}: {found:?}");
            if let Err(error) = found {
                assert!(matches!(error, Error::Bundle { fault: BundleFault::Checksum, .. }), "{}", chain(&error));
            }
        }
    }
    // Keys that are not in order and texts that are cut wrongly are found or not found, and read nothing outside the file.
    let offsets = place(&whole, "vocabulary.tags.offsets");
    let wild = |bytes: &mut [u8]| bytes[offsets + 8..offsets + 16].fill(0xff);
    assert!(opened(&wild, Verify::Full).is_err());
    opened(&wild, Verify::None).unwrap();
}

#[test]
fn a_bundle_without_a_checksum_of_its_head_is_one_that_an_older_program_wrote() {
    let saved = saved(&stem());
    let bytes = std::fs::read(&saved.path).unwrap();
    let renamed = |to: &str| {
        let place = bytes.windows(9).position(|text| text == b"stem.head").unwrap();
        let mut bytes = bytes.clone();
        bytes[place..place + 9].copy_from_slice(to.as_bytes());
        let path = saved.path.with_file_name("renamed.safetensors");
        std::fs::write(&path, bytes).unwrap();
        open(&path, Verify::Full).map(|_| ())
    };
    let error = renamed("stem.heae").unwrap_err();
    assert!(chain(&error).ends_with("its metadata hold 'stem.heae', which no bundle has: it was damaged or edited"));
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/bundle-v2.safetensors");
    for verify in [Verify::Full, Verify::Header, Verify::None] {
        open(&sample, verify).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_is_replaced_stays_as_it_was_under_who_has_it_open() {
    let (old, new) = (saved(&stem()), saved(&shared_bottom()));
    let predictor = open(&old.path, Verify::Header).unwrap();
    let before = predictor.predict(&rows()).unwrap();
    std::fs::rename(&new.path, &old.path).unwrap();
    assert_eq!(bits(&predictor.predict(&rows()).unwrap()), bits(&before));
    assert_ne!(open(&old.path, Verify::Full).unwrap().predict(&rows()).unwrap(), before);
}

#[test]
fn packed_rows_score_as_the_numbers_that_they_unpack_to_for_every_model() {
    for config in every_model() {
        let saved = saved(&config);
        let plain = open(&saved.path, Verify::Full).unwrap();
        let whole = plain.predict(&rows()).unwrap();
        for (packing, far) in [(Packing::F16, 2e-3), (Packing::Int8, 3e-2), (Packing::Int4, 0.5)] {
            let path = packed(&saved.path, packing);
            let predictor = open(&path, Verify::Full).unwrap();
            assert!(predictor.table().is_in_file(), "on every device");
            let bundle = Bundle::<ModelConfig>::open(&path).unwrap();
            assert_eq!((bundle.manifest.version, bundle.manifest.rows.unwrap().packing()), (6, packing));
            let ids: Vec<u32> = (0..schema().rows() as u32).collect();
            let values = predictor.table().gather(&ids);
            let said = bundle.manifest.packed.unwrap();
            let errors = plain.table().gather(&ids).into_iter().zip(&values).map(|(a, b)| (a - b).abs());
            assert_eq!(said.largest_error, errors.fold(0.0, f32::max));
            assert!(said.rms_error <= said.largest_error && said.rms > 0.1 && said.of == plain.checksum());

            let (_, network) = Bundle::<ModelConfig>::open(&saved.path).unwrap().load(&device()).unwrap();
            let table = EmbeddingTable::from_values(values, predictor.table().widths(), &device().inner());
            let batch = predictor.encode(&rows()).unwrap();
            let layout = SlotLayout::new(&schema(), table.widths());
            let expected = score(&network, &table, &layout, &schema(), &batch);
            let found = predictor.score(&batch).unwrap();
            let off = found.rows().flatten().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off <= if on_flex() { 0.0 } else { tolerance() }, "{packing}: {off}");
            let plainly = fused::without(|| predictor.score(&batch).unwrap());
            assert!(found.rows().flatten().zip(plainly.rows().flatten()).all(|(a, b)| (a - b).abs() <= tolerance()));
            let off =
                found.rows().flatten().zip(whole.rows().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off > 0.0 && off < far, "{packing}: {off}");
        }
    }
}

#[test]
fn rows_are_packed_once_and_no_training_goes_on_from_them() {
    let saved = saved(&stem());
    let path = packed(&saved.path, Packing::Int8);
    let bundle = Bundle::<ModelConfig>::open(&path).unwrap();
    for error in [bundle.load(&device()).err().unwrap(), bundle::pack(&bundle, Packing::F16).err().unwrap()] {
        let message = chain(&error);
        assert!(message.ends_with("packed as int8: go on from the bundle that it was made of, whose rows are f32"));
    }
}

#[test]
fn rows_that_half_precision_does_not_hold_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.safetensors");
    let (_, network) = init(&stem(), &device());
    let widths = stem().widths(&schema());
    let values = vec![70_000.0; schema().rows() * widths.iter().sum::<usize>()];
    let table = EmbeddingTable::from_values(values, &widths, &device().inner());
    bundle::save(&path, &schema(), &vocabularies(), &stem(), &table, &network, &serde_json::Value::Null).unwrap();
    let bundle = Bundle::<ModelConfig>::open(&path).unwrap();
    let error = chain(&bundle::pack(&bundle, Packing::F16).err().unwrap());
    assert!(error.ends_with("its rows hold 70000, and f16 ends at 65504: pack them as int8"), "{error}");
    bundle::pack(&bundle, Packing::Int4).unwrap();
}
