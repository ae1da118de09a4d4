//! Labels that are judged within the space of another: where that is not 1, they count as missing.

use crate::dataset::NO_LABEL;
use crate::recipe::Recipe;

/// Beside a label's mark: it was learned before, and is here for the space of others alone.
pub(crate) const LEARNED: u8 = 2;

/// The space of each label.
pub(crate) struct Spaces {
    pub(crate) within: Vec<Option<usize>>,
    /// A space comes before the labels within it.
    pub(crate) order: Vec<usize>,
}

impl Spaces {
    pub(crate) fn of(recipe: &Recipe) -> Self {
        let tasks = recipe.labels.len();
        let place = |name: &Option<String>| recipe.labels.iter().position(|other| Some(&other.column) == name.as_ref());
        let within: Vec<Option<usize>> = recipe.labels.iter().map(|label| place(&label.within)).collect();
        // The recipe was checked for circles.
        let depth = |task: &usize| std::iter::successors(within[*task], |&space| within[space]).take(tasks).count();
        let mut order: Vec<usize> = (0..tasks).collect();
        order.sort_by_key(depth);
        Self { within, order }
    }

    /// The labels of a row as they are learned. `[T]` both
    #[inline]
    pub(crate) fn mask(&self, raw: &[u8], masked: &mut [u8]) {
        for &task in &self.order {
            masked[task] = match self.within[task] {
                Some(space) if masked[space] & !LEARNED != 1 => NO_LABEL,
                _ => raw[task],
            };
        }
        masked.iter_mut().filter(|mark| **mark | 1 == LEARNED | 1).for_each(|mark| *mark = NO_LABEL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_that_was_learned_before_is_missing_and_the_space_of_others_all_the_same() {
        let spaces = Spaces { within: vec![None, Some(0), Some(1)], order: vec![0, 1, 2] };
        let masked = |raw: [u8; 3]| {
            let mut masked = [9; 3];
            spaces.mask(&raw, &mut masked);
            masked
        };
        assert_eq!(masked([1, 0, 1]), [1, 0, NO_LABEL]);
        assert_eq!(masked([1 | LEARNED, 1 | LEARNED, 1]), [NO_LABEL, NO_LABEL, 1]);
        assert_eq!(masked([LEARNED, 1, 1]), [NO_LABEL; 3]);
        assert_eq!(masked([NO_LABEL, 1, 0]), [NO_LABEL; 3]);
    }
}
