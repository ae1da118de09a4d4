//! Tables: a caption, a head, a name before every row, and a box of their own to scroll in.

use super::markup::{Attributes, Markup};

/// Names of more characters may be cut.
const LONG: usize = 14;

/// A value of a table, and what is to be said about it.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    text: String,
    badge: Option<&'static str>,
}

impl Cell {
    /// A value with a remark.
    pub fn marked(text: String, badge: Option<&'static str>) -> Self {
        Self { text, badge }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), badge: None }
    }
}

/// A table of numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    caption: String,
    head: Vec<String>,
    above: Vec<(String, usize)>,
    rows: Vec<(String, Vec<Cell>)>,
    class: &'static str,
    tight: bool,
}

impl Table {
    /// Without rows; `head` names the first column, too.
    pub fn new(caption: impl Into<String>, head: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { caption: caption.into(), head: head.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Names over several columns each; an empty one spans without a name.
    pub fn above(mut self, groups: Vec<(String, usize)>) -> Self {
        self.above = groups;
        self
    }

    /// The last column is text, which stands left.
    pub fn ending_in_text(mut self) -> Self {
        self.class = "text-last";
        self
    }

    /// The column after the names is text, too.
    pub fn named_twice(mut self) -> Self {
        self.class = "text-second";
        self
    }

    /// Columns stand closer together, where there are many.
    pub fn tight(mut self) -> Self {
        self.tight = true;
        self
    }

    /// One more row.
    pub fn row(&mut self, name: impl Into<String>, cells: impl IntoIterator<Item = impl Into<Cell>>) {
        self.rows.push((name.into(), cells.into_iter().map(Into::into).collect()));
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table in its box.
    pub fn draw(&self, m: &mut Markup) {
        let class = if self.class.is_empty() { "numbers" } else { self.class };
        let class = format!("{class}{}", if self.tight { " tight" } else { "" });
        let about: Attributes<'_> =
            &[("class", &"scroll"), ("tabindex", &0), ("role", &"group"), ("aria-label", &self.caption)];
        m.node("div", about, |m| {
            m.node("table", &[("class", &class)], |m| {
                m.node("caption", &[], |m| m.leaf("span", &[], &self.caption));
                m.node("thead", &[], |m| self.draw_head(m));
                m.node("tbody", &[], |m| self.rows.iter().for_each(|(name, cells)| draw_row(m, name, cells)));
            });
        });
    }

    fn draw_head(&self, m: &mut Markup) {
        if !self.above.is_empty() {
            m.node("tr", &[], |m| {
                for (name, columns) in &self.above {
                    if name.is_empty() {
                        m.node("td", &[("colspan", columns)], |_| {});
                    } else {
                        m.leaf("th", &[("scope", &"colgroup"), ("colspan", columns)], name);
                    }
                }
            });
        }
        m.node("tr", &[], |m| {
            for name in &self.head {
                m.leaf("th", &[("scope", &"col")], name);
            }
        });
    }
}

fn draw_row(m: &mut Markup, name: &str, cells: &[Cell]) {
    m.node("tr", &[], |m| {
        // A name too long for its column can be pointed at.
        if name.chars().count() > LONG {
            m.leaf("th", &[("scope", &"row"), ("title", &name)], name);
        } else {
            m.leaf("th", &[("scope", &"row")], name);
        }
        for cell in cells {
            let marked: Attributes<'_> = if cell.badge.is_some() { &[("class", &"marked")] } else { &[] };
            m.node("td", marked, |m| {
                m.text(&cell.text);
                if let Some(badge) = cell.badge {
                    m.text(" ");
                    m.leaf("span", &[("class", &"badge")], badge);
                }
            });
        }
    });
}
