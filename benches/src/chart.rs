//! Line charts as SVG files that stand alone: no script, no font to fetch, legible in light and dark mode.

use std::fmt::Write;

/// Some lines over one horizontal axis. Values are above 0.
#[derive(Debug, Clone)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// Under which circumstances.
    pub subtitle: String,
    /// What the horizontal axis counts.
    pub x_title: String,
    /// What the vertical axis measures, with its unit.
    pub y_title: String,
    /// Whether both axes are logarithmic; else both are linear, and the vertical one starts at 0.
    pub log: bool,
    /// The horizontal axis' places, and what is written there; ascending. Every line has a value at each.
    pub places: Vec<(f64, String)>,
    /// Two at most: there are two colours.
    pub lines: Vec<Line>,
}

/// A line.
#[derive(Debug, Clone)]
pub struct Line {
    /// Written at its end.
    pub name: String,
    /// A value for every place.
    pub values: Vec<f64>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
/// Edges of the area in which lines lie.
const LEFT: f64 = 72.0;
const RIGHT: f64 = 628.0;
const TOP: f64 = 76.0;
const BOTTOM: f64 = 336.0;
/// Free room between this area's edges and the outermost points.
const INSET: f64 = 22.0;
/// Least distance of two texts, one above the other.
const TEXT: f64 = 16.0;

pub(crate) const STYLE: &str = "text{font-family:sans-serif;font-size:12px}\
.paper{fill:#fff}.ink{fill:#1f2328}.faint{fill:#59636e}.grid{stroke:#d1d9e0;stroke-width:1}.zero{stroke:#59636e}\
.line{fill:none;stroke-width:2}.a{stroke:#0550ae}.b{stroke:#a04100}.fa{fill:#0550ae}.fb{fill:#a04100}\
.title{font-size:15px;font-weight:600}.value{font-size:11px}\
@media(prefers-color-scheme:dark){.paper{fill:#0d1117}.ink{fill:#e6edf3}.faint{fill:#9198a1}.grid{stroke:#30363d}\
.a{stroke:#79b8ff}.b{stroke:#ffa657}.fa{fill:#79b8ff}.fb{fill:#ffa657}}";

/// One axis: from values to places on the page.
#[derive(Debug, Clone, Copy)]
struct Scale {
    log: bool,
    values: [f64; 2],
    page: [f64; 2],
}

impl Scale {
    fn at(&self, value: f64) -> f64 {
        let of = |value: f64| if self.log { value.log10() } else { value };
        let [low, high] = self.values.map(of);
        let share = if high > low { (of(value) - low) / (high - low) } else { 0.5 };
        self.page[0] + share * (self.page[1] - self.page[0])
    }
}

impl Chart {
    /// The whole file.
    pub fn svg(&self) -> String {
        let marks = if self.log { decades(&self.lines) } else { steps(&self.lines) };
        let ends = |from: &[f64]| [from.first().copied().unwrap_or(0.0), from.last().copied().unwrap_or(1.0)];
        let places: Vec<f64> = self.places.iter().map(|(value, _)| *value).collect();
        let x = Scale { log: self.log, values: ends(&places), page: [LEFT + INSET, RIGHT - INSET] };
        let y = Scale { log: self.log, values: ends(&marks), page: [BOTTOM, TOP] };
        let mut svg = self.frame();
        for mark in marks {
            let at = y.at(mark);
            line(&mut svg, "grid", [LEFT, RIGHT], [at, at]);
            text(&mut svg, "faint", "end", [LEFT - 8.0, at + 4.0], &number(mark));
        }
        for (value, name) in &self.places {
            line(&mut svg, "grid", [x.at(*value); 2], [BOTTOM, BOTTOM + 5.0]);
            text(&mut svg, "faint", "middle", [x.at(*value), BOTTOM + 20.0], name);
        }
        for (i, line) in self.lines.iter().enumerate() {
            self.draw(&mut svg, i, line, x, y);
        }
        self.names(&mut svg, y);
        svg.push_str("</svg>\n");
        svg
    }

    /// All that does not depend on values, the file left open.
    fn frame(&self) -> String {
        let mut svg = paper(&self.title, &self.subtitle, [WIDTH, HEIGHT]);
        text(&mut svg, "ink", "middle", [(LEFT + RIGHT) / 2.0, BOTTOM + 46.0], &self.x_title);
        let middle = (TOP + BOTTOM) / 2.0;
        let _ = writeln!(
            svg,
            "<text class=\"ink\" text-anchor=\"middle\" transform=\"translate(20 {middle}) rotate(-90)\">{}</text>",
            escaped(&self.y_title)
        );
        svg
    }

    /// A line, its points, and their values: above the points of the line that is higher there, below those of the other.
    fn draw(&self, svg: &mut String, i: usize, line: &Line, x: Scale, y: Scale) {
        let colour = ["a", "b"][i % 2];
        let page: Vec<[f64; 2]> =
            self.places.iter().zip(&line.values).map(|((place, _), value)| [x.at(*place), y.at(*value)]).collect();
        let points: Vec<String> = page.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(svg, "<polyline class=\"line {colour}\" points=\"{}\"/>", points.join(" "));
        for (k, (&[x, y], &value)) in page.iter().zip(&line.values).enumerate() {
            point(svg, i, [x, y]);
            let below = self.lines.iter().any(|other| other.values[k] > value) && y + 18.0 < BOTTOM;
            text(svg, "ink value", "middle", [x, if below { y + 18.0 } else { y - 9.0 }], &measured(value));
        }
    }

    /// The lines' names at their ends, pushed apart where they would meet.
    fn names(&self, svg: &mut String, y: Scale) {
        let end = |line: &Line| line.values.last().map_or(BOTTOM, |value| y.at(*value));
        let mut ends: Vec<(f64, usize)> = self.lines.iter().enumerate().map(|(i, line)| (end(line), i)).collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut free = f64::NEG_INFINITY;
        for (at, i) in ends {
            let at = at.max(free);
            text(svg, ["fa", "fb"][i % 2], "start", [RIGHT + 8.0, at + 4.0], &self.lines[i].name);
            free = at + TEXT;
        }
    }
}

/// The smallest and the largest value of all lines.
fn bounds(lines: &[Line]) -> [f64; 2] {
    let values = || lines.iter().flat_map(|line| line.values.iter().copied()).filter(|value| *value > 0.0);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    if low <= high { [low, high] } else { [1.0, 10.0] }
}

/// 1, 2 and 5 times powers of 10: from the last that is no larger than any value to the first that is no smaller.
fn decades(lines: &[Line]) -> Vec<f64> {
    let [low, high] = bounds(lines);
    let mark = |i: i32| [1.0, 2.0, 5.0][i.rem_euclid(3) as usize] * 10f64.powi(i.div_euclid(3));
    let mut first = low.log10().floor() as i32 * 3;
    while mark(first + 1) <= low {
        first += 1;
    }
    let mut marks = vec![mark(first)];
    while marks[marks.len() - 1] < high || marks.len() < 2 {
        first += 1;
        marks.push(mark(first));
    }
    marks
}

/// Four to ten round steps from 0 to the first that is no smaller than any value.
fn steps(lines: &[Line]) -> Vec<f64> {
    let [_, high] = bounds(lines);
    let power = 10f64.powf((high / 4.0).log10().floor());
    let step = [5.0, 2.0].map(|times| times * power).into_iter().find(|step| step * 4.0 <= high).unwrap_or(power);
    (0..=(high / step).ceil() as usize).map(|i| i as f64 * step).collect()
}

/// Three digits, or all of a larger number's, with separated thousands.
pub fn measured(value: f64) -> String {
    match value {
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => separated(&format!("{value:.0}")),
    }
}

/// The same without zeros behind the point.
pub fn number(value: f64) -> String {
    let text = measured(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

fn separated(digits: &str) -> String {
    let comma = |i: usize| i > 0 && (digits.len() - i).is_multiple_of(3);
    digits.char_indices().flat_map(|(i, digit)| comma(i).then_some(',').into_iter().chain([digit])).collect()
}

pub(crate) fn line(svg: &mut String, class: &str, [x1, x2]: [f64; 2], [y1, y2]: [f64; 2]) {
    let _ = writeln!(svg, "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
}

pub(crate) fn text(svg: &mut String, class: &str, anchor: &str, [x, y]: [f64; 2], text: &str) {
    let text = escaped(text);
    let _ = writeln!(svg, "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
}

/// The beginning of a file, under its title and subtitle; whoever has drawn into it closes it.
pub(crate) fn paper(title: &str, subtitle: &str, [width, height]: [f64; 2]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
         <title>{}</title>\n<desc>{}</desc>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>\n",
        escaped(title),
        escaped(subtitle)
    );
    text(&mut svg, "ink title", "start", [16.0, 27.0], title);
    text(&mut svg, "faint", "start", [16.0, 46.0], subtitle);
    svg
}

/// A point of series `i`, which has its own form and colour: the first a circle, the second a square.
pub(crate) fn point(svg: &mut String, i: usize, [x, y]: [f64; 2]) {
    let _ = match i {
        0 => writeln!(svg, "<circle class=\"fa\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"),
        _ => writeln!(svg, "<rect class=\"fb\" x=\"{:.1}\" y=\"{:.1}\" width=\"7\" height=\"7\"/>", x - 3.5, y - 3.5),
    };
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(values: &[f64]) -> Vec<Line> {
        vec![Line { name: "a < b".into(), values: values.to_vec() }]
    }

    #[test]
    fn marks_enclose_all_values() {
        for values in [[0.3, 0.4], [1.0, 1.0], [4.9, 5.1], [19.0, 2_100.0], [47.4, 49.0], [5.0, 500.0]] {
            for marks in [decades(&lines(&values)), steps(&lines(&values))] {
                assert!(marks[0] <= values[0] && marks[marks.len() - 1] >= values[1], "{values:?}: {marks:?}");
                assert!((2..=11).contains(&marks.len()) && marks.is_sorted(), "{values:?}: {marks:?}");
            }
        }
    }

    #[test]
    fn numbers_have_three_digits_and_separated_thousands() {
        let values = [0.0, 0.25, 1.0, 9.996, 47.42, 503.4, 1473.2, 1_234_567.0];
        assert_eq!(values.map(measured), ["0.00", "0.25", "1.00", "10.0", "47.4", "503", "1,473", "1,234,567"]);
        assert_eq!(values.map(number), ["0", "0.25", "1", "10", "47.4", "503", "1,473", "1,234,567"]);
    }

    #[test]
    fn a_chart_has_a_mark_and_a_value_for_every_point_and_escapes_names() {
        for log in [false, true] {
            let chart = Chart {
                title: "t".into(),
                subtitle: "s".into(),
                x_title: "x".into(),
                y_title: "y".into(),
                log,
                places: vec![(1.0, "one".into()), (10.0, "ten".into())],
                lines: lines(&[3.0, 70.5]),
            };
            let svg = chart.svg();
            assert_eq!(svg.matches("<circle").count(), 2);
            assert!(["a &lt; b", ">70.5<", ">one<", "prefers-color-scheme:dark"].iter().all(|part| svg.contains(part)));
            assert!(!svg.contains("NaN") && !svg.contains("inf"));
        }
    }
}
