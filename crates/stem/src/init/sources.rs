//! From the files named to the recipe's sources: format, separator, names of the columns.

use std::path::{Component, Path, PathBuf};

use stem_data::{Dialect, Format, Source, column_names, files_of, is_pattern, sniff, start_of};

use super::Args;
use crate::console::Result;

/// The files as a recipe names them.
pub(super) struct Files {
    /// Folder that `--data` will name.
    pub(super) folder: PathBuf,
    pub(super) source: Source,
    /// Why format or separator have to be named; `None` where the files' names tell them.
    pub(super) reason: Option<String>,
    pub(super) columns: Vec<String>,
}

/// Finds out how the files are written, and that all have the same columns.
pub(super) fn open(args: &Args) -> Result<Files> {
    let folder = folder_of(&args.data)?;
    let mut files = Vec::new();
    for name in &args.data {
        files.extend(files_of(&name.to_string_lossy())?);
    }
    let has_rows = |path: &PathBuf| path.metadata().is_ok_and(|found| found.len() > 0);
    if files.iter().any(has_rows) {
        files.retain(has_rows); // writers leave parts without rows
    }
    let first = &files[0];
    let written = how(first)?;
    for path in &files[1..] {
        let other = how(path)?;
        if (other.format, &other.separator) != (written.format, &written.separator) {
            return Err(format!(
                "{} and {} are not written alike: `stem init` takes parts of one log",
                first.display(),
                path.display()
            )
            .into());
        }
    }
    if !written.format.is_text() && args.columns.is_some() {
        return Err(
            format!("--columns is for text without a header; {} names its columns itself", first.display()).into()
        );
    }
    let name = name_of(&args.data[0]);
    let files = args.data.iter().map(|path| Ok(relative(&folder, path)?.to_string_lossy().into_owned()));
    let source = Source {
        name,
        files: files.collect::<Result<_>>()?,
        format: Some(written.format),
        dialect: Dialect { separator: written.separator, ..Dialect::default() },
        columns: args.columns.clone(),
        header: args.columns.is_none(),
        line: 1,
        ..Source::default()
    };
    let columns_of = |file: &String| column_names(&Source { files: vec![file.clone()], ..source.clone() }, &folder);
    let columns = columns_of(&source.files[0])?;
    check_names(&args.data[0], &source, &columns)?;
    for (place, file) in source.files.iter().enumerate().skip(1) {
        same_columns(&args.data, &columns, place, &columns_of(file)?)?;
    }
    Ok(Files { folder, source, reason: written.reason, columns })
}

/// What the log is called: by its file, its folder, or what stands before the first pattern.
fn name_of(path: &Path) -> String {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy().to_lowercase()),
        _ => None,
    });
    let named = parts.take_while(|part| !is_pattern(part) || path.exists()).last().unwrap_or_default();
    let plain = named.split('.').find(|part| !part.is_empty()).unwrap_or_default();
    let plain: String = plain.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if plain.chars().all(|c| c == '_') { "log".into() } else { plain }
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
    let is_open = |part: &Component<'_>| is_pattern(&part.as_os_str().to_string_lossy());
    let parent = |path: &PathBuf| {
        let parent = match path.components().any(|part| is_open(&part)) && !path.exists() {
            true => path.components().take_while(|part| !is_open(part)).collect(), // what a pattern leaves open is below it
            false => path.parent().map(Path::to_path_buf).unwrap_or_default(),
        };
        if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent }
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
        Some(parent) if !parent.as_os_str().is_empty() && folder != Path::new(".") => {
            let absolute = std::path::absolute(path)?;
            Ok(absolute.strip_prefix(folder).map_or(absolute.clone(), Path::to_path_buf))
        }
        _ => Ok(path.to_path_buf()),
    }
}

/// How a file is written, and why the recipe must say so where the file's name does not.
struct Written {
    format: Format,
    separator: Option<String>,
    reason: Option<String>,
}

fn how(path: &Path) -> Result<Written> {
    let (start, here) = (start_of(path)?, path.display());
    if start.is_empty() {
        return Err(format!("{here} is empty (0 bytes): a log has a line of column names and a line per row").into());
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let by_name = Format::of_name(&name);
    for (magic, format, what) in [
        (&b"PAR1"[..], Format::Parquet, "it begins as a Parquet file does"),
        (&b"ARROW1"[..], Format::Ipc, "it begins as an Arrow IPC file does"),
    ] {
        if start.starts_with(magic) {
            let reason = (by_name != Some(format)).then(|| what.to_string());
            return Ok(Written { format, separator: None, reason });
        }
    }
    if let Some(what) = sniff::binary(&start) {
        return Err(format!("{here} is {what}, no log: `stem init` reads CSV, TSV, Parquet and Arrow IPC").into());
    }
    if let Some(extension) = path.extension().filter(|_| by_name.is_some_and(|format| !format.is_text())) {
        return Err(
            format!("{here} is text, though its name ends in .{}: rename it", extension.to_string_lossy()).into()
        );
    }
    let usual = |format: Option<Format>| if format == Some(Format::Tsv) { b'\t' } else { b',' };
    let separator = sniff::separator(&start).map_or(usual(by_name), |(_, separator)| separator);
    let format = if separator == b'\t' { Format::Tsv } else { Format::Csv };
    let is_told = by_name.is_some() && usual(by_name) == separator;
    let shown = if separator == b'\t' { "tabs".into() } else { format!("\"{}\"", char::from(separator)) };
    Ok(Written {
        format,
        separator: (usual(Some(format)) != separator).then(|| char::from(separator).to_string()),
        reason: (!is_told).then(|| format!("the lines are cut into equally many values by {shown}")),
    })
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

    #[test]
    fn a_pattern_is_named_from_the_folder_before_it() {
        for (pattern, folder, file, name) in [
            ("log/day=*/part-*.csv.gz", "log", "day=*/part-*.csv.gz", "log"),
            ("/data/clicks/*.parquet", "/data/clicks", "*.parquet", "clicks"),
            ("day=*/a.csv", ".", "day=*/a.csv", "log"),
            ("Clicks.2024.csv.gz", ".", "Clicks.2024.csv.gz", "clicks"),
        ] {
            let paths = [PathBuf::from(pattern)];
            let found = folder_of(&paths).expect("a pattern");
            assert_eq!((found.as_path(), name_of(&paths[0]).as_str()), (Path::new(folder), name), "{pattern}");
            assert_eq!(relative(&found, &paths[0]).expect("below"), Path::new(file));
        }
    }
}
