//! Vocabularies of a model that is trained on with rows of a later day: what it knows, less what has not occurred for long, and what is new.

use stem_core::{FieldKind, KeyKind, Texts, Transform, Vocabulary};

use crate::dictionary::{FIRST, Keys, NULL};
use crate::error::{Error, Fault, Result};
use crate::known::{Known, ids_of};
use crate::recipe::{FieldRecipe, Growth, Kind, Recipe};

/// A vocabulary that has grown.
pub(crate) struct Grown {
    pub(crate) vocabulary: Vocabulary,
    /// For each of its keys: in how many trainings in a row it has not occurred.
    pub(crate) idle: Vec<u32>,
    /// The local id of every code.
    pub(crate) ids: Vec<u32>,
    pub(crate) change: Change,
}

/// What became of the keys of a vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Change {
    /// Known before, and kept.
    pub(crate) kept: usize,
    /// Of these, seen today.
    pub(crate) seen: usize,
    pub(crate) new: usize,
    /// Known before, and forgotten.
    pub(crate) evicted: usize,
    /// Seen today, and neither known nor frequent enough, or no room for them.
    pub(crate) left: usize,
}

impl<'k> Known<'k> {
    /// The recipe with what the model decided of the fields that both have; other fields are as the recipe says.
    ///
    /// # Errors
    /// [`Error::Recipe`] with every field and label that does not fit.
    pub(crate) fn grown_recipe(&self, recipe: &Recipe) -> Result<Recipe> {
        let mut faults = Vec::new();
        let mut fields = Vec::with_capacity(recipe.fields.len());
        for own in &recipe.fields {
            let known = self.schema.fields.iter().find(|field| field.name == own.name);
            let grown = known.map(|field| {
                let vocabulary = &self.schema.vocabularies[field.vocabulary].name;
                if own.numbers() == 0 && own.vocabulary() != vocabulary {
                    let (name, here) = (&own.name, own.vocabulary());
                    return Err(format!(
                        "field \"{name}\" is in vocabulary \"{here}\" here and \"{vocabulary}\" in the model"
                    ));
                }
                let decided = self.field(own, field)?;
                // How long lists may be, and what is rare, is the recipe's to say.
                let kind = if matches!(own.kind, Kind::Sequence { .. }) { own.kind } else { decided.kind };
                Ok(FieldRecipe { kind, min_count: own.min_count, vocabulary: own.vocabulary.clone(), ..decided })
            });
            match grown.transpose() {
                Ok(grown) => fields.push(grown.unwrap_or_else(|| own.clone())),
                Err(what) => faults.push(Fault { line: own.line, what }),
            }
        }
        // In the model's order, which its network reads them in; what is new comes after.
        let place = |field: &FieldRecipe| self.schema.fields.iter().position(|known| known.name == field.name);
        fields.sort_by_key(|field| place(field).unwrap_or(usize::MAX));
        let labels = self.labels(recipe, &mut faults);
        for own in recipe.labels.iter().filter(|own| self.schema.task(&own.column).is_none()) {
            let what =
                format!("label \"{}\" is none of the model's: a model is trained on for the same tasks", own.column);
            faults.push(Fault { line: own.line, what });
        }
        if faults.is_empty() {
            return Ok(Recipe { fields, labels, ..recipe.clone() });
        }
        faults.sort_by_key(|fault| fault.line);
        Err(Error::Recipe { path: recipe.path.clone(), faults })
    }

    /// What training decided of the numbers of a field: mean and standard deviation, or edges of buckets. `None` of a new field.
    pub(crate) fn numbers_of(self, field: &FieldRecipe) -> Option<(&'k FieldKind, Option<&'k [f64]>)> {
        let known = self.schema.fields.iter().find(|known| known.name == field.name)?;
        let edges = match known.transforms.last() {
            Some(Transform::Bucketize { edges }) => Some(&edges[..]),
            _ => None,
        };
        Some((&known.kind, edges))
    }

    /// The vocabulary of that name with the keys of a later day; `counts` says how often each code occurs in training. `None` where the
    /// model has no such vocabulary.
    pub(crate) fn grown(&self, name: &str, keys: &Keys, counts: &[u64], least: u64, growth: Growth) -> Option<Grown> {
        let place = self.schema.vocabularies.iter().position(|spec| spec.name == name)?;
        let old = &self.vocabularies[place];
        let idle = self.idle.get(place).map_or(&[][..], Vec::as_slice);
        let least = growth.admit_after.map_or(least, |least| least as u64);
        let limits =
            Limits { least, evict_after: growth.evict_after, keys: growth.max_rows.map(|rows| rows.saturating_sub(2)) };
        let counts = &counts[FIRST as usize..];
        let (vocabulary, idle, change) = match (keys, old) {
            (Keys::Hashed(vocabulary), _) => (vocabulary.clone(), Vec::new(), Change::default()),
            (Keys::Integers(keys), Vocabulary::Integers(old)) => {
                let (kept, idle, change) = grow(old.iter(), idle, keys.iter().copied().zip(counts), limits);
                (Vocabulary::Integers(kept.into()), idle, change)
            }
            (Keys::Texts(keys), Vocabulary::Texts(old)) => {
                let today = (0..keys.len()).map(|place| keys.get(place)).zip(counts);
                let (kept, idle, change) = grow((0..old.len()).map(|place| old.get(place)), idle, today, limits);
                (Vocabulary::Texts(Texts::new(kept)), idle, change)
            }
            (keys, old) => {
                let (old, today) = (texts_of(old), texts_of_keys(keys));
                let today = today.iter().map(String::as_str).zip(counts);
                let (kept, idle, change) = grow(old.iter().map(String::as_str), idle, today, limits);
                (Vocabulary::texts(kept), idle, change)
            }
        };
        let ids = ids_of(keys, &vocabulary);
        Some(Grown { vocabulary, idle, ids, change })
    }

    /// Whether the keys of a vocabulary were integers and are texts now, or the other way round.
    pub(crate) fn has_other_keys(&self, name: &str, keys: &Keys) -> bool {
        let old = self.schema.vocabularies.iter().position(|spec| spec.name == name).map(|v| &self.vocabularies[v]);
        match (keys, old) {
            (Keys::Integers(keys), Some(Vocabulary::Texts(old))) => !keys.is_empty() && !old.is_empty(),
            (Keys::Texts(keys), Some(Vocabulary::Integers(old))) => !keys.is_empty() && !old.is_empty(),
            (Keys::Hashed(Vocabulary::Hashed { keys, .. }), Some(Vocabulary::Hashed { keys: old, .. })) => keys != old,
            _ => false,
        }
    }
}

/// The keys of a vocabulary as texts, ascending by their bytes.
fn texts_of(vocabulary: &Vocabulary) -> Vec<String> {
    let mut all: Vec<String> = match vocabulary {
        Vocabulary::Integers(keys) => keys.iter().map(|key| key.to_string()).collect(),
        Vocabulary::Texts(texts) => (0..texts.len()).map(|place| texts.get(place).to_string()).collect(),
        _ => Vec::new(),
    };
    all.sort_unstable();
    all
}

/// The keys of codes as texts.
fn texts_of_keys(keys: &Keys) -> Vec<String> {
    match keys {
        Keys::Integers(keys) => keys.iter().map(i64::to_string).collect(),
        Keys::Texts(texts) => (0..texts.len()).map(|place| texts.get(place).to_string()).collect(),
        Keys::Hashed(_) => Vec::new(),
    }
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    least: u64,
    evict_after: Option<usize>,
    keys: Option<usize>,
}

/// A key of the grown vocabulary.
struct Entry<K> {
    key: K,
    idle: u32,
    count: u64,
    is_new: bool,
}

/// Merges `old` keys, ascending, with those of `today`, of which it is said how often each occurs in training.
fn grow<'c, K: Ord + Copy>(
    old: impl Iterator<Item = K>,
    idle: &[u32],
    today: impl Iterator<Item = (K, &'c u64)>,
    limits: Limits,
) -> (Vec<K>, Vec<u32>, Change) {
    let mut today: Vec<(K, u64)> = today.map(|(key, count)| (key, *count)).filter(|(_, count)| *count > 0).collect();
    today.sort_unstable();
    let mut today = today.into_iter().peekable();
    let (mut entries, mut change) = (Vec::new(), Change::default());
    let admit = |(key, count): (K, u64), entries: &mut Vec<Entry<K>>, change: &mut Change| {
        if count >= limits.least {
            entries.push(Entry { key, idle: 0, count, is_new: true });
        } else {
            change.left += 1;
        }
    };
    for (place, key) in old.enumerate() {
        while let Some(new) = today.next_if(|(new, _)| *new < key) {
            admit(new, &mut entries, &mut change);
        }
        let before = idle.get(place).copied().unwrap_or(0);
        match today.next_if(|(new, _)| *new == key) {
            Some((_, count)) => entries.push(Entry { key, idle: 0, count, is_new: false }),
            None => {
                let idle = before.saturating_add(1);
                if limits.evict_after.is_some_and(|after| idle as usize >= after) {
                    change.evicted += 1;
                } else {
                    entries.push(Entry { key, idle, count: 0, is_new: false });
                }
            }
        }
    }
    today.for_each(|new| admit(new, &mut entries, &mut change));
    if let Some(most) = limits.keys.filter(|most| entries.len() > *most) {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by_key(|&place| (entries[place].idle, std::cmp::Reverse(entries[place].count)));
        let mut stays = vec![false; entries.len()];
        order[..most].iter().for_each(|&place| stays[place] = true);
        let mut stays = stays.into_iter();
        entries.retain(|entry| {
            let stays = stays.next().unwrap_or(false);
            match (stays, entry.is_new) {
                (true, _) => {}
                (false, true) => change.left += 1,
                (false, false) => change.evicted += 1,
            }
            stays
        });
    }
    change.new = entries.iter().filter(|entry| entry.is_new).count();
    change.kept = entries.len() - change.new;
    change.seen = entries.iter().filter(|entry| !entry.is_new && entry.idle == 0).count();
    let idle = entries.iter().map(|entry| entry.idle).collect();
    (entries.into_iter().map(|entry| entry.key).collect(), idle, change)
}

/// What became of a vocabulary, for the reader.
pub(crate) fn told(name: &str, grown: &Grown) -> String {
    let Change { kept, seen, new, evicted, left } = grown.change;
    format!(
        "vocabulary \"{name}\": {kept} keys of before ({seen} of them seen), {new} new, {evicted} forgotten, {left} not taken in"
    )
}

/// What keys there are, in a word.
pub(crate) fn kind_of(keys: &Keys) -> &'static str {
    match keys {
        Keys::Integers(_) | Keys::Hashed(Vocabulary::Hashed { keys: KeyKind::Integers, .. }) => "integers",
        _ => "texts",
    }
}

/// How many keys were seen in training.
pub(crate) fn distinct(counts: &[u64]) -> usize {
    counts.iter().skip(NULL as usize).filter(|&&n| n > 0).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown(old: &[(i64, u32)], today: &[(i64, u64)], limits: Limits) -> (Vec<(i64, u32)>, Change) {
        let idle: Vec<u32> = old.iter().map(|(_, idle)| *idle).collect();
        let today = today.iter().map(|(key, count)| (*key, count));
        let (keys, idle, change) = grow(old.iter().map(|(key, _)| *key), &idle, today, limits);
        (keys.into_iter().zip(idle).collect(), change)
    }

    const FREE: Limits = Limits { least: 1, evict_after: None, keys: None };

    #[test]
    fn what_is_known_stays_and_what_is_new_and_frequent_comes() {
        let limits = Limits { least: 2, ..FREE };
        let (keys, change) = grown(&[(3, 0), (5, 4)], &[(9, 2), (3, 1), (1, 7), (4, 1), (6, 0)], limits);
        assert_eq!(keys, [(1, 0), (3, 0), (5, 5), (9, 0)]);
        assert_eq!(change, Change { kept: 2, seen: 1, new: 2, evicted: 0, left: 1 });
    }

    #[test]
    fn what_has_not_occurred_for_so_many_trainings_is_forgotten() {
        let limits = Limits { evict_after: Some(3), ..FREE };
        let (keys, change) = grown(&[(1, 1), (2, 2), (3, 2)], &[(3, 1)], limits);
        assert_eq!(keys, [(1, 2), (3, 0)]);
        assert_eq!(change, Change { kept: 2, seen: 1, new: 0, evicted: 1, left: 0 });
    }

    #[test]
    fn without_room_the_longest_unseen_go_first_and_then_the_rarest() {
        let limits = Limits { keys: Some(3), ..FREE };
        let (keys, change) = grown(&[(1, 5), (2, 0), (3, 0)], &[(3, 1), (4, 9), (5, 2)], limits);
        assert_eq!(keys, [(3, 0), (4, 0), (5, 0)]);
        assert_eq!(change, Change { kept: 1, seen: 1, new: 2, evicted: 2, left: 0 });
        let (keys, change) = grown(&[(1, 0)], &[(1, 1), (4, 9), (5, 2), (6, 3)], limits);
        assert_eq!(keys, [(4, 0), (5, 0), (6, 0)]);
        assert_eq!(change, Change { kept: 0, seen: 0, new: 3, evicted: 1, left: 0 });
    }

    proptest::proptest! {
        #[test]
        fn the_merge_is_that_of_sets(old: std::collections::BTreeSet<i8>, today: std::collections::BTreeMap<i8, u8>, least in 1u64..4) {
            let before: Vec<(i64, u32)> = old.iter().map(|key| (i64::from(*key), 0)).collect();
            let now: Vec<(i64, u64)> = today.iter().map(|(key, count)| (i64::from(*key), u64::from(*count % 4))).collect();
            let (keys, change) = grown(&before, &now, Limits { least, ..FREE });
            let mut expected: Vec<i64> = before.iter().map(|(key, _)| *key).collect();
            expected.extend(now.iter().filter(|(_, count)| *count >= least).map(|(key, _)| *key));
            expected.sort_unstable();
            expected.dedup();
            proptest::prop_assert_eq!(keys.iter().map(|(key, _)| *key).collect::<Vec<_>>(), expected);
            proptest::prop_assert_eq!(change.kept, before.len());
            proptest::prop_assert_eq!(change.kept + change.new, keys.len());
        }
    }
}
