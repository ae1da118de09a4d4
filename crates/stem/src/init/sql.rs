//! Names and texts as SQL and TOML read them.

/// A name as SQL reads it whatever stands in it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as a value or key of TOML, on one line.
pub(super) fn toml_text(text: &str) -> String {
    format!("\"{}\"", escaped(text).replace('"', "\\\"").replace('\n', "\\n"))
}

/// SQL between three quotes of TOML.
pub(super) fn toml_sql(sql: &str) -> String {
    format!("\"\"\"\n{}\n\"\"\"", escaped(sql).replace("\"\"\"", "\\\"\\\"\\\""))
}

/// Backslashes and what TOML does not take as it is, line breaks apart.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '\\' => escaped.push_str("\\\\"),
            c if c != '\n' && (c < ' ' || c == '\u{7f}') => escaped.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A text without what a TOML comment or a terminal cannot hold on one line.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_name_holds_comes_back_from_toml() {
        for name in ["a", "a\"b", "\"\"\"", "back\\slash", "tab\t\u{7f}\r\n", "\u{e9}\u{85}"] {
            let sql = format!("SELECT {}", quoted(name));
            let text = format!("{0} = {0}\nsql = {1}\n# {2}\n", toml_text(name), toml_sql(&sql), one_line(name));
            let table: toml::Table = toml::from_str(&text).unwrap();
            assert_eq!(table[name].as_str(), Some(name));
            assert_eq!(table["sql"].as_str().map(str::trim_end), Some(sql.as_str()));
        }
    }
}
