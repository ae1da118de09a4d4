//! What is given beside what a copy at that moment would be, whatever steps go on meanwhile.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::json;
use stem_core::DeviceSpec;

use super::super::file::Matrices;
use super::super::state::Place;
use super::*;

fn device() -> Device {
    DeviceSpec::from_env().unwrap().open().unwrap()
}

/// Matrices of so many rows, no two values alike.
fn matrices(rows: usize, widths: &[usize]) -> Vec<RowMatrix> {
    let matrix = |(k, width): (usize, &usize)| {
        let values = (0..rows * width).map(|place| (k * 100_000 + place) as f32).collect();
        RowMatrix::new(Tensor::from_data(TensorData::new(values, [rows, *width]), &device()))
    };
    widths.iter().enumerate().map(matrix).collect()
}

fn lent(matrices: &mut [RowMatrix]) -> Vec<&mut RowMatrix> {
    matrices.iter_mut().collect()
}

/// What a copy of these rows is, or of all, in the order of the file.
fn copy(matrices: &[RowMatrix], rows: Option<&[u32]>) -> Vec<f32> {
    let of = |matrix: &RowMatrix| -> Vec<f32> {
        let [count, width] = matrix.dims();
        let all: Vec<u32> = (0..count as u32).collect();
        let rows = rows.unwrap_or(&all);
        matrix.read(|values| rows.iter().flat_map(|row| &values[*row as usize * width..][..width]).copied().collect())
    };
    matrices.iter().flat_map(of).collect()
}

/// Changes every value of these rows.
fn step(matrices: &mut [RowMatrix], rows: &[u32]) {
    for matrix in matrices {
        let [_, width] = matrix.dims();
        let change = |values: &mut [f32], row: u32| {
            values[row as usize * width..][..width].iter_mut().for_each(|value| *value = -1.0 - 2.0 * *value);
        };
        matrix.host_mut(|values| rows.iter().for_each(|row| change(values, *row)));
    }
}

fn distinct(rows: &[u32], count: usize) -> Vec<u32> {
    let mut rows: Vec<u32> = rows.iter().map(|row| row % count as u32).collect();
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// Bytes of kept rows, counted one by one.
fn held(snapshot: &Snapshot) -> usize {
    snapshot.kept.iter().flat_map(BTreeMap::values).map(|values| 4 * values.len() + BESIDE_A_ROW).sum()
}

/// Rows before any step: matrices of `count` rows, the chosen ones, and what a copy of them is.
fn before_steps(
    count: usize,
    widths: &[usize],
    some: Option<Vec<u32>>,
) -> (Vec<RowMatrix>, Option<Arc<[u32]>>, Vec<f32>) {
    let matrices = matrices(count, widths);
    let rows: Option<Arc<[u32]>> = some.map(|rows| distinct(&rows, count).into());
    let expected = copy(&matrices, rows.as_deref());
    (matrices, rows, expected)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn steps_between_slices_do_not_change_what_is_given(
        count in 1usize..60,
        widths in vec(1usize..5, 1..4),
        some in option::of(vec(0u32..60, 0..40)),
        (slice, queue) in (1usize..200, 1usize..4),
        steps in vec((vec(0u32..60, 0..20), 0usize..6), 0..25),
    ) {
        let (mut matrices, rows, expected) = before_steps(count, &widths, some);
        let room = Room { slice, queue, kept: usize::MAX / 2 }; // no step waits
        let (mut snapshot, from) = Snapshot::new(rows, count, widths.len(), room);
        let mut given = Vec::new();
        for (changed, taken) in steps {
            let changed = distinct(&changed, count);
            snapshot.keep(Change::Rows(&changed), &mut lent(&mut matrices));
            prop_assert_eq!(snapshot.kept_bytes, held(&snapshot));
            step(&mut matrices, &changed);
            given.extend(from.try_iter().take(taken).flatten());
            snapshot.give_some(&mut lent(&mut matrices));
        }
        while snapshot.to.is_some() {
            given.extend(from.try_iter().flatten());
            snapshot.give_some(&mut lent(&mut matrices));
        }
        given.extend(from.try_iter().flatten());
        prop_assert_eq!(given, expected);
        prop_assert_eq!(held(&snapshot), 0);
    }

    #[test]
    fn a_step_waits_rather_than_have_more_kept_than_there_is_room_for(
        count in 1usize..60,
        widths in vec(1usize..5, 1..4),
        some in option::of(vec(0u32..60, 0..40)),
        (slice, kept) in (1usize..200, 0usize..5000),
        steps in vec((vec(0u32..60, 0..20), any::<bool>()), 0..12),
    ) {
        let (mut matrices, rows, expected) = before_steps(count, &widths, some);
        let (mut snapshot, from) = Snapshot::new(rows, count, widths.len(), Room { slice, queue: 1, kept });
        let writer = std::thread::spawn(move || from.iter().flatten().collect::<Vec<f32>>());
        for (changed, of_all) in steps {
            let changed = distinct(&changed, count);
            let all: Vec<u32> = (0..count as u32).collect();
            let of_all = of_all && changed.len() < 3;
            snapshot.keep(if of_all { Change::All } else { Change::Rows(&changed) }, &mut lent(&mut matrices));
            prop_assert!(held(&snapshot) <= kept, "{} of {kept} bytes", held(&snapshot));
            step(&mut matrices, if of_all { &all } else { &changed });
        }
        snapshot.give_all(&mut lent(&mut matrices));
        prop_assert_eq!(writer.join().unwrap(), expected);
    }
}

#[test]
fn what_is_held_is_at_most_a_tenth_of_the_table() {
    for table in [200_000usize, 10_000_000, 4 * 48 * 10_000_000] {
        let Room { slice, queue, kept } = Room::beside(table);
        let most = (queue + OUT_OF_QUEUE) * slice + kept;
        assert!(most <= table / 10 && most * 12 > table, "{most} beside {table}");
    }
}

#[test]
fn a_writer_that_has_failed_is_not_waited_for() {
    let mut matrices = matrices(50, &[2, 3]);
    let (mut snapshot, from) = Snapshot::new(None, 50, 2, Room { slice: 8, queue: 1, kept: 2000 });
    snapshot.keep(Change::Rows(&[3, 4]), &mut lent(&mut matrices));
    drop(from);
    snapshot.keep(Change::Rows(&[30, 40]), &mut lent(&mut matrices));
    snapshot.give_all(&mut lent(&mut matrices));
    snapshot.keep(Change::All, &mut lent(&mut matrices));
    assert_eq!(held(&snapshot), 0);
}

fn place() -> Place {
    let place = json!({
        "settings": { "seed": 1 }, "keys": "k", "steps": 7, "epoch": 1, "taken": 7, "evaluations": 0, "rows": 70, "seconds": 1.5,
        "rate": 0.1, "keeper": { "judges": [], "joint": null }, "losses": [[], []], "balance": {}, "prior": null, "log": 0,
        "table_steps": 7, "network_steps": {},
    });
    serde_json::from_value(place).unwrap()
}

/// Writes a file of slices while all rows change, after so many slices; the bytes, or the error.
fn written(path: &Path, rows: Option<Vec<u32>>, is_given_up: bool) -> (Vec<u8>, Result<Vec<u8>, String>) {
    let mut all = matrices(300, &[3, 1, 3]); // two of the state, and the table
    let data = |values: Vec<f32>| {
        let count = values.len();
        TensorData::new(values, [count, 1])
    };
    let network = || BTreeMap::from([("a".to_string(), data(vec![0.5, 1.5])), ("b".to_string(), data(vec![2.5]))]);
    let network_state = || BTreeMap::from([("a".to_string(), vec![data(vec![3.5, 4.5]), data(vec![5.5, 6.5])])]);
    let lie = |all: &[RowMatrix]| -> (Vec<u8>, super::super::file::Coming) {
        let (table_state, table) = (&all[..2], &all[2]);
        let matrices = Matrices { table, table_state, network: network(), network_state: network_state(), shard: None };
        let copied = path.with_extension("copied");
        matrices.copied(rows.as_deref()).unwrap().write(&place(), &copied).unwrap();
        (std::fs::read(copied).unwrap(), matrices.coming(rows.clone().map(Into::into)))
    };
    let (expected, coming) = lie(&all);
    let (mut snapshot, from) = Snapshot::new(rows.map(Into::into), 300, 3, Room { slice: 100, queue: 2, kept: 1500 });
    let writer = {
        let path = path.to_path_buf();
        std::thread::spawn(move || coming.write_slices(&place(), &path, &from))
    };
    for round in 0..20u32 {
        let changed = distinct(&[round * 15, round * 7 + 1, 299 - round, 150], 300);
        snapshot.keep(Change::Rows(&changed), &mut lent(&mut all));
        step(&mut all, &changed);
    }
    if !is_given_up {
        snapshot.give_all(&mut lent(&mut all));
    }
    drop(snapshot);
    let found = writer.join().unwrap().map(|_| std::fs::read(path).unwrap());
    (expected, found.map_err(|error| stem_core::with_causes(&error)))
}

#[test]
fn the_file_is_byte_for_byte_that_of_a_copy_and_nothing_is_left_of_one_that_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let some = || Some(distinct(&(0..90).map(|k| k * 37).collect::<Vec<_>>(), 300));
    for rows in [None, some(), Some(Vec::new())] {
        let (expected, found) = written(&path, rows, false);
        assert!(found.unwrap() == expected);
    }
    std::fs::remove_file(&path).unwrap();
    let (_, found) = written(&path, None, true);
    let error = found.unwrap_err();
    assert!(error.contains("the training ended before it was whole"), "{error}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["checkpoint.copied"]);
}
