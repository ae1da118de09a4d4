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

/// Puts `values` in the place of the module's own. Every parameter needs a value of its shape, and no value may be left over.
///
/// # Errors
/// The first mismatch, in words.
pub fn replace<M: Module>(module: M, values: BTreeMap<String, TensorData>) -> Result<M, String> {
    let mut replacer = Replacer { path: Path::default(), values, fault: None };
    let module = module.map(&mut replacer);
    match (replacer.fault, replacer.values.into_keys().next()) {
        (Some(fault), _) => Err(fault),
        (None, Some(name)) => Err(format!("parameter '{name}' belongs to no part of this model")),
        (None, None) => Ok(module),
    }
}

/// Where the walk is. Enum variants are left out: a wrapped model and the model itself name their parameters alike.
#[derive(Default)]
struct Path(Vec<Option<String>>);

impl Path {
    fn enter(&mut self, name: &str, container: &str) {
        self.0.push((!container.starts_with("Enum:")).then(|| name.to_string()));
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
    fault: Option<String>,
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
            None => _ = self.fault.get_or_insert(format!("parameter '{name}' is missing")),
            Some(data) if data.shape().as_slice() != dims.as_slice() => {
                let fault =
                    format!("parameter '{name}' has shape {:?}, the model needs {dims:?}", data.shape().as_slice());
                self.fault.get_or_insert(fault);
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
