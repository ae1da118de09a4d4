//! A training's weights and optimizer state, as checkpoints read and write them.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use stem_core::models::Model;
use stem_core::nn::RowMatrix;
use stem_core::params::{self, ParameterFault};

use super::TrainState;
use crate::checkpoint::{Large, Matrices, Put, Small, Source, Unusable, Values};
use crate::optimizer::OptimizerState;

/// Fills a matrix of a training: which it is, its values, the shape of that of the checkpoint, and what puts its values into a slice.
pub(crate) type Fill<'f> = dyn FnMut(Large, &mut [f32], [usize; 2], &mut Put<'_>) -> Result<(), Unusable> + 'f;

/// What to do where a checkpoint is of another optimizer.
pub(crate) const OTHER_OPTIMIZER: &str =
    "Train on with the optimizer that it had, or from the bundle of its training, which has no moments";

/// Of an optimizer's state, on the device.
fn matrix((values, shape): Values, device: &Device) -> RowMatrix {
    RowMatrix::new(Tensor::from_data(TensorData::new(values, shape), device))
}

impl<M: Model> TrainState<M> {
    /// Matrices with the rows of the table, in the order in which a checkpoint has them: the optimizer's, and the table.
    pub(crate) fn large_mut(&mut self) -> Vec<&mut RowMatrix> {
        let states = self.table_state.as_mut().map_or(&mut [][..], OptimizerState::matrices_mut);
        states.iter_mut().chain([self.table.rows_mut()]).collect()
    }

    /// Floats of a row of the table, with those that the optimizer has of it.
    pub(crate) fn row_floats(&self) -> usize {
        let (state, _) = self.table_state.as_ref().map_or((&[][..], 0), OptimizerState::parts);
        [self.table.rows()].into_iter().chain(state).map(|matrix| matrix.dims()[1]).sum()
    }

    /// Everything large that the next step depends on, where it lies; and how many steps each optimizer has made.
    pub(crate) fn matrices(&self) -> (Matrices<'_>, i32, BTreeMap<String, i32>) {
        let (table_state, table_steps) = self.table_state.as_ref().map_or((&[][..], 0), OptimizerState::parts);
        let (mut network_state, mut network_steps) = (BTreeMap::new(), BTreeMap::new());
        for (name, id, _) in params::list(&self.network) {
            if let Some((matrices, steps)) = self.network_optimizer.read_state(id) {
                network_state.insert(name.clone(), matrices);
                network_steps.insert(name, steps);
            }
        }
        let (table, network) = (self.table.rows(), params::collect(&self.network));
        (
            Matrices { table, table_state, network, network_state, shard: self.shard.as_deref() },
            table_steps,
            network_steps,
        )
    }

    /// Goes on from a checkpoint, whose matrices are read to where those of this training are. Where it is of no use, what is here is to be
    /// restored from another.
    pub(crate) fn restore(&mut self, checkpoint: &dyn Source) -> Result<(), Unusable> {
        let dims = self.table.rows().dims();
        if checkpoint.table() != dims {
            let what = format!("its table is {:?}, expected {dims:?}", checkpoint.table());
            return Err(Unusable::Unreadable(what));
        }
        let small = self.read_matrices(checkpoint, &mut |_, own, _, put| put(own))?;
        let unfit = |fault: ParameterFault| Unusable::Unreadable(fault.to_string());
        self.network = params::replace(self.network.clone(), small.network).map_err(unfit)?;
        self.set_network_moments(small.network_state, checkpoint.place().network_steps.clone())
    }

    /// Reads the large matrices of a checkpoint: `fill` is given which it is, that of this training, the shape of that of the checkpoint, and what puts its
    /// values into a slice. Gives what is small.
    pub(crate) fn read_matrices(&mut self, checkpoint: &dyn Source, fill: &mut Fill<'_>) -> Result<Small, Unusable> {
        let (steps, states) = (checkpoint.place().table_steps, checkpoint.states());
        let mut fresh = OptimizerState::new(self.optimizer, self.table.rows().dims(), &self.device());
        let own = fresh.filled_to(steps);
        let is_others =
            || Unusable::Unreadable(format!("the state of its table is another optimizer's. {OTHER_OPTIMIZER}"));
        if steps > 0 && states != own.len() {
            return Err(is_others());
        }
        let table = self.table.rows_mut();
        let small = checkpoint.read(&mut |large, shape, put| match large {
            Large::Table => table.host_mut(|values| fill(large, values, shape, put)),
            Large::State(k) => {
                let own = own.get_mut(k).filter(|own| own.dims()[1] == shape[1]).ok_or_else(is_others)?;
                own.host_mut(|values| fill(large, values, shape, put))
            }
        })?;
        self.table_state = (steps > 0).then_some(fresh);
        Ok(small)
    }

    /// Gives the optimizer its state of the parameters with these names, by the steps that it has made on each.
    pub(crate) fn set_network_moments(
        &mut self,
        mut states: BTreeMap<String, Vec<Values>>,
        mut steps: BTreeMap<String, i32>,
    ) -> Result<(), Unusable> {
        let device = self.device();
        for (name, id, _) in params::list(&self.network) {
            let Some(made) = steps.remove(&name) else { continue };
            let parts = states.remove(&name).unwrap_or_default();
            let width = parts.first().map_or(0, |(_, [_, width])| *width);
            let parts = parts.into_iter().map(|values| matrix(values, &device)).collect();
            if !self.network_optimizer.set_state(id, parts, width, made) {
                return Err(Unusable::Unreadable(format!(
                    "the state of '{name}' is another optimizer's. {OTHER_OPTIMIZER}"
                )));
            }
        }
        match steps.into_keys().next() {
            Some(name) => Err(Unusable::Unreadable(format!("the model has no parameter '{name}'"))),
            None => Ok(()),
        }
    }
}
