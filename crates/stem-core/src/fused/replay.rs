//! A forward that was watched once, and is done again from what was seen: the same kernels on the same weights, with no tensor between.
//!
//! A tensor of Burn costs two to five allocations, a hundred and more a request. A scoring forward that is made of bags, chains and mixes
//! alone is a list of calls of kernels, whichever model it is of; the rows of a batch are all that changes from request to request.
//!
//! What an op reads is told by where its numbers lie. Where an operation that is none of these stands between, its result lies nowhere that
//! was seen, and nothing comes of it; where it wrote into memory that was seen, the list is wrong. So who watches has to hold what the list
//! gives to what the forward gave, bit by bit, as [`replay`](crate::replay) does.

use std::cell::RefCell;
use std::sync::Arc;

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use stem_kernels::bag::{self, BagLayout, ColumnGroups};
use stem_kernels::chain::{self, Input, Link};
use stem_kernels::mix::{self, MixShape};
use stem_kernels::rows::ReadRows;
use stem_kernels::take;

use super::arrange::{Spread, join_into, plus_into};
use super::calls::note;
use super::linear::MOST;
use super::tensors::values;
use crate::embedding::{StoredTable, WithRows};
use crate::precision;

/// Steps of a list, and experts of a mix: what is read of them at a time lies on the stack.
const MOST_STEPS: usize = 64;
const MOST_EXPERTS: usize = 64;

/// Numbers of a cache line: where each step's result starts.
const LINE: usize = 16;

thread_local! {
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// Part of what a step gave: of each row `width` numbers, behind `first` of others. `[K, B, W]` with `K W` numbers of each row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    step: usize,
    first: usize,
    width: usize,
}

/// A bank of a chain.
#[derive(Debug)]
pub(super) struct Bank {
    /// `[E, I, O]`
    weight: FlexTensor,
    /// `[E, 1, O]`
    bias: FlexTensor,
    output: usize,
    relu: bool,
}

/// A call of a kernel. What it gives stands behind what the steps before it gave.
#[derive(Debug)]
pub(super) enum Step {
    /// `[K, B, F * D]`
    Bags { layout: Arc<BagLayout>, streams: ColumnGroups },
    /// `[E, B, O]`
    Chain { x: Place, members: usize, width: usize, banks: Vec<Bank> },
    /// Gates `[T, B, E]`, and behind them `[T, B, H]`.
    Mix { z: Place, experts: Vec<Place>, tasks: usize, hidden: usize },
    /// `[K_1 + K_2, B, W]`
    Join([Place; 2]),
    /// `[K, B, W]`
    Plus([Place; 2]),
    /// `[K, B, E]`
    Spread(Place, Spread),
}

/// The calls of a forward, in their order.
#[derive(Debug)]
pub(crate) struct Replay {
    steps: Vec<Step>,
    /// Numbers that each step gives of a row.
    widths: Vec<usize>,
}

/// What is seen of a forward.
struct Watch {
    ids: Vec<u32>,
    weights: Vec<f32>,
    rows: usize,
    replay: Replay,
    /// Addresses where results lie, those of later steps behind.
    seen: Vec<(usize, Place)>,
    /// Whether every op read what was seen.
    is_whole: bool,
}

impl Watch {
    /// Where numbers lie that some step gave; the last one, for memory is used again.
    fn place(&self, of: &[f32]) -> Option<Place> {
        let found = |(start, place): &(usize, Place)| {
            let before = (of.as_ptr() as usize).checked_sub(*start)? / size_of::<f32>();
            let is_whole = before.is_multiple_of(self.rows) && of.len().is_multiple_of(self.rows);
            let (before, width) = (before / self.rows, of.len() / self.rows);
            let is_inside = is_whole && before + width <= place.width;
            is_inside.then_some(Place { first: place.first + before, width, ..*place })
        };
        self.seen.iter().rev().find_map(found)
    }

    /// Adds a step that gives `width` numbers of a row, of which those behind `first` are the result `y`.
    fn add(&mut self, step: Option<Step>, width: usize, first: usize, y: &FlexTensor) {
        let place = Place { step: self.replay.steps.len(), first, width: width - first };
        match step {
            Some(step) if place.step < MOST_STEPS => {
                self.seen.push((values(y).as_ptr() as usize, place));
                self.replay.steps.push(step);
                self.replay.widths.push(width);
            }
            _ => self.is_whole = false,
        }
    }
}

/// Runs a forward over `rows` rows of `ids [B * S]` and `weights [B * S]`, and gives what was seen of it, where that is all of it.
pub(crate) fn watch<R>(
    rows: usize,
    (ids, weights): (&[u32], &[f32]),
    forward: impl FnOnce() -> R,
) -> (R, Option<Replay>) {
    let replay = Replay { steps: Vec::new(), widths: Vec::new() };
    let (ids, weights, seen) = (ids.to_vec(), weights.to_vec(), Vec::new());
    let _before = Before(WATCH.replace(Some(Watch { ids, weights, rows, replay, seen, is_whole: true })));
    let result = forward();
    let watch = WATCH.take();
    let ends_in_outputs = |replay: &Replay| matches!(replay.steps.last(), Some(Step::Chain { .. }));
    let replay = watch.filter(|watch| watch.is_whole).map(|watch| watch.replay).filter(ends_in_outputs);
    (result, replay)
}

/// What was watched before; it is put back, also when the forward panics.
struct Before(Option<Watch>);

impl Drop for Before {
    fn drop(&mut self) {
        WATCH.set(self.0.take());
    }
}

fn watching(see: impl FnOnce(&mut Watch)) {
    WATCH.with_borrow_mut(|watch| {
        if let Some(watch) = watch {
            see(watch);
        }
    });
}

/// Notes a bag over `index` and `weights` that gave `x [K, B, F * D]`.
pub(super) fn saw_bags(
    layout: &Arc<BagLayout>,
    streams: &ColumnGroups,
    index: &[u32],
    weights: &[f32],
    x: &FlexTensor,
) {
    watching(|watch| {
        let is_of_request = watch.ids == index && watch.weights == weights;
        let step = is_of_request.then(|| Step::Bags { layout: layout.clone(), streams: streams.clone() });
        watch.add(step, streams.count() * layout.fields() * streams.dim(), 0, x);
    });
}

/// Notes a chain of banks that gave `y [E, B, O]`; a ReLU follows each of the first `rectified`.
pub(super) fn saw_chain<'a>(
    x: &FlexTensor,
    banks: impl Iterator<Item = &'a (FlexTensor, FlexTensor)>,
    rectified: usize,
    y: &FlexTensor,
) {
    watching(|watch| {
        let bank = |(i, (weight, bias)): (usize, &(FlexTensor, FlexTensor))| Bank {
            weight: weight.clone(),
            bias: bias.clone(),
            output: weight.shape()[2],
            relu: i < rectified,
        };
        let [members, _, output] = y.shape().dims();
        let [_, _, width] = x.shape().dims();
        let banks = banks.enumerate().map(bank).collect();
        let step = watch.place(values(x)).map(|x| Step::Chain { x, members, width, banks });
        watch.add(step, members * output, 0, y);
    });
}

/// Notes a mix of experts by logits that gave `o [T, B, H]`.
pub(super) fn saw_mix(shape: MixShape, z: &[f32], experts: &[&[f32]], o: &FlexTensor) {
    watching(|watch| {
        let MixShape { tasks, hidden, .. } = shape;
        let places: Option<Vec<Place>> = experts.iter().map(|h| watch.place(h)).collect();
        let read = watch.place(z).zip(places).filter(|(_, experts)| experts.len() <= MOST_EXPERTS);
        let step = read.map(|(z, experts)| Step::Mix { z, experts, tasks, hidden });
        watch.add(step, tasks * (shape.experts + hidden), tasks * shape.experts, o);
    });
}

/// Notes that `parts` were put into `y`, in some way.
pub(super) fn saw_streams<const N: usize>(
    parts: [&FlexTensor; N],
    y: &FlexTensor,
    how: impl FnOnce([Place; N]) -> Step,
) {
    watching(|watch| {
        let places = parts.map(|part| watch.place(values(part)));
        let all = places.iter().all(Option::is_some).then(|| places.map(|place| place.expect("all are there")));
        watch.add(all.map(how), values(y).len() / watch.rows, 0, y);
    });
}

impl Replay {
    /// The forward of `rows` rows of `ids [B * S]` and `weights [B * S]`; lends the outputs of the last bank to `read`. `[T, B, O]`
    pub(crate) fn run<R>(
        &self,
        table: &StoredTable,
        rows: usize,
        (ids, weights): (&[u32], &[f32]),
        read: impl FnOnce(&[f32]) -> R,
    ) -> R {
        let mut starts = [0; MOST_STEPS + 1];
        for (step, width) in self.widths.iter().enumerate() {
            starts[step + 1] = (starts[step] + width * rows).next_multiple_of(LINE);
        }
        let mut all = take(starts[self.steps.len()]);
        for (i, step) in self.steps.iter().enumerate() {
            let (before, y) = all.split_at_mut(starts[i]);
            let y = &mut y[..self.widths[i] * rows];
            let of = |place: &Place| &before[starts[place.step] + place.first * rows..][..place.width * rows];
            match step {
                Step::Bags { layout, streams } => {
                    note(|calls| calls.bag += 1);
                    table.with(Bags { layout, streams, ids, weights, x: y });
                }
                Step::Chain { x, members, width, banks } => {
                    note(|calls| calls.chain += 1);
                    let mut links = [Link { weight: &[], bias: &[], output: 0, relu: false }; MOST];
                    for (link, Bank { weight, bias, output, relu }) in links.iter_mut().zip(banks) {
                        *link = Link { weight: values(weight), bias: values(bias), output: *output, relu: *relu };
                    }
                    let input = Input { x: of(x), members: *members, batch: rows, width: *width };
                    chain::forward(precision::current(), input, &links[..banks.len()], y);
                }
                Step::Mix { z, experts, tasks, hidden } => {
                    note(|calls| calls.mix += 1);
                    let mut h = [&[][..]; MOST_EXPERTS];
                    h.iter_mut().zip(experts).for_each(|(h, place)| *h = of(place));
                    let shape = MixShape { tasks: *tasks, rows, experts: experts.len(), hidden: *hidden };
                    let (g, o) = y.split_at_mut(shape.gates());
                    mix::forward(shape, of(z), &h[..experts.len()], g, o);
                }
                Step::Join([a, b]) => join_into(of(a), of(b), y),
                Step::Plus([a, b]) => plus_into(of(a), of(b), y),
                Step::Spread(z, to) => to.run(of(z), y),
            }
        }
        let last = self.steps.len() - 1;
        read(&all[starts[last]..][..self.widths[last] * rows])
    }
}

/// A bag over a request.
struct Bags<'a> {
    layout: &'a BagLayout,
    streams: &'a ColumnGroups,
    ids: &'a [u32],
    weights: &'a [f32],
    x: &'a mut [f32],
}

impl WithRows for Bags<'_> {
    type Output = ();

    fn with(self, rows: impl ReadRows) {
        bag::forward_of(self.layout, self.streams, rows, self.ids, self.weights, self.x);
    }
}
