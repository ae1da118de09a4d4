//! Which tensor of the reference fills which part of which of our parameters.
//!
//! There every expert, gate and tower is a module of its own with PyTorch's `[out, in]` weights; here they are banks
//! `[members, in, out]`. Parity and import read a state dict, or gradients of the same names, through this one mapping.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::TensorData;
use stem_core::params;

use crate::banks::Bank;
use crate::names::RawTensor;

/// A tensor of the reference, and the parameter of ours that it is a member of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its name, for instance `tower.1.mlp.0.weight`.
    pub theirs: String,
    /// The shape that it needs: `[out, in]` for a linear map, `[out]` for the rest.
    pub shape: Vec<usize>,
    /// Path of our parameter, for instance `towers.bank.layers.0.weight`.
    pub ours: String,
    /// Path of the bank, for instance `towers.bank`.
    pub bank: String,
}

/// The pieces of all our parameters `ours` (shapes by path), members in order. `theirs` only tells where in an `nn.Sequential` the
/// linear maps stand, since activations and dropout between them leave gaps in the numbers.
///
/// # Errors
/// A parameter of ours that no bank has.
pub fn pieces(
    banks: &[Bank],
    ours: &BTreeMap<String, Vec<usize>>,
    theirs: &BTreeMap<String, RawTensor>,
) -> Result<Vec<Piece>, String> {
    let mut all = Vec::new();
    for (path, shape) in ours {
        let bank =
            banks.iter().find_map(|bank| Some((bank, path.strip_prefix(bank.ours.as_str())?.strip_prefix('.')?)));
        let (bank, part) = bank.ok_or_else(|| format!("the reference has nothing like our parameter '{path}'"))?;
        let within = |part: &str| ours.contains_key(&format!("{}.{part}", bank.ours));
        let name = their_name(part, within, |layer| place(bank, layer, theirs))
            .ok_or_else(|| format!("the reference has nothing like our parameter '{path}'"))?;
        let shape = match shape[..] {
            [members, _, _] if members != bank.members.len() => {
                return Err(format!("our parameter '{path}' has {members} members, its bank {}", bank.members.len()));
            }
            [_, 1, output] if !part.ends_with("weight") => vec![output],
            [_, input, output] => vec![output, input],
            _ => return Err(format!("our parameter '{path}' has shape {shape:?}, expected three dimensions")),
        };
        all.extend(bank.members.iter().map(|member| Piece {
            theirs: format!("{member}.{name}"),
            shape: shape.clone(),
            ours: path.clone(),
            bank: bank.ours.clone(),
        }));
    }
    Ok(all)
}

/// Our part of a bank, by the reference's name within a member. `within` tells which other parts the bank has.
fn their_name(part: &str, within: impl Fn(&str) -> bool, place: impl Fn(usize) -> usize) -> Option<String> {
    let steps: Vec<&str> = part.split('.').collect();
    if let ["weight" | "bias"] = steps[..] {
        return Some(part.to_string()); // a linear map that stands alone
    }
    let [kind, layer, ref rest @ ..] = steps[..] else { return None };
    let linear = place(layer.parse().ok()?);
    // after a linear map: its normalisation, if there is one, then its activation
    let activation = linear + 1 + usize::from(within(&format!("hidden.{layer}.norm.mean")));
    let is_dice = within(&format!("hidden.{layer}.activation.norm.mean"));
    let (place, name) = match (kind, rest) {
        ("layers", [part @ ("weight" | "bias")]) => (linear, *part),
        ("hidden", ["norm", "affine", "gamma"]) => (linear + 1, "weight"),
        ("hidden", ["norm", "affine", "beta"]) => (linear + 1, "bias"),
        ("hidden", ["norm", "mean"]) => (linear + 1, "running_mean"),
        ("hidden", ["norm", "variance"]) => (linear + 1, "running_var"),
        ("hidden", ["activation", "slope"]) => (activation, if is_dice { "alpha" } else { "weight" }),
        ("hidden", ["activation", "norm", "mean"]) => (activation, "bn.running_mean"),
        ("hidden", ["activation", "norm", "variance"]) => (activation, "bn.running_var"),
        _ => return None,
    };
    Some(format!("{place}.{name}"))
}

/// Where linear map `layer` stands in the members' `nn.Sequential`: as the first member that has any says, or every second place.
fn place(bank: &Bank, layer: usize, theirs: &BTreeMap<String, RawTensor>) -> usize {
    let of_member = |member: &String| {
        let prefix = format!("{member}.");
        let below = theirs.range(prefix.clone()..).take_while(|(name, _)| name.starts_with(&prefix));
        let linear = below.filter(|(_, tensor)| tensor.shape.len() == 2);
        let number = |name: &str| name[prefix.len()..].strip_suffix(".weight")?.parse::<u32>().ok();
        let mut places: Vec<usize> = linear.filter_map(|(name, _)| Some(number(name)? as usize)).collect();
        places.sort_unstable();
        (!places.is_empty()).then_some(places)
    };
    let places = bank.members.iter().find_map(of_member).unwrap_or_default();
    let stride = places.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or(2);
    places.get(layer).copied().unwrap_or_else(|| {
        let (last, missing) = places.last().map_or((0, layer), |last| (*last, layer + 1 - places.len()));
        last + missing * stride
    })
}

/// Our parameters `ours` (shapes by path) from their pieces: each bank's members one after the other, linear maps transposed from
/// `[out, in]`.
///
/// # Errors
/// A piece that is missing or of another shape.
pub fn assemble(
    pieces: &[Piece],
    ours: &BTreeMap<String, Vec<usize>>,
    theirs: &BTreeMap<String, RawTensor>,
) -> Result<BTreeMap<String, TensorData>, String> {
    let mut values: BTreeMap<&str, Vec<f32>> = ours.keys().map(|name| (name.as_str(), Vec::new())).collect();
    for piece in pieces {
        let name = &piece.theirs;
        let tensor = theirs.get(name).ok_or_else(|| format!("tensor '{name}' is missing"))?;
        if tensor.shape != piece.shape {
            return Err(format!("tensor '{name}' has shape {:?}, expected {:?}", tensor.shape, piece.shape));
        }
        let member = values.entry(&piece.ours).or_default();
        match tensor.shape[..] {
            [output, input] => {
                member.extend((0..input).flat_map(|i| (0..output).map(move |o| tensor.values[o * input + i])));
            }
            _ => member.extend_from_slice(&tensor.values),
        }
    }
    let shaped = |(name, values)| (String::from(name), TensorData::new(values, ours[name].clone()));
    Ok(values.into_iter().map(shaped).collect())
}

/// Shapes of a network's parameters by path.
pub fn shapes<M: Module>(network: &M) -> BTreeMap<String, Vec<usize>> {
    params::collect(network).into_iter().map(|(name, data)| (name, data.shape().as_slice().to_vec())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(part: &str, bank: &[&str]) -> Option<String> {
        their_name(part, |other| bank.contains(&other), |layer| 4 * layer)
    }

    #[test]
    fn parts_after_a_linear_map_are_counted_on_from_it() {
        let normed = ["hidden.1.norm.mean"];
        let dice = ["hidden.1.norm.mean", "hidden.1.activation.norm.mean"];
        assert_eq!(name("weight", &[]).as_deref(), Some("weight"));
        assert_eq!(name("layers.1.bias", &[]).as_deref(), Some("4.bias"));
        assert_eq!(name("hidden.1.norm.affine.gamma", &normed).as_deref(), Some("5.weight"));
        assert_eq!(name("hidden.1.norm.variance", &normed).as_deref(), Some("5.running_var"));
        assert_eq!(name("hidden.1.activation.slope", &[]).as_deref(), Some("5.weight"));
        assert_eq!(name("hidden.1.activation.slope", &normed).as_deref(), Some("6.weight"));
        assert_eq!(name("hidden.1.activation.slope", &dice).as_deref(), Some("6.alpha"));
        assert_eq!(name("hidden.1.activation.norm.mean", &dice).as_deref(), Some("6.bn.running_mean"));
        assert_eq!(name("elsewhere.1.x", &[]), None);
    }

    #[test]
    fn linear_maps_stand_where_the_checkpoint_has_them() {
        let tensor = |shape: &[usize]| RawTensor { shape: shape.to_vec(), values: Vec::new() };
        let bank = Bank::new("bank", ["absent.mlp".to_string(), "m.mlp".to_string()]);
        let theirs = BTreeMap::from([
            ("m.mlp.0.weight".to_string(), tensor(&[4, 3])),
            ("m.mlp.1.weight".to_string(), tensor(&[4])),
            ("m.mlp.10.weight".to_string(), tensor(&[1, 4])),
            ("m.mlp.5.weight".to_string(), tensor(&[4, 4])),
        ]);
        assert_eq!([0, 1, 2, 3].map(|layer| place(&bank, layer, &theirs)), [0, 5, 10, 15]);
        assert_eq!([0, 1, 2].map(|layer| place(&bank, layer, &BTreeMap::new())), [0, 2, 4]);
    }
}
