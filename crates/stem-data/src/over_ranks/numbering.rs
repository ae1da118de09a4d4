//! The keys of a vocabulary that several ranks have read. Each key belongs to a rank, which its hash names: there it is found out which of its
//! readers comes first, and there it is counted. Codes are in the order of first sight over the ranks, as if one process had read all rows.

use crate::dictionary::{Dictionary, FIRST};
use crate::ranks::{Team, numbers};

/// Which code a key of this rank has over all ranks, and what this rank keeps of the keys that belong to it.
pub(super) struct Numbering {
    /// Of each code of this rank that over all ranks. `[codes]`
    codes: Vec<u32>,
    /// Codes of this rank whose keys no rank before has, in their order.
    new: Vec<u32>,
    /// For each rank the codes of this one whose keys belong to it, in the order in which they were sent.
    sent: Vec<Vec<u32>>,
    /// Of the keys that belong here: for each rank their places, in the order in which it sent them.
    heard: Vec<Vec<u32>>,
    /// Of the keys that belong here, the code over all ranks by their places.
    owned: Vec<u32>,
}

impl Numbering {
    /// Numbers the keys of a dictionary that each rank has of its rows. Where one rank has keys that are texts, those of all are.
    pub(super) fn of(ranks: &Team, dictionary: &mut Dictionary) -> Self {
        if ranks.gather_all(&[u8::from(dictionary.integers)]).iter().any(|integers| integers == &[0]) {
            dictionary.turn_to_texts();
        }
        let own = FIRST..dictionary.codes() as u32;
        let (mut messages, mut sent) = (vec![Vec::new(); ranks.ranks()], vec![Vec::new(); ranks.ranks()]);
        for code in own.clone() {
            let owner = (dictionary.hash_of_key(code) % ranks.ranks() as u64) as usize;
            dictionary.write_key(code, &mut messages[owner]);
            sent[owner].push(code);
        }
        let (mut keys, mut firsts, mut heard) = (dictionary.like(), Vec::new(), Vec::new());
        for message in ranks.exchange(messages) {
            let mut next = keys.codes() as u32;
            let codes = keys.codes_of_message(&message);
            let is_first = codes.iter().map(|&code| {
                let is_first = code == next; // a rank sends a key once: a new one has the next code
                next += u32::from(is_first);
                u8::from(is_first)
            });
            firsts.push(is_first.collect::<Vec<u8>>());
            heard.push(codes.into_iter().map(|code| code - FIRST).collect::<Vec<u32>>());
        }
        drop(keys);
        let mut is_new = vec![false; dictionary.codes()];
        for (sent, firsts) in sent.iter().zip(ranks.exchange(firsts.clone())) {
            sent.iter().zip(firsts).for_each(|(&code, first)| is_new[code as usize] = first == 1);
        }
        let new: Vec<u32> = own.filter(|&code| is_new[code as usize]).collect();
        let count = |bytes: &Vec<u8>| numbers::<u32>(bytes)[0];
        let of_ranks = ranks.gather_all(&(new.len() as u32).to_ne_bytes());
        let before: u32 = of_ranks[..ranks.rank()].iter().map(count).sum();
        let mut codes: Vec<u32> = (0..dictionary.codes() as u32).collect(); // padding and null are everyone's
        new.iter().zip(FIRST + before..).for_each(|(&code, over_all)| codes[code as usize] = over_all);

        let of_new = |sent: &Vec<u32>| {
            let new = sent.iter().filter(|&&code| is_new[code as usize]).map(|&code| codes[code as usize]);
            bytemuck::cast_slice(&new.collect::<Vec<u32>>()).to_vec()
        };
        let mut owned = Vec::new();
        ranks.exchange(sent.iter().map(of_new).collect()).iter().for_each(|told| owned.extend(numbers::<u32>(told)));
        let of_heard = |places: &Vec<u32>| {
            let codes: Vec<u32> = places.iter().map(|&place| owned[place as usize]).collect();
            bytemuck::cast_slice(&codes).to_vec()
        };
        for (sent, told) in sent.iter().zip(ranks.exchange(heard.iter().map(of_heard).collect())) {
            sent.iter().zip(numbers::<u32>(&told)).for_each(|(&code, over_all)| codes[code as usize] = over_all);
        }
        Self { codes, new, sent, heard, owned }
    }

    /// Of each code of this rank that over all ranks.
    pub(super) fn codes(&self) -> &[u32] {
        &self.codes
    }

    /// Gives rank 0 the keys of all ranks, in the order of their codes.
    pub(super) fn collect(&self, ranks: &Team, dictionary: &mut Dictionary) {
        let mut message = Vec::new();
        if !ranks.is_first() {
            self.new.iter().for_each(|&code| dictionary.write_key(code, &mut message));
        }
        ranks.gather(message).iter().skip(1).for_each(|message| dictionary.append_message(message));
    }

    /// Sums what each rank has counted of its codes, each key's where it belongs. Gives rank 0 the counts of all codes; nothing to the others.
    pub(super) fn count(&self, ranks: &Team, own: &[u64]) -> Vec<u64> {
        let of_owner = |codes: &Vec<u32>| {
            let counts: Vec<u64> = codes.iter().map(|&code| own[code as usize]).collect();
            bytemuck::cast_slice(&counts).to_vec()
        };
        let mut counts = vec![0u64; self.owned.len()];
        let told = ranks.exchange(self.sent.iter().map(of_owner).collect());
        for (places, told) in self.heard.iter().zip(told) {
            places.iter().zip(numbers::<u64>(&told)).for_each(|(&place, count)| counts[place as usize] += count);
        }
        let mut all = sum_on_first(ranks, &own[..FIRST as usize]);
        let codes = ranks.gather(bytemuck::cast_slice(&self.owned).to_vec());
        let counts = ranks.gather(bytemuck::cast_slice(&counts).to_vec());
        all.resize(all.len() + counts.iter().map(|of_rank| of_rank.len() / size_of::<u64>()).sum::<usize>(), 0);
        for (codes, counts) in codes.iter().zip(&counts) {
            let counted = numbers::<u32>(codes).into_iter().zip(numbers::<u64>(counts));
            counted.for_each(|(code, count)| all[code as usize] = count);
        }
        all
    }
}

/// Sums what each rank has, on rank 0; nothing on the others.
pub(super) fn sum_on_first(ranks: &Team, own: &[u64]) -> Vec<u64> {
    let mut sum = Vec::new();
    for of_rank in ranks.gather(bytemuck::cast_slice(own).to_vec()) {
        let of_rank = numbers::<u64>(&of_rank);
        sum.resize(of_rank.len(), 0);
        sum.iter_mut().zip(of_rank).for_each(|(sum, own)| *sum += own);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dictionary::Keys;
    use crate::ranks::Threads;
    use polars::prelude::DataType;
    use proptest::prelude::*;

    /// Codes of all rows, keys and counts, by one process.
    fn alone(texts: bool, rows: &[Vec<i64>]) -> (Vec<Vec<u32>>, Dictionary, Vec<u64>) {
        let mut dictionary = dictionary(texts);
        let codes = rows.iter().map(|own| coded(&mut dictionary, own)).collect::<Vec<_>>();
        let mut counts = vec![0; dictionary.codes()];
        codes.iter().flatten().for_each(|&code| counts[code as usize] += 1);
        (codes, dictionary, counts)
    }

    fn dictionary(texts: bool) -> Dictionary {
        Dictionary::of(if texts { &DataType::String } else { &DataType::Int64 })
    }

    fn coded(dictionary: &mut Dictionary, keys: &[i64]) -> Vec<u32> {
        let code = |key: &i64| match dictionary.integers {
            true => dictionary.code_of_integer(*key),
            false => dictionary.code_of_text(&key.to_string()),
        };
        keys.iter().map(code).collect()
    }

    fn texts_of(mut dictionary: Dictionary) -> Vec<String> {
        match dictionary.take_keys() {
            Keys::Integers(keys) => keys.iter().map(i64::to_string).collect(),
            Keys::Texts(texts) => (0..texts.len()).map(|place| texts.get(place).to_string()).collect(),
            Keys::Hashed(_) => Vec::new(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn codes_keys_and_counts_are_those_of_one_process(
            texts in any::<bool>(),
            one_has_texts in any::<bool>(),
            rows in prop::collection::vec(prop::collection::vec(-4i64..12, 0..30), 1..5),
        ) {
            let (expected, dictionary_alone, counts_alone) = alone(texts || one_has_texts, &rows);
            let found = Threads::run(rows.len(), |ranks| {
                let is_last = ranks.rank() + 1 == rows.len();
                let mut own = dictionary(texts || one_has_texts && is_last);
                let codes = coded(&mut own, &rows[ranks.rank()]);
                let mut counts = vec![0; own.codes()];
                codes.iter().for_each(|&code| counts[code as usize] += 1);
                let numbering = Numbering::of(&ranks, &mut own);
                let codes: Vec<u32> = codes.iter().map(|&code| numbering.codes()[code as usize]).collect();
                numbering.collect(&ranks, &mut own);
                (codes, numbering.count(&ranks, &counts), own)
            });
            let keys = texts_of(dictionary_alone);
            for (rank, (codes, counts, dictionary)) in found.into_iter().enumerate() {
                prop_assert_eq!(&codes, &expected[rank]);
                prop_assert_eq!(counts, if rank == 0 { counts_alone.clone() } else { vec![] });
                if rank == 0 {
                    prop_assert_eq!(texts_of(dictionary), keys.clone());
                }
            }
        }
    }
}
