//! Whether all ranks of a job are of one mind, asked before the first step.

use serde_json::Value;

use super::Team;
use crate::checkpoint::different;
use crate::error::{Error, Result};

/// Refuses ranks whose settings are not those of rank 0, by the first key that differs. Every rank gets the same answer.
///
/// # Errors
/// [`Error::Ranks`] with the first rank that differs.
pub(crate) fn agree(ranks: &Team, settings: &Value) -> Result<()> {
    let all = ranks.gather_all(settings.to_string().as_bytes());
    let read = |bytes: &Vec<u8>| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    let first = read(&all[0]);
    for (rank, bytes) in all.iter().enumerate().skip(1) {
        if let Some((key, of_first, own)) = different(&first, &read(bytes)).into_iter().next() {
            let what = match key.as_str() {
                "data" => "its recipe or its data are others than rank 0's".to_string(),
                _ => format!("its {key} is {own}, that of rank 0 {of_first}"),
            };
            return Err(Error::Ranks { rank, what });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Threads;
    use super::*;
    use serde_json::json;

    #[test]
    fn a_rank_that_differs_is_named_on_every_rank_with_what_differs() {
        let asked = |own: fn(usize) -> Value| {
            Threads::run(3, |ranks| agree(&ranks, &own(ranks.rank())).map_err(|error| error.to_string()))
        };
        let expected = "rank 2 is not of this training: its train.seed is 2, that of rank 0 1. Start all ranks with the same program, files and options";
        let seeds = asked(|rank| json!({ "data": "x", "train": { "seed": if rank == 2 { 2 } else { 1 } } }));
        assert_eq!(seeds, vec![Err(expected.to_string()); 3]);
        let data = asked(|rank| json!({ "data": rank.min(1) }));
        assert!(data[0].as_ref().unwrap_err().starts_with("rank 1 is not of this training: its recipe or its data"));
        assert_eq!(asked(|_| json!({ "version": "1" })), vec![Ok(()); 3]);
    }
}
