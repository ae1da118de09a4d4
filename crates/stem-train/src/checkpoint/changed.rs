//! Which rows of the table have changed since the last checkpoint.

/// A bit for each row.
#[derive(Debug)]
pub(crate) struct Changed {
    bits: Vec<u64>,
    rows: usize,
    count: usize,
    /// Whether all of them have.
    all: bool,
}

impl Changed {
    /// None yet, of so many.
    pub(crate) fn of(rows: usize) -> Self {
        Self { bits: vec![0; rows.div_ceil(64)], rows, count: 0, all: false }
    }

    pub(crate) fn mark(&mut self, rows: &[u32]) {
        for &row in rows {
            let (word, bit) = (&mut self.bits[row as usize / 64], 1 << (row % 64));
            self.count += usize::from(*word & bit == 0);
            *word |= bit;
        }
    }

    pub(crate) fn mark_all(&mut self) {
        self.all = true;
    }

    /// The rows, ascending; `None` where they are more than `most`, or where there is no `most`. They are forgotten then.
    pub(crate) fn take(&mut self, most: Option<usize>) -> Option<Vec<u32>> {
        let is_few = !self.all && most.is_some_and(|most| self.count <= most);
        let few = is_few.then(|| {
            let of = |(place, word): (usize, &u64)| {
                let word = *word;
                (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| (place * 64 + bit) as u32)
            };
            self.bits.iter().enumerate().filter(|(_, word)| **word != 0).flat_map(of).collect()
        });
        (self.count, self.all) = (0, false);
        self.bits.fill(0);
        few
    }

    /// Of all, changed or not.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_rows_are_each_named_once_until_they_are_too_many() {
        let mut changed = Changed::of(130);
        changed.mark(&[3, 64]);
        changed.mark(&[3, 129, 0]);
        assert_eq!(changed.take(Some(4)), Some(vec![0, 3, 64, 129]));
        assert_eq!(changed.take(Some(4)), Some(vec![]), "forgotten");
        changed.mark(&[1, 2]);
        assert_eq!(changed.take(Some(1)), None);
        changed.mark(&[1]);
        assert_eq!(changed.take(None), None, "there is nothing to be on top of");
        changed.mark_all();
        assert_eq!(changed.take(Some(130)), None);
        assert_eq!(changed.take(Some(0)), Some(vec![]));
    }
}
