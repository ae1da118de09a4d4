//! Which files of a source a rank reads, where several read it together.

use super::files::SourceFile;

/// The part of a source that one of several ranks reads: files that follow each other, in the order of the ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) rank: usize,
    pub(crate) ranks: usize,
}

impl Share {
    /// Says of each file whether it is read here. Each is read by one rank, the files of a rank come before those of the next, and the rank
    /// with the most bytes has as few as can be. A rank may have none.
    pub(super) fn mark(self, files: &mut [SourceFile]) {
        let bytes: Vec<u64> = files.iter().map(|file| file.bytes).collect();
        let readers = readers(&bytes, most_of_one(&bytes, self.ranks));
        files.iter_mut().zip(readers).for_each(|(file, rank)| file.is_read = rank == self.rank);
    }
}

/// The rank of each file, where each takes files until another would be more than `most` bytes.
fn readers(bytes: &[u64], most: u64) -> Vec<usize> {
    let (mut rank, mut taken) = (0, 0);
    let reader = bytes.iter().map(|&bytes| {
        if taken + bytes > most && taken > 0 {
            (rank, taken) = (rank + 1, 0);
        }
        taken += bytes;
        rank
    });
    reader.collect()
}

/// The least number of bytes that the rank with the most of them can have.
fn most_of_one(bytes: &[u64], ranks: usize) -> u64 {
    let (mut least, mut most) = (bytes.iter().copied().max().unwrap_or(0), bytes.iter().sum());
    while least < most {
        let middle = least + (most - least) / 2;
        match readers(bytes, middle).last().is_none_or(|last| *last < ranks) {
            true => most = middle,
            false => least = middle + 1,
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn files(bytes: &[u64]) -> Vec<SourceFile> {
        let file = |bytes: &u64| SourceFile {
            path: "part".into(),
            bytes: *bytes,
            modified: 0,
            partitions: vec![],
            is_read: true,
        };
        bytes.iter().map(file).collect()
    }

    fn read_by(bytes: &[u64], rank: usize, ranks: usize) -> Vec<usize> {
        let mut files = files(bytes);
        Share { rank, ranks }.mark(&mut files);
        (0..files.len()).filter(|&place| files[place].is_read).collect()
    }

    #[test]
    fn files_are_shared_out_by_their_bytes_in_their_order() {
        let of = |bytes: &[u64], ranks| (0..ranks).map(|rank| read_by(bytes, rank, ranks)).collect::<Vec<_>>();
        assert_eq!(of(&[10, 10, 10, 10], 2), [vec![0, 1], vec![2, 3]]);
        assert_eq!(of(&[90, 5, 5], 3), [vec![0], vec![1, 2], vec![]]);
        assert_eq!(of(&[10, 19], 2), [vec![0], vec![1]]);
        assert_eq!(of(&[1, 9, 5, 5], 3), [vec![0, 1], vec![2, 3], vec![]], "ten bytes each: nothing is won by a third");
        assert_eq!(of(&[7], 3), [vec![0], vec![], vec![]], "more ranks than files");
        assert_eq!(of(&[0, 0], 2), [vec![0, 1], vec![]]);
    }

    proptest! {
        #[test]
        fn every_file_is_read_once_and_rank_0_begins(bytes in prop::collection::vec(0u64..50, 1..20), ranks in 1usize..9) {
            let all: Vec<usize> = (0..ranks).flat_map(|rank| read_by(&bytes, rank, ranks)).collect();
            prop_assert_eq!(all, (0..bytes.len()).collect::<Vec<_>>());
            prop_assert!(read_by(&bytes, 0, ranks).starts_with(&[0]));
        }
    }
}
