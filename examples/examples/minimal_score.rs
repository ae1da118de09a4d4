//! Scores raw rows from a bundle, in twenty lines; the README shows this very text.

use stem_core::{DeviceSpec, Predictor, Row};

fn main() -> Result<(), stem_core::Error> {
    // The bundle holds schema, vocabularies and weights: raw values are all it needs.
    let device = DeviceSpec::default().open()?;
    let predictor = Predictor::open("out/minimal/bundle.safetensors", &device)?;

    let row = |user: i64, item: i64| {
        Row::new().with("user", user).with("item", item).with("user_group", 1).with("item_category", 2)
    };
    let scores = predictor.predict(&[row(7, 21), row(7, 22), row(123_456, 21)])?; // the last user is unseen
    for (i, probabilities) in scores.rows().enumerate() {
        println!("row {i}: {:?} = {probabilities:.3?}", scores.tasks());
    }
    Ok(())
}
