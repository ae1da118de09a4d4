//! Where a step's time goes: the spans that the library opens, timed and added up, beside what the machine can do.

use std::collections::HashMap;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::ceiling::Ceiling;
use crate::chart::{STYLE, escaped, measured, text};

/// Adds up what every kind of span took. A clone shares the sums.
#[derive(Debug, Clone, Default)]
pub struct Profile(Arc<Mutex<Sums>>);

#[derive(Debug, Default)]
struct Sums {
    /// Of open and closed spans alike: which row of `rows`, what work, and when it was last entered.
    spans: Vec<(usize, Work, Instant)>,
    /// Rows in the order in which they were first seen.
    rows: Vec<Row>,
    places: HashMap<String, usize>,
    /// Rows of the spans that are entered now, outermost first.
    entered: Vec<usize>,
}

/// One line of the table.
#[derive(Debug)]
struct Row {
    label: String,
    depth: usize,
    seconds: f64,
    work: Work,
}

/// What spans say of themselves.
#[derive(Debug, Clone, Copy, Default)]
struct Work {
    flop: f64,
    bytes: f64,
}

impl Profile {
    /// Forgets what was added up: after warming up.
    pub fn clear(&self) {
        *self.sums() = Sums::default();
    }

    /// Phases of a step, and the ops within, as a Markdown table; averages over `steps` steps.
    pub fn table(&self, steps: usize, ceiling: &Ceiling) -> String {
        let sums = self.sums();
        let whole: f64 = sums.rows.iter().filter(|row| row.depth == 0).map(|row| row.seconds).sum();
        let mut text = format!(
            "{ceiling}\n\n| phase | ms | share | GFLOP/s | GB/s | of the ceiling |\n|---|---|---|---|---|---|\n"
        );
        for (at, row) in sums.rows.iter().enumerate() {
            line(&mut text, row, steps, whole, ceiling);
            let inside = sums.rows[at + 1..].iter().take_while(|inner| inner.depth > 0);
            let (count, ops): (usize, f64) = inside.fold((0, 0.0), |(n, s), inner| (n + 1, s + inner.seconds));
            if row.depth == 0 && count > 0 {
                let other = Row { label: "other".into(), depth: 1, seconds: row.seconds - ops, work: Work::default() };
                line(&mut text, &other, steps, whole, ceiling);
            }
        }
        let _ = writeln!(text, "| all | {:.2} | 100 % | | | |", whole / steps as f64 * 1e3);
        text
    }

    /// The same as bars, an SVG file that stands alone.
    pub fn picture(&self, steps: usize, title: &str) -> String {
        const NAMES: f64 = 300.0;
        const LINE: f64 = 20.0;
        let sums = self.sums();
        let ms = |row: &Row| row.seconds / steps as f64 * 1e3;
        let rows: Vec<&Row> = sums.rows.iter().filter(|row| ms(row) >= 0.005).collect();
        let longest = rows.iter().map(|row| ms(row)).fold(0.0, f64::max);
        let height = 64.0 + LINE * rows.len() as f64;
        let name = escaped(title);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 {height}\" role=\"img\">\n<title>{name}</title>\n\
             <style>{STYLE}</style>\n<rect class=\"paper\" width=\"720\" height=\"{height}\" rx=\"6\"/>\n"
        );
        text(&mut svg, "ink title", "start", [16.0, 27.0], title);
        for (i, row) in rows.into_iter().enumerate() {
            let (y, width) = (48.0 + LINE * i as f64, (ms(row) / longest * 340.0).max(1.0));
            let (class, indent) = if row.depth == 0 { ("fa", 16.0) } else { ("fb", 34.0) };
            text(&mut svg, if row.depth == 0 { "ink" } else { "faint" }, "start", [indent, y + 12.0], &row.label);
            let _ = writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{NAMES}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"12\"/>",
                y + 2.0
            );
            text(&mut svg, "ink value", "start", [NAMES + width + 6.0, y + 12.0], &format!("{} ms", measured(ms(row))));
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line(text: &mut String, row: &Row, steps: usize, whole: f64, ceiling: &Ceiling) {
    let indent = if row.depth == 0 { "" } else { "\u{2003}" };
    let (ms, share) = (row.seconds / steps as f64 * 1e3, row.seconds / whole * 100.0);
    let rate = |work: f64| work / row.seconds / 1e9;
    let (mut flops, mut bytes, mut part) = (String::new(), String::new(), String::new());
    if row.work.flop > 0.0 {
        flops = format!("{:.0}", rate(row.work.flop));
        part = format!("{:.0} %", rate(row.work.flop) / ceiling.gflops * 100.0);
    } else if row.work.bytes > 0.0 {
        bytes = format!("{:.1}", rate(row.work.bytes));
        part = format!("{:.0} %", rate(row.work.bytes) / ceiling.triad * 100.0);
    }
    let _ = writeln!(text, "| {indent}{} | {ms:.2} | {share:.1} % | {flops} | {bytes} | {part} |", row.label);
}

/// Reads label and work out of a span's fields.
#[derive(Default)]
struct Fields {
    label: String,
    work: Work,
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "flop" => self.work.flop = value as f64,
            "bytes" => self.work.bytes = value as f64,
            _ => {}
        }
    }

    fn record_str(&mut self, _: &Field, value: &str) {
        self.label.push_str(value);
    }

    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        let _ = write!(self.label, " {value:?}");
    }
}

impl Subscriber for Profile {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target().starts_with("stem_")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        if fields.label.is_empty() {
            fields.label = span.metadata().name().into();
        }
        let mut sums = self.sums();
        let depth = sums.entered.len().min(1);
        let parent = sums.entered.first().map_or(String::new(), |&row| sums.rows[row].label.clone());
        let key = format!("{parent}/{}", fields.label);
        let next = sums.rows.len();
        let row = *sums.places.entry(key).or_insert(next);
        if row == next {
            sums.rows.push(Row { label: fields.label, depth, seconds: 0.0, work: Work::default() });
        }
        sums.spans.push((row, fields.work, Instant::now()));
        Id::from_u64(sums.spans.len() as u64)
    }

    fn enter(&self, id: &Id) {
        let mut sums = self.sums();
        let (row, ..) = sums.spans[id.into_u64() as usize - 1];
        sums.entered.push(row);
        sums.spans[id.into_u64() as usize - 1].2 = Instant::now();
    }

    fn exit(&self, id: &Id) {
        let mut sums = self.sums();
        let (row, work, since) = sums.spans[id.into_u64() as usize - 1];
        sums.entered.pop();
        let row = &mut sums.rows[row];
        row.seconds += since.elapsed().as_secs_f64();
        row.work.flop += work.flop;
        row.work.bytes += work.bytes;
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
}
