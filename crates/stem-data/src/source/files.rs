//! Which files a source is: those that are named, those in a folder, those that a pattern fits.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use stem_core::files::FileError;

use super::remote::local_name;
use crate::error::{Error, Result};
use crate::manifest::modified;
use crate::recipe::{SPLIT_OF_FILES, Source};

/// The value of a partition's folder that stands for null, as Hive and Spark write it.
const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// One file of a source, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceFile {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// When it was last changed, in nanoseconds since 1970.
    pub(crate) modified: u64,
    /// What the folders `name=value` on its way say, as text; `None` for null.
    pub(crate) partitions: Vec<(String, Option<String>)>,
    /// Whether this process reads its rows; another rank does otherwise.
    pub(crate) is_read: bool,
}

/// The files of a source: each name in the order of the recipe, what it stands for in the order of the paths.
///
/// A name that is a file is that file, whatever letters it holds. In a folder, and for a pattern, files and folders whose names begin
/// with `.` or `_` are passed over: writers put marks and unfinished parts there.
///
/// # Errors
/// A name that stands for no file.
pub(crate) fn list(source: &Source, data: &Path) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    for (place, name) in source.files.iter().enumerate() {
        let name = &*local_name(name, data)?;
        let path = data.join(name);
        let before = files.len();
        if path.is_file() || !is_pattern(name) && !path.is_dir() {
            files.push(found(path, Path::new(name)).map_err(|error| nearby(error, data, name))?);
        } else if path.is_dir() {
            walk(&path, Path::new(name), &mut files)?;
        } else {
            expand(data, name, &mut files)?;
        }
        if files.len() == before {
            let what = format!("source \"{}\": no file fits \"{name}\"", source.name);
            return Err(Error::Source { path: data.into(), what });
        }
        if let Some(split) = source.splits.get(place) {
            let split = (SPLIT_OF_FILES.to_string(), Some(split.name().to_string()));
            files[before..].iter_mut().for_each(|file| file.partitions.push(split.clone()));
        }
    }
    let mut seen = HashSet::new();
    let mut is_new = |file: &SourceFile| seen.insert(file.path.canonicalize().unwrap_or_else(|_| file.path.clone()));
    if let Some(twice) = files.iter().find(|&file| !is_new(file)) {
        let what = format!("source \"{}\" names it twice: its rows would count twice", source.name);
        return Err(Error::Source { path: twice.path.clone(), what });
    }
    Ok(files)
}

/// The same, of what is read more than once: pipes and devices are refused.
///
/// # Errors
/// As [`list`].
pub(crate) fn list_to_reread(source: &Source, data: &Path) -> Result<Vec<SourceFile>> {
    let files = list(source, data)?;
    match files.iter().find(|file| !file.path.is_file()) {
        Some(file) => {
            let what = "it is a pipe or a device, and is read more than once: write it to a file";
            Err(Error::Source { path: file.path.clone(), what: what.into() })
        }
        None => Ok(files),
    }
}

pub(crate) fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

/// The file at `path`; `below` are the folders whose names may say a partition.
fn found(path: PathBuf, below: &Path) -> Result<SourceFile, FileError> {
    let metadata = std::fs::metadata(&path).map_err(FileError::of("read", &path))?;
    let folders = below.parent().into_iter().flat_map(Path::components);
    let partitions = folders.filter_map(|folder| {
        let folder = folder.as_os_str().to_string_lossy();
        let (name, value) = folder.split_once('=').filter(|(name, _)| !name.is_empty())?;
        Some((name.to_string(), (value != NULL_PARTITION).then(|| unescaped(value))))
    });
    Ok(SourceFile {
        bytes: metadata.len(),
        modified: modified(&metadata),
        partitions: partitions.collect(),
        path,
        is_read: true,
    })
}

/// A partition's value without the `%20` that its writer put in for letters that names of files cannot hold.
fn unescaped(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *first == b'%');
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| value.to_string())
}

/// Folders whose systems say elsewhere which of the files in them count: what was deleted or replaced lies there too.
const OTHER_SYSTEMS: [(&str, &str); 3] =
    [("_delta_log", "a table of Delta Lake"), (".hoodie", "a table of Hudi"), ("metadata", "a table of Iceberg")];

/// Refuses a folder of which not every file counts.
fn refuse_other_systems(folder: &Path) -> Result<()> {
    let is_mark = |name: &&(&str, &str)| match *name {
        ("metadata", _) => {
            let within = std::fs::read_dir(folder.join("metadata")).into_iter().flatten().flatten();
            within.into_iter().any(|entry| entry.file_name().to_string_lossy().ends_with(".metadata.json"))
        }
        (name, _) => folder.join(name).is_dir(),
    };
    match OTHER_SYSTEMS.iter().find(is_mark) {
        Some((mark, what)) => {
            let what = format!(
                "it is {what}: {mark} says which of its files count, and others lie there too; write the rows that count to a folder of their own"
            );
            Err(Error::Source { path: folder.into(), what })
        }
        None => Ok(()),
    }
}

/// Every file in a folder and in the folders within, in the order of their names.
fn walk(folder: &Path, below: &Path, files: &mut Vec<SourceFile>) -> Result<()> {
    refuse_other_systems(folder)?;
    let entries = std::fs::read_dir(folder).map_err(FileError::of("read", folder))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(FileError::of("read", folder))?.file_name());
    }
    names.sort();
    for name in names.into_iter().filter(|name| !is_hidden(&name.to_string_lossy())) {
        let (path, below) = (folder.join(&name), below.join(&name));
        if path.is_dir() {
            if path.is_symlink() && is_within(folder, &path) {
                let what = "it is a link to a folder that it lies in: its files would count many times";
                return Err(Error::Source { path, what: what.into() });
            }
            walk(&path, &below, files)?;
        } else {
            files.push(found(path, &below)?);
        }
    }
    Ok(())
}

/// Whether a folder lies in what `link` leads to, or is it.
fn is_within(folder: &Path, link: &Path) -> bool {
    let (Ok(folder), Ok(target)) = (folder.canonicalize(), link.canonicalize()) else { return false };
    folder.starts_with(target)
}

/// Every file that a pattern fits, in the order of their paths.
fn expand(data: &Path, pattern: &str, files: &mut Vec<SourceFile>) -> Result<()> {
    let refused = |what: String| Error::Source { path: data.into(), what };
    let escaped = glob::Pattern::escape(&data.to_string_lossy());
    let whole = match Path::new(pattern).is_absolute() || escaped.is_empty() {
        true => pattern.to_string(),
        false => format!("{escaped}/{pattern}"),
    };
    let paths = glob::glob(&whole).map_err(|error| refused(format!("\"{pattern}\" is no pattern: {error}")))?;
    for path in paths {
        let path = path.map_err(|error| refused(format!("\"{pattern}\": {error}")))?;
        let below = path.strip_prefix(data).unwrap_or(&path).to_path_buf();
        let pattern = Path::new(pattern).strip_prefix(data).unwrap_or(Path::new(pattern));
        let fixed = pattern.components().take_while(|part| !is_pattern(&part.as_os_str().to_string_lossy()));
        let is_found = below.components().skip(fixed.count());
        if is_found.into_iter().any(|part| is_hidden(&part.as_os_str().to_string_lossy())) {
            continue;
        }
        if path.is_dir() {
            walk(&path, &below, files)?;
        } else {
            files.push(found(path, &below)?);
        }
    }
    Ok(())
}

/// The error of a file that is not there, with the name in its folder that may have been meant.
fn nearby(error: FileError, data: &Path, name: &str) -> Error {
    let path = data.join(name);
    let is_missing = !path.exists();
    let folder = path.parent().filter(|_| is_missing);
    let folder = folder.map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let names = folder.and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let names: Vec<String> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let wanted = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match crate::recipe::nearest(&wanted, names.iter().map(String::as_str)) {
        Some(near) => {
            Error::Source { path: path.clone(), what: format!("there is no such file; did you mean \"{near}\"?") }
        }
        None => error.into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        folder
    }

    fn listed(folder: &Path, files: &[&str]) -> Vec<String> {
        let source = Source { files: files.iter().map(|f| f.to_string()).collect(), ..Source::default() };
        let name = |file: SourceFile| file.path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
        list(&source, folder).unwrap().into_iter().map(name).collect()
    }

    #[test]
    fn names_folders_and_patterns_stand_for_files_in_order_and_marks_of_writers_are_passed_over() {
        let folder =
            folder(&["log/day=2/b.csv", "log/day=1/a.csv", "log/_SUCCESS", "log/.x.crc", "log/_tmp/c.csv", "_own.csv"]);
        let parts = ["log/day=1/a.csv", "log/day=2/b.csv"];
        assert_eq!(listed(folder.path(), &["log"]), parts);
        assert_eq!(listed(folder.path(), &["log/day=*/*.csv"]), parts);
        assert_eq!(listed(folder.path(), &["log/*"]), parts);
        assert_eq!(listed(folder.path(), &["_own.csv", "log/day=2/b.csv"]), ["_own.csv", "log/day=2/b.csv"]);
    }

    #[test]
    fn a_file_that_is_named_is_that_file_whatever_letters_it_holds() {
        let folder = folder(&["log[1].csv", "log1.csv", "a*b.csv"]);
        assert_eq!(listed(folder.path(), &["log[1].csv"]), ["log[1].csv"]);
        assert_eq!(listed(folder.path(), &["a*b.csv"]), ["a*b.csv"]);
        assert_eq!(listed(folder.path(), &["log?.csv"]), ["log1.csv"]);
    }

    #[test]
    fn partitions_are_read_from_the_folders_on_the_way() {
        let folder =
            folder(&["log/day=2024-03-01/city=New%20York/a.csv", "log/day=__HIVE_DEFAULT_PARTITION__/city=x/b.csv"]);
        let source = Source { files: vec!["log".into()], ..Source::default() };
        let files = list(&source, folder.path()).unwrap();
        let text = |text: &str| Some(text.to_string());
        assert_eq!(files[0].partitions, [("day".into(), text("2024-03-01")), ("city".into(), text("New York"))]);
        assert_eq!(files[1].partitions, [("day".into(), None), ("city".into(), text("x"))]);
    }

    #[test]
    fn an_absolute_pattern_passes_over_the_same_files() {
        let folder = folder(&["log/a.csv", "log/_b.csv", "log/.c.csv"]);
        let pattern = format!("{}/log/*.csv", folder.path().display());
        assert_eq!(listed(folder.path(), &[&pattern]), ["log/a.csv"]);
    }

    #[test]
    fn folders_of_which_not_every_file_counts_are_refused() {
        for (mark, what) in
            [("_delta_log/0.json", "Delta Lake"), ("metadata/v1.metadata.json", "Iceberg"), (".hoodie/x", "Hudi")]
        {
            let folder = folder(&["log/a.parquet", &format!("log/{mark}")]);
            let source = Source { files: vec!["log".into()], ..Source::default() };
            let message = list(&source, folder.path()).unwrap_err().to_string();
            assert!(message.contains("log: it is a table of ") && message.contains(what), "{message}");
        }
        let folder = folder(&["log/metadata/a.csv", "log/b.csv"]);
        assert_eq!(
            listed(folder.path(), &["log"]),
            ["log/b.csv", "log/metadata/a.csv"],
            "a folder of that name alone is none"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_listed_and_is_not_read_twice() {
        let source = Source { files: vec!["/dev/null".into()], ..Source::default() };
        assert_eq!(list(&source, Path::new("")).unwrap().len(), 1);
        let message = list_to_reread(&source, Path::new("")).unwrap_err().to_string();
        assert!(message.starts_with("/dev/null: it is a pipe or a device"), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_back_is_refused_and_another_link_is_followed() {
        let folder = folder(&["log/a.csv", "more/b.csv"]);
        std::os::unix::fs::symlink("../more", folder.path().join("log/more")).unwrap();
        assert_eq!(listed(folder.path(), &["log"]), ["log/a.csv", "log/more/b.csv"]);
        std::os::unix::fs::symlink("..", folder.path().join("log/up")).unwrap();
        let source = Source { files: vec!["log".into()], ..Source::default() };
        let message = list(&source, folder.path()).unwrap_err().to_string();
        assert!(message.contains("log/up: it is a link to a folder that it lies in"), "{message}");
    }

    #[test]
    fn a_name_without_files_is_refused_and_so_is_a_file_named_twice() {
        let folder = folder(&["log.csv"]);
        let refused = |files: &[&str]| {
            let source = Source {
                name: "log".into(),
                files: files.iter().map(|f| f.to_string()).collect(),
                ..Source::default()
            };
            list(&source, folder.path()).unwrap_err().to_string()
        };
        assert!(
            refused(&["*.parquet"]).ends_with("source \"log\": no file fits \"*.parquet\""),
            "{}",
            refused(&["*.parquet"])
        );
        assert!(refused(&["log.csv", "*.csv"]).contains("names it twice"));
        assert!(refused(&["lug.csv"]).ends_with("lug.csv: there is no such file; did you mean \"log.csv\"?"));
    }
}
