//! The device, a run-time value: `flex`, `ndarray` or `wgpu[:index]`, of those that were compiled in.

use std::fmt;
use std::str::FromStr;

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Where tensors live. Parsed from the command line, opened once. The default is the first that is compiled in of flex, wgpu and
/// ndarray.
///
/// ```
/// use stem_core::DeviceSpec;
/// assert_eq!("wgpu:1".parse::<DeviceSpec>()?, DeviceSpec::Wgpu(Some(1)));
/// # #[cfg(feature = "flex")]
/// assert_eq!(DeviceSpec::default().to_string(), "flex");
/// # Ok::<(), stem_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum DeviceSpec {
    /// Burn's pure Rust CPU backend.
    Flex,
    /// The older CPU backend on `ndarray`.
    NdArray,
    /// A GPU that wgpu reaches: the best one, or that of an index among all that are found.
    Wgpu(Option<usize>),
}

impl Default for DeviceSpec {
    fn default() -> Self {
        match Self::COMPILED {
            [best, ..] => *best,
            [] => Self::Flex,
        }
    }
}

impl DeviceSpec {
    /// The devices that are compiled in, the best one first.
    pub const COMPILED: &'static [DeviceSpec] = &[
        #[cfg(feature = "flex")]
        Self::Flex,
        #[cfg(feature = "wgpu")]
        Self::Wgpu(None),
        #[cfg(feature = "ndarray")]
        Self::NdArray,
    ];

    /// The device that the environment variable `STEM_DEVICE` names, the default without one. Tests and benches run there.
    ///
    /// # Errors
    /// [`Error::Device`] when the variable names no device.
    pub fn from_env() -> Result<Self> {
        std::env::var("STEM_DEVICE").map_or(Ok(Self::default()), |name| name.parse())
    }

    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::Device`] when it is not compiled in (the feature is named) or the machine has none.
    pub fn open(self) -> Result<Device> {
        match self {
            DeviceSpec::Flex => flex(),
            DeviceSpec::NdArray => ndarray(),
            DeviceSpec::Wgpu(index) => wgpu(self, index),
        }
    }
}

/// Whether tensors of this device lie in host memory, where a unique owner may change them in place.
pub(crate) fn on_host(device: &Device) -> bool {
    let device = device.clone().inner();
    [flex(), ndarray()].into_iter().flatten().any(|host| host == device)
}

/// Lends a tensor's values, row-major: where they lie on flex, from a copy elsewhere.
pub(crate) fn read_values<R>(tensor: &Tensor<2>, read: impl FnOnce(&[f32]) -> R) -> R {
    #[cfg(feature = "flex")]
    if flex().is_ok_and(|flex| flex == tensor.device().inner()) {
        let tensor = tensor.clone().inner().try_into_primitive::<burn::backend::Flex>().expect("its device is flex");
        let tensor = if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() };
        return read(tensor.as_slice().expect("f32 in one piece"));
    }
    read(tensor.to_data().as_slice().expect("values are f32"))
}

#[cfg(feature = "flex")]
fn flex() -> Result<Device> {
    Ok(Device::flex())
}
#[cfg(not(feature = "flex"))]
fn flex() -> Result<Device> {
    Err(missing(DeviceSpec::Flex, "flex"))
}

#[cfg(feature = "ndarray")]
#[allow(deprecated)] // burn 0.22 names flex as successor; ndarray is offered while burn has it
fn ndarray() -> Result<Device> {
    Ok(Device::ndarray())
}
#[cfg(not(feature = "ndarray"))]
fn ndarray() -> Result<Device> {
    Err(missing(DeviceSpec::NdArray, "ndarray"))
}

#[cfg(feature = "wgpu")]
fn wgpu(spec: DeviceSpec, index: Option<usize>) -> Result<Device> {
    use burn::tensor::{DeviceKind, DeviceType};
    let adapters = std::panic::catch_unwind(|| Device::enumerate(DeviceType::Wgpu).into_vec()).unwrap_or_default();
    if adapters.is_empty() {
        return Err(Error::Device {
            device: spec.to_string(),
            what: "no adapter was found: install a Vulkan, Metal or DX12 driver (on Debian without a GPU: \
                   mesa-vulkan-drivers and libvulkan1), or use flex"
                .into(),
        });
    }
    let Some(index) = index else { return Ok(Device::wgpu(DeviceKind::DefaultDevice)) };
    adapters.get(index).cloned().ok_or_else(|| Error::Device {
        device: spec.to_string(),
        what: format!("index {index} does not exist, {} adapter(s) were found; leave the index out", adapters.len()),
    })
}
#[cfg(not(feature = "wgpu"))]
fn wgpu(spec: DeviceSpec, _: Option<usize>) -> Result<Device> {
    Err(missing(spec, "wgpu"))
}

#[cfg_attr(all(feature = "flex", feature = "ndarray", feature = "wgpu"), allow(dead_code))]
fn missing(spec: DeviceSpec, feature: &str) -> Error {
    Error::Device { device: spec.to_string(), what: format!("not compiled in: build with `--features {feature}`") }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceSpec::Flex => f.write_str("flex"),
            DeviceSpec::NdArray => f.write_str("ndarray"),
            DeviceSpec::Wgpu(None) => f.write_str("wgpu"),
            DeviceSpec::Wgpu(Some(index)) => write!(f, "wgpu:{index}"),
        }
    }
}

impl FromStr for DeviceSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None if text == "flex" => Ok(DeviceSpec::Flex),
            None if text == "ndarray" => Ok(DeviceSpec::NdArray),
            None if text == "wgpu" => Ok(DeviceSpec::Wgpu(None)),
            Some(("wgpu", index)) if index.parse::<usize>().is_ok() => Ok(DeviceSpec::Wgpu(index.parse().ok())),
            _ => Err(Error::Device { device: text.into(), what: "expected flex, ndarray, wgpu or wgpu:INDEX".into() }),
        }
    }
}

impl TryFrom<String> for DeviceSpec {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<DeviceSpec> for String {
    fn from(spec: DeviceSpec) -> Self {
        spec.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_as_they_are_written() {
        for name in ["flex", "ndarray", "wgpu", "wgpu:3"] {
            assert_eq!(name.parse::<DeviceSpec>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn an_unknown_name_is_told_what_there_is() {
        for name in ["cuda", "wgpu:x", "flex:0", ""] {
            let message = name.parse::<DeviceSpec>().unwrap_err().to_string();
            assert_eq!(message, format!("device '{name}': expected flex, ndarray, wgpu or wgpu:INDEX"));
        }
    }

    #[test]
    fn the_default_is_the_best_that_is_compiled_in() {
        assert_eq!(DeviceSpec::COMPILED.first().copied().unwrap_or(DeviceSpec::Flex), DeviceSpec::default());
        assert_eq!(cfg!(feature = "flex"), DeviceSpec::COMPILED.contains(&DeviceSpec::Flex));
        if cfg!(feature = "flex") {
            assert_eq!(DeviceSpec::default(), DeviceSpec::Flex);
        }
    }

    #[test]
    fn a_device_that_is_not_compiled_in_names_its_feature() {
        for (spec, feature, compiled) in [
            (DeviceSpec::Flex, "flex", cfg!(feature = "flex")),
            (DeviceSpec::NdArray, "ndarray", cfg!(feature = "ndarray")),
            (DeviceSpec::Wgpu(None), "wgpu", cfg!(feature = "wgpu")),
        ] {
            if !compiled {
                let message = spec.open().unwrap_err().to_string();
                assert_eq!(message, format!("device '{spec}': not compiled in: build with `--features {feature}`"));
            }
        }
    }
}
