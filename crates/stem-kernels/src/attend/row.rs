//! A row's way through the MLP of a group, and back: all that lies between stays in the nearest cache.

use super::lanes::{
    Epilogue, LANES, Lanes, Left, STEP, ZERO, add, add_product, add_scaled, by_columns, by_rows, cut, dot, scaled,
    scaled_sum, vectors,
};
use super::packed::{Layout, Packed};
use crate::simd::exp;

/// What is computed of a row, kept from row to row as memory.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// `W_k - W_d + diag(q) W_m`. `[D, H]`
    folded: Vec<Lanes>,
    /// The same, rows and columns exchanged. `[H, D]`
    folded_turned: Vec<Lanes>,
    /// `(W_q + W_d) q + b`. `[H]`
    base: Vec<Lanes>,
    /// Behind the ReLU of every hidden map. `[N, H]` each
    hidden: Vec<Vec<Lanes>>,
    /// Their gradients, before it.
    gradients: Vec<Vec<Lanes>>,
    /// `z_j`, then what it makes of it. `[N]`
    scores: Vec<f32>,
    /// What the values are weighed with. `[N]`
    weights: Vec<f32>,
    /// The gradient of `folded`.
    dfolded: Vec<Lanes>,
    /// The gradient of `base`.
    dbase: Vec<Lanes>,
    /// The gradients of what is judged, and of what is summed where that is something else. `[N, D]`
    pub djudged: Vec<Lanes>,
    /// See `djudged`.
    pub dsummed: Vec<Lanes>,
    /// The gradient of the candidate. `[D]`
    pub dquery: Vec<f32>,
    /// The sum `v`. `[D]`
    pub sum: Vec<Lanes>,
}

/// The values of a row, padded to a multiple of [`STEP`], of which `count` are there.
#[derive(Clone, Copy)]
pub(super) struct History<'a> {
    pub count: usize,
    /// `[N, D]`
    pub judged: &'a [Lanes],
    /// `[N, D]`
    pub summed: &'a [Lanes],
    /// `w_j` of all slots that hold the value. `[N]`
    pub weights: &'a [f32],
    /// How many those are. `[N]`
    pub times: &'a [f32],
    /// `[N]`
    pub positions: &'a [u32],
    pub softmax: bool,
}

/// A group's parameters, and how they lie.
#[derive(Clone, Copy)]
pub(super) struct Group<'a> {
    pub layout: &'a Layout,
    pub packed: &'a Packed,
}

impl Row {
    pub fn new(layout: &Layout, most: usize) -> Self {
        let (width, first) = (vectors(layout.dim), layout.width(0));
        let rows = |width: usize| vec![ZERO; most.next_multiple_of(STEP) * width];
        let hidden = || (0..layout.hidden.len()).map(|l| rows(layout.width(l))).collect();
        Self {
            folded: vec![ZERO; layout.dim.next_multiple_of(STEP) * first],
            folded_turned: vec![ZERO; layout.hidden[0] * width],
            base: vec![ZERO; first],
            hidden: hidden(),
            gradients: hidden(),
            scores: vec![0.0; most.next_multiple_of(STEP)],
            weights: vec![0.0; most.next_multiple_of(STEP)],
            dfolded: vec![ZERO; layout.dim.next_multiple_of(STEP) * first],
            dbase: vec![ZERO; first],
            djudged: rows(width),
            dsummed: rows(width),
            dquery: vec![0.0; layout.dim],
            sum: vec![ZERO; width],
        }
    }

    /// `v = sum_j a_j k_j`, in `sum`.
    #[inline(always)]
    pub fn forward<const FUSED: usize>(&mut self, of: Group, q: &[f32], history: History) {
        self.weigh::<FUSED>(of, q, history);
        let (n, width) = (history.weights.len(), vectors(of.layout.dim));
        for (v, sum) in self.sum.iter_mut().enumerate() {
            let mut sums = [ZERO; STEP]; // independent: one sum would wait for itself
            for first in (0..n).step_by(STEP) {
                for (j, sums) in sums.iter_mut().enumerate() {
                    *sums =
                        scaled_sum::<FUSED>(sums, self.weights[first + j], &history.summed[(first + j) * width + v]);
                }
            }
            let mut whole = ZERO;
            for i in 0..LANES {
                whole[i] = (sums[0][i] + sums[1][i]) + (sums[2][i] + sums[3][i]);
            }
            *sum = whole;
        }
    }

    /// The values' outputs of every hidden map, their scores and their weights.
    #[inline(always)]
    fn weigh<const FUSED: usize>(&mut self, of: Group, q: &[f32], history: History) {
        let Group { layout, packed } = of;
        let (n, dim, first) = (history.weights.len(), layout.dim, layout.width(0));
        let numbers = &packed.numbers;
        self.fold::<FUSED>(of, q);
        let Self { folded, base, hidden, scores, weights, .. } = self;
        let places = &numbers[layout.places.clone()];
        let (outputs, rest) = hidden.split_first_mut().expect("there is a hidden map");
        let k = Left { numbers: history.judged.as_flattened(), stride: vectors(dim) * LANES };
        let positions = (!places.is_empty()).then_some((places, history.positions));
        by_rows::<FUSED>(k, n, dim, (folded, first), Rectified { bias: base, positions, outputs, width: first });
        let mut inputs = &*outputs;
        for (l, (outputs, [weight, bias])) in rest.iter_mut().zip(&layout.maps).enumerate() {
            let (input, width) = (layout.width(l), layout.width(l + 1));
            let left = Left { numbers: inputs.as_flattened(), stride: input * LANES };
            let (weight, bias) = ((&numbers[weight.clone()], width), &numbers[bias.clone()]);
            let epilogue = Rectified { bias, positions: None, outputs, width };
            by_rows::<FUSED>(left, n, layout.hidden[l], weight, epilogue);
            inputs = outputs;
        }
        let width = layout.width(layout.hidden.len() - 1);
        let (last, bias) = (&numbers[layout.last[0].clone()], numbers[layout.last[1].start][0]);
        for (z, output) in scores[..n].iter_mut().zip(inputs.chunks_exact(width)) {
            *z = bias + dot::<FUSED>(output, last);
        }
        if history.softmax {
            softmax(&scores[..history.count], history.times, weights);
        } else {
            weights.iter_mut().zip(&*scores).zip(history.weights).for_each(|((a, z), w)| *a = z * w);
        }
        weights[history.count..n].fill(0.0);
    }

    /// The first map of this row.
    #[inline(always)]
    fn fold<const FUSED: usize>(&mut self, of: Group, q: &[f32]) {
        let Group { layout, packed } = of;
        let (numbers, width) = (&packed.numbers, layout.width(0));
        self.base.copy_from_slice(&numbers[layout.bias.clone()]);
        let [query, value, product] =
            [&layout.query, &layout.value, &layout.product].map(|range| numbers[range.clone()].chunks_exact(width));
        let folded = self.folded.chunks_exact_mut(width);
        for ((((&q, query), value), product), folded) in q.iter().zip(query).zip(value).zip(product).zip(folded) {
            add_scaled::<FUSED>(&mut self.base, q, query);
            folded.copy_from_slice(value);
            add_scaled::<FUSED>(folded, q, product);
        }
    }

    /// From `dv [D]` the gradients of what is judged and summed, of the candidate, and what the row adds to those of the parameters, `found`.
    #[inline(always)]
    pub fn backward<const FUSED: usize>(
        &mut self,
        of: Group,
        [q, dv]: [&[Lanes]; 2],
        history: History,
        found: &mut [Lanes],
    ) {
        let Group { layout, packed } = of;
        let (n, dim, width) = (history.weights.len(), layout.dim, vectors(layout.dim));
        self.weigh::<FUSED>(of, &q.as_flattened()[..dim], history);
        self.back_through_weights::<FUSED>(dv, history);
        self.back_through_maps::<FUSED>(of, n, found);
        self.back_through_fold::<FUSED>(of, q, history, found);
        let turned = packed.value_turned.chunks_exact(width).zip(packed.product_turned.chunks_exact(width));
        for (folded, (value, product)) in self.folded_turned.chunks_exact_mut(width).zip(turned) {
            for (((folded, value), product), q) in folded.iter_mut().zip(value).zip(product).zip(q) {
                let mut of_row = ZERO;
                for i in 0..LANES {
                    of_row[i] = add_product::<FUSED>(value[i], q[i], product[i]);
                }
                *folded = of_row;
            }
        }
        let Self { folded_turned, gradients, weights, djudged, dsummed, .. } = self;
        let left = Left { numbers: gradients[0].as_flattened(), stride: layout.width(0) * LANES };
        let apart = !std::ptr::eq(history.judged, history.summed);
        let epilogue = Valued::<FUSED> { weights, dv, djudged, dsummed: apart.then_some(dsummed) };
        by_rows::<FUSED>(left, n, layout.hidden[0], (folded_turned, width), epilogue);
    }

    /// Scores become their gradients.
    #[inline(always)]
    fn back_through_weights<const FUSED: usize>(&mut self, dv: &[Lanes], history: History) {
        let (n, width) = (history.weights.len(), dv.len());
        let Self { scores, weights, .. } = self;
        for (da, k) in scores[..n].iter_mut().zip(history.summed.chunks_exact(width)) {
            *da = dot::<FUSED>(k, dv);
        }
        if history.softmax {
            let mean: f32 = scores[..n].iter().zip(&*weights).map(|(da, a)| da * a).sum();
            scores.iter_mut().zip(&*weights).for_each(|(da, a)| *da = a * (*da - mean));
        } else {
            scores.iter_mut().zip(history.weights).for_each(|(da, w)| *da *= w);
        }
        scores[history.count..n].fill(0.0);
    }

    /// From the gradients of the scores those of the hidden maps' outputs, before the ReLU, and of the maps behind the first.
    #[inline(always)]
    fn back_through_maps<const FUSED: usize>(&mut self, of: Group, n: usize, found: &mut [Lanes]) {
        let Group { layout, packed } = of;
        let Self { hidden, gradients, scores, .. } = self;
        let (last, width) = (hidden.len() - 1, layout.width(hidden.len() - 1));
        let weight = &packed.numbers[layout.last[0].clone()];
        let outputs = hidden[last].chunks_exact(width).zip(gradients[last].chunks_exact_mut(width));
        let dweight = &mut found[layout.last[0].clone()];
        let mut dbias = 0.0;
        for (&dz, (y, d)) in scores[..n].iter().zip(outputs) {
            add_scaled::<FUSED>(dweight, dz, y);
            for ((d, y), weight) in d.iter_mut().zip(y).zip(weight) {
                *d = cut(&scaled(dz, weight), y);
            }
            dbias += dz;
        }
        found[layout.last[1].start][0] += dbias;
        for (l, [weight, bias]) in layout.maps.iter().enumerate().rev() {
            let (before, after) = gradients.split_at_mut(l + 1);
            let (d, before, inputs) = (&after[0], &mut before[l], &hidden[l]);
            let (input, width) = (layout.width(l), layout.width(l + 1));
            let left = Left { numbers: inputs.as_flattened(), stride: input * LANES };
            by_columns::<FUSED>(left, layout.hidden[l], n, (d, width), &mut found[weight.clone()]);
            sum_rows(&d[..n * width], &mut found[bias.clone()]);
            let left = Left { numbers: d.as_flattened(), stride: width * LANES };
            let weight = (&packed.maps_turned[l][..], input);
            by_rows::<FUSED>(left, n, layout.hidden[l + 1], weight, Cut { inputs, gradients: before, width: input });
        }
    }

    /// From the gradients of the first map's outputs those of its parameters and of the candidate.
    #[inline(always)]
    fn back_through_fold<const FUSED: usize>(&mut self, of: Group, q: &[Lanes], history: History, found: &mut [Lanes]) {
        let Group { layout, packed } = of;
        let (n, dim, width) = (history.weights.len(), layout.dim, layout.width(0));
        let Self { gradients, dfolded, dbase, dquery, .. } = self;
        let d = &gradients[0];
        dfolded.fill(ZERO);
        let k = Left { numbers: history.judged.as_flattened(), stride: vectors(dim) * LANES };
        by_columns::<FUSED>(k, dim, n, (d, width), dfolded);
        dbase.fill(ZERO);
        sum_rows(&d[..n * width], dbase);
        if !layout.places.is_empty() {
            let dplaces = &mut found[layout.places.clone()];
            for (&position, d) in history.positions.iter().zip(d.chunks_exact(width)).take(history.count) {
                add(&mut dplaces[position as usize * width..][..width], d);
            }
        }
        add(&mut found[layout.bias.clone()], dbase);
        let [query, product] = [&layout.query, &layout.product].map(|range| &packed.numbers[range.clone()]);
        for (i, (dq, &q)) in dquery.iter_mut().zip(q.as_flattened()).enumerate() {
            let (row, dfolded) = (i * width, &dfolded[i * width..][..width]);
            add(&mut found[layout.value.start + row..][..width], dfolded);
            add_scaled::<FUSED>(&mut found[layout.product.start + row..][..width], q, dfolded);
            add_scaled::<FUSED>(&mut found[layout.query.start + row..][..width], q, dbase);
            *dq = dot::<FUSED>(&product[row..][..width], dfolded) + dot::<FUSED>(&query[row..][..width], dbase);
        }
    }
}

/// A map's outputs behind the ReLU: what is negative becomes 0, not a number stays so.
struct Rectified<'a> {
    /// `[O]`
    bias: &'a [Lanes],
    /// What every position adds `[L, O]`, and those of the values.
    positions: Option<(&'a [Lanes], &'a [u32])>,
    outputs: &'a mut [Lanes],
    width: usize,
}

impl Epilogue for Rectified<'_> {
    #[inline(always)]
    fn start(&self, _: usize, v: usize) -> Lanes {
        self.bias[v]
    }

    #[inline(always)]
    fn finish(&mut self, row: usize, v: usize, mut y: Lanes) {
        if let Some((places, positions)) = self.positions {
            y = scaled_sum::<0>(&y, 1.0, &places[positions[row] as usize * self.width + v]);
        }
        let mut rectified = ZERO;
        for i in 0..LANES {
            rectified[i] = if y[i] < 0.0 { 0.0 } else { y[i] };
        }
        self.outputs[row * self.width + v] = rectified;
    }
}

/// Gradients on their way back through the ReLU: 0 where it cut.
struct Cut<'a> {
    /// What came out of it.
    inputs: &'a [Lanes],
    gradients: &'a mut [Lanes],
    width: usize,
}

impl Epilogue for Cut<'_> {
    #[inline(always)]
    fn start(&self, _: usize, _: usize) -> Lanes {
        ZERO
    }

    #[inline(always)]
    fn finish(&mut self, row: usize, v: usize, d: Lanes) {
        let at = row * self.width + v;
        self.gradients[at] = cut(&d, &self.inputs[at]);
    }
}

/// The gradients of values: what comes back through the maps, and `a_j dv` of what is summed.
struct Valued<'a, const FUSED: usize> {
    /// `[N]`
    weights: &'a [f32],
    /// `[D]`
    dv: &'a [Lanes],
    djudged: &'a mut [Lanes],
    /// Where it is something else than what is judged.
    dsummed: Option<&'a mut [Lanes]>,
}

impl<const FUSED: usize> Epilogue for Valued<'_, FUSED> {
    #[inline(always)]
    fn start(&self, _: usize, _: usize) -> Lanes {
        ZERO
    }

    #[inline(always)]
    fn finish(&mut self, row: usize, v: usize, d: Lanes) {
        let (at, summed) = (row * self.dv.len() + v, scaled_sum::<FUSED>(&d, self.weights[row], &self.dv[v]));
        match &mut self.dsummed {
            None => self.djudged[at] = summed,
            Some(dsummed) => (self.djudged[at], dsummed[at]) = (d, summed),
        }
    }
}

/// The sum of rows as wide as it is.
#[inline(always)]
fn sum_rows(rows: &[Lanes], sum: &mut [Lanes]) {
    for row in rows.chunks_exact(sum.len()) {
        add(sum, row);
    }
}

/// `a_j = n_j exp(z_j) / sum_i n_i exp(z_i)`
#[inline(always)]
fn softmax(scores: &[f32], times: &[f32], weights: &mut [f32]) {
    let mut largest = f32::NEG_INFINITY;
    for z in scores {
        largest = if *z > largest { *z } else { largest };
    }
    let mut sum = 0.0;
    for ((a, z), times) in weights.iter_mut().zip(scores).zip(times) {
        *a = times * exp(z - largest);
        sum += *a;
    }
    for (a, _) in weights.iter_mut().zip(scores) {
        *a /= sum.max(f32::MIN_POSITIVE);
    }
}
