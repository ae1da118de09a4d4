use super::*;
use crate::check::{bits, close, numbers, on_threads};
use crate::distinct::DistinctRows;
use proptest::prelude::*;

const ROWS: usize = 400;

/// One field per slot, or fields of 0 to 3 slots.
fn fields() -> impl Strategy<Value = Vec<Range<usize>>> {
    let lengths = prop_oneof![
        (1usize..9).prop_map(|fields| vec![1; fields]),
        prop::collection::vec(0usize..4, 1..5).prop_filter("a slot", |lengths| lengths.iter().sum::<usize>() > 0),
    ];
    lengths.prop_map(|lengths| {
        let ends = lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        });
        ends.zip(&lengths).map(|(end, length)| end - length..end).collect()
    })
}

/// ColumnGroups over four groups of `dim` columns, after a column that nobody reads.
fn streams() -> impl Strategy<Value = ColumnGroups> {
    let groups = prop::collection::vec(prop::collection::vec(0usize..4, 1..5), 0..4);
    (groups, prop::sample::select(&[1usize, 7, 8, 16, 19][..])).prop_map(|(groups, dim)| {
        let starts: Vec<Vec<usize>> = groups.iter().map(|g| g.iter().map(|g| 1 + g * dim).collect()).collect();
        ColumnGroups::new(starts.clone(), dim)
    })
}

proptest! {
    #[test]
    fn forward_and_backward_are_the_equations_on_any_number_of_threads(
        batch in prop::sample::select(&[0usize, 1, 3, 17, 300, 1500][..]),
        fields in fields(),
        streams in streams(),
        seed in any::<u64>(),
    ) {
        let layout = BagLayout::new(&fields, 1 + 4 * streams.dim());
        let places = batch * layout.slots();
        let ids: Vec<u32> =
            numbers(places, seed, 1.0).iter().map(|x| ((x + 0.5) * (ROWS - 1) as f32) as u32).collect();
        let weights: Vec<f32> =
            numbers(places, seed ^ 1, 2.0).iter().map(|w| if *w < -0.5 { 0.0 } else { *w }).collect();
        let table = numbers(ROWS * layout.width(), seed ^ 2, 2.0);
        let dx = numbers(streams.numbers(&layout, batch), seed ^ 3, 2.0);
        let (distinct, dense) = (DistinctRows::of(&ids), DistinctRows::all(ROWS, &ids));
        let all = |threads| on_threads(threads, || {
            let mut x = vec![f32::NAN; dx.len()];
            forward(&layout, &streams, &table, &ids, &weights, &mut x);
            let [sparse, dense] = [&distinct, &dense].map(|distinct| {
                let mut grad = vec![f32::NAN; distinct.rows.len() * layout.width()];
                backward(&layout, &streams, &distinct.by_row, &weights, &dx, &mut grad);
                grad
            });
            [x, sparse, dense]
        });
        let [x, sparse, whole] = all(1);
        close(&x, &spec::forward(&layout, &streams, &table, &ids, &weights))?;
        close(&whole, &spec::backward(&layout, &streams, ROWS, &ids, &weights, &dx))?;
        let width = layout.width();
        let gather = |rows: &[f32]| -> Vec<f32> {
            distinct.rows.iter().flat_map(|row| rows[*row as usize * width..][..width].iter().copied()).collect()
        };
        prop_assert_eq!(bits(&sparse), bits(&gather(&whole)));
        let mut from_distinct = vec![f32::NAN; x.len()];
        forward(&layout, &streams, &gather(&table), &distinct.inverse, &weights, &mut from_distinct);
        prop_assert_eq!(bits(&x), bits(&from_distinct));
        for threads in [2, 3] {
            for (one, many) in [&x, &sparse, &whole].into_iter().zip(&all(threads)) {
                prop_assert_eq!(bits(one), bits(many));
            }
        }
    }
}

proptest! {
    #[test]
    fn fields_that_all_rows_share_have_the_bits_that_they_have_in_each_row_alone(
        batch in prop::sample::select(&[2usize, 5, 90, 300][..]),
        fields in fields(),
        streams in streams(),
        shared in any::<u128>(),
        seed in any::<u64>(),
    ) {
        let layout = BagLayout::new(&fields, 1 + 4 * streams.dim());
        let slots = layout.slots();
        let mut ids: Vec<u32> =
            numbers(batch * slots, seed, 1.0).iter().map(|x| ((x + 0.5) * (ROWS - 1) as f32) as u32).collect();
        let mut weights: Vec<f32> =
            numbers(batch * slots, seed ^ 1, 2.0).iter().map(|w| if *w < -0.5 { 0.0 } else { *w }).collect();
        for (_, range) in fields.iter().enumerate().filter(|(f, _)| shared >> f & 1 == 1) {
            for b in 1..batch {
                ids.copy_within(range.clone(), b * slots + range.start);
                weights.copy_within(range.clone(), b * slots + range.start);
            }
        }
        let table = numbers(ROWS * layout.width(), seed ^ 2, 2.0);
        let forward = |ids: &[u32], weights: &[f32]| {
            let mut x = vec![f32::NAN; streams.numbers(&layout, weights.len() / slots)]; // [K, B, F * D]
            super::forward(&layout, &streams, &table, ids, weights, &mut x);
            x
        };
        let (all, width) = (forward(&ids, &weights), layout.fields() * streams.dim());
        for b in 0..batch {
            let own = b * slots..(b + 1) * slots;
            let alone = forward(&ids[own.clone()], &weights[own]);
            for (k, alone) in alone.chunks_exact(width).enumerate() {
                prop_assert_eq!(bits(&all[(k * batch + b) * width..][..width]), bits(alone));
            }
        }
    }
}

#[test]
fn layouts_of_more_fields_than_are_looked_at_for_likeness_are_summed_too() {
    let (fields, streams) = (140, ColumnGroups::new(vec![vec![0]], 1));
    let layout = BagLayout::new(&(0..fields).map(|s| s..s + 1).collect::<Vec<_>>(), 1);
    let mut x = vec![f32::NAN; 3 * fields];
    forward(&layout, &streams, &[3.0, 4.0], &vec![1; 3 * fields], &vec![2.0; 3 * fields], &mut x);
    assert_eq!(x, vec![8.0; 3 * fields]);
}

fn plain(slots: usize) -> BagLayout {
    BagLayout::new(&(0..slots).map(|s| s..s + 1).collect::<Vec<_>>(), 2)
}

#[test]
fn a_slot_of_weight_zero_is_not_read() {
    let streams = ColumnGroups::new(vec![vec![0], vec![0, 1]], 1);
    let mut x = [f32::NAN; 4];
    forward(&plain(2), &streams, &[3.0, 4.0], &[0, 9], &[2.0, 0.0], &mut x);
    assert_eq!(x, [6.0, 0.0, 14.0, 0.0]);
}

#[test]
#[should_panic(expected = "index 1 lies outside 1 rows")]
fn an_index_outside_the_table_is_refused() {
    forward(&plain(1), &ColumnGroups::new(vec![vec![0]], 2), &[3.0, 4.0], &[1], &[1.0], &mut [0.0; 2]);
}

#[test]
#[should_panic(expected = "groups end at 3, rows at 2")]
fn a_group_outside_the_row_is_refused() {
    forward(&plain(1), &ColumnGroups::new(vec![vec![1]], 2), &[3.0, 4.0], &[0], &[1.0], &mut [0.0; 2]);
}

#[test]
#[should_panic(expected = "neighbouring ranges")]
fn fields_with_a_gap_are_refused() {
    BagLayout::new(&[0..1, 2..3], 1);
}
