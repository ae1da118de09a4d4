//! The equations, loop by loop, in double precision.

use super::MixShape;

/// `(g, o)`
pub(super) fn forward(shape: MixShape, z: &[f32], h: &[&[f32]]) -> (Vec<f64>, Vec<f64>) {
    let MixShape { tasks, rows, experts, hidden } = shape;
    let (mut g, mut o) = (vec![0.0; shape.gates()], vec![0.0; shape.outputs()]);
    for t in 0..tasks {
        for b in 0..rows {
            let at = (t * rows + b) * experts;
            let highest = z[at..at + experts].iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let weight = |e: usize| f64::from(z[at + e] - highest).exp();
            let total: f64 = (0..experts).map(weight).sum();
            for e in 0..experts {
                g[at + e] = weight(e) / total;
                for k in 0..hidden {
                    o[(t * rows + b) * hidden + k] += g[at + e] * f64::from(h[e][b * hidden + k]);
                }
            }
        }
    }
    (g, o)
}

/// `(dz, dh)`, `dh` with all experts side by side: `[E, B, H]`.
pub(super) fn backward(shape: MixShape, mask: &[bool], g: &[f32], h: &[&[f32]], d_o: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let MixShape { tasks, rows, experts, hidden } = shape;
    let (mut dg, mut dz) = (vec![0.0; shape.gates()], vec![0.0; shape.gates()]);
    let mut dh = vec![0.0; experts * shape.hiddens()];
    for t in 0..tasks {
        for b in 0..rows {
            let at = (t * rows + b) * experts;
            for e in 0..experts {
                for k in 0..hidden {
                    let d = f64::from(d_o[(t * rows + b) * hidden + k]);
                    dg[at + e] += d * f64::from(h[e][b * hidden + k]);
                    if mask[t * experts + e] {
                        dh[(e * rows + b) * hidden + k] += f64::from(g[at + e]) * d;
                    }
                }
            }
            let mean: f64 = (at..at + experts).map(|i| f64::from(g[i]) * dg[i]).sum();
            for i in at..at + experts {
                dz[i] = f64::from(g[i]) * (dg[i] - mean);
            }
        }
    }
    (dz, dh)
}
