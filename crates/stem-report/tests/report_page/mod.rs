//! What must hold for any page.
#![allow(dead_code)]

use stem_report::report::{Report, render};

/// Walks all tags; panics where one is not closed in order. Returns the number of elements.
pub fn check(page: &str) -> usize {
    let (mut open, mut elements, mut rest) = (Vec::new(), 0, page);
    while let Some(start) = rest.find('<') {
        rest = &rest[start..];
        let end = rest.find('>').unwrap_or_else(|| panic!("a tag that does not end: {}", &rest[..rest.len().min(80)]));
        let (tag, after) = (&rest[1..end], &rest[end + 1..]);
        rest = after;
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        assert_eq!(tag.matches('"').count() % 2, 0, "quotes in <{tag}>");
        if tag.starts_with('!') {
            continue;
        } else if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "closed by <{tag}>");
        } else if !tag.ends_with('/') {
            open.push(name);
            elements += 1;
        } else {
            elements += 1;
        }
        if name == "style" && !tag.starts_with('/') {
            rest = &rest[rest.find("</style>").expect("the style sheet ends")..];
        }
    }
    assert_eq!(open, Vec::<&str>::new(), "left open");
    elements
}

/// The page of a report, in which everything holds that must.
pub fn sound(report: &Report) -> String {
    sound_page(&render(report))
}

/// Everything that must hold for any page.
pub fn sound_page(page: &str) -> String {
    assert!(page.starts_with("<!doctype html>\n<html lang=\"en\">"));
    check(page);
    for word in ["<script", "<iframe", "http-equiv", "@import", "url(", " src=", " onload", "NaN", "inf\"", "Infinity"]
    {
        assert!(!page.contains(word), "{word}");
    }
    // The only address is the name of SVG, which is not fetched.
    assert_eq!(page.matches("http").count(), page.matches("http://www.w3.org/2000/svg").count());
    let ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(ids.iter().enumerate().all(|(i, id)| !ids[..i].contains(id)), "an id is there twice");
    for named in page.split("aria-labelledby=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(ids.contains(&named), "{named}");
    }
    for link in page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(ids.contains(&link), "{link}");
    }
    let levels: Vec<u32> =
        page.match_indices("<h").filter_map(|(at, _)| page[at + 2..].chars().next()?.to_digit(10)).collect();
    assert_eq!(levels.first(), Some(&1));
    assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{levels:?}");
    for (kind, marks, rows) in charts(page) {
        assert!(marks > 0, "{kind} has no marks");
        assert!(rows > 0, "{kind} has no table");
    }
    page.to_owned()
}

/// Kind, number of marks and rows of the table of every chart.
pub fn charts(page: &str) -> Vec<(String, usize, usize)> {
    let of = |figure: &str| {
        let figure = figure.split("</figure>").next().unwrap_or_default();
        let (svg, table) = figure.split_once("</svg>").expect("a figure has a chart");
        let kind =
            svg.split("data-chart=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a chart has a kind");
        let body = table.split("<tbody>").nth(1).expect("a chart has a table");
        assert!(svg.contains("role=\"img\"") && svg.contains("<title id=") && table.contains("<caption>"));
        (kind.to_owned(), svg.matches("class=\"mark ").count(), body.matches("<tr>").count())
    };
    page.split("<figure>").skip(1).map(of).collect()
}

/// The part of a page with this id.
pub fn part<'a>(page: &'a str, id: &str) -> &'a str {
    let after = page.split(&format!("<section id=\"{id}\"")).nth(1).unwrap_or_else(|| panic!("no part {id}"));
    after.split("</section>").next().unwrap_or_default()
}
