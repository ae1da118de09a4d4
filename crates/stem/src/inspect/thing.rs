//! What a file or folder is, by its first bytes and its names.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;
use stem_core::ModelName;
use stem_core::bundle::{FORMAT_VERSION, OLDEST_VERSION};
use stem_core::files::FileError;
use stem_data::sniff;

/// Longest header of a safetensors file.
const LONGEST_HEADER: u64 = 100 << 20;

/// What a path names.
pub(crate) enum Thing {
    /// A bundle of any version, by the header of its file.
    Bundle(Header),
    /// A folder of encoded columns.
    Columns,
    /// Something else: what, and which command takes it.
    Other { what: String, advice: String },
}

/// The header of a safetensors file.
pub(crate) struct Header {
    /// Names of tensors, and `__metadata__`.
    pub(crate) tensors: serde_json::Map<String, Value>,
    /// The text of the manifest of a bundle.
    pub(crate) manifest: String,
    pub(crate) checksum: Option<String>,
    /// Length of the file.
    pub(crate) bytes: u64,
}

fn other(what: impl Into<String>, advice: impl Into<String>) -> Thing {
    Thing::Other { what: what.into(), advice: advice.into() }
}

/// Finds out what a path names.
///
/// # Errors
/// A path that cannot be read.
pub(crate) fn of(path: &Path) -> Result<Thing, FileError> {
    let found = std::fs::metadata(path).map_err(FileError::of("read", path))?;
    if found.is_dir() {
        return folder(path);
    }
    if !found.is_file() {
        return Ok(other("no file and no folder", "`stem inspect` reads bundles and folders of encoded columns"));
    }
    let bytes = found.len();
    let mut file = File::open(path).map_err(FileError::of("read", path))?;
    let mut start = Vec::new();
    (&mut file).take(sniff::START as u64).read_to_end(&mut start).map_err(FileError::of("read", path))?;
    if start.is_empty() {
        return Ok(other("an empty file", "Was its writing cut short?"));
    }
    if let Some(thing) = safetensors(path, &start, bytes)? {
        return Ok(thing);
    }
    let here = path.display();
    for (magic, format) in [(&b"PAR1"[..], "Parquet"), (b"ARROW1", "Arrow IPC")] {
        if start.starts_with(magic) {
            return Ok(other(format!("a table in {format} format"), init_reads(path)));
        }
    }
    if start.starts_with(b"STEMCOLS") {
        let folder = path.ancestors().skip(1).find(|folder| folder.join("dataset.json").exists());
        let advice = match folder {
            Some(folder) => format!("`stem inspect {}` shows the data set that it belongs to", folder.display()),
            None => "The folder of the data set that it belongs to has a dataset.json; inspect that folder".into(),
        };
        return Ok(other("one of the column files of an encoded data set", advice));
    }
    Ok(match sniff::binary(&start) {
        Some(what) if what.contains("PyTorch") => other(
            what,
            format!(
                "`stem import --checkpoint {here} ...` makes a bundle of a checkpoint of the reference implementation"
            ),
        ),
        Some(what) => other(what, UNREAD),
        None => text(path, &String::from_utf8_lossy(&start)),
    })
}

/// The advice where there is none.
const UNREAD: &str = "No command of stem reads it";

/// The advice for a table.
fn init_reads(path: &Path) -> String {
    format!("`stem init --data {} --labels ...` looks at it and writes a recipe", path.display())
}

/// A file that begins as safetensors do: the length of a header, and the header as JSON.
fn safetensors(path: &Path, start: &[u8], bytes: u64) -> Result<Option<Thing>, FileError> {
    let Some((length, b'{')) = start.first_chunk::<8>().map(|n| u64::from_le_bytes(*n)).zip(start.get(8).copied())
    else {
        return Ok(None);
    };
    if length > LONGEST_HEADER || start.first_chunk::<8>().is_some_and(|n| n.iter().all(u8::is_ascii_graphic)) {
        return Ok(None);
    }
    let cut_short =
        || Some(other("a safetensors file that is cut short", "Was its writing or copying interrupted? Copy it again"));
    if length + 8 > bytes {
        return Ok(cut_short());
    }
    let mut header = Vec::new();
    File::open(path)
        .and_then(|file| file.take(length + 8).read_to_end(&mut header))
        .map_err(FileError::of("read", path))?;
    let Ok(Value::Object(tensors)) = serde_json::from_slice(&header[8..]) else { return Ok(None) };
    let end = tensors.values().filter_map(|tensor| tensor["data_offsets"][1].as_u64()).max().unwrap_or(0);
    if length + 8 + end > bytes {
        return Ok(cut_short());
    }
    let metadata = tensors.get("__metadata__");
    let entry = |key: &str| Some(metadata?.get(key)?.as_str()?.to_string());
    if entry("stem.checkpoint").is_some() {
        let advice = format!(
            "`stem train --from {}` trains its model on, with the optimizer's moments; `stem train --resume` goes on with the training that wrote it",
            path.display()
        );
        return Ok(Some(other("a checkpoint of a training", advice)));
    }
    let Some(manifest) = entry("stem.manifest") else {
        let names: Vec<&String> = tensors.keys().filter(|name| *name != "__metadata__").collect();
        let some: Vec<&str> = names.iter().take(3).map(|name| name.as_str()).collect();
        let (count, some) = (names.len(), some.join(", "));
        let what =
            format!("a safetensors file of another program: {count} tensors ({some}, ...), and no manifest of stem");
        return Ok(Some(other(what, "A bundle is written by `stem train` or `stem import`")));
    };
    let version = serde_json::from_str::<Value>(&manifest).ok().and_then(|manifest| manifest["version"].as_u64());
    let (oldest, newest) = (u64::from(OLDEST_VERSION), u64::from(FORMAT_VERSION));
    if !version.is_some_and(|version| (oldest..=newest).contains(&version)) {
        let found = version.map_or("without a format version".into(), |version| format!("of format version {version}"));
        let advice = format!("This program reads versions {oldest} to {newest}: train or import the model again");
        return Ok(Some(other(format!("a bundle {found}"), advice)));
    }
    Ok(Some(Thing::Bundle(Header { checksum: entry("stem.checksum"), tensors, manifest, bytes })))
}

fn folder(path: &Path) -> Result<Thing, FileError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(FileError::of("read", path))? {
        names.push(entry.map_err(FileError::of("read", path))?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let has = |name: &str| names.iter().any(|found| found == name);
    let here = path.display();
    if has("dataset.json") {
        return Ok(Thing::Columns);
    }
    Ok(if has("plan.toml") {
        let page = match has("report.html") {
            true => format!("Its page is {here}/report.html"),
            false => "It has no page yet: the same `stem compare` goes on from there".into(),
        };
        let advice = format!("{page}; a model in it is inspected by the path of its bundle.safetensors");
        other("the folder of a comparison", advice)
    } else if has("bundle.safetensors") {
        let prepared = path.join("columns/dataset.json").exists();
        let columns = if prepared { format!(", and `stem inspect {here}/columns` its data") } else { String::new() };
        let advice = format!("`stem inspect {here}/bundle.safetensors` shows its model{columns}");
        other("the folder of a run", advice)
    } else if has("log.jsonl") {
        let advice = "No epoch was finished, or the model is trained still: see its log.jsonl";
        other("the folder of a run that has no bundle", advice)
    } else if has("recipe.toml") {
        let advice = format!("`stem train --recipe {here}/recipe.toml --data ...` trains from it");
        other("a folder with a recipe", advice)
    } else if names.is_empty() {
        other("an empty folder", "`stem prepare` or `stem train` with --out fills one")
    } else {
        let (some, more) = (names[..names.len().min(4)].join(", "), if names.len() > 4 { ", ..." } else { "" });
        let what = format!("a folder that no command of stem wrote ({some}{more})");
        other(what, "A folder of encoded columns has a dataset.json")
    })
}

/// What a text is.
fn text(path: &Path, start: &str) -> Thing {
    let here = path.display();
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let trimmed = start.trim_start_matches('\u{feff}').trim_start();
    let lower = trimmed.get(..15).unwrap_or(trimmed).to_lowercase();
    if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        let advice = "`stem train` and `stem compare` write one as report.html; open it in a browser";
        return other("a page for a browser", advice);
    }
    if (trimmed.starts_with('{') || trimmed.starts_with('['))
        && let Some(thing) = json(path, &name, trimmed)
    {
        return thing;
    }
    if let Some(thing) = std::fs::read_to_string(path).ok().and_then(|text| toml_file(&text, &here.to_string())) {
        return thing;
    }
    let first = trimmed.lines().next().unwrap_or_default();
    let several = trimmed.lines().nth(1).is_some();
    let Some((columns, separator)) = sniff::separator(trimmed.as_bytes()).filter(|_| several) else {
        return other(format!("a text of {}", if several { "several lines" } else { "one line" }), UNREAD);
    };
    let separators = match separator {
        b',' => "commas",
        b'\t' => "tabs",
        b';' => "semicolons",
        _ => "bars",
    };
    let start: String = first.chars().take(60).collect();
    let more = if first.chars().count() > 60 { "..." } else { "" };
    other(format!("a text table of {columns} columns between {separators} ({start}{more})"), init_reads(path))
}

fn json(path: &Path, name: &str, start: &str) -> Option<Thing> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if name == "dataset.json" {
        let advice = format!("`stem inspect {}` shows all of it", folder.display());
        return Some(other("the description of an encoded data set", advice));
    }
    if name == "comparison.json" {
        return Some(other("the result of a comparison", "It is JSON; report.html beside it is the page"));
    }
    let first_line = start.lines().next().unwrap_or_default();
    if name.ends_with(".jsonl") && serde_json::from_str::<Value>(first_line).is_ok() {
        let advice = "report.html beside a run's log.jsonl draws them";
        return Some(other("a file of JSON lines, as a run's log is", advice));
    }
    let whole: Value = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
    let model = whole["model"].as_str().filter(|_| whole["test"].is_object() && whole["seed"].is_u64());
    let Some(model) = model else { return Some(other("a JSON file", UNREAD)) };
    let advice = format!("`stem inspect {}` shows them with the model", folder.join("bundle.safetensors").display());
    Some(other(format!("the metrics of a run of {model}"), advice))
}

fn toml_file(text: &str, here: &str) -> Option<Thing> {
    let table: toml::Table = toml::from_str(text).ok()?;
    let has = |key: &str| table.contains_key(key);
    if ["source", "field", "label"].iter().filter(|key| has(key)).count() >= 2 {
        let count = |key: &str| match table.get(key).and_then(toml::Value::as_array).map_or(0, Vec::len) {
            1 => format!("1 {key}"),
            n => format!("{n} {key}s"),
        };
        let what = format!("a recipe ({}, {}, {})", count("source"), count("field"), count("label"));
        let advice =
            format!("`stem train --recipe {here} --data ...` trains from it, `stem prepare` encodes its tables");
        return Some(other(what, advice));
    }
    if has("space") && has("trials") {
        return Some(other("settings of a search", format!("`stem compare --search {here} ...` searches with them")));
    }
    let models: Vec<&str> = table.keys().filter(|key| key.parse::<ModelName>().is_ok()).map(String::as_str).collect();
    if has("train") || !models.is_empty() {
        let sizes = if models.is_empty() { String::new() } else { format!(" (sizes of {})", models.join(", ")) };
        let advice = format!("`stem train --experiment {here} ...` trains with it");
        return Some(other(format!("an experiment{sizes}"), advice));
    }
    let advice = "A recipe has [[source]], [[field]] and [[label]]; an experiment [train]";
    (!table.is_empty()).then(|| other("a TOML file, though no recipe and no experiment", advice))
}
