//! Any bytes as a bundle, trusted and not: an error or a model that scores.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stem_core::bundle::Verify;
use stem_core::{DeviceSpec, Predictor, PredictorOptions, Row, example_row};

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder for the file");
    let path = folder.path().join("b");
    std::fs::write(&path, bytes).expect("a file");
    let device = DeviceSpec::default().open().expect("flex is always there");
    for verify in [Verify::Full, Verify::None] {
        let Ok(predictor) = Predictor::open_with(&path, &device, PredictorOptions::verifying(verify)) else { continue };
        let row = example_row(predictor.schema(), predictor.vocabularies()).into_iter();
        let row: Row = row.map(|(column, value)| (column, value.to_string())).collect();
        let _ = predictor.predict(&[row]);
        let _ = predictor.check_golden();
    }
});
