//! Whose experts a task reads: mean gate weights over the test split, with names.

use stem_core::nn::GateMean;
use stem_report::report::GateMap;

use super::owner_names;

/// A layer's means with names.
pub(crate) fn gate_map(layer: usize, mean: &GateMean, owners: &[usize], tasks: &[String]) -> GateMap {
    let rows = match mean.streams {
        1 if tasks.len() > 1 => vec!["all tasks".into()],
        streams => (0..streams).map(|t| tasks.get(t).map_or("shared", String::as_str).to_string()).collect(),
    };
    GateMap {
        layer,
        rows,
        columns: owner_names(owners, mean.groups, tasks, "expert"),
        values: mean.values.chunks(mean.groups).map(<[f64]>::to_vec).collect(),
        ..GateMap::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_and_experts_are_named_by_their_owners() {
        let tasks = ["like".to_string(), "love".to_string()];
        let mean = |streams, groups| GateMean { streams, groups, values: vec![0.5; streams * groups] };
        let map = gate_map(0, &mean(3, 3), &[0, 1, 2, 2], &tasks);
        assert_eq!([map.rows, map.columns], [["like", "love", "shared"]; 2]);
        let map = gate_map(0, &mean(1, 2), &[], &tasks);
        assert_eq!(map.rows, ["all tasks"]);
        assert_eq!(map.columns, ["expert 1", "expert 2"]);
    }
}
