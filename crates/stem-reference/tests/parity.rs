//! Held to the reference implementation, number by number.

use crate::common::*;
use stem_core::DeviceSpec;
use stem_reference::parity::{Tolerances, check_fixture};

#[test]
fn every_number_of_the_reference_is_met() {
    let folder = fixtures();
    let tolerances = if matches!(spec(), DeviceSpec::Wgpu(_)) { Tolerances::GPU } else { Tolerances::HOST };
    let device = spec().open().unwrap();
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut fixtures: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "safetensors")).collect();
    fixtures.sort();
    assert!(fixtures.len() >= 8, "a fixture per model: {fixtures:?}");
    for path in fixtures {
        let checks = check_fixture(&path, &device, tolerances).unwrap();
        assert!(checks.len() >= 10, "{}: only {} comparisons", path.display(), checks.len());
        for check in checks {
            assert!(check.passed(), "{}: {check}", path.display());
        }
    }
}

/// A comparison that cannot fail proves nothing: one weight is moved by 1e-3.
#[test]
fn a_weight_that_is_off_is_noticed() {
    let folder = fixtures();
    let mut bytes = std::fs::read(folder.join("STEM.safetensors")).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let offset = {
        let json: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
        let tensor = &json["param.stem_layers.0.shared_experts.0.mlp.2.bias"];
        8 + header + tensor["data_offsets"][0].as_u64().unwrap() as usize
    };
    let moved = f32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap()) + 1e-3;
    bytes[offset..offset + 4].copy_from_slice(&moved.to_le_bytes());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("off.safetensors");
    std::fs::write(&path, bytes).unwrap();
    let checks = check_fixture(&path, &spec().open().unwrap(), Tolerances::HOST).unwrap();
    assert!(checks.iter().any(|check| check.what == "output.pred" && !check.passed()));
    assert!(checks.iter().any(|check| check.what.starts_with("after_steps.param") && !check.passed()));
}

#[test]
fn what_is_no_fixture_is_named() {
    let device = spec().open().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let message = || check_fixture(&path, &device, Tolerances::HOST).unwrap_err().to_string();
    assert!(message().starts_with(&format!("cannot read {}", path.display())));
    std::fs::write(&path, "not a fixture").unwrap();
    assert!(message().contains("it does not read as safetensors"), "{}", message());
    let none: Vec<(String, safetensors::tensor::TensorView<'_>)> = Vec::new();
    std::fs::write(&path, safetensors::serialize(none, Some([("model".into(), "STEM".into())].into())).unwrap())
        .unwrap();
    assert_eq!(message(), format!("{}: its metadata has no 'vocab_sizes'", path.display()));
}
