//! Whose experts a task reads: gate weights, added up by the experts' owners, averaged over rows.

use burn::tensor::Tensor;

/// Adds up gate weights batch by batch, over all rows and over parts of them in the same pass.
///
/// ```text
/// mean[t][k] = 1/N sum_n sum_{e of owner k} g_t[n][e]
/// ```
#[derive(Debug, Clone)]
pub struct GateSums {
    owners: Vec<usize>,
    parts: usize,
    layers: Vec<LayerSums>,
}

#[derive(Debug, Clone)]
struct LayerSums {
    streams: usize,
    groups: usize,
    sums: Vec<f64>,   // [parts, streams, groups]
    rows: Vec<usize>, // [parts]
}

/// Mean weights of one layer's gates.
#[derive(Debug, Clone, PartialEq)]
pub struct GateMean {
    /// Gates: a task's each, then that of a shared stream; one where all tasks have the same.
    pub streams: usize,
    /// Groups of experts with one owner; single experts where they belong to nobody.
    pub groups: usize,
    /// `[streams, groups]`, each row summing to 1.
    pub values: Vec<f64>,
}

impl GateSums {
    /// Of a model whose experts have these owners ([`gate_groups`](crate::models::ModelSpec::gate_groups)), over so many parts of the
    /// rows.
    pub fn new(owners: &[usize], parts: usize) -> Self {
        Self { owners: owners.to_vec(), parts, layers: Vec::new() }
    }

    /// Adds a batch: `gates [T, B, E]` layer by layer, and which parts each of its rows belongs to.
    pub fn add<P: IntoIterator<Item = usize>>(&mut self, gates: Vec<Tensor<3>>, parts_of: impl Fn(usize) -> P) {
        for (l, g) in gates.into_iter().enumerate() {
            let [streams, rows, experts] = g.dims();
            let groups = self.owners.iter().max().map_or(experts, |last| last + 1);
            if self.layers.len() == l {
                let sums = vec![0.0; self.parts * streams * groups];
                self.layers.push(LayerSums { streams, groups, sums, rows: vec![0; self.parts] });
            }
            let layer = &mut self.layers[l];
            let g: Vec<f32> = g.into_data().try_into_vec().expect("gates are f32");
            let size = streams * groups;
            let mut of_row = vec![0.0; size]; // [streams, groups]
            for row in 0..rows {
                of_row.fill(0.0);
                for stream in 0..streams {
                    let weights = &g[(stream * rows + row) * experts..][..experts];
                    for (e, weight) in weights.iter().enumerate() {
                        of_row[stream * groups + self.owners.get(e).copied().unwrap_or(e)] += f64::from(*weight);
                    }
                }
                for part in parts_of(row) {
                    layer.rows[part] += 1;
                    let sums = &mut layer.sums[part * size..(part + 1) * size];
                    sums.iter_mut().zip(&of_row).for_each(|(sum, weight)| *sum += weight);
                }
            }
        }
    }

    /// The means over one part, layer by layer; nothing where the part has no rows.
    pub fn means(&self, part: usize) -> Vec<GateMean> {
        let mean = |layer: &LayerSums| {
            let (size, rows) = (layer.streams * layer.groups, layer.rows[part]);
            let values = layer.sums[part * size..(part + 1) * size].iter().map(|sum| sum / rows as f64).collect();
            (rows > 0).then_some(GateMean { streams: layer.streams, groups: layer.groups, values })
        };
        self.layers.iter().filter_map(mean).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceSpec;

    fn tensor(values: [[[f32; 3]; 2]; 2]) -> Tensor<3> {
        Tensor::from_floats(values, &DeviceSpec::from_env().unwrap().open().unwrap())
    }

    #[test]
    fn weights_are_added_up_by_owner_and_averaged_over_the_rows_of_each_part() {
        let gates = || vec![tensor([[[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]], [[0.0, 0.5, 0.5], [0.25, 0.25, 0.5]]])];
        let mut sums = GateSums::new(&[0, 1, 1], 3);
        sums.add(gates(), |row| [0, 1 + row]);
        let of = |part: usize| sums.means(part)[0].values.clone();
        assert_eq!(of(0), [0.25, 0.75, 0.125, 0.875]);
        assert_eq!(of(1), [0.5, 0.5, 0.0, 1.0]);
        assert_eq!(of(2), [0.0, 1.0, 0.25, 0.75]);
        let mut sums = GateSums::new(&[], 2);
        sums.add(gates(), |_| [0]);
        assert_eq!(sums.means(0)[0].groups, 3, "experts of nobody stay apart");
        assert!(sums.means(1).is_empty(), "a part without rows has no mean");
    }
}
