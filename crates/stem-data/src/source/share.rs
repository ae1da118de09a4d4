//! Which files of a source a rank reads, where several read it together.

use super::files::SourceFile;

/// The part of a source that one of several ranks reads: files that follow each other, of about as many bytes as the others'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) rank: usize,
    pub(crate) ranks: usize,
}

impl Share {
    /// Says of each file whether it is read here. Each is read by one rank, and the files of a rank come before those of the next: one that
    /// begins at a byte of the `rank`-th part of all bytes is that rank's. A rank may have none.
    pub(super) fn mark(self, files: &mut [SourceFile]) {
        let all: u128 = files.iter().map(|file| u128::from(file.bytes)).sum();
        let mut before = 0u128;
        for file in files {
            let rank = (before * self.ranks as u128).checked_div(all).unwrap_or(0).min(self.ranks as u128 - 1);
            file.is_read = rank == self.rank as u128;
            before += u128::from(file.bytes);
        }
    }
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
        assert_eq!(of(&[90, 5, 5], 3), [vec![0], vec![], vec![1, 2]]);
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
