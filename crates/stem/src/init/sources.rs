//! From the files named to the recipe's sources: format, separator, names of the columns.

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use stem_data::{Format, Source, column_names};

use super::Args;
use crate::console::Result;
use crate::inspect::thing;

/// The files as a recipe names them.
pub(super) struct Files {
    /// Folder that `--data` will name.
    pub(super) folder: PathBuf,
    pub(super) sources: Vec<Source>,
    /// For each source, why its format or separator has to be named; `None` where the file's name tells it.
    pub(super) reasons: Vec<Option<String>>,
    pub(super) columns: Vec<String>,
}

/// Finds out how the files are written, and that all have the same columns.
pub(super) fn open(args: &Args) -> Result<Files> {
    let folder = folder_of(&args.data)?;
    let (mut sources, mut reasons) = (Vec::<Source>::new(), Vec::new());
    for path in &args.data {
        let (format, reason) = format_of(path)?;
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
        let plain: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let plain = if plain.chars().all(|c| c == '_') { "log".to_string() } else { plain };
        let taken = |name: &String| sources.iter().any(|source| source.name == *name);
        let name = if taken(&plain) { format!("{plain}_{}", sources.len() + 1) } else { plain };
        let text = matches!(format, Format::Text { .. });
        if !text && args.columns.is_some() {
            return Err(
                format!("--columns is for text without a header; {} names its columns itself", path.display()).into()
            );
        }
        let (columns, header) = (args.columns.clone(), args.columns.is_none());
        let (file, types) = (relative(&folder, path)?, Vec::new());
        sources.push(Source { name, file, format, columns, header, types, line: 1 });
        reasons.push(reason);
    }
    let mut columns = Vec::new();
    for (place, source) in sources.iter().enumerate() {
        let names = column_names(source, &folder)?;
        check_names(&args.data[place], source, &names)?;
        if place == 0 {
            columns = names;
        } else {
            same_columns(&args.data, &columns, place, &names)?;
        }
    }
    Ok(Files { folder, sources, reasons, columns })
}

fn check_names(path: &Path, source: &Source, names: &[String]) -> Result {
    let path = path.display();
    if source.header && 2 * names.iter().filter(|name| name.parse::<f64>().is_ok()).count() >= names.len() {
        let first: Vec<&str> = names.iter().take(6).map(String::as_str).collect();
        let (first, all) = (first.join(", "), names.len());
        let advice = format!("name all {all} of them with --columns a,b,...");
        return Err(
            format!("{path}: the first line holds values, not names of columns ({first}, ...): {advice}").into()
        );
    }
    if let [only] = names {
        return Err(format!(
            "{path} has one column, \"{only}\": a log has a column for each label and at least one to predict it from. \
             Commas, tabs, semicolons and bars were tried as separators"
        )
        .into());
    }
    Ok(())
}

fn same_columns(paths: &[PathBuf], first: &[String], place: usize, names: &[String]) -> Result {
    let missing: Vec<&str> = first.iter().filter(|name| !names.contains(name)).map(String::as_str).collect();
    let more: Vec<&str> = names.iter().filter(|name| !first.contains(name)).map(String::as_str).collect();
    if missing.is_empty() && more.is_empty() {
        return Ok(());
    }
    let (a, b) = (paths[0].display(), paths[place].display());
    let mut what = format!("{a} and {b} are tables of different columns");
    for (whose, only) in [(&a, &missing), (&b, &more)] {
        if !only.is_empty() {
            what.push_str(&format!("; only {whose} has {}", some(only)));
        }
    }
    what.push_str(". `stem init` takes parts of one log; ");
    match first.iter().find(|name| names.contains(name)) {
        Some(key) => what.push_str(&format!(
            "begin with {a} alone, then add the other table to the recipe as a second [[source]] and join it in its `sql`: \
             ... FROM log LEFT JOIN other ON log.\"{key}\" = other.\"{key}\""
        )),
        None => what.push_str("give it one of them"),
    }
    Err(what.into())
}

fn some(names: &[&str]) -> String {
    let more = if names.len() > 8 { format!(" and {} more", names.len() - 8) } else { String::new() };
    format!("{}{more}", names.iter().take(8).copied().collect::<Vec<_>>().join(", "))
}

/// The folder that all files lie in or below.
fn folder_of(paths: &[PathBuf]) -> Result<PathBuf> {
    let parent = |path: &PathBuf| match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let first = parent(&paths[0]);
    if paths.iter().all(|path| parent(path) == first) {
        return Ok(first);
    }
    let mut common: Vec<Component<'_>> = Vec::new();
    let absolute: Vec<PathBuf> =
        paths.iter().map(|path| std::path::absolute(parent(path))).collect::<Result<_, _>>()?;
    for (place, part) in absolute[0].components().enumerate() {
        if !absolute.iter().all(|path| path.components().nth(place) == Some(part)) {
            break;
        }
        common.push(part);
    }
    Ok(common.iter().collect())
}

fn relative(folder: &Path, path: &Path) -> Result<PathBuf> {
    if let Ok(inside) = path.strip_prefix(folder) {
        return Ok(inside.to_path_buf());
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => {
            let absolute = std::path::absolute(path)?;
            Ok(absolute.strip_prefix(folder).map_or(absolute.clone(), Path::to_path_buf))
        }
        _ => Ok(path.to_path_buf()),
    }
}

/// How a file is written, and why the recipe must say so where the file's name does not.
fn format_of(path: &Path) -> Result<(Format, Option<String>)> {
    let (mut start, here) = (Vec::new(), path.display());
    let file = std::fs::File::open(path).map_err(|e| format!("cannot read {here}: {e}"))?;
    if file.metadata().is_ok_and(|found| found.is_dir()) {
        return Err(format!("{here} is a folder: name the files in it, for instance {here}/*.csv").into());
    }
    file.take(1 << 16).read_to_end(&mut start).map_err(|e| format!("cannot read {here}: {e}"))?;
    if start.is_empty() {
        return Err(format!("{here} is empty (0 bytes): a log has a line of column names and a line per row").into());
    }
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    let reason = |expected: &[&str], what: &str| (!expected.contains(&extension.as_str())).then(|| what.to_string());
    if start.starts_with(b"PAR1") {
        return Ok((Format::Parquet, reason(&["parquet", "pq"], "it begins as a Parquet file does")));
    }
    if start.starts_with(b"ARROW1") {
        return Ok((Format::Ipc, reason(&["ipc", "arrow", "feather"], "it begins as an Arrow IPC file does")));
    }
    if let Some(what) = thing::binary(&start) {
        return Err(format!("{here} is {what}, no log: `stem init` reads CSV, TSV, Parquet and Arrow IPC").into());
    }
    if ["parquet", "pq", "ipc", "arrow", "feather"].contains(&extension.as_str()) {
        return Err(format!("{here} is text, though its name ends in .{extension}: rename it").into());
    }
    let by_name = match extension.as_str() {
        "csv" => Some(b','),
        "tsv" | "tab" => Some(b'\t'),
        _ => None,
    };
    let found = thing::separator(&start).map(|(_, separator)| separator);
    let separator = found.or(by_name).unwrap_or(b',');
    let reason = (by_name != Some(separator)).then(|| {
        let by = if separator == b'\t' { "tabs".into() } else { format!("\"{}\"", char::from(separator)) };
        format!("the lines are cut into equally many values by {by}")
    });
    Ok((Format::Text { separator }, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_two_folders_are_named_from_the_one_above() {
        let paths = ["/data/x/a.csv", "/data/y/b.csv"].map(PathBuf::from);
        let folder = folder_of(&paths).expect("absolute paths");
        assert_eq!(folder, Path::new("/data"));
        assert_eq!(relative(&folder, &paths[1]).expect("below"), Path::new("y/b.csv"));
        assert_eq!(folder_of(&[PathBuf::from("a.csv")]).expect("one file"), Path::new("."));
    }
}
