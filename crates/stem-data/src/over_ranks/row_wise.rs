//! Whether the rows of a SELECT can be made by several ranks, each of its own files of a source: where each is made of one row of that source,
//! and of other tables, which every rank reads whole.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, GroupByExpr, JoinOperator, ObjectName, OrderByKind, Query, Select, SetExpr, TableFactor, Visit, Visitor,
};

use crate::error::{Error, Fault, Result};
use crate::joins::trunks;
use crate::recipe::Recipe;
use crate::sql::{is_aggregate, plain, query, table_name, with_room};

/// The place of the source whose files are shared out.
///
/// # Errors
/// [`Error::Recipe`] with what of the SELECT looks at more than a row.
pub(super) fn shared_source(recipe: &Recipe) -> Result<usize> {
    let Some(sql) = &recipe.sql else { return Ok(0) };
    let refused = |what: String| {
        let what = format!(
            "several processes cannot share out the rows of this SELECT: {what}; start `stem prepare` alone, or prepare the table in another program first"
        );
        Error::Recipe { path: recipe.path.clone(), faults: vec![Fault { line: recipe.lines.sql, what }] }
    };
    let trunks = trunks(sql);
    let [trunk] = trunks.as_slice() else {
        return Err(refused("its rows are not those of one source with what is joined to them".into()));
    };
    let is_source = |name: &str| recipe.sources.iter().position(|source| source.name.eq_ignore_ascii_case(name));
    let Some(source) = is_source(&trunk.from) else {
        return Err(refused(format!("its rows begin in {}, which is no source", trunk.from)));
    };
    with_room(|| looks_further(sql, &trunk.from)).map_or(Ok(source), |what| Err(refused(what)))
}

/// What of a SELECT looks at more than one row of a source, in words.
fn looks_further(sql: &str, source: &str) -> Option<String> {
    let query = query(sql)?;
    let mut made_of = BTreeSet::from([source.to_lowercase()]);
    loop {
        let before = made_of.len();
        let _ = query.visit(&mut Names(&mut made_of));
        if made_of.len() == before {
            break;
        }
    }
    let mut found = Further { made_of: &made_of, seen: BTreeSet::new() };
    match query.visit(&mut found) {
        ControlFlow::Break(what) => Some(what),
        ControlFlow::Continue(()) => None,
    }
}

/// Whether something names one of these tables.
fn names_one<T: Visit>(tree: &T, tables: &BTreeSet<String>) -> bool {
    struct Named<'t>(&'t BTreeSet<String>);
    impl Visitor for Named<'_> {
        type Break = ();
        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
            match self.0.contains(&plain(&relation.to_string()).to_lowercase()) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
    }
    tree.visit(&mut Named(tables)).is_break()
}

/// Adds what WITH names and is made of one of the tables.
struct Names<'n>(&'n mut BTreeSet<String>);

impl Visitor for Names<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            if names_one(&*table.query, self.0) {
                self.0.insert(table.alias.name.value.to_lowercase());
            }
        }
        ControlFlow::Continue(())
    }
}

/// Looks at every query that is made of the tables.
struct Further<'t> {
    made_of: &'t BTreeSet<String>,
    seen: BTreeSet<String>,
}

impl Visitor for Further<'_> {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        if !names_one(query, self.made_of) {
            return ControlFlow::Continue(());
        }
        let is_ordered = query.order_by.as_ref().is_some_and(|order| match &order.kind {
            OrderByKind::Expressions(by) => !by.is_empty(),
            OrderByKind::All(_) => true,
        });
        let what = match () {
            () if is_ordered => Some("ORDER BY"),
            () if query.limit_clause.is_some() || query.fetch.is_some() => Some("LIMIT"),
            () => match query.body.as_ref() {
                SetExpr::Select(select) => of_select(select),
                SetExpr::Query(_) => None,
                _ => Some("UNION"),
            },
        };
        match what {
            Some(what) => ControlFlow::Break(format!("{what} looks at more than one of them")),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<String> {
        let name = plain(&relation.to_string()).to_lowercase();
        match self.made_of.contains(&name) && !self.seen.insert(name.clone()) {
            true => ControlFlow::Break(format!("it reads \"{name}\" more than once")),
            false => ControlFlow::Continue(()),
        }
    }
}

/// What of a SELECT takes more than a row of its first table.
fn of_select(select: &Select) -> Option<&'static str> {
    let is_grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    let is_of_row = |join: &JoinOperator| {
        use JoinOperator::*;
        matches!(join, Join(_) | Inner(_) | Left(_) | LeftOuter(_) | Semi(_) | LeftSemi(_) | Anti(_) | LeftAnti(_))
    };
    let is_plain = |table: &TableFactor| table_name(table).is_some() || matches!(table, TableFactor::Derived { .. });
    match select {
        _ if is_grouped || select.having.is_some() => Some("GROUP BY"),
        Select { distinct: Some(_), .. } => Some("DISTINCT"),
        Select { qualify: Some(_), .. } => Some("QUALIFY"),
        Select { top: Some(_), .. } => Some("TOP"),
        _ if select.from.len() != 1 => Some("a list of tables in FROM"),
        _ if !select.from.iter().all(|from| is_plain(&from.relation)) => Some("what stands in FROM"),
        _ if !select.from[0].joins.iter().all(|join| is_of_row(&join.join_operator)) => {
            Some("a join that is neither INNER nor LEFT")
        }
        _ => takes_many(select),
    }
}

/// An expression of a SELECT, not of those within, that takes many rows.
fn takes_many(select: &Select) -> Option<&'static str> {
    struct Many(usize);
    impl Visitor for Many {
        type Break = &'static str;
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<&'static str> {
            self.0 += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<&'static str> {
            self.0 -= 1;
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<&'static str> {
            match expr {
                Expr::Function(function) if self.0 == 0 && function.over.is_some() => ControlFlow::Break("OVER"),
                Expr::Function(function) if self.0 == 0 && is_aggregate(&function.name.to_string()) => {
                    ControlFlow::Break("a sum, mean, count or the like")
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    match select.visit(&mut Many(0)) {
        ControlFlow::Break(what) => Some(what),
        ControlFlow::Continue(()) => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shared(sql: &str) -> Result<usize, String> {
        let text = format!(
            "name = \"r\"\nsql = \"\"\"{sql}\"\"\"\nsource = [{{ name = \"users\", file = \"u.csv\" }}, {{ name = \"log\", file = \"l.csv\" }}]\nlabel = [{{ column = \"click\" }}]\nsplit = {{ kind = \"random\" }}\nfield = [{{ column = \"user\", kind = \"category\" }}]\n"
        );
        shared_source(&Recipe::parse(&text, "recipe.toml").unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn rows_that_are_each_made_of_one_row_are_shared_out() {
        for sql in [
            "SELECT * FROM log",
            "SELECT a, LOWER(b) AS c FROM log AS l WHERE a > 1",
            "SELECT l.a, u.age FROM log l LEFT JOIN users u ON l.id = u.id",
            "SELECT l.a FROM log l JOIN (SELECT id, COUNT(*) AS n FROM users GROUP BY id ORDER BY n LIMIT 5) u ON l.id = u.id",
            "WITH t AS (SELECT * FROM log WHERE a > 0), m AS (SELECT AVG(age) AS age, id FROM users GROUP BY id) SELECT t.a, m.age FROM t LEFT JOIN m ON t.id = m.id",
            "SELECT a FROM (SELECT a FROM log) AS sub WHERE a IN (SELECT MAX(a) FROM users)",
        ] {
            assert_eq!(shared(sql), Ok(1), "{sql}");
        }
    }

    #[test]
    fn what_looks_at_more_than_one_row_is_named() {
        for (sql, what) in [
            ("SELECT a FROM log ORDER BY a", "ORDER BY"),
            ("SELECT a FROM log LIMIT 5", "LIMIT"),
            ("SELECT DISTINCT a FROM log", "DISTINCT"),
            ("SELECT a, AVG(a) OVER () AS m FROM log", "OVER"),
            ("SELECT MAX(a) AS a FROM log", "a sum, mean"),
            ("WITH t AS (SELECT a, COUNT(*) OVER (PARTITION BY a) AS n FROM log) SELECT * FROM t", "OVER"),
            ("SELECT a FROM log WHERE a IN (SELECT a FROM log)", "reads \"log\" more than once"),
            (
                "WITH n AS (SELECT id, COUNT(*) AS n FROM log GROUP BY id) SELECT u.a, n.n FROM users u LEFT JOIN n ON u.id = n.id",
                "",
            ),
            ("SELECT a FROM log UNION ALL SELECT a FROM users", "not those of one source"),
            ("SELECT a, COUNT(*) AS n FROM log GROUP BY a", "not those of one source"),
            ("SELECT l.a FROM log l FULL JOIN users u ON l.id = u.id", "neither INNER nor LEFT"),
            ("SELECT l.a FROM log l, users u WHERE l.id = u.id", "a list of tables"),
        ] {
            match (shared(sql), what) {
                (Ok(source), "") => {
                    assert_eq!(source, 0, "{sql}: the users' files, of which each rank has the whole log")
                }
                (found, what) => {
                    let found = found.unwrap_err();
                    assert!(found.contains(what) && found.contains("start `stem prepare` alone"), "{sql}: {found}");
                }
            }
        }
    }
}
