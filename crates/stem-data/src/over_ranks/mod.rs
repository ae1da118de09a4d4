//! A preparation by several ranks: each reads and codes its own files of the log, and rank 0 makes of all of it what one process would have made,
//! byte for byte.
//!
//! | what | module |
//! |---|---|
//! | which SELECTs can be shared out | `row_wise` |
//! | which key has which code, and how often it occurs | `numbering` |
//! | the coded rows on their way to rank 0 | `rows` |
//!
//! Which files are a rank's is said in [`Share`].

mod numbering;
mod row_wise;
mod rows;

use std::path::Path;

use serde::Serialize;

use self::numbering::{Numbering, sum_on_first};
use self::rows::{Head, Part, messages, receive};
use crate::codes::BLOCK;
use crate::dictionary::Dictionary;
use crate::encoding::count;
use crate::error::{Error, Result};
use crate::gather::{Coded, CodedRows, CodedVocabulary, Gatherer};
use crate::ranks::Team;
use crate::recipe::Recipe;
use crate::scan::Query;
use crate::source::Share;
use crate::stop::StopFlag;

/// Which source is shared out, and which part of it this rank has; `None` alone.
///
/// # Errors
/// A recipe whose SELECT looks at more than one row of it.
pub(crate) fn share(recipe: &Recipe, ranks: &Team) -> Result<Option<(usize, Share)>> {
    if !ranks.is_several() {
        return Ok(None);
    }
    let share = Share { rank: ranks.rank(), ranks: ranks.ranks() };
    Ok(Some((row_wise::shared_source(recipe)?, share)))
}

/// Refuses ranks that read something else than rank 0: `what` they read is compared as JSON.
///
/// # Errors
/// [`Error::Ranks`] with the first of them, the same on every rank.
pub(crate) fn agree(ranks: &Team, what: &str, read: &impl Serialize) -> Result<()> {
    if !ranks.is_several() {
        return Ok(());
    }
    let all = ranks.gather_all(&serde_json::to_vec(read).expect("what is read is plain data"));
    match all.iter().position(|of_rank| *of_rank != all[0]) {
        Some(rank) => Err(Error::Ranks { rank, what: what.into() }),
        None => Ok(()),
    }
}

/// Rows that all ranks read about; `None` where none can tell.
pub(crate) fn rows_about(ranks: &Team, own: Option<u64>) -> Option<u64> {
    if !ranks.is_several() {
        return own;
    }
    let all = ranks.gather_all(&serde_json::to_vec(&own).expect("a number"));
    let told = all.iter().filter_map(|about| serde_json::from_slice::<Option<u64>>(about).ok().flatten());
    told.reduce(|sum, about| sum + about)
}

/// Reads and codes all rows, each rank its own. `None` on all but rank 0, whose the rows are.
pub(crate) fn gather(
    ranks: &Team,
    recipe: &Recipe,
    query: Query,
    shared: Option<(usize, Share)>,
    scratch: &Path,
    stop: &StopFlag,
    seen: impl Fn(u64),
) -> Result<Option<CodedRows>> {
    let mut own = Gatherer::new(recipe, &query, scratch)?;
    let mut sources = own.read(query, stop, seen)?;
    let Some((shared, _)) = shared else { return own.finish(sources).map(Some) };
    let numbered = Numbered::of(ranks, &mut own);
    if !ranks.is_first() {
        let (part, head) = Part::of(own, &numbered, sources, |rows| messages(rows, BLOCK))?;
        let heads = heads(ranks, Some(head));
        part.send(ranks, recipe, &numbered, &heads)?;
        let splits = ranks.exchange(vec![Vec::new(); ranks.ranks()]).swap_remove(0);
        let Part { rows, codes, vocabularies, .. } = part;
        let coded = Coded { codes: &codes, rows, vocabularies: &vocabularies, splits: &splits };
        numbered.count(ranks, &vocabularies, count(recipe, &coded)?);
        return Ok(None);
    }
    let own_rows = own.rows;
    let heads = heads(ranks, None);
    let rows_of: Vec<usize> = std::iter::once(own_rows).chain(heads.iter().skip(1).map(|head| head.rows)).collect();
    let name = &recipe.sources[shared].name;
    let others: u64 = heads.iter().skip(1).filter_map(|head| head.sources.get(name)).sum();
    sources.entry(name.clone()).and_modify(|rows| *rows += others);
    receive(ranks, &mut own, heads)?;
    let mut rows = own.finish(sources)?;
    let mut from = 0;
    let splits = rows_of.iter().map(|count| {
        from += count;
        rows.splits[from - count..from].to_vec()
    });
    ranks.exchange(splits.collect());
    let coded = Coded { rows: own_rows, ..rows.coded() };
    let counts = count(recipe, &coded)?;
    rows.counts = Some(numbered.count(ranks, &rows.vocabularies, counts));
    Ok(Some(rows))
}

/// What the ranks say of their rows, of which rank 0 says nothing: its own are there.
fn heads(ranks: &Team, own: Option<Head>) -> Vec<Head> {
    let said = ranks.gather_all(&serde_json::to_vec(&own).expect("plain data"));
    let read = |said: &Vec<u8>| serde_json::from_slice::<Option<Head>>(said).expect("ranks of one version");
    said.iter().map(|said| read(said).unwrap_or_default()).collect()
}

/// The codes over all ranks of everything that has codes.
struct Numbered {
    /// `None` of numbers, and of keys that are hashed.
    vocabularies: Vec<Option<Numbering>>,
    groups: Option<Numbering>,
    users: Option<Numbering>,
}

impl Numbered {
    /// Rank 0 has all keys afterwards, the others none.
    fn of(ranks: &Team, own: &mut Gatherer<'_>) -> Self {
        let number = |dictionary: &mut Dictionary, wants_keys: bool| {
            let numbering = Numbering::of(ranks, dictionary);
            if wants_keys {
                numbering.collect(ranks, dictionary);
            }
            if !ranks.is_first() {
                drop(dictionary.take_keys());
            }
            numbering
        };
        let keyed = |vocabulary: &mut CodedVocabulary| {
            let dictionary = vocabulary.dictionary.as_mut().filter(|dictionary| !dictionary.is_hashing());
            dictionary.map(|dictionary| number(dictionary, true))
        };
        Self {
            vocabularies: own.vocabularies.iter_mut().map(keyed).collect(),
            groups: own.groups.as_mut().map(|(_, groups)| number(groups, false)),
            users: own.splitter.users().map(|users| number(users, false)),
        }
    }

    /// How often each code occurs in training, on rank 0.
    fn count(&self, ranks: &Team, vocabularies: &[CodedVocabulary], own: Vec<Vec<u64>>) -> Vec<Vec<u64>> {
        let counted = self.vocabularies.iter().zip(vocabularies).zip(own).map(|((numbering, coded), own)| {
            match (numbering, &coded.dictionary) {
                (Some(numbering), _) => numbering.count(ranks, &own),
                (None, Some(_)) => sum_on_first(ranks, &own),
                (None, None) => own,
            }
        });
        counted.collect()
    }
}
