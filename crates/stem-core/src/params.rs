//! A network's parameters by name, for bundles and for parity: `net.layers.0.experts.own.layers.1.weight`.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Tensor, TensorData};

/// Every parameter's values by its path, running statistics included, as they are after the latest forward.
pub fn collect<M: Module>(module: &M) -> BTreeMap<String, TensorData> {
    let mut collector = Collector { with_values: true, ..Collector::default() };
    module.valid().visit(&mut collector); // a visit of the module itself would see running statistics a step late
    collector.found
}

/// Every parameter's path, id and number of values, in the order of the walk.
pub fn list<M: Module>(module: &M) -> Vec<(String, ParamId, usize)> {
    let mut collector = Collector::default();
    module.visit(&mut collector);
    collector.listed
}

/// Whether a module normalises over the rows of a batch ([`BatchNormBank`](crate::nn::BatchNormBank)), so that what it does to a row hangs on the
/// others.
pub fn normalises_batches<M: Module>(module: &M) -> bool {
    let mut seeker = Seeker { found: false };
    module.visit(&mut seeker);
    seeker.found
}

struct Seeker {
    found: bool,
}

impl ModuleVisitor for Seeker {
    fn enter_module(&mut self, _: &str, container_type: &str) {
        self.found |= container_type == "Struct:BatchNormBank";
    }
}

/// Values that are not those of a module's parameters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterFault {
    /// A parameter without values.
    #[error("parameter '{name}' is missing")]
    Missing {
        /// Its path.
        name: String,
    },
    /// Values without a parameter.
    #[error("parameter '{name}' belongs to no part of this model")]
    Unknown {
        /// Their path.
        name: String,
    },
    /// Values of another shape.
    #[error("parameter '{name}' has shape {found:?}, the model needs {expected:?}")]
    Shape {
        /// The parameter's path.
        name: String,
        /// As given.
        found: Vec<usize>,
        /// As the module has it.
        expected: Vec<usize>,
    },
}

/// Puts `values` in the place of the module's own. Every parameter needs a value of its shape, and no value may be left over.
///
/// # Errors
/// The first mismatch.
pub fn replace<M: Module>(module: M, values: BTreeMap<String, TensorData>) -> Result<M, ParameterFault> {
    let mut replacer = Replacer { path: Path::default(), values, fault: None };
    let module = module.map(&mut replacer);
    match (replacer.fault, replacer.values.into_keys().next()) {
        (Some(fault), _) => Err(fault),
        (None, Some(name)) => Err(ParameterFault::Unknown { name }),
        (None, None) => Ok(module),
    }
}

/// Where the walk is. Enum variants are left out, and the fields that hold a model and what stands before it: a wrapped model and the
/// model itself name their parameters alike.
#[derive(Default)]
struct Path(Vec<Option<String>>);

impl Path {
    fn enter(&mut self, name: &str, container: &str) {
        let is_wrap = container.starts_with("Enum:") || container == "Struct:AnyModel";
        self.0.push((!is_wrap).then(|| name.to_string()));
    }
    fn exit(&mut self) {
        self.0.pop();
    }
    fn name(&self) -> String {
        self.0.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(".")
    }
}

#[derive(Default)]
struct Collector {
    path: Path,
    with_values: bool,
    listed: Vec<(String, ParamId, usize)>,
    found: BTreeMap<String, TensorData>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let values = param.val();
        self.listed.push((self.path.name(), param.id, values.dims().iter().product()));
        if self.with_values {
            self.found.insert(self.path.name(), values.into_data());
        }
    }
}

struct Replacer {
    path: Path,
    values: BTreeMap<String, TensorData>,
    fault: Option<ParameterFault>,
}

impl ModuleMapper for Replacer {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.name();
        let dims = param.val().dims();
        match self.values.remove(&name) {
            None => _ = self.fault.get_or_insert(ParameterFault::Missing { name }),
            Some(data) if data.shape().as_slice() != dims.as_slice() => {
                let (found, expected) = (data.shape().as_slice().to_vec(), dims.to_vec());
                self.fault.get_or_insert(ParameterFault::Shape { name, found, expected });
            }
            Some(data) => {
                return param.map(|old| {
                    Tensor::from_data(data, (&old.device(), DType::F32)).set_require_grad(old.is_require_grad())
                });
            }
        }
        param
    }
}
