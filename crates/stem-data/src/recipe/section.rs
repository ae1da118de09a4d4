//! Reading one table of a TOML file key by key, so that every fault is found, with its line.

use std::ops::Range;

use stem_report::analysis::Metric;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::Fault;

/// Faults found so far, and the text that turns places into lines.
pub(super) struct Faults<'a> {
    text: &'a str,
    pub(super) found: Vec<Fault>,
}

impl<'a> Faults<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, found: Vec::new() }
    }

    /// Line of a byte, counted from 1.
    pub(super) fn line(&self, byte: usize) -> usize {
        1 + self.text.as_bytes()[..byte.min(self.text.len())].iter().filter(|&&b| b == b'\n').count()
    }

    pub(super) fn add(&mut self, line: usize, what: impl Into<String>) {
        self.found.push(Fault { line, what: what.into() });
    }
}

/// How numbers are cut.
pub(super) enum Buckets {
    Edges(Vec<f64>),
    Quantiles(usize),
}

/// One table, and which of its keys were read.
pub(super) struct Section<'a> {
    name: &'static str,
    pub(super) line: usize,
    table: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn new(name: &'static str, span: Range<usize>, table: &'a DeTable<'a>, faults: &Faults<'_>) -> Self {
        Self { name, line: faults.line(span.start), table, known: Vec::new() }
    }

    /// Whether the key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    fn find(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.push(key);
        self.table.get(key)
    }

    /// Line of a key's value, or of the table where the key is absent.
    pub(super) fn line_of(&self, key: &str, faults: &Faults<'_>) -> usize {
        self.table.get(key).map_or(self.line, |value| faults.line(value.span().start))
    }

    fn take<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        faults: &mut Faults<'_>,
        convert: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<T> {
        let value = self.find(key)?;
        let converted = convert(value.get_ref());
        if converted.is_none() {
            let found = &faults.text[value.span()];
            let found = found.lines().next().unwrap_or_default();
            faults.add(faults.line(value.span().start), format!("`{key}` is {found}, expected {expected}"));
        }
        converted
    }

    pub(super) fn text(&mut self, key: &'static str, faults: &mut Faults<'_>) -> Option<String> {
        self.take(key, "a text", faults, |v| v.as_str().filter(|t| !t.is_empty()).map(str::to_string))
    }

    /// A text that must be there; a fault and an empty text otherwise.
    pub(super) fn need_text(&mut self, key: &'static str, faults: &mut Faults<'_>) -> String {
        let present = self.table.contains_key(key);
        let text = self.text(key, faults);
        if !present {
            faults.add(self.line, format!("{} has no `{key}`: add `{key} = \"...\"`", self.name));
        }
        text.unwrap_or_default()
    }

    pub(super) fn flag(&mut self, key: &'static str, faults: &mut Faults<'_>) -> Option<bool> {
        self.take(key, "true or false", faults, DeValue::as_bool)
    }

    /// An integer of at least `least`.
    pub(super) fn count(&mut self, key: &'static str, least: usize, faults: &mut Faults<'_>) -> Option<usize> {
        self.take(key, &format!("an integer of at least {least}"), faults, |v| {
            integer(v).and_then(|n| usize::try_from(n).ok()).filter(|&n| n >= least)
        })
    }

    pub(super) fn number(&mut self, key: &'static str, faults: &mut Faults<'_>) -> Option<f64> {
        self.take(key, "a number", faults, float)
    }

    /// A share of the rows: at least 0, under 1.
    pub(super) fn share(&mut self, key: &'static str, faults: &mut Faults<'_>) -> Option<f64> {
        self.take(key, "a share of at least 0 and under 1", faults, |v| float(v).filter(|s| (0.0..1.0).contains(s)))
    }

    pub(super) fn texts(&mut self, key: &'static str, faults: &mut Faults<'_>) -> Option<Vec<String>> {
        self.take(key, "a list of texts", faults, |v| {
            v.as_array()?.iter().map(|item| item.get_ref().as_str().map(str::to_string)).collect()
        })
    }

    /// Edges of buckets, or how many buckets: `[18, 65]`, `{ quantiles = 10 }`.
    pub(super) fn buckets(&mut self, key: &'static str, faults: &mut Faults<'_>) -> Option<Buckets> {
        self.take(key, "a list of numbers, or { quantiles = 10 }", faults, |v| match v {
            DeValue::Array(edges) => {
                edges.iter().map(|edge| float(edge.get_ref())).collect::<Option<_>>().map(Buckets::Edges)
            }
            DeValue::Table(table) if table.len() == 1 => {
                let count = integer(table.get("quantiles")?.get_ref())?;
                usize::try_from(count).ok().filter(|&n| n >= 2).map(Buckets::Quantiles)
            }
            _ => None,
        })
    }

    pub(super) fn numbers(&mut self, key: &'static str, faults: &mut Faults<'_>) -> Option<Vec<f64>> {
        self.take(key, "a list of numbers", faults, |v| {
            v.as_array()?.iter().map(|item| float(item.get_ref())).collect()
        })
    }

    /// One of a few words.
    pub(super) fn choice<T: Clone>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
        faults: &mut Faults<'_>,
    ) -> Option<T> {
        let words = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        self.take(key, &format!("one of {words}"), faults, |v| {
            let word = v.as_str()?;
            choices.iter().find(|(w, _)| *w == word).map(|(_, value)| value.clone())
        })
    }

    /// A metric.
    pub(super) fn metric(&mut self, key: &'static str, faults: &mut Faults<'_>) -> Option<Metric> {
        let text = self.text(key, faults)?;
        match text.parse::<Metric>() {
            Ok(metric) => Some(metric),
            Err(unknown) => {
                faults.add(self.line_of(key, faults), format!("`{key}`: {unknown}"));
                None
            }
        }
    }

    /// Words that each name one of a few choices, by key: `types = { item = "text" }`.
    pub(super) fn choices<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
        faults: &mut Faults<'_>,
    ) -> Vec<(String, T)> {
        let words = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        self.take(key, &format!("a table of names, each one of {words}"), faults, |v| {
            let pairs = v.as_table()?.iter().map(|(name, value)| {
                let word = value.get_ref().as_str()?;
                choices.iter().find(|(w, _)| *w == word).map(|(_, value)| (name.get_ref().to_string(), *value))
            });
            pairs.collect()
        })
        .unwrap_or_default()
    }

    /// A value of a row: integer, float, true, false or text.
    pub(super) fn value(&mut self, key: &'static str, faults: &mut Faults<'_>) -> Option<stem_core::Value> {
        self.take(key, "an integer, a float, true, false or a text", faults, |v| match v {
            DeValue::Integer(_) => integer(v).map(stem_core::Value::Integer),
            DeValue::Float(_) => float(v).filter(|f| f.is_finite()).map(stem_core::Value::Float),
            DeValue::Boolean(b) => Some(stem_core::Value::from(*b)),
            DeValue::String(text) => Some(stem_core::Value::Text(text.to_string())),
            _ => None,
        })
    }

    /// A table inside this one.
    pub(super) fn table(
        &mut self,
        key: &'static str,
        name: &'static str,
        faults: &mut Faults<'_>,
    ) -> Option<Section<'a>> {
        let value = self.find(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Section::new(name, value.span(), table, faults)),
            _ => {
                faults.add(faults.line(value.span().start), format!("`{key}` must be a table: write {name}"));
                None
            }
        }
    }

    /// The tables of `[[key]]`.
    pub(super) fn tables(
        &mut self,
        key: &'static str,
        name: &'static str,
        faults: &mut Faults<'_>,
    ) -> Vec<Section<'a>> {
        let Some(value) = self.find(key) else { return Vec::new() };
        let mut sections = Vec::new();
        let items = value.get_ref().as_array().map(|a| a.iter()).into_iter().flatten();
        for item in items {
            if let DeValue::Table(table) = item.get_ref() {
                sections.push(Section::new(name, item.span(), table, faults));
            }
        }
        if sections.is_empty() {
            faults.add(faults.line(value.span().start), format!("`{key}` must be a list of tables: write {name}"));
        }
        sections
    }

    /// Every key that was not read is a fault.
    pub(super) fn finish(self, faults: &mut Faults<'_>) {
        for key in self.table.keys().filter(|key| !self.known.contains(&key.get_ref().as_ref())) {
            let hint = match nearest(key.get_ref(), self.known.iter().copied()) {
                Some(close) => format!("did you mean \"{close}\"?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            faults.add(
                faults.line(key.span().start),
                format!("unknown key \"{}\" in {}; {hint}", key.get_ref(), self.name),
            );
        }
    }
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn float(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Integer(_) => integer(value).map(|n| n as f64),
        DeValue::Float(float) => float.as_str().parse().ok(),
        _ => None,
    }
}

/// The candidate a word was probably meant to be: at most half of its letters differ (Levenshtein).
pub(crate) fn nearest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let limit = (word.chars().count() / 2).max(1);
    candidates.map(|c| (strsim::levenshtein(word, c), c)).filter(|(d, _)| *d <= limit).min().map(|(_, c)| c)
}
