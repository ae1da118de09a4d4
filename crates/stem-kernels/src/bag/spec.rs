//! The equations, loop by loop, in double precision.

use super::{BagLayout, ColumnGroups};

/// `x [K, B, F * D]`
pub(super) fn forward(
    layout: &BagLayout,
    streams: &ColumnGroups,
    table: &[f32],
    ids: &[u32],
    weights: &[f32],
) -> Vec<f64> {
    let mut x = Vec::new();
    for groups in &streams.groups {
        for b in 0..ids.len() / layout.slots() {
            for slots in &layout.fields {
                for i in 0..streams.dim {
                    x.push(0.0);
                    for place in slots.clone().map(|s| b * layout.slots() + s) {
                        let row = ids[place] as usize * layout.width;
                        let sum: f64 = groups.iter().map(|group| f64::from(table[row + group + i])).sum();
                        *x.last_mut().unwrap() += f64::from(weights[place]) * sum;
                    }
                }
            }
        }
    }
    x
}

/// The gradient of every row of a table of `rows` rows. `[V, W]`
pub(super) fn backward(
    layout: &BagLayout,
    streams: &ColumnGroups,
    rows: usize,
    ids: &[u32],
    weights: &[f32],
    dx: &[f32],
) -> Vec<f64> {
    let mut grad = vec![0.0; rows * layout.width];
    let mut dx = dx.iter();
    for groups in &streams.groups {
        for b in 0..ids.len() / layout.slots() {
            for slots in &layout.fields {
                for i in 0..streams.dim {
                    let d = f64::from(*dx.next().unwrap());
                    for place in slots.clone().map(|s| b * layout.slots() + s) {
                        for group in groups {
                            grad[ids[place] as usize * layout.width + group + i] += f64::from(weights[place]) * d;
                        }
                    }
                }
            }
        }
    }
    grad
}
