//! Columns that give a label away: its copies, what is 1 only where it is, its probability, and what orders its rows almost
//! perfectly.

use super::facts::Facts;

/// The AUC of one column from which on it is left out: no honest feature reaches it alone.
pub(super) const TOO_GOOD: f64 = 0.99;
/// The AUC from which on the reader is asked.
pub(super) const SUSPICIOUS: f64 = 0.9;
/// Bins that a number is cut into.
const BINS: usize = 64;
/// Rows of each class that a measured AUC needs.
const LEAST: u64 = 5;

/// A label by rows looked at: 1, 0, or `None` for missing.
pub(super) type Answers = Vec<Option<bool>>;

/// The answers of a binary column.
pub(super) fn answers(facts: &Facts) -> Answers {
    let Some(numbers) = facts.numbers() else { return vec![None; facts.rows] };
    facts.column.codes.iter().map(|&code| Some(numbers[(code as usize).checked_sub(1)?] == 1.0)).collect()
}

/// Whether a binary column equals the label (`Some(true)`) or its contrary (`Some(false)`) wherever both are known.
pub(super) fn copy(column: &Answers, label: &Answers) -> Option<bool> {
    let (mut equal, mut contrary, mut both) = (true, true, [false; 2]);
    for (a, b) in column.iter().zip(label).filter_map(|(a, b)| Some(((*a)?, (*b)?))) {
        both[usize::from(b)] = true;
        equal &= a == b;
        contrary &= a != b;
    }
    match (both == [true; 2], equal, contrary) {
        (true, true, _) => Some(true),
        (true, _, true) => Some(false),
        _ => None,
    }
}

/// How many rows a binary column is 1 in, if the label is 1 in all of them though it is often 0.
pub(super) fn only_where(column: &Answers, label: &Answers) -> Option<usize> {
    let known: Vec<(bool, bool)> = column.iter().zip(label).filter_map(|(a, b)| Some(((*a)?, (*b)?))).collect();
    let positives = known.iter().filter(|(_, label)| *label).count();
    let ones = known.iter().filter(|(column, _)| *column).count();
    let outside = known.iter().any(|&(column, label)| column && !label);
    // by chance `ones` rows are all positive with the probability of rate^ones
    let rate = positives as f64 / known.len().max(1) as f64;
    (!outside && ones > 0 && rate < 1.0 && ones as f64 * rate.ln() < -14.0).then_some(ones)
}

/// Whether each row holds something: a number above 0, or of other columns any value.
pub(super) fn holds_something(facts: &Facts) -> Answers {
    let numbers = facts.numbers();
    let is_something = |place: usize| numbers.as_ref().is_none_or(|numbers| numbers[place] > 0.0);
    facts.column.codes.iter().map(|&code| Some((code as usize).checked_sub(1).is_some_and(is_something))).collect()
}

/// AUC of the column alone, by the rate of the label within each of its values (numbers: each of up to 64 ranges), null as a
/// value of its own. Rates come from one half of the rows, the AUC from the other. `None` where there is too little to say.
pub(super) fn auc_alone(facts: &Facts, label: &Answers) -> Option<f64> {
    let bins = bins(facts);
    let size = bins.iter().max().map_or(0, |most| most + 1);
    let mut halves = [vec![[0u64; 2]; size], vec![[0u64; 2]; size]]; // [half][bin][negatives, positives]
    for (row, (&bin, label)) in bins.iter().zip(label).enumerate() {
        if let Some(label) = label {
            halves[half(row)][bin][usize::from(*label)] += 1;
        }
    }
    let [rates, measured] = &halves;
    let total = |class: usize, half: &[[u64; 2]]| half.iter().map(|counts| counts[class]).sum::<u64>();
    if [0, 1].iter().any(|&class| total(class, measured) < LEAST || total(class, rates) < LEAST) {
        return None;
    }
    let base = total(1, rates) as f64 / (total(0, rates) + total(1, rates)) as f64;
    let rate = |bin: usize| (rates[bin][1] as f64 + base) / ((rates[bin][0] + rates[bin][1]) as f64 + 1.0);
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&a, &b| rate(a).total_cmp(&rate(b)));
    // pairs of a positive above a negative; bins of one rate tie
    let (mut below, mut pairs) = (0.0, 0.0);
    for tie in order.chunk_by(|&a, &b| rate(a) == rate(b)) {
        let [negatives, positives] =
            [0, 1].map(|class| tie.iter().map(|&bin| measured[bin][class]).sum::<u64>() as f64);
        pairs += positives * (below + negatives / 2.0);
        below += negatives;
    }
    Some(pairs / (total(0, measured) as f64 * total(1, measured) as f64))
}

/// Which half of the rows a row is in, in no pattern.
fn half(row: usize) -> usize {
    let mixed = (row as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 63) as usize
}

/// A bin for each row; 0 for null.
fn bins(facts: &Facts) -> Vec<usize> {
    let codes = &facts.column.codes;
    let Some(numbers) = facts.numbers().filter(|numbers| numbers.len() > BINS) else {
        return codes.iter().map(|&code| code as usize).collect();
    };
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b]));
    let (mut bin, mut before) = (vec![0; numbers.len()], 0usize);
    for place in order {
        bin[place] = 1 + before * BINS / facts.known.max(1);
        before += facts.counts[place] as usize;
    }
    codes.iter().map(|&code| (code as usize).checked_sub(1).map_or(0, |place| bin[place])).collect()
}

/// Whether the column holds numbers between 0 and 1 that agree with how often the label is 1 where they stand: a model's answer,
/// or the truth of a simulation.
pub(super) fn is_probability(facts: &Facts, label: &Answers) -> bool {
    const RANGES: usize = 8;
    let Some(numbers) = facts.numbers().filter(|numbers| numbers.len() > 20) else { return false };
    if numbers.iter().any(|p| !(0.0..=1.0).contains(p)) {
        return false;
    }
    let mut sums = [[0.0f64; 3]; RANGES]; // rows, probabilities, positives
    let bins = bins(facts);
    for ((&code, &bin), label) in facts.column.codes.iter().zip(&bins).zip(label) {
        let (Some(place), Some(label)) = ((code as usize).checked_sub(1), label) else { continue };
        let range = if numbers.len() > BINS { (bin - 1) * RANGES / BINS } else { (bin - 1) * RANGES / numbers.len() };
        let [rows, probabilities, positives] = &mut sums[range.min(RANGES - 1)];
        *rows += 1.0;
        *probabilities += numbers[place];
        *positives += f64::from(u8::from(*label));
    }
    let rates: Vec<(f64, f64, f64)> =
        sums.iter().filter(|[rows, ..]| *rows >= 30.0).map(|[rows, p, y]| (*rows, p / rows, y / rows)).collect();
    let agrees = |&(rows, p, y): &(f64, f64, f64)| (p - y).abs() < 4.0 * (p * (1.0 - p) / rows).sqrt() + 0.003;
    let spread = rates.iter().map(|r| r.2).fold(f64::NEG_INFINITY, f64::max)
        - rates.iter().map(|r| r.2).fold(f64::INFINITY, f64::min);
    rates.len() >= 4 && rates.iter().all(agrees) && spread > 0.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use stem_core::Value;
    use stem_data::{LookColumn, RawType};

    /// A column of floats, NaN for null.
    fn column(values: &[f64]) -> LookColumn {
        let mut distinct: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
        distinct.sort_by(f64::total_cmp);
        distinct.dedup();
        let code = |v: &f64| distinct.iter().position(|d| d == v).map_or(0, |place| place as u32 + 1);
        LookColumn {
            name: "x".into(),
            kind: RawType::Float,
            codes: values.iter().map(code).collect(),
            values: distinct.iter().copied().map(Value::Float).collect(),
            lengths: vec![],
        }
    }

    /// A number between 0 and 1 that looks drawn.
    fn noise(i: usize) -> f64 {
        let mut mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    #[test]
    fn a_number_that_decides_the_label_has_auc_one_in_either_direction_and_in_the_middle() {
        let values: Vec<f64> = (0..2000).map(noise).collect();
        let column = column(&values);
        for decides in [|x: f64| x > 0.7, |x: f64| x < 0.3, |x: f64| (0.4..0.6).contains(&x)] {
            let label = values.iter().map(|&x| Some(decides(x))).collect();
            assert!(auc_alone(&Facts::new(&column), &label).is_some_and(|auc| auc > TOO_GOOD));
        }
    }

    #[test]
    fn a_value_that_is_there_only_for_positives_gives_the_label_away() {
        let values: Vec<f64> = (0..500).map(|i| if i % 5 == 0 { noise(i) } else { f64::NAN }).collect();
        let label = (0..500).map(|i| Some(i % 5 == 0)).collect();
        assert!(auc_alone(&Facts::new(&column(&values)), &label).is_some_and(|auc| auc > TOO_GOOD));
    }

    #[test]
    fn ids_that_occur_once_do_not_look_like_answers_by_chance() {
        let values: Vec<f64> = (0..64).map(|i| (i % 50) as f64).collect();
        let label = (0..64).map(|i| Some(noise(i) < 0.3)).collect();
        assert!(auc_alone(&Facts::new(&column(&values)), &label).is_none_or(|auc| auc < SUSPICIOUS));
        let few = (0..64).map(|i| Some(i < 3)).collect();
        assert_eq!(auc_alone(&Facts::new(&column(&values)), &few), None);
    }

    #[test]
    fn probabilities_agree_with_the_label_and_other_shares_do_not() {
        let p: Vec<f64> = (0..4000).map(noise).collect();
        let label: Answers = p.iter().enumerate().map(|(i, &p)| Some(noise(i + 7919) < p)).collect();
        assert!(is_probability(&Facts::new(&column(&p)), &label));
        let other = (0..4000).map(|i| Some(i % 3 == 0)).collect();
        assert!(!is_probability(&Facts::new(&column(&p)), &other));
    }

    #[test]
    fn copies_and_subsets_are_told_from_columns_that_merely_go_along() {
        let some = |bits: &[u8]| bits.iter().map(|&b| (b < 2).then_some(b == 1)).collect::<Answers>();
        let label = some(&[1, 0, 1, 0, 2]);
        assert_eq!(copy(&some(&[1, 0, 1, 0, 0]), &label), Some(true));
        assert_eq!(copy(&some(&[0, 1, 0, 1, 1]), &label), Some(false));
        assert_eq!(copy(&some(&[1, 1, 1, 0, 1]), &label), None);
        let label: Answers = (0..100).map(|i| Some(i % 2 == 0)).collect();
        assert_eq!(only_where(&(0..100).map(|i| Some(i % 4 == 0)).collect(), &label), Some(25));
        assert_eq!(only_where(&(0..100).map(|i| Some(i == 4)).collect(), &label), None);
    }
}
