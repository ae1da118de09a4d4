//! What a bundle brings along to be held to, and why a row has its scores.

use crate::common::*;
use std::collections::BTreeMap;
use std::path::Path;
use stem_core::bundle::Packing;
use stem_core::models::ModelSpec;
use stem_core::nn::*;
use stem_core::*;

fn open(path: &Path) -> Predictor {
    Predictor::open(path, &device()).unwrap()
}

#[test]
fn every_bundle_brings_rows_that_it_scores_as_when_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let (path, packed) = (folder.path().join("b"), folder.path().join("packed"));
    for config in every_model() {
        save(&config, &path);
        assert_eq!(open(&path).check_golden().unwrap(), 16);
        let bundle = Bundle::<ModelConfig>::open(&path).unwrap();
        let golden = bundle.manifest.golden.clone().unwrap();
        assert!(golden.rows.iter().all(|row| row.len() == 3) && golden.scores.len() == 2);
        assert!(golden.rows[15].values().all(serde_json::Value::is_null), "the last row is of nulls");
        let users: Vec<_> = golden.rows[..15].iter().map(|row| row["user"].as_i64().unwrap()).collect();
        assert!([10, 20, 30].iter().all(|user| users.contains(user)), "from the first key to the last: {users:?}");
        bundle::pack(&bundle, Packing::Int4).unwrap().save(&packed, serde_json::Value::Null).unwrap();
        assert_eq!(open(&packed).check_golden().unwrap(), 16, "packed rows are held to their own scores");
    }
}

#[test]
fn golden_rows_of_several_states_and_of_calibrated_scores_are_those_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (table, _) = init(&stem(), &device());
    let platt = Calibration::Platt { slope: 0.5, offset: -1.0 };
    let parts = ["love", "like"].iter().zip(1..).map(|(task, seed)| {
        let network = stem().init(&schema(), &mut rng(seed), &device());
        let said = serde_json::json!({ "seed": seed });
        let maps = BTreeMap::from([(task.to_string(), platt.clone())]);
        let (part, schema, keys) = (path(task), schema(), vocabularies());
        bundle::save_calibrated(&part, &schema, &keys, &stem(), &table, &network, &said, &maps).unwrap();
        assert_eq!(open(&part).check_golden().unwrap(), 16);
        assert!(open(&part).uncalibrated().check_golden().is_err(), "other scores are noticed");
        (Bundle::<ModelConfig>::open(&part).unwrap(), vec![task.to_string()])
    });
    bundle::combine(&path("whole"), &parts.collect::<Vec<_>>(), &serde_json::Value::Null).unwrap();
    assert_eq!(open(&path("whole")).check_golden().unwrap(), 16);
}

#[test]
fn weights_that_give_no_numbers_have_no_golden_rows_and_are_saved_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b");
    let (_, network) = init(&stem(), &device());
    let widths = stem().widths(&schema());
    let values = vec![f32::NAN; schema().rows() * widths.iter().sum::<usize>()];
    let table = EmbeddingTable::from_values(values, &widths, &device().inner());
    bundle::save(&path, &schema(), &vocabularies(), &stem(), &table, &network, &serde_json::Value::Null).unwrap();
    assert!(Bundle::<ModelConfig>::open(&path).unwrap().manifest.golden.is_none());
}

#[test]
fn a_field_adds_what_the_score_loses_with_its_mean_row_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b");
    for config in every_model() {
        save(&config, &path);
        let predictor = open(&path);
        let explained = predictor.explain(&rows()).unwrap();
        let scores = predictor.predict(&rows()).unwrap();
        let has_gates = !predictor.gates(&predictor.encode(&rows()).unwrap()).unwrap().is_empty();
        for (row, explanation) in explained.iter().enumerate() {
            assert_eq!(
                explanation.fields.iter().map(|own| own.field.as_str()).collect::<Vec<_>>(),
                ["user", "tags", "age"]
            );
            for task in ["like", "love"] {
                assert!((explanation.scores[task] - scores.get(row, task).unwrap()).abs() <= tolerance());
            }
            assert_eq!(explanation.gates.is_empty(), !has_gates);
            for weights in explanation.gates.iter().flat_map(|layer| [&layer["like"], &layer["love"]]) {
                assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{weights:?}");
            }
        }
        // The age of row 2 is null, which is its mean: it adds nothing. An age that is far from it does.
        assert!(explained[2].fields[2].tasks.values().all(|added| *added == 0.0));

        // By hand: the table with the mean of the users' rows in the place of user 10's.
        let (table, network) = Bundle::<ModelConfig>::open(&path).unwrap().load(&device()).unwrap();
        let width: usize = table.widths().iter().sum();
        let mut values = table.rows().read(<[f32]>::to_vec);
        for column in 0..width {
            values[width + column] = (1..4).map(|row| values[row * width + column]).sum::<f32>() / 3.0;
        }
        let other = EmbeddingTable::from_values(values, table.widths(), &device().inner());
        let batch = predictor.encode(&rows()[..1]).unwrap();
        let layout = SlotLayout::new(&schema(), table.widths());
        let without = score(&network, &other, &layout, &schema(), &batch);
        for (task, without) in ["like", "love"].into_iter().zip(without) {
            let added = explained[0].fields[0].tasks[task];
            let expected = scores.get(0, task).unwrap() - without;
            assert!((added - expected).abs() <= 10.0 * tolerance(), "{config:?} {task}: {added}, by hand {expected}");
        }
    }
    let message = open(&path).explain(&[Row::new()]).unwrap_err().to_string();
    assert!(message.contains("row 0 has no column 'user'"), "{message}");
}
