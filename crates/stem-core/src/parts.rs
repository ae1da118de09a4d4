//! A batch of which others hold parts: what its rows are to each other beyond their own part, and the way back through it.
//!
//! ```text
//! n         = sum_r n_r                          part r has n_r rows, of the mean m_r and with squares s_r around it
//! mean      = sum_r n_r m_r / n
//! variance  = sum_r (s_r + n_r (m_r - mean)^2) / n                                  Chan, Golub and LeVeque, 1979
//!
//! dy        = (sum_r dmean_r + 2 (y - mean) sum_r dvariance_r) / n                  each part's loss goes by the moments of all rows
//! ```
//!
//! Who holds the parts says how they hear of each other ([`Parts`]); this module knows of nothing but rows. Every part runs the same forward and the same
//! backward, so that their messages meet; each carries the number of what it is for, and those of another are refused with a panic. A part
//! without rows runs them too, on a row that counts nothing ([`with`]).

use std::cell::Cell;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::{BalancedCheckpointing, CheckpointStrategy, NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, Backend, DispatchKindConversion, DispatchTensor};
use burn::tensor::{Device, Tensor, TensorData};

use crate::scoped::scoped;

/// Those who hold the parts of a batch, as one of them sees them.
pub trait Parts: Debug + Send + Sync {
    /// Which part this one has, from 0.
    fn place(&self) -> usize;

    /// What each of them says here, in the order of the parts, which is that of the rows; the same on all.
    fn gather(&self, own: &[u8]) -> Vec<Vec<u8>>;
}

/// A part among the others, in one forward and its backward.
#[derive(Debug, Clone)]
pub(crate) struct Among {
    parts: Arc<dyn Parts>,
    /// Whether its one row counts nothing.
    is_empty: bool,
    /// Of what is said.
    next: Arc<AtomicU64>,
}

thread_local! {
    static CURRENT: Cell<Option<Among>> = const { Cell::new(None) };
}

/// Runs `work`, a forward of a part of a batch on an autodiff device and the loss of it, so that batches are normalised, and rows of a group learned
/// together, over the rows of all `parts`; so is the backward of what `work` ran. A part that `is_empty` runs it on one row, which counts
/// nothing. Holds for what runs **on this thread**.
pub fn with<R>(parts: Arc<dyn Parts>, is_empty: bool, work: impl FnOnce() -> R) -> R {
    let among = Among { parts, is_empty, next: Arc::default() };
    scoped(&CURRENT, Some(among), work)
}

/// The others here and now, where there are any.
pub(crate) fn current() -> Option<Among> {
    let among = CURRENT.take();
    CURRENT.set(among.clone());
    among
}

/// Mean and variance of all rows, biased. `[E, 1, O]` both
pub(crate) struct Moments {
    pub(crate) mean: Tensor<3>,
    pub(crate) variance: Tensor<3>,
    /// `n`
    pub(crate) rows: usize,
}

/// Bytes of the two numbers that stand before what is said: which of a step's messages it is, and how many rows it speaks of.
const HEAD: usize = 16;

impl Among {
    /// What all parts say at the call of that number: of how many rows each, and its numbers.
    fn gather(&self, number: u64, rows: usize, own: &[f32]) -> Vec<(usize, Vec<f32>)> {
        let head = [number, rows as u64];
        let said = self.parts.gather(&[bytemuck::cast_slice(&head), bytemuck::cast_slice(own)].concat());
        let read = |message: &Vec<u8>| {
            let (head, values) = message.split_at(HEAD);
            let head: Vec<u64> = bytemuck::pod_collect_to_vec(head);
            assert_eq!(head[0], number, "all parts of a batch run one forward and one backward, in one order");
            (head[1] as usize, bytemuck::pod_collect_to_vec(values))
        };
        said.iter().map(read).collect()
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// `y [E, B, O]`, of this part, on autodiff.
    ///
    /// # Panics
    /// Where `y` is of a device that is not compiled in, which cannot be.
    pub(crate) fn moments(&self, y: &Tensor<3>) -> Moments {
        let (of_all, rows) = self.moments_on_any(y).expect("a tensor is of one of the devices that are compiled in"); // [E, 2, O]
        let (mean, variance) = (of_all.clone().slice_dim(1, 0..1), of_all.slice_dim(1, 1..2));
        Moments { mean, variance, rows }
    }

    /// On whichever device `y` is.
    #[allow(deprecated)] // burn 0.22 names flex as successor; ndarray is offered while burn has it
    fn moments_on_any(&self, y: &Tensor<3>) -> Option<(Tensor<3>, usize)> {
        macro_rules! first_of {
            ($($feature:literal: $backend:ident),*) => {
                $(
                    #[cfg(feature = $feature)]
                    {
                        use burn::backend::$backend;
                        let found = self.moments_on::<$backend, NoCheckpointing>(y);
                        let found = found.or_else(|| self.moments_on::<$backend, BalancedCheckpointing>(y));
                        if found.is_some() {
                            return found;
                        }
                    }
                )*
            };
        }
        first_of!("flex": Flex, "ndarray": NdArray, "wgpu": Cube);
        None
    }

    /// `None` where `y` is of another device.
    fn moments_on<B: Backend, C: CheckpointStrategy>(&self, y: &Tensor<3>) -> Option<(Tensor<3>, usize)>
    where
        DispatchTensor: DispatchKindConversion<B> + DispatchKindConversion<Autodiff<B, C>>,
    {
        let tracked = y.clone().try_into_primitive::<Autodiff<B, C>>().ok()?;
        let node = tracked.node();
        let y = Tensor::<3>::from_primitive::<B>(tracked.into_primitive()); // [E, B, O]
        let (of_all, rows) = self.merged(&y); // [E, 2, O]
        let saved =
            Saved { y, mean: of_all.clone().slice_dim(1, 0..1), rows, number: self.number(), among: self.clone() };
        let of_all = primitive::<B>(of_all);
        let of_all = match Back.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(saved, of_all),
            OpsKind::UnTracked(prepared) => prepared.finish(of_all),
        };
        Some((Tensor::from_primitive::<Autodiff<B, C>>(of_all), rows))
    }

    /// Mean and variance of the rows of all parts, and how many those are. `[E, 2, O]`
    fn merged(&self, y: &Tensor<3>) -> (Tensor<3>, usize) {
        let [members, own_rows, width] = y.dims();
        let mean = y.clone().mean_dim(1); // [E, 1, O]
        let centred = y.clone() - mean.clone();
        let squares = (centred.clone() * centred).sum_dim(1); // [E, 1, O]
        let own = floats(Tensor::cat(vec![mean, squares], 1)); // [E, 2, O]
        let parts = self.gather(self.number(), if self.is_empty { 0 } else { own_rows }, &own);
        let rows: usize = parts.iter().map(|(rows, _)| rows).sum();
        let of_all = |at: usize| {
            // mean at `at`, the squares around it `width` later
            let with_rows = || parts.iter().filter(|(rows, _)| *rows > 0);
            let of = |values: &[f32], at: usize| f64::from(values[at]);
            let mean = with_rows().map(|(n, own)| *n as f64 * of(own, at)).sum::<f64>() / rows as f64;
            let apart = |m: f64| (m - mean) * (m - mean);
            let squares = with_rows().map(|(n, own)| of(own, at + width) + *n as f64 * apart(of(own, at)));
            (mean as f32, (squares.sum::<f64>() / rows as f64) as f32)
        };
        let mut merged = vec![0.0; own.len()];
        for member in 0..members {
            for column in 0..width {
                let at = member * 2 * width + column;
                (merged[at], merged[at + width]) = of_all(at);
            }
        }
        (tensor(merged, [members, 2, width], &y.device()), rows)
    }

    /// The rows of all parts, of which those of the others are constants, and how many parts there are. `own [b, L]`, on autodiff; gives `[B, L]`.
    pub(crate) fn rows(&self, own: &Tensor<2>) -> (Tensor<2>, usize) {
        let ([_, width], device) = (own.dims(), own.device());
        let said = if self.is_empty { Vec::new() } else { floats(own.clone().inner()) };
        let parts = self.gather(self.number(), said.len() / width, &said);
        let place = self.parts.place();
        let values = |parts: &[(usize, Vec<f32>)]| parts.iter().flat_map(|(_, own)| own).copied().collect::<Vec<f32>>();
        let constant = |values: Vec<f32>| {
            let rows = values.len() / width;
            (rows > 0).then(|| tensor(values, [rows, width], &device.clone().inner()).autodiff())
        };
        let own = (!self.is_empty).then(|| own.clone());
        let all = [constant(values(&parts[..place])), own, constant(values(&parts[place + 1..]))];
        (Tensor::cat(all.into_iter().flatten().collect(), 0), parts.len())
    }
}

/// What the way back through the moments needs.
#[derive(Debug, Clone)]
struct Saved {
    y: Tensor<3>,    // [E, B, O]
    mean: Tensor<3>, // [E, 1, O]
    /// `n`
    rows: usize,
    /// Of what is said in the forward.
    number: u64,
    among: Among,
}

/// The step back through the moments.
#[derive(Debug)]
struct Back;

impl<B: Backend> Backward<B, 1> for Back
where
    DispatchTensor: DispatchKindConversion<B>,
{
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let own = Tensor::<3>::from_primitive::<B>(grads.consume::<B>(&ops.node)); // [E, 2, O]
        let Saved { y, mean, rows, number, among } = ops.state;
        let slopes = among.summed(number, own); // [E, 2, O]
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            let of = |k: usize| slopes.clone().slice_dim(1, k..k + 1) / rows as f64; // [E, 1, O]
            let dy = match among.is_empty {
                true => y.zeros_like(),
                false => (y - mean) * (of(1) * 2.0) + of(0), // [E, B, O]
            };
            grads.register::<B>(parent.id, primitive::<B>(dy));
        }
    }
}

impl Among {
    /// The sum over all parts, in their order, where all of them are at the step back of that number.
    fn summed(&self, number: u64, own: Tensor<3>) -> Tensor<3> {
        let (dims, device) = (own.dims(), own.device());
        let own = floats(own);
        let mut sums = vec![0.0f64; own.len()];
        for (_, values) in self.gather(BACKWARD | number, 0, &own) {
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += f64::from(value));
        }
        tensor(sums.into_iter().map(|sum| sum as f32).collect(), dims, &device)
    }
}

/// Set in the number of what is said on the way back.
const BACKWARD: u64 = 1 << 63;

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("layers and logits are f32")
}

fn tensor<const D: usize>(values: Vec<f32>, dims: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, dims), device)
}

fn primitive<B: Backend>(tensor: Tensor<3>) -> B::FloatTensorPrimitive
where
    DispatchTensor: DispatchKindConversion<B>,
{
    tensor.try_into_primitive::<B>().expect("made of a tensor of this device")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Barrier;
    use std::sync::Mutex;
    use std::thread;

    use super::*;
    use crate::device::DeviceSpec;
    use crate::nn::BatchNormBank;

    /// Parts that are threads, and speak over a table.
    #[derive(Debug)]
    struct Table {
        place: usize,
        said: Arc<Mutex<Vec<Vec<u8>>>>,
        all_here: Arc<Barrier>,
    }

    impl Parts for Table {
        fn place(&self) -> usize {
            self.place
        }

        fn gather(&self, own: &[u8]) -> Vec<Vec<u8>> {
            self.said.lock().unwrap()[self.place] = own.to_vec();
            self.all_here.wait();
            let all = self.said.lock().unwrap().clone();
            self.all_here.wait();
            all
        }
    }

    /// Runs `work` on so many threads, each with its place among them.
    fn on<T: Send>(parts: usize, work: impl Fn(usize, Arc<dyn Parts>) -> T + Sync) -> Vec<T> {
        let (said, all_here) = (Arc::new(Mutex::new(vec![Vec::new(); parts])), Arc::new(Barrier::new(parts)));
        let work = &work;
        thread::scope(|scope| {
            let start = |place| {
                let table = Table { place, said: said.clone(), all_here: all_here.clone() };
                scope.spawn(move || work(place, Arc::new(table)))
            };
            let threads: Vec<_> = (0..parts).map(start).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    const MEMBERS: usize = 2;
    const ROWS: usize = 9;
    const WIDTH: usize = 3;

    /// Of members `[E, B, O]`, the rows of a stretch.
    fn stretch(rows: std::ops::Range<usize>) -> Vec<f32> {
        let value = |e: usize, b: usize, o: usize| {
            ((e * 31 + b * 17 + o * 7) as f32 * 0.29).sin() * (1.0 + o as f32) + e as f32
        };
        let of = |(e, b)| (0..WIDTH).map(move |o| value(e, b, o));
        (0..MEMBERS).flat_map(|e| rows.clone().map(move |b| (e, b))).flat_map(of).collect()
    }

    /// `y`, and the gradient of `sum of y^3 / 1000` of two normalisations, one after the other, by what is normalised; of the rows of a stretch.
    fn normalised(rows: std::ops::Range<usize>, bank: &[BatchNormBank; 2]) -> (Vec<f32>, Vec<f32>) {
        let device = DeviceSpec::from_env().unwrap().open().unwrap();
        let (values, count) = match rows.is_empty() {
            true => (vec![0.5; MEMBERS * WIDTH], 1),
            false => (stretch(rows.clone()), rows.len()),
        };
        let x = tensor(values, [MEMBERS, count, WIDTH], &device).autodiff().require_grad();
        let y = bank[1].forward(bank[0].forward(x.clone()).tanh());
        let share = if rows.is_empty() { 0.0 } else { 1e-3 };
        let mut grads = (y.clone().powi_scalar(3).sum() * share).backward();
        (floats(y.inner()), floats(x.grad_remove(&mut grads).unwrap()))
    }

    fn banks() -> [BatchNormBank; 2] {
        let device = DeviceSpec::from_env().unwrap().open().unwrap().autodiff();
        [0, 1].map(|_| BatchNormBank::init(MEMBERS, WIDTH, &device))
    }

    fn running(banks: &[BatchNormBank; 2]) -> Vec<f32> {
        banks
            .iter()
            .flat_map(|bank| crate::params::collect(bank).into_values())
            .flat_map(|data| data.try_into_vec::<f32>().unwrap())
            .collect()
    }

    #[test]
    fn rows_in_parts_are_normalised_as_all_of_them_are_and_so_is_the_way_back() {
        let close = |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 2e-5);
        let whole = banks();
        let (y, slopes) = normalised(0..ROWS, &whole);
        let of_rows = |all: &[f32], rows: &std::ops::Range<usize>| {
            let member = |e: usize| &all[(e * ROWS + rows.start) * WIDTH..(e * ROWS + rows.end) * WIDTH];
            (0..MEMBERS).flat_map(member).copied().collect::<Vec<f32>>()
        };
        for stretches in [vec![0..9, 9..9], vec![0..4, 4..9], vec![0..1, 1..1, 1..7, 7..9]] {
            let found = on(stretches.len(), |place, parts| {
                let (own, rows) = (banks(), stretches[place].clone());
                let found = with(parts, rows.is_empty(), || normalised(rows, &own));
                (found, running(&own))
            });
            for (((own_y, own_slopes), statistics), rows) in found.iter().zip(&stretches) {
                assert!(close(statistics, &running(&whole)), "{statistics:?}");
                assert_eq!(*statistics, found[0].1, "the same bits on all");
                match rows.is_empty() {
                    true => {
                        assert!(own_slopes.iter().all(|slope| *slope == 0.0), "a row that counts nothing moves nothing")
                    }
                    false => {
                        assert!(close(own_y, &of_rows(&y, rows)), "{stretches:?}");
                        assert!(
                            close(own_slopes, &of_rows(&slopes, rows)),
                            "{own_slopes:?} {:?}",
                            of_rows(&slopes, rows)
                        );
                    }
                }
            }
        }
        assert!(current().is_none());
    }

    #[test]
    fn rows_of_others_stand_where_theirs_are_and_only_a_part_s_own_have_a_way_back() {
        let device = DeviceSpec::from_env().unwrap().open().unwrap();
        let stretches = [0..2, 2..2, 2..5];
        let found = on(3, |place, parts| {
            let (rows, is_empty) = (stretches[place].clone(), stretches[place].is_empty());
            let values: Vec<f32> = if is_empty { vec![99.0] } else { rows.clone().map(|row| row as f32).collect() };
            let own = tensor(values.clone(), [values.len(), 1], &device).autodiff().require_grad();
            with(parts, is_empty, || {
                let (all, count) = current().unwrap().rows(&own);
                let slopes = (!is_empty).then(|| {
                    let mut grads = (all.clone() * all.clone()).sum().backward();
                    floats(own.grad_remove(&mut grads).unwrap())
                }); // of constants there are none
                (floats(all.inner()), slopes, count)
            })
        });
        for (rows, (all, slopes, count)) in stretches.iter().zip(found) {
            assert_eq!((all, count), (vec![0.0, 1.0, 2.0, 3.0, 4.0], 3));
            let expected: Vec<f32> = rows.clone().map(|row| 2.0 * row as f32).collect();
            assert_eq!(slopes, (!rows.is_empty()).then_some(expected));
        }
    }
}
