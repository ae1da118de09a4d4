//! What holds numbers to an oracle's.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor, TensorData};
use serde::Deserialize;
use serde_json::Value as Json;
use stem_core::{DeviceSpec, params};

/// What PyTorch gives for one setting.
#[derive(Deserialize)]
pub struct Case {
    pub case: Json,
    pub table: Vec<f32>,
    pub parameters: BTreeMap<String, Vec<f32>>,
    pub y: Vec<f64>,
    /// What the model adds to the loss.
    #[serde(default)]
    pub penalty: f64,
    pub pull: Vec<f32>,
    pub dtable: Vec<f64>,
    gradients: BTreeMap<String, Vec<f64>>,
}

impl Case {
    /// Holds the gradients of a module's parameters to PyTorch's.
    pub fn hold_gradients<M: Module>(&self, module: &M, grads: &Gradients, share: f64, name: &str) {
        let found = gradients(module, grads);
        assert_eq!(found.keys().collect::<Vec<_>>(), self.gradients.keys().collect::<Vec<_>>(), "{name}");
        for (parameter, expected) in &self.gradients {
            close(&found[parameter], expected, share, &format!("{name}: {parameter}"));
        }
    }
}

/// The module with these values of its parameters.
pub fn with_parameters<M: Module>(module: M, given: &BTreeMap<String, Vec<f32>>) -> M {
    let shapes: BTreeMap<_, _> =
        params::collect(&module).into_iter().map(|(name, data)| (name, data.shape().as_slice().to_vec())).collect();
    let given = given.iter().map(|(name, values)| {
        (name.clone(), TensorData::new(values.clone(), shapes.get(name).expect("a parameter of this name").clone()))
    });
    params::replace(module, given.collect()).unwrap()
}

/// Gradients of parameters by their ids.
struct Taken<'g>(&'g Gradients, BTreeMap<String, Vec<f32>>);

impl ModuleVisitor for Taken<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad(self.0) {
            self.1.insert(param.id.to_string(), gradient.into_data().try_into_vec().unwrap());
        }
    }
}

/// Gradients by the names of parameters.
pub fn gradients<M: Module>(module: &M, grads: &Gradients) -> BTreeMap<String, Vec<f32>> {
    let mut taken = Taken(grads, BTreeMap::new());
    module.visit(&mut taken);
    let named = params::list(module).into_iter();
    named.filter_map(|(name, id, _)| Some((name, taken.1.remove(&id.to_string())?))).collect()
}

/// Within `share` of the largest number that was expected, or of 1.
pub fn close(found: &[f32], expected: &[f64], share: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1.0f64, |largest, x| largest.max(x.abs()));
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f64::from(*found) - expected).abs() < share * largest,
            "{what} at {place}: {found}, PyTorch {expected}"
        );
    }
}

pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// A GPU in software, where some cases are enough.
pub fn is_on_gpu() -> bool {
    matches!(DeviceSpec::from_env(), Ok(DeviceSpec::Wgpu(_)))
}
