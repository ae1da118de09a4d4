//! The MLP of a group as vectors, its first map taken apart, and the gradients of its parameters put together again.

use std::ops::Range;

use super::lanes::{LANES, Lanes, STEP, ZERO, vectors};
use super::{Attention, Gradients};
use crate::mat::{Mat, MatMut};
use crate::precision::Precision;
use crate::product::{Epilogue, multiply};

/// Where the parameters of a group lie among vectors; their gradients lie alike. Rows of maps are padded to a multiple of [`STEP`].
#[derive(Debug)]
pub(super) struct Layout {
    /// `D`
    pub dim: usize,
    /// Outputs of the maps before the last.
    pub hidden: Vec<usize>,
    /// `W_q + W_d`. `[D, H]`
    pub query: Range<usize>,
    /// `W_k - W_d`. `[D, H]`
    pub value: Range<usize>,
    /// `W_m`. `[D, H]`
    pub product: Range<usize>,
    /// Of the first map. `[H]`
    pub bias: Range<usize>,
    /// `p W_p` of every position; empty without positions. `[L, H]`
    pub places: Range<usize>,
    /// Weight and bias of the hidden maps behind the first. `[I, O]` and `[O]` each
    pub maps: Vec<[Range<usize>; 2]>,
    /// The last map's weight, and a vector whose first number is its bias. `[I]`
    pub last: [Range<usize>; 2],
    /// Vectors of them all.
    pub size: usize,
}

impl Layout {
    pub fn new(of: &Attention) -> Self {
        let hidden: Vec<usize> = of.maps[..of.maps.len() - 1].iter().map(|map| map.output).collect();
        let mut size = 0;
        let mut next = |rows: usize, columns: usize| {
            let start = size;
            size += rows * vectors(columns);
            start..size
        };
        let (padded, first) = (of.dim.next_multiple_of(STEP), hidden[0]);
        let [query, value, product] = [(); 3].map(|()| next(padded, first));
        let (bias, places) = (next(1, first), next(if of.positions.is_some() { of.slots.len() } else { 0 }, first));
        let map = |two: &[usize]| [next(two[0].next_multiple_of(STEP), two[1]), next(1, two[1])];
        let maps = hidden.windows(2).map(map).collect();
        let last = [next(1, hidden[hidden.len() - 1]), next(1, 1)];
        Self { dim: of.dim, hidden, query, value, product, bias, places, maps, last, size }
    }

    /// Vectors of the outputs of a hidden map.
    pub fn width(&self, map: usize) -> usize {
        vectors(self.hidden[map])
    }
}

/// The parameters of a group.
pub(super) struct Packed {
    /// As the layout says.
    pub numbers: Vec<Lanes>,
    /// `(W_k - W_d)^T`. `[H, D]`
    pub value_turned: Vec<Lanes>,
    /// `W_m^T`. `[H, D]`
    pub product_turned: Vec<Lanes>,
    /// Of the hidden maps behind the first the weights, rows and columns exchanged. `[O, I]` each
    pub maps_turned: Vec<Vec<Lanes>>,
}

impl Packed {
    /// `turned`: whether a backward is to read them.
    pub fn new(of: &Attention, layout: &Layout, g: usize, turned: bool) -> Self {
        let mut numbers = vec![ZERO; layout.size];
        let (hidden, dim) = (layout.hidden[0], of.dim);
        let [part_query, part_key, part_difference, part_product] = [0, 1, 2, 3].map(|part| of.first_map(g, part));
        let sum = |sign: f32, one: &[f32]| -> Vec<f32> {
            one.iter().zip(part_difference).map(|(one, d)| one + sign * d).collect()
        };
        let (query, value) = (sum(1.0, part_query), sum(-1.0, part_key));
        pack(&query, hidden, &mut numbers[layout.query.clone()]);
        pack(&value, hidden, &mut numbers[layout.value.clone()]);
        pack(part_product, hidden, &mut numbers[layout.product.clone()]);
        pack(of.bias(g, 0), hidden, &mut numbers[layout.bias.clone()]);
        if let Some((positions, _)) = of.positions {
            let mut places = vec![0.0; of.slots.len() * hidden];
            let positions = Mat::new(&positions[g * of.slots.len() * dim..], of.slots.len(), dim);
            let found = MatMut::new(&mut places, of.slots.len(), hidden);
            let weight = Mat::new(of.first_map(g, 4), dim, hidden);
            multiply(Precision::F32, positions, weight, found, Epilogue::default());
            pack(&places, hidden, &mut numbers[layout.places.clone()]);
        }
        let mut maps_turned = Vec::new();
        for (l, [weight, bias]) in layout.maps.iter().enumerate() {
            let (input, output) = (layout.hidden[l], layout.hidden[l + 1]);
            pack(of.weight(g, l + 1), output, &mut numbers[weight.clone()]);
            pack(of.bias(g, l + 1), output, &mut numbers[bias.clone()]);
            if turned {
                maps_turned.push(packed_turned(of.weight(g, l + 1), input, output));
            }
        }
        let last = of.maps.len() - 1;
        pack(of.weight(g, last), layout.hidden[last - 1], &mut numbers[layout.last[0].clone()]);
        pack(of.bias(g, last), 1, &mut numbers[layout.last[1].clone()]);
        let of_values = |numbers: &[f32]| if turned { packed_turned(numbers, dim, hidden) } else { Vec::new() };
        let (value_turned, product_turned) = (of_values(&value), of_values(part_product));
        Self { numbers, value_turned, product_turned, maps_turned }
    }
}

/// Rows of `columns` numbers into rows of vectors.
fn pack(numbers: &[f32], columns: usize, to: &mut [Lanes]) {
    let rows = to.chunks_exact_mut(vectors(columns));
    for (row, to) in numbers.chunks_exact(columns).zip(rows) {
        to.as_flattened_mut()[..columns].copy_from_slice(row);
    }
}

/// The same with rows and columns exchanged. `numbers [rows, columns]`
fn packed_turned(numbers: &[f32], rows: usize, columns: usize) -> Vec<Lanes> {
    let mut to = vec![ZERO; columns * vectors(rows)];
    for (column, to) in to.chunks_exact_mut(vectors(rows)).enumerate() {
        let of_column = numbers[column..].iter().step_by(columns);
        to.as_flattened_mut().iter_mut().zip(of_column).for_each(|(to, number)| *to = *number);
    }
    to
}

/// Rows of vectors into rows of `columns` numbers.
fn unpack(from: &[Lanes], columns: usize, numbers: &mut [f32]) {
    let rows = from.chunks_exact(vectors(columns));
    for (row, from) in numbers.chunks_exact_mut(columns).zip(rows) {
        row.copy_from_slice(&from.as_flattened()[..columns]);
    }
}

/// Writes the gradients of a group's parameters, from those that lie as the layout says.
pub(super) fn unfold(of: &Attention, layout: &Layout, found: &[Lanes], g: usize, gradients: &mut Gradients) {
    let (hidden, dim, last) = (layout.hidden[0], of.dim, of.maps.len() - 1);
    let size = dim * hidden;
    let mut write = |map: usize, [weight, bias]: [&[Lanes]; 2], columns: usize| {
        let output = of.maps[map].output;
        let [dweight, dbias] = &mut gradients.maps[map];
        let count = dweight.len() / of.groups;
        unpack(weight, columns, &mut dweight[g * count..][..count]);
        dbias[g * output..][..output].copy_from_slice(&bias.as_flattened()[..output]);
    };
    for (l, [weight, bias]) in layout.maps.iter().enumerate() {
        write(l + 1, [&found[weight.clone()], &found[bias.clone()]], layout.hidden[l + 1]);
    }
    let [weight, bias] = &layout.last;
    write(last, [&found[weight.clone()], &found[bias.clone()]], layout.hidden[last - 1]);
    let [dfirst, dbias] = &mut gradients.maps[0];
    dbias[g * hidden..][..hidden].copy_from_slice(&found[layout.bias.clone()].as_flattened()[..hidden]);
    let parts = of.parts();
    let first = &mut dfirst[g * parts * size..][..parts * size];
    for (part, range) in [(0, &layout.query), (1, &layout.value), (3, &layout.product)] {
        unpack(&found[range.clone()], hidden, &mut first[part * size..][..size]);
    }
    for i in 0..size {
        first[2 * size + i] = first[i] - first[size + i]; // of the difference
    }
    if let (Some((positions, _)), Some(dpositions)) = (of.positions, &mut gradients.positions) {
        let (length, plain) = (of.slots.len(), Epilogue::default());
        let mut places = vec![0.0; length * hidden];
        unpack(&found[layout.places.clone()], hidden, &mut places);
        let (positions, dplaces) =
            (Mat::new(&positions[g * length * dim..], length, dim), Mat::new(&places, length, hidden));
        let dweight = MatMut::new(&mut first[4 * size..], dim, hidden);
        multiply(Precision::F32, positions.t(), dplaces, dweight, plain);
        let weight = Mat::new(of.first_map(g, 4), dim, hidden);
        let found = MatMut::new(&mut dpositions[g * length * dim..][..length * dim], length, dim);
        multiply(Precision::F32, dplaces, weight.t(), found, plain);
    }
}

const _: () = assert!(LANES.is_multiple_of(STEP));
