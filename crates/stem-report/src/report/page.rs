//! A page around its parts.

use super::data::Report;
use super::markup::Markup;
use super::sections::{Context, Section, all};

const STYLE: &str = include_str!("style.css");

/// The whole page: `<!doctype html>` to `</html>`. Any data gives a page, also none.
pub fn render(report: &Report) -> String {
    let sections = all(&Context::new(report));
    let title = if report.title.trim().is_empty() { "Report" } else { &report.title };
    whole(title, sections, "Nothing was measured.")
}

/// A page of these parts, or of `none` where there are none.
pub(super) fn whole(title: &str, sections: Vec<Section>, none: &str) -> String {
    let mut page = Markup::new();
    page.fixed("<!doctype html>\n");
    page.node("html", &[("lang", &"en")], |m| {
        m.node("head", &[], |m| head(m, title));
        m.node("body", &[], |m| {
            m.node("header", &[], |m| {
                m.leaf("h1", &[], title);
                contents(m, &sections);
            });
            m.node("main", &[], |m| {
                if sections.is_empty() {
                    m.leaf("p", &[], none);
                }
                sections.into_iter().for_each(|section| draw(m, section));
            });
        });
    });
    page.fixed("\n");
    page.into_string()
}

fn head(m: &mut Markup, title: &str) {
    m.single("meta", &[("charset", &"utf-8")]);
    m.single("meta", &[("name", &"viewport"), ("content", &"width=device-width, initial-scale=1")]);
    m.single("meta", &[("name", &"color-scheme"), ("content", &"light dark")]);
    // An icon that is nothing, so that a browser looks for none.
    m.single("link", &[("rel", &"icon"), ("href", &"data:,")]);
    m.leaf("title", &[], title);
    m.node("style", &[], |m| m.fixed(STYLE));
}

/// Links to the parts, if there are some.
fn contents(m: &mut Markup, sections: &[Section]) {
    if sections.len() < 3 {
        return;
    }
    m.node("nav", &[("aria-label", &"Contents")], |m| {
        m.node("ul", &[], |m| {
            for section in sections {
                m.node("li", &[], |m| m.leaf("a", &[("href", &format_args!("#{}", section.id))], section.heading));
            }
        });
    });
}

fn draw(m: &mut Markup, section: Section) {
    let heading = format!("{}-heading", section.id);
    m.fixed("\n");
    m.node("section", &[("id", &section.id), ("aria-labelledby", &heading)], |m| {
        m.leaf("h2", &[("id", &heading)], section.heading);
        m.add(section.body);
    });
}
