//! Labels that are judged within the space of another: where that is not 1, they count as missing.

use crate::dataset::NO_LABEL;
use crate::recipe::Recipe;

/// The space of each label.
pub(crate) struct Spaces {
    within: Vec<Option<usize>>,
    /// A space comes before the labels within it.
    order: Vec<usize>,
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
                Some(space) if masked[space] != 1 => NO_LABEL,
                _ => raw[task],
            };
        }
    }
}
