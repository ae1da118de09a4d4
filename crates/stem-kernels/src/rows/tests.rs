use super::*;
use crate::bag::{BagLayout, ColumnGroups, forward, forward_of};
use crate::check::{bits, numbers, on_threads};
use crate::simd::{Kernel, run};
use proptest::prelude::*;

fn formats(most: f32) -> [RowFormat; 3] {
    [Packing::F16, Packing::Int8, Packing::Int4].map(|packing| RowFormat::holding(packing, most).unwrap())
}

fn pack(packer: &Packer, rows: &[f32], width: usize, row_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![0; rows.len() / width * row_bytes];
    rows.chunks(width).zip(bytes.chunks_mut(row_bytes)).for_each(|(row, bytes)| packer.pack(row, bytes));
    bytes
}

fn unpacked(rows: PackedRows<'_>, width: usize) -> Vec<f32> {
    let mut scratch = vec![f32::NAN; width];
    (0..rows.count() as u32).flat_map(|id| rows.read(id, &mut scratch).unwrap().to_vec()).collect()
}

struct All<'a>(PackedRows<'a>, usize);

impl Kernel for All<'_> {
    type Output = Vec<u32>;

    #[inline(always)]
    fn run(self) -> Vec<u32> {
        let mut scratch = vec![f32::NAN; self.1];
        (0..self.0.count() as u32).flat_map(|id| bits(self.0.read(id, &mut scratch).unwrap())).collect()
    }
}

proptest! {
    #[test]
    fn packed_rows_are_the_rows_within_half_a_step_of_each_format(
        widths in prop::collection::vec(1usize..20, 1..5),
        count in 1usize..30,
        size in prop::sample::select(&[1e-6f32, 0.02, 1.0, 300.0][..]),
        seed in any::<u64>(),
    ) {
        let width = widths.iter().sum();
        let mut rows = numbers(count * width, seed, size);
        rows[..width].fill(0.0); // padding
        let most = rows.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        for format in formats(most) {
            let (packer, row_bytes) = (Packer::new(format, &widths), format.row_bytes(&widths));
            let bytes = pack(&packer, &rows, width, row_bytes);
            let packed = PackedRows::new(&packer, &bytes);
            prop_assert_eq!(packed.count(), count);
            let found = unpacked(packed, width);
            for (row, found) in rows.chunks(width).zip(found.chunks(width)) {
                let mut start = 0;
                for &columns in &widths {
                    let (own, found) = (&row[start..start + columns], &found[start..start + columns]);
                    let largest = own.iter().fold(0.0f32, |most, value| most.max(value.abs()));
                    // half a step of the scale, which is up to 2^(1/8) more than needed; a half has 11 bits, or is a multiple of 2^-24
                    let step = match format {
                        RowFormat::F16 => (largest / 2048.0).max(1.0 / (1 << 25) as f32),
                        RowFormat::Int8 { .. } => 1.091 * largest / 127.0 / 2.0,
                        RowFormat::Int4 { .. } => 1.091 * largest / 7.0 / 2.0,
                    };
                    for (a, b) in own.iter().zip(found) {
                        prop_assert!((a - b).abs() <= step * 1.001, "{format:?}: {b} for {a}, step {step}");
                    }
                    start += columns;
                }
            }
            prop_assert_eq!(run(All(packed, width)), All(packed, width).run(), "every instruction set gives the same bits");
            let outside = packed.read(count as u32, &mut vec![0.0; width]).is_none();
            prop_assert!(outside);
        }
    }

    #[test]
    fn a_bag_of_packed_rows_is_the_bag_of_what_they_unpack_to(
        slots in 1usize..6,
        dim in prop::sample::select(&[1usize, 7, 8, 16, 19][..]),
        batch in prop::sample::select(&[0usize, 1, 3, 300][..]),
        seed in any::<u64>(),
    ) {
        const ROWS: usize = 50;
        let widths = [dim; 3];
        let rows = numbers(ROWS * 3 * dim, seed, 2.0);
        let ids: Vec<u32> = numbers(batch * slots, seed ^ 1, 1.0).iter().map(|x| ((x + 0.5) * (ROWS - 1) as f32) as u32).collect();
        let weights: Vec<f32> = numbers(batch * slots, seed ^ 2, 2.0).iter().map(|w| if *w < -0.5 { 0.0 } else { *w }).collect();
        let first = slots.min(2);
        let fields: Vec<_> = [0..first, first..slots].into_iter().filter(|field| !field.is_empty()).collect();
        let layout = BagLayout::new(&fields, 3 * dim);
        let streams = ColumnGroups::new(vec![vec![0], vec![dim, 2 * dim], vec![2 * dim]], dim);
        for format in formats(1.0) {
            let (packer, row_bytes) = (Packer::new(format, &widths), format.row_bytes(&widths));
            let bytes = pack(&packer, &rows, 3 * dim, row_bytes);
            let packed = PackedRows::new(&packer, &bytes);
            let mut expected = vec![f32::NAN; streams.numbers(&layout, batch)];
            forward(&layout, &streams, &unpacked(packed, 3 * dim), &ids, &weights, &mut expected);
            for threads in [1, 3] {
                let found = on_threads(threads, || {
                    let mut x = vec![f32::NAN; expected.len()];
                    forward_of(&layout, &streams, packed, &ids, &weights, &mut x);
                    x
                });
                prop_assert_eq!(bits(&found), bits(&expected));
            }
        }
    }
}

#[test]
fn every_half_comes_back_and_floats_round_to_the_nearest() {
    for half in (0..=0xffffu16).filter(|half| half & 0x7c00 != 0x7c00) {
        let value = half::to_f32(half);
        assert_eq!(half::from_f32(value), half, "{value}");
        let exponent = i32::from(half >> 10 & 0x1f);
        let mantissa = f64::from(half & 0x3ff);
        let expected = match exponent {
            0 => mantissa * 2f64.powi(-24),
            _ => (1024.0 + mantissa) * 2f64.powi(exponent - 25),
        };
        assert_eq!(f64::from(value.abs()), expected);
    }
    let nearest = |value: f32| half::to_f32(half::from_f32(value));
    assert_eq!([1.0 + 1.0 / 2048.0, 1.0 + 3.0 / 2048.0, -0.1].map(nearest), [1.0, 1.0 + 2.0 / 1024.0, -0.099_975_586]);
    assert_eq!([1e-9, 4e-8, 65_504.0, 65_000.0].map(nearest), [0.0, 5.960_464_5e-8, 65_504.0, 64_992.0]);
}

#[test]
fn a_group_of_zeros_is_zeros_and_one_of_the_largest_keeps_its_sign() {
    for format in formats(3.0) {
        let packer = Packer::new(format, &[3]);
        let mut bytes = vec![0; format.row_bytes(&[3])];
        let mut scratch = [f32::NAN; 3];
        for row in [[0.0; 3], [3.0, -3.0, 0.0]] {
            packer.pack(&row, &mut bytes);
            let found = PackedRows::new(&packer, &bytes).read(0, &mut scratch).unwrap().to_vec();
            assert!(found.iter().zip(row).all(|(a, b)| (a - b).abs() < 1e-6), "{format:?}: {found:?}");
        }
    }
    assert_eq!(RowFormat::holding(Packing::F16, 65_505.0), None, "halves end at 65,504");
    assert_eq!(
        [RowFormat::F16, RowFormat::Int8 { largest: 1.0 }, RowFormat::Int4 { largest: 1.0 }]
            .map(|f| f.row_bytes(&[16, 16, 16])),
        [96, 51, 27]
    );
}
