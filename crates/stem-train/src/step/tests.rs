//! Gradients by slot, of which the learned prior takes its curvature, beside those by row.

use stem_core::loss::Targets;
use stem_core::models::StemConfig;
use stem_core::{Batch, DeviceSpec, Field, Schema, Task, VocabularySpec};

use super::*;

#[test]
fn gradients_by_slot_sum_to_those_by_row_and_come_with_the_rows_of_their_slots() {
    let fields = vec![Field::category("user", 0), Field::category("item", 1)];
    let vocabularies = vec![VocabularySpec::new("user", 6), VocabularySpec::new("item", 5)];
    let schema = Schema::new(fields, vocabularies, vec![Task::new("a"), Task::new("b")]);
    let sizes = vec![4];
    let spec = StemConfig {
        dim: 2,
        experts: vec![8, 4],
        gate: sizes.clone(),
        tower: sizes,
        shared_experts: 1,
        ..StemConfig::default()
    };
    let device = DeviceSpec::default().open().unwrap();
    let state = TrainState::init(&spec, &schema, 0.5, 3, TableMode::RowSparse, &device);
    // Users 1 and 2 stand in several rows; a label is missing; the third row counts twice.
    let ids = vec![1, 7, 2, 8, 1, 8, 2, 7];
    let labels = vec![1.0, 0.0, 0.0, f32::NAN, 0.0, 1.0, 1.0, 0.0];
    let batch = Batch::new(4, ids.clone(), vec![1.0; 8]).with_labels(labels).with_row_weights(vec![1.0, 1.0, 2.0, 1.0]);
    let objective = Objective { task_weights: vec![2.0, 0.5], ..Objective::plain(2) };
    let (_, gradients) = state.differentiate(&batch, &objective);
    let labelled = Targets::counts(&batch, 2);
    let (values, slopes) = state.slot_gradients(gradients.batch(), &batch, &labelled, &objective.task_weights);

    let [_, width] = state.table.rows().dims();
    assert_eq!((values.len(), slopes.len()), (ids.len() * width, ids.len() * width));
    let by_row: Vec<f32> = gradients.rows.clone().into_data().try_into_vec().unwrap();
    let table: Vec<f32> = state.table.rows().read(<[f32]>::to_vec);
    assert!(by_row.iter().any(|slope| slope.abs() > 1e-3), "there is something to compare");
    for (place, &row) in gradients.batch().row_ids().iter().enumerate() {
        let slots: Vec<usize> = (0..ids.len()).filter(|&slot| ids[slot] == row).collect();
        for k in 0..width {
            let sum: f32 = slots.iter().map(|slot| slopes[slot * width + k]).sum();
            let expected = by_row[place * width + k];
            assert!((sum - expected).abs() < 1e-6, "row {row}, column {k}: {sum}, expected {expected}");
            for slot in &slots {
                assert_eq!(values[slot * width + k], table[row as usize * width + k], "slot {slot}");
            }
        }
    }
}
