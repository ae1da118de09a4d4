//! A SELECT that also gives the row of a source that each of its rows is made of.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, GroupByExpr, Ident, JoinOperator, ObjectName, Query, Select, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, SetOperator, SetQuantifier, TableFactor, visit_expressions,
};

use crate::sql::{is_aggregate, plain, query};

/// The column that numbers the rows of the source.
pub(crate) const MARK: &str = "row of its source";

/// The SELECT, which gives [`MARK`] too, of the source that has it as a column; `None` where its rows are not those of the source, or
/// would be others with one more column.
pub(crate) fn marked(sql: &str, source: &str) -> Option<String> {
    let mut query = query(sql)?;
    let mut marks = Marks { tables: BTreeSet::from([source.to_lowercase()]), changes_rows: false };
    let is_marked = mark(&mut query, &mut marks) && !marks.changes_rows;
    is_marked.then(|| query.to_string())
}

/// Who has the mark.
struct Marks {
    tables: BTreeSet<String>,
    /// Whether it comes by `*` to where one more column makes other rows: DISTINCT and the like.
    changes_rows: bool,
}

/// Lets a query pass the mark on; gives whether it does. What it cannot be passed through stays as it is.
fn mark(query: &mut Query, marks: &mut Marks) -> bool {
    let outside = marks.tables.clone();
    for cte in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
        let name = cte.alias.name.value.to_lowercase();
        match cte.alias.columns.is_empty() && mark(&mut cte.query, marks) {
            true => marks.tables.insert(name),
            false => marks.tables.remove(&name),
        };
    }
    let is_marked = mark_body(&mut query.body, marks);
    marks.tables = outside;
    is_marked
}

fn mark_body(body: &mut SetExpr, marks: &mut Marks) -> bool {
    match body {
        SetExpr::Query(query) => mark(query, marks),
        SetExpr::Select(select) if makes_rows(select) => {
            let mut plain =
                Select { distinct: None, group_by: GroupByExpr::Expressions(vec![], vec![]), ..*select.clone() };
            marks.changes_rows |= matches!(passed(&mut plain, marks), Passed::Already);
            false
        }
        SetExpr::Select(select) => match passed(select, marks) {
            Passed::Already => true,
            Passed::By(item) => {
                select.projection.push(*item);
                true
            }
            Passed::Not => false,
        },
        SetExpr::SetOperation { op: SetOperator::Union, set_quantifier: SetQuantifier::All, left, right } => {
            let before = (left.clone(), right.clone());
            match (mark_body(left, marks), mark_body(right, marks)) {
                (true, true) => true,
                (false, false) => false,
                (true, false) if without_mark(right) => true,
                (false, true) if without_mark(left) => true,
                _ => {
                    (*left, *right) = before;
                    false
                }
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            for side in [left, right] {
                let mut same = side.clone();
                marks.changes_rows |= mark_body(&mut same, marks) && same == *side;
            }
            false
        }
        _ => false,
    }
}

/// Whether a SELECT gives rows of its own in place of those that it reads.
fn makes_rows(select: &Select) -> bool {
    let is_grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    is_grouped || select.distinct.is_some() || has_aggregates(select)
}

/// Gives the SELECTs of a part a mark that is null.
fn without_mark(body: &mut SetExpr) -> bool {
    match body {
        SetExpr::Select(select) if !matches!(select.projection.as_slice(), [SelectItem::Wildcard(_)]) => {
            let null = Expr::Identifier(Ident::new("CAST(NULL AS BIGINT)"));
            select.projection.push(SelectItem::ExprWithAlias { expr: null, alias: quoted_mark() });
            true
        }
        SetExpr::SetOperation { left, right, .. } => without_mark(left) && without_mark(right),
        _ => false,
    }
}

/// How a SELECT passes the mark on.
enum Passed {
    /// It takes all columns.
    Already,
    /// By one more column.
    By(Box<SelectItem>),
    /// None of its tables has a mark.
    Not,
}

fn passed(select: &mut Select, marks: &mut Marks) -> Passed {
    for table in &mut select.from {
        let joined = table.joins.iter_mut().filter(|join| {
            !matches!(
                join.join_operator,
                JoinOperator::Semi(_) | JoinOperator::LeftSemi(_) | JoinOperator::Anti(_) | JoinOperator::LeftAnti(_)
            )
        });
        for relation in std::iter::once(&mut table.relation).chain(joined.map(|join| &mut join.relation)) {
            let (has_mark, alias) = match relation {
                TableFactor::Table { name, alias, .. } => {
                    let alias = alias.as_ref().map_or_else(|| last_of(name), |alias| Some(alias.name.clone()));
                    (marks.tables.contains(&plain(&name.to_string()).to_lowercase()), alias)
                }
                TableFactor::Derived { subquery, alias, .. } => {
                    let alias = alias.as_ref().filter(|alias| alias.columns.is_empty()).map(|alias| alias.name.clone());
                    (mark(subquery, marks), alias)
                }
                _ => (false, None),
            };
            if !has_mark {
                continue;
            }
            let takes_all = |item: &SelectItem| match item {
                SelectItem::Wildcard(_) => true,
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(of), _) => {
                    last_of(of).map(|of| of.value) == alias.as_ref().map(|alias| alias.value.clone())
                }
                _ => false,
            };
            if select.projection.iter().any(takes_all) {
                return Passed::Already;
            }
            let expr = match alias {
                Some(alias) => Expr::CompoundIdentifier(vec![alias, quoted_mark()]),
                None => Expr::Identifier(quoted_mark()),
            };
            return Passed::By(Box::new(SelectItem::ExprWithAlias { expr, alias: quoted_mark() }));
        }
    }
    Passed::Not
}

fn quoted_mark() -> Ident {
    Ident::with_quote('"', MARK)
}

fn last_of(name: &ObjectName) -> Option<Ident> {
    name.0.last().and_then(|part| part.as_ident().cloned())
}

/// Whether a SELECT makes one row of all without saying GROUP BY.
fn has_aggregates(select: &Select) -> bool {
    let found = visit_expressions(&select.projection, |expr| match expr {
        Expr::Function(function) if function.over.is_none() && is_aggregate(&function.name.to_string()) => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_passed_on_wherever_the_rows_are_those_of_the_source() {
        let of = |sql: &str| marked(sql, "log").map(|sql| sql.replace(&format!("\"{MARK}\""), "#"));
        for (sql, expected) in [
            ("SELECT a FROM log", "SELECT a, log.# AS # FROM log"),
            ("SELECT * FROM log WHERE a > 1", "SELECT * FROM log WHERE a > 1"),
            (
                "SELECT l.*, u.age FROM log l JOIN users u ON l.id = u.id",
                "SELECT l.*, u.age FROM log l JOIN users u ON l.id = u.id",
            ),
            (
                "SELECT u.*, l.a FROM users u JOIN log l ON l.id = u.id",
                "SELECT u.*, l.a, l.# AS # FROM users u JOIN log l ON l.id = u.id",
            ),
            (
                "WITH d AS (SELECT a FROM log) SELECT a FROM d ORDER BY a",
                "WITH d AS (SELECT a, log.# AS # FROM log) SELECT a, d.# AS # FROM d ORDER BY a",
            ),
            (
                "SELECT x.a FROM (SELECT a FROM \"log\") AS x",
                "SELECT x.a, x.# AS # FROM (SELECT a, \"log\".# AS # FROM \"log\") AS x",
            ),
            (
                "SELECT a FROM log UNION ALL SELECT a FROM old",
                "SELECT a, log.# AS # FROM log UNION ALL SELECT a, CAST(NULL AS BIGINT) AS # FROM old",
            ),
        ] {
            assert_eq!(of(sql).as_deref(), Some(expected));
        }
        for others in [
            "SELECT DISTINCT a FROM log",
            "SELECT a, COUNT(*) AS n FROM log GROUP BY a",
            "SELECT MAX(a) FROM log",
            "SELECT a FROM users",
            "SELECT * FROM log UNION ALL SELECT * FROM old",
            "WITH d AS (SELECT DISTINCT * FROM log) SELECT o.a FROM log o JOIN d ON o.a = d.a",
            "WITH d AS (SELECT * FROM log UNION SELECT * FROM old) SELECT o.a FROM log o JOIN d ON o.a = d.a",
        ] {
            assert_eq!(of(others), None, "{others}");
        }
        assert_eq!(
            of("SELECT l.a, m.n FROM log l JOIN (SELECT a, COUNT(*) AS n FROM log GROUP BY a) m ON l.a = m.a")
                .as_deref(),
            Some(
                "SELECT l.a, m.n, l.# AS # FROM log l JOIN (SELECT a, COUNT(*) AS n FROM log GROUP BY a) m ON l.a = m.a"
            ),
        );
    }
}
