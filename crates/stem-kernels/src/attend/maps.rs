//! The first map of the MLP taken apart, and the gradients of all maps put together again.

use super::{Attention, Gradients};
use crate::mat::{Mat, MatMut};
use crate::product::{Epilogue, multiply};

/// The first map of a group, of inputs `[q ; k ; q - k ; q * k ; p]`.
pub(super) struct Folded {
    /// `W_q + W_d`. `[D, H]`
    pub query: Vec<f32>,
    /// `[W_k - W_d ; W_m]`. `[2 D, H]`
    pub value: Vec<f32>,
    /// `p W_p`; empty without positions. `[L, H]`
    pub places: Vec<f32>,
}

impl Folded {
    pub fn new(of: &Attention, g: usize) -> Self {
        let (size, hidden) = (of.dim * of.maps[0].output, of.maps[0].output);
        let parts = if of.positions.is_some() { 5 } else { 4 };
        let weight = &of.maps[0].weight[g * parts * size..][..parts * size];
        let part = |i: usize| &weight[i * size..][..size];
        let [of_q, of_k, of_difference, of_product] = [0, 1, 2, 3].map(part);
        let query = of_q.iter().zip(of_difference).map(|(q, d)| q + d).collect();
        let value = of_k.iter().zip(of_difference).map(|(k, d)| k - d).chain(of_product.iter().copied()).collect();
        let mut places = Vec::new();
        if let Some((positions, _)) = of.positions {
            places.resize(of.length * hidden, 0.0);
            let positions = Mat::new(&positions[g * of.length * of.dim..], of.length, of.dim);
            let found = MatMut::new(&mut places, of.length, hidden);
            multiply(of.precision, positions, Mat::new(part(4), of.dim, hidden), found, Epilogue::default());
        }
        Self { query, value, places }
    }
}

/// Gradients of the parameters of a group, of a piece of the rows.
pub(super) struct Partial {
    /// As [`Folded::query`].
    pub query: Vec<f32>,
    /// As [`Folded::value`].
    pub value: Vec<f32>,
    /// As [`Folded::places`].
    pub places: Vec<f32>,
    /// Weight and bias of every map; of the first the bias alone.
    pub maps: Vec<[Vec<f32>; 2]>,
}

impl Partial {
    pub fn zeros(of: &Attention) -> Self {
        let (size, hidden) = (of.dim * of.maps[0].output, of.maps[0].output);
        let of_map = |l: usize| {
            let (input, output) = (if l == 0 { 0 } else { of.maps[l - 1].output }, of.maps[l].output);
            [vec![0.0; input * output], vec![0.0; output]]
        };
        Self {
            query: vec![0.0; size],
            value: vec![0.0; 2 * size],
            places: vec![0.0; if of.positions.is_some() { of.length * hidden } else { 0 }],
            maps: (0..of.maps.len()).map(of_map).collect(),
        }
    }

    fn parts(&mut self) -> impl Iterator<Item = &mut Vec<f32>> {
        let Self { query, value, places, maps } = self;
        [query, value, places].into_iter().chain(maps.iter_mut().flatten())
    }

    /// In the order of the pieces.
    pub fn sum(of: &Attention, partials: Vec<Self>) -> Self {
        let mut sum = Self::zeros(of);
        for mut partial in partials {
            for (sum, own) in sum.parts().zip(partial.parts()) {
                sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += *own);
            }
        }
        sum
    }

    /// Writes the gradients of a group's parameters.
    pub fn unfold(self, of: &Attention, g: usize, gradients: &mut Gradients) {
        let (size, hidden) = (of.dim * of.maps[0].output, of.maps[0].output);
        let parts = if of.positions.is_some() { 5 } else { 4 };
        for (l, [weight, bias]) in self.maps.iter().enumerate() {
            let [dweight, dbias] = &mut gradients.maps[l];
            dbias[g * bias.len()..][..bias.len()].copy_from_slice(bias);
            if l > 0 {
                dweight[g * weight.len()..][..weight.len()].copy_from_slice(weight);
            }
        }
        let first = &mut gradients.maps[0][0][g * parts * size..][..parts * size];
        let (of_k, of_product) = self.value.split_at(size);
        for i in 0..size {
            first[i] = self.query[i];
            first[size + i] = of_k[i];
            first[2 * size + i] = self.query[i] - of_k[i];
            first[3 * size + i] = of_product[i];
        }
        if let (Some((positions, _)), Some(dpositions)) = (of.positions, &mut gradients.positions) {
            let (count, plain) = (of.length * of.dim, Epilogue::default());
            let positions = Mat::new(&positions[g * count..], of.length, of.dim);
            let dplaces = Mat::new(&self.places, of.length, hidden);
            let dweight = MatMut::new(&mut first[4 * size..], of.dim, hidden);
            multiply(of.precision, positions.t(), dplaces, dweight, plain);
            let weight = Mat::new(&of.maps[0].weight[(g * parts + 4) * size..], of.dim, hidden);
            let found = MatMut::new(&mut dpositions[g * count..][..count], of.length, of.dim);
            multiply(of.precision, dplaces, weight.t(), found, plain);
        }
    }
}
