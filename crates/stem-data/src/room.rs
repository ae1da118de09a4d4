//! Room on the disk: what a preparation will take is known before it begins, nearly.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};
use crate::recipe::{Kind, Recipe};

/// Bytes at the beginning of a text from which its lines are estimated.
const SAMPLE: u64 = 1 << 16;

/// Words of a SELECT that leaves rows out: how many it gives is not known then.
const FEWER: [&str; 9] = ["where", "limit", "distinct", "group", "having", "qualify", "semi", "anti", "sample"];

/// Lines of a text, estimated from its beginning.
pub(crate) fn lines_about(path: &Path) -> Option<u64> {
    let file = File::open(path).ok()?;
    let bytes = file.metadata().ok()?.len();
    let mut sample = Vec::new();
    file.take(SAMPLE).read_to_end(&mut sample).ok()?;
    let lines = sample.iter().filter(|&&byte| byte == b'\n').count() as u64;
    (lines > 0).then(|| (u128::from(bytes) * u128::from(lines) / sample.len() as u128) as u64)
}

/// Bytes on disk of one row: as it was read, then as it is encoded in its place. Where the disk gets no room again for a part of a
/// file ([`give_back`](crate::mapped::give_back)), all but the codes lie there twice. Of a list at least one value.
fn bytes_of_row(recipe: &Recipe) -> u64 {
    let numbers: usize = recipe.fields.iter().map(|field| field.numbers()).sum();
    let keyed = recipe.fields.iter().filter(|field| field.numbers() == 0);
    let codes: usize = keyed.map(|field| if matches!(field.kind, Kind::Sequence { .. }) { 2 } else { 1 }).sum();
    let others = recipe.labels.len() + if recipe.group.is_some() { 4 } else { 0 };
    let (read, encoded) = (8 * numbers + others, 4 * numbers + others);
    let ids = codes + numbers;
    let most =
        if cfg!(target_os = "linux") { (4 * codes + read).max(4 * ids + encoded) } else { 4 * ids + read + encoded };
    most as u64
}

/// Refuses a preparation for which the disk of `folder` has no room.
///
/// # Errors
/// [`Error::NoRoom`] with what it takes and what is free.
pub(crate) fn check(recipe: &Recipe, rows: Option<u64>, folder: &Path) -> Result<()> {
    let (Some(rows), Ok(free)) = (rows, fs4::available_space(folder)) else { return Ok(()) };
    check_against(recipe, rows, folder, free)
}

fn check_against(recipe: &Recipe, rows: u64, folder: &Path, free: u64) -> Result<()> {
    let sql = recipe.sql.as_deref().unwrap_or_default().to_ascii_lowercase();
    let mut words = sql.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let needed = rows.saturating_mul(bytes_of_row(recipe));
    if needed <= free || words.any(|word| FEWER.contains(&word)) {
        return Ok(());
    }
    let gb = |bytes: u64| bytes as f64 / 1e9;
    Err(Error::NoRoom { path: folder.into(), rows, needed: gb(needed), free: gb(free) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn recipe(sql: &str) -> Recipe {
        let text = format!(
            "name = \"r\"\n{sql}\nsource = [{{ name = \"log\", file = \"log.csv\" }}]\nlabel = [{{ column = \"click\" }}]\nsplit = {{ kind = \"random\" }}\nfield = [{{ column = \"user\", kind = \"category\" }}, {{ column = \"price\", kind = \"number\" }}]\n"
        );
        Recipe::parse(&text, "recipe.toml").unwrap()
    }

    #[test]
    fn what_the_disk_cannot_hold_is_refused_with_both_figures() {
        let row = bytes_of_row(&recipe(""));
        let once = (4 + 8 + 1, 8 + 4 + 1); // a code, a number and a label as they were read; two ids, a number and a label as encoded
        assert_eq!(row, if cfg!(target_os = "linux") { once.0.max(once.1) } else { 8 + (8 + 4) + 2 });
        let check = |sql: &str, free: u64| check_against(&recipe(sql), 1_000_000_000, Path::new("out"), free);
        check("", 1_000_000_000 * row).unwrap();
        let message = check("", 1_000_000_000 * row - 1).unwrap_err().to_string();
        assert!(message.starts_with(&format!("out: about 1000000000 rows take about {row}.0 GB")), "{message}");
        check("sql = \"SELECT * FROM log WHERE click = 1\"", 5).unwrap();
        assert!(check("sql = \"SELECT * FROM log AS wherever\"", 5).is_err());
    }

    #[test]
    fn lines_are_estimated_from_the_beginning_of_a_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        std::fs::write(&path, "12345678\n".repeat(50_000)).unwrap();
        assert!(lines_about(&path).unwrap().abs_diff(50_000) < 20);
        std::fs::write(&path, "no end of a line").unwrap();
        assert_eq!(lines_about(&path), None);
    }
}
