//! Markup that cannot break: tags close by construction, and all that comes from data is escaped.
//!
//! Only `&'static str` gets into a tag's name, an attribute's name or [`Markup::fixed`], so data cannot.

use std::fmt::{self, Display, Write};

/// Names and values of a tag's attributes.
pub(super) type Attributes<'a> = &'a [(&'static str, &'a dyn Display)];

/// HTML or SVG, whole elements only.
#[derive(Debug, Clone, Default)]
pub(super) struct Markup(String);

impl Markup {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An element and what is inside.
    pub fn node(&mut self, tag: &'static str, attributes: Attributes<'_>, inside: impl FnOnce(&mut Self)) {
        self.open(tag, attributes);
        self.0.push('>');
        inside(self);
        self.0.push_str("</");
        self.0.push_str(tag);
        self.0.push('>');
    }

    /// An element that holds text alone.
    pub fn leaf(&mut self, tag: &'static str, attributes: Attributes<'_>, text: impl Display) {
        self.node(tag, attributes, |m| m.text(text));
    }

    /// An element that holds nothing.
    pub fn single(&mut self, tag: &'static str, attributes: Attributes<'_>) {
        self.open(tag, attributes);
        self.0.push_str("/>");
    }

    /// Text, escaped.
    pub fn text(&mut self, text: impl Display) {
        // Writing into a string does not fail.
        let _ = write!(Escaping(&mut self.0), "{text}");
    }

    /// Text of this program, as it is.
    pub fn fixed(&mut self, text: &'static str) {
        self.0.push_str(text);
    }

    /// Other elements after these.
    pub fn add(&mut self, other: Self) {
        self.0.push_str(&other.0);
    }

    /// The page.
    pub fn into_string(self) -> String {
        self.0
    }

    fn open(&mut self, tag: &'static str, attributes: Attributes<'_>) {
        self.0.push('<');
        self.0.push_str(tag);
        for (name, value) in attributes {
            self.0.push(' ');
            self.0.push_str(name);
            self.0.push_str("=\"");
            self.text(value);
            self.0.push('"');
        }
    }
}

/// Writes characters so that neither text nor a quoted attribute ends early.
struct Escaping<'a>(&'a mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' | '\t' => self.0.push(c),
                // What no page may hold, and what turns the direction of all that follows.
                c if c.is_control() => self.0.push('\u{fffd}'),
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

/// A coordinate: one decimal, and 0 for what is not finite.
pub(super) struct Px(pub f64);

impl Display for Px {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounded = (self.0 * 10.0).round() / 10.0;
        // Adding 0 makes -0 plain 0.
        if rounded.is_finite() { write!(f, "{}", rounded + 0.0) } else { f.write_str("0") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TURN: char = '\u{202e}';

    fn unescape(text: &str) -> String {
        text.replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&#39;", "'")
            .replace("&amp;", "&")
    }

    proptest! {
        #[test]
        fn escaped_text_holds_no_markup_and_reads_as_it_was(text in r#"[a-z<>&"' ;#/=]{0,40}"#) {
            let mut m = Markup::new();
            m.text(&text);
            let escaped = m.into_string();
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
            prop_assert_eq!(unescape(&escaped), text);
        }

        #[test]
        fn any_characters_stay_inside_their_attribute_and_element(text in any::<String>()) {
            let mut m = Markup::new();
            m.leaf("p", &[("title", &text)], &text);
            let page = m.into_string();
            prop_assert_eq!((page.matches('<').count(), page.matches('>').count(), page.matches('"').count()), (2, 2, 2));
            prop_assert!(!page.contains(['\0', TURN]));
        }
    }

    #[test]
    fn elements_nest_and_close() {
        let mut m = Markup::new();
        m.node("g", &[("class", &"a \"b\"")], |m| m.single("rect", &[("x", &Px(1.04)), ("y", &Px(f64::NAN))]));
        assert_eq!(m.into_string(), r#"<g class="a &quot;b&quot;"><rect x="1" y="0"/></g>"#);
        assert_eq!(Px(-0.01).to_string(), "0");
    }
}
