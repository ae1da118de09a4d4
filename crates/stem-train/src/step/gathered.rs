//! A batch on the device with its rows, and the gradients of a step; over several ranks, where the rows live too.

use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};
use stem_core::loss::Targets;
use stem_core::nn::{DistinctRows, upload_index};

use crate::given::GivenRows;
use crate::optimizer::{NetworkGradients, squared_norm};
use crate::ranks::{Asked, Shard, sum_few};

/// A batch on the device with its distinct rows gathered: what the gradients of every task are taken from. Cheap to clone. Over several
/// ranks it is a rank's part of the batch.
#[derive(Debug, Clone)]
pub struct Gathered {
    /// `None` where the batch has no row for this rank, and the others do without it.
    pub(super) part: Option<Part>,
    /// How much the rows count together whose label of a task is known, on all ranks. `[T]`
    pub(super) labelled: Arc<[f64]>,
    /// `B`, of all ranks.
    pub(super) rows: usize,
    /// Where the rows of the table live that the step changes; `None` where they are those of `part`.
    pub(super) home: Option<Arc<Home>>,
    /// Which of those rows the step changes; `None` where it is all of them.
    pub(super) live: Option<Live>,
}

/// The rows of a batch that a step changes, where others are frozen.
#[derive(Debug, Clone)]
pub(super) struct Live {
    /// 1 of a row that is changed, 0 of a frozen one. `[U, 1]`
    mask: Tensor<2>,
    /// Which of the `U` rows are changed. `[L]`, and `L` is not 0
    among: Option<Tensor<1, Int>>,
    /// Where those lie in the table of this process, on the host and on the device. `[L]`
    places: Arc<[u32]>,
    index: Option<Tensor<1, Int>>,
}

impl Live {
    /// Of rows of the whole table and where they lie here, ascending both. `None` where none of them is frozen.
    pub(super) fn of(given: &GivenRows, ids: &[u32], places: &[u32], device: &Device) -> Option<Self> {
        let live: Vec<bool> = ids.iter().map(|&id| !given.is_frozen(id)).collect();
        if live.iter().all(|live| *live) {
            return None;
        }
        let of_live = |of: &[u32]| -> Vec<u32> {
            of.iter().zip(&live).filter(|(_, live)| **live).map(|(value, _)| *value).collect()
        };
        let (among, places) = (of_live(&(0..ids.len() as u32).collect::<Vec<_>>()), of_live(places));
        let upload = |of: &[u32]| (!of.is_empty()).then(|| upload_index(of, device));
        let mask: Vec<f32> = live.iter().map(|&live| f32::from(u8::from(live))).collect();
        let mask = Tensor::from_data(TensorData::new(mask, [ids.len(), 1]), device);
        Some(Self { mask, among: upload(&among), index: upload(&places), places: places.into() })
    }
}

/// The rows of a batch that are on this rank.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) distinct: Arc<DistinctRows>,
    pub(super) values: Tensor<2>,       // [U, W]
    pub(super) inverse: Tensor<1, Int>, // [B * S]
    pub(super) weights: Tensor<2>,      // [B, S]
    pub(super) targets: Targets,
    /// `b`; 0 where the one row that is here counts nothing.
    pub(super) rows: usize,
    /// On the device, into the table of this process. `[U]`; `None` over several ranks
    pub(super) index: Option<Tensor<1, Int>>,
}

/// The rows of the table that live on this rank and that the batch holds, wherever its rows are.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) shard: Arc<Shard>,
    pub(super) asked: Asked,
    /// Of the rows; one of zeros where there is none. `[O, W]`
    pub(super) values: Tensor<2>,
}

impl Gathered {
    /// `B`, of all ranks.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Which of the rows of the whole table are changed here, ascending. `[U]`
    pub(crate) fn row_ids(&self) -> &[u32] {
        match (&self.home, &self.part) {
            (Some(home), _) => &home.asked.ids,
            (None, Some(part)) => &part.distinct.rows,
            (None, None) => &[],
        }
    }

    /// How often each of them stands in the batch: the difference of neighbours. `[U + 1]`
    pub(crate) fn row_starts(&self) -> &[u32] {
        match (&self.home, &self.part) {
            (Some(home), _) => &home.asked.starts,
            (None, Some(part)) => part.distinct.by_row.starts(),
            (None, None) => &[0],
        }
    }

    /// Where those that are changed lie in the table of this process, on the host and on the device; `None` where there is none. `[U]`, or less
    /// where some are frozen
    pub(super) fn places(&self) -> Option<(&[u32], &Tensor<1, Int>)> {
        if let Some(live) = &self.live {
            return live.index.as_ref().map(|index| (&*live.places, index));
        }
        match (&self.home, &self.part) {
            (Some(home), _) => home.asked.rows.as_ref().map(|(index, _)| (home.asked.places.as_slice(), index)),
            (None, Some(part)) => part.index.as_ref().map(|index| (part.distinct.rows.as_slice(), index)),
            (None, None) => None,
        }
    }

    /// Their values before the step. `[U, W]`
    pub(super) fn row_values(&self) -> &Tensor<2> {
        match (&self.home, &self.part) {
            (Some(home), _) => &home.values,
            (None, Some(part)) => &part.values,
            (None, None) => unreachable!("one process has all rows of a batch"),
        }
    }

    /// The same of the rows that are changed, and 0 of frozen ones. `[U, W]` both
    pub(super) fn of_live(&self, rows: Tensor<2>) -> Tensor<2> {
        match &self.live {
            Some(live) => rows * live.mask.clone(),
            None => rows,
        }
    }

    /// The rows that are changed alone, as [`places`](Self::places) has them. `[U, W]` to `[L, W]`
    pub(super) fn live_alone(&self, rows: Tensor<2>) -> Tensor<2> {
        match self.live.as_ref().and_then(|live| live.among.clone()) {
            Some(among) => rows.select(0, among),
            None => rows,
        }
    }

    /// How much of the batch's rows are here: the share of a mean over rows.
    pub(super) fn share_of(&self, part: &Part) -> f64 {
        if self.home.is_some() { part.rows as f64 / self.rows.max(1) as f64 } else { 1.0 }
    }

    /// Numbers that every rank has a part of, in the order of the ranks.
    pub(super) fn sum_few(&self, values: &mut [f64]) {
        if let Some(home) = &self.home {
            sum_few(&*home.shard.ranks, values);
        }
    }

    /// A number that every rank has a part of, in the order of the ranks. `[1]`
    pub(super) fn sum(&self, own: Tensor<1>) -> Tensor<1> {
        if self.home.is_none() {
            return own;
        }
        let device = own.device();
        let mut sum = [f64::from(own.into_scalar::<f32>())];
        self.sum_few(&mut sum);
        Tensor::from_floats([sum[0] as f32], &device)
    }
}

/// The gradients of a step.
#[derive(Debug, Clone)]
pub struct StepGradients {
    /// Of every parameter the loss reaches; over several ranks, of the whole batch.
    pub network: NetworkGradients,
    /// Of the distinct rows; over several ranks, of those that live here. `[U, W]`
    pub rows: Tensor<2>,
    pub(super) batch: Gathered,
}

impl StepGradients {
    /// Inner product, network and rows as one vector. `[1]`
    pub fn dot(&self, other: &Self) -> Tensor<1> {
        let rows = self.batch.sum((self.rows.clone() * other.rows.clone()).sum());
        self.network.dot(&other.network, rows)
    }

    /// The batch that they are of.
    pub(crate) fn batch(&self) -> &Gathered {
        &self.batch
    }

    /// Changes the gradients of the rows, given the rows. `[U, W]` both
    pub(crate) fn change_rows(&mut self, change: impl FnOnce(Tensor<2>, &Tensor<2>) -> Tensor<2>) {
        if self.batch.row_ids().is_empty() {
            return;
        }
        let values = self.batch.row_values();
        let grad = std::mem::replace(&mut self.rows, Tensor::empty([1, 1], &values.device()));
        self.rows = self.batch.of_live(change(grad, values));
    }

    /// `||rows||^2` of all ranks. `[1]`
    pub(super) fn rows_squared(&self) -> Tensor<1> {
        self.batch.sum(squared_norm(&self.rows))
    }

    /// `||rows||` `[1]`
    pub fn rows_norm(&self) -> Tensor<1> {
        self.rows_squared().sqrt()
    }

    /// `self + scale * other`; of the same batch. `scale [1]`, 1 where it is `None`
    #[must_use]
    pub fn add(self, other: &Self, scale: Option<&Tensor<1>>) -> Self {
        let add = |a: Tensor<2>, b: &Tensor<2>| match scale {
            Some(scale) => a + b.clone() * scale.clone().unsqueeze(),
            None => a + b.clone(),
        };
        Self { rows: add(self.rows, &other.rows), network: self.network.add(&other.network, scale), ..self }
    }

    /// `scale * self`, `scale [1]`
    #[must_use]
    pub fn scaled(self, scale: &Tensor<1>) -> Self {
        let times = |grad: Tensor<2>| grad * scale.clone().unsqueeze();
        Self { rows: times(self.rows), network: self.network.map(times), ..self }
    }
}
