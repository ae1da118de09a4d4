//! Sums of a batch's slots by the row they name, on a device whose own sum by index walks a column from end to end.

use burn::tensor::Tensor;
use stem_kernels::distinct::InverseIndex;

use crate::forward::upload_index;

/// How many slots of a row the first round sums at once: most rows have few.
const FIRST: usize = 8;

/// How many sums of the round before a later one sums at once.
const LATER: usize = 32;

/// `y_u = sum over the slots s of row u of x_s`: what the gradient of each slot is to that of its row.
///
/// In rounds: a gather of equal shares of each row's slots, a sum within each share, and of the rows with several shares again those
/// sums. The order of every sum is fixed, and every number of a round is found beside all others.
///
/// # Shapes
/// `x [B * S, W]`; gives `[U, W]`.
pub fn sum_by_row(x: Tensor<2>, by_row: &InverseIndex) -> Tensor<2> {
    let (device, [_, width]) = (x.device(), x.dims());
    let mut left =
        Left { rows: (0..by_row.rows()).collect(), starts: by_row.starts().to_vec(), parts: by_row.slots().to_vec() };
    let (mut parts, mut at_once) = (x, FIRST);
    let (mut rounds, mut done) = (Vec::new(), 0);
    let mut places = vec![0; by_row.rows()]; // of each row's sum, among those of all rounds
    while !left.rows.is_empty() {
        let [nothing, _] = parts.dims(); // a row of zeros behind the others
        let shares = left.share(at_once, nothing as u32);
        for (row, place) in shares.whole {
            places[row] = done + place;
        }
        let index = upload_index(&shares.index, &device);
        let padded = Tensor::cat(vec![parts, Tensor::zeros([1, width], &device)], 0);
        let sums = padded.select(0, index).reshape([shares.count, at_once, width]).sum_dim(1); // [C, 1, W]
        parts = sums.reshape([shares.count, width]);
        rounds.push(parts.clone());
        done += shares.count as u32;
        (left, at_once) = (shares.left, LATER);
    }
    if rounds.is_empty() {
        return Tensor::zeros([0, width], &device);
    }
    Tensor::cat(rounds, 0).select(0, upload_index(&places, &device))
}

/// Rows that are not summed yet, and where their parts are: those of row `rows[i]` are `parts[starts[i]..starts[i + 1]]`.
struct Left {
    rows: Vec<usize>,
    starts: Vec<u32>,
    parts: Vec<u32>,
}

/// Shares of a round.
struct Shares {
    /// The parts of every share, and those that are nothing. `[C * at_once]`
    index: Vec<u32>,
    /// `C`
    count: usize,
    /// Rows of a single share, and which it is.
    whole: Vec<(usize, u32)>,
    /// The other rows, whose parts now are their shares.
    left: Left,
}

impl Left {
    fn share(&self, at_once: usize, nothing: u32) -> Shares {
        let left = Left { rows: Vec::new(), starts: vec![0], parts: Vec::new() };
        let mut shares = Shares { index: Vec::new(), count: 0, whole: Vec::new(), left };
        for (row, bounds) in self.rows.iter().zip(self.starts.windows(2)) {
            let own = &self.parts[bounds[0] as usize..bounds[1] as usize];
            let count = own.len().div_ceil(at_once).max(1); // a row without a slot is a share of nothing
            shares.index.extend(own);
            shares.index.resize((shares.count + count) * at_once, nothing);
            let places = shares.count as u32..(shares.count + count) as u32;
            if count == 1 {
                shares.whole.push((*row, places.start));
            } else {
                shares.left.rows.push(*row);
                shares.left.parts.extend(places);
                shares.left.starts.push(shares.left.parts.len() as u32);
            }
            shares.count += count;
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use proptest::prelude::*;

    use super::*;
    use crate::device::DeviceSpec;
    use crate::nn::DistinctRows;

    fn check(distinct: &DistinctRows, width: usize) {
        let device = DeviceSpec::from_env().unwrap().open().unwrap();
        let slots = distinct.inverse.len();
        let x: Vec<f32> = (0..slots * width).map(|i| ((i * 7919) % 64) as f32).collect(); // sums of these are exact
        let mut expected = vec![0.0; distinct.by_row.rows() * width];
        for (slot, row) in distinct.inverse.iter().enumerate() {
            (0..width).for_each(|w| expected[*row as usize * width + w] += x[slot * width + w]);
        }
        let found = sum_by_row(Tensor::from_data(TensorData::new(x, [slots, width]), &device), &distinct.by_row);
        assert_eq!(found.dims(), [distinct.by_row.rows(), width]);
        assert_eq!(found.into_data().try_into_vec::<f32>().unwrap(), expected);
    }

    #[test]
    fn rows_of_one_slot_of_many_and_of_more_than_two_rounds_take_are_summed() {
        let often = |row: u32, times: usize| std::iter::repeat_n(row, times);
        let ids: Vec<u32> =
            often(5, 1).chain(often(9, 8 * 32 * 2 + 3)).chain(often(2, 9)).chain(often(9, 40)).collect();
        check(&DistinctRows::of(&ids), 3);
    }

    #[test]
    fn rows_without_a_slot_have_a_sum_of_zero() {
        check(&DistinctRows::all(6, &[4, 1, 4]), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn every_row_has_the_sum_of_its_slots(ids in proptest::collection::vec(0u32..20, 1..400), width in 1usize..4) {
            check(&DistinctRows::of(&ids), width);
        }
    }
}
