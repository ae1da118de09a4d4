//! A step whose tasks meet at the embeddings that they share: there each task's gradient is weighed, and one backward pass takes their sum on to the rows.
//!
//! ```text
//! h   = what the model's wiring reads                     [G, B, F * D], after what stands before it
//! g_t = d (w_t L_t) / dh                                  a forward and a backward pass of the wiring for each task, which end at h
//! d   = sum_t m_t g_t of the groups that tasks share      sum_t g_t of the others
//! rows, and what stands before the wiring: (dh / d.)^T d  one backward pass
//! network                                                 sum_t of its gradients, as they are
//! ```

use burn::tensor::Tensor;
use stem_core::models::Model;
use stem_core::nn::Pooled;
use tracing::trace_span;

use super::gathered::{Gathered, Part, StepGradients};
use super::{Backward, Losses, Objective, TrainState};
use crate::optimizer::NetworkGradients;

/// Inner products of the tasks' gradients at what they share, `[T, T]`; made into what each is multiplied with, `[T]`.
pub(crate) type WeighAtShared<'w> = dyn FnMut(&[Vec<f64>]) -> Vec<f64> + 'w;

/// The passes of the tasks over a part of a batch, which end at `h`.
struct Passes {
    leaf: Tensor<2>,
    h: Tensor<3>,              // [G, B, F * D]
    slopes: Vec<Tensor<3>>,    // g_t [G, B, F * D]
    rows: Option<Tensor<2>>,   // of what is read past h. [U, W]
    network: NetworkGradients, // of the wiring
    tasks: Tensor<1>,          // [T]
    penalty: Tensor<1>,        // [1]
}

impl<M: Model> TrainState<M> {
    /// Gradients of which the tasks' are weighed at the embedding groups `shared`, ascending: `weigh` is called once, with the products of the whole batch, or
    /// with their diagonal alone and 0 beside it unless `crosswise`.
    pub(crate) fn gradients_weighed_at(
        &self,
        batch: &Gathered,
        objective: &Objective,
        (shared, crosswise): (&[usize], bool),
        weigh: &mut WeighAtShared<'_>,
    ) -> (Losses, StepGradients) {
        let tasks = objective.task_weights.len();
        let passes = batch.part.as_ref().map(|part| (part, self.passes(batch, part, objective)));
        let mut products = vec![0.0; tasks * tasks];
        if let Some((_, Passes { slopes, .. })) = &passes {
            let of_shared = |slope: &Tensor<3>| match shared.len() == slope.dims()[0] {
                true => slope.clone(),
                false => Tensor::cat(shared.iter().map(|&k| slope.clone().slice_dim(0, k..k + 1)).collect(), 0),
            };
            let slopes: Vec<Tensor<3>> = slopes.iter().map(of_shared).collect(); // [G_S, B, F * D] each
            for (s, t) in (0..tasks).flat_map(|s| (s..tasks).map(move |t| (s, t))).filter(|(s, t)| crosswise || s == t)
            {
                let product = (slopes[s].clone() * slopes[t].clone()).sum().into_scalar::<f32>();
                (products[s * tasks + t], products[t * tasks + s]) = (f64::from(product), f64::from(product));
            }
        }
        batch.sum_few(&mut products);
        let products: Vec<Vec<f64>> = products.chunks(tasks).map(<[f64]>::to_vec).collect();
        let weights = weigh(&products);
        let found = passes.map(|(part, passes)| self.through(part, passes, shared, &weights));
        match &batch.home {
            Some(home) => self.together(home, batch, found),
            None => {
                let Backward { tasks, penalty, rows, network } = found.expect("one process has all rows of a batch");
                let losses = Losses { tasks, regularization: penalty, labelled: batch.labelled.clone() };
                (losses, StepGradients { network, rows: batch.of_live(rows), batch: batch.clone() })
            }
        }
    }

    /// Forward and backward of the wiring for each task, with its configured weight and its part of the model's penalty.
    fn passes(&self, batch: &Gathered, part: &Part, objective: &Objective) -> Passes {
        let count = objective.task_weights.len();
        let (leaf, x) = self.leaf(part);
        let x: Pooled = self.network.read(x);
        let h = x.stack(0..x.groups());
        let own = batch.share_of(part);
        let (mut slopes, mut rows, mut network) = (Vec::new(), None::<Tensor<2>>, NetworkGradients::default());
        let mut told = None;
        for (t, &weight) in objective.task_weights.iter().enumerate() {
            let span = trace_span!("forward").entered();
            let end = h.clone().detach().require_grad();
            let (of_model, tasks) = self.losses(part, || self.network.forward_read(x.clone().read_as(end.clone())));
            let mut loss = tasks.clone().slice_dim(0, t..t + 1) * weight;
            let mut penalty = Tensor::zeros([1], &self.device());
            if let Some(of_model) = of_model {
                penalty = of_model.clone().inner();
                loss = loss + of_model * (own / count as f64);
            }
            drop(span);
            let _span = trace_span!("backward").entered();
            let mut grads = loss.backward();
            slopes.push(end.grad_remove(&mut grads).unwrap_or_else(|| end.clone().inner().zeros_like()));
            let past = self.of_leaf(&leaf, &mut grads, part);
            rows = match (rows, past) {
                (Some(sum), Some(past)) => Some(sum + past),
                (sum, past) => sum.or(past),
            };
            network = network.add(&NetworkGradients::take(&self.network, &mut grads), None);
            told.get_or_insert((tasks.inner(), penalty * own));
        }
        let (tasks, penalty) = told.expect("a schema has a task");
        Passes { leaf, h, slopes, rows, network, tasks, penalty }
    }

    /// The weighed sum, on through what stands before the wiring.
    fn through(&self, part: &Part, passes: Passes, shared: &[usize], weights: &[f64]) -> Backward {
        let _span = trace_span!("backward").entered();
        let Passes { leaf, h, slopes, rows, network, tasks, penalty } = passes;
        let groups = h.dims()[0];
        let weighed = |(slope, &weight): (Tensor<3>, &f64)| {
            let of_group = |k: usize| if shared.contains(&k) { weight as f32 } else { 1.0 };
            let factors: Vec<f32> = (0..groups).map(of_group).collect();
            let factors = Tensor::<1>::from_floats(factors.as_slice(), &slope.device()).reshape([groups, 1, 1]);
            slope * factors
        };
        let d = slopes.into_iter().zip(weights).map(weighed).reduce(|a, b| a + b).expect("a schema has a task");
        let mut grads = (h * d.autodiff()).sum().backward();
        let through = self.of_leaf(&leaf, &mut grads, part).expect("the embeddings are of the rows");
        let rows = rows.into_iter().fold(through, |sum, past| sum + past);
        let network = network.add(&NetworkGradients::take(&self.network, &mut grads), None);
        Backward { tasks, penalty, rows, network }
    }
}
