//! A recipe is data, not a program: its SQL is one SELECT over its own sources, of a size that can be planned.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, GroupByExpr, ObjectName, Query, SelectItem, SetExpr, Statement, TableFactor, Visit, Visitor,
    visit_expressions_mut,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::{Parser, ParserError, ParserOptions};

use crate::recipe::nearest;

/// Bytes of a SELECT at most.
const LONGEST: usize = 256 << 10;
/// Expressions within expressions, and SELECTs one after the other in a UNION, at most.
const DEEPEST: usize = 256;
/// Stack for what is read and planned: what is nested deeply is walked deeply.
const STACK: usize = 512 << 20;

/// Runs a part of planning on a stack of its own.
pub(crate) fn with_room<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run);
        match thread.expect("address space for one more stack").join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Refuses everything but one SELECT over `sources`.
///
/// # Errors
/// What it is, in words.
pub(crate) fn check(sql: &str, sources: &[&str]) -> Result<(), String> {
    if sql.len() > LONGEST {
        return Err(format!(
            "the SELECT has {} bytes, {LONGEST} at most: prepare the table in another program first",
            sql.len()
        ));
    }
    with_room(|| check_here(sql, sources))
}

/// The statements of a text, as Polars reads them.
fn parsed(sql: &str) -> Result<Vec<Statement>, ParserError> {
    let options = ParserOptions { trailing_commas: true, ..ParserOptions::default() }; // those of Polars
    Parser::new(&GenericDialect {}).with_options(options).try_with_sql(sql)?.parse_statements()
}

/// The one query that a text is; `None` of anything else.
pub(crate) fn query(sql: &str) -> Option<Query> {
    match <[Statement; 1]>::try_from(parsed(sql).ok()?) {
        Ok([Statement::Query(query)]) => Some(*query),
        _ => None,
    }
}

fn check_here(sql: &str, sources: &[&str]) -> Result<(), String> {
    let statements = parsed(sql).map_err(|error| error.to_string())?;
    let [statement] = statements.as_slice() else {
        return Err(format!("{} statements, expected one SELECT", statements.len()));
    };
    let Statement::Query(query) = statement else {
        let words: Vec<&str> = sql.split_whitespace().take(2).collect();
        return Err(format!("\"{} ...\" is no SELECT, and a recipe holds nothing else", words.join(" ")));
    };
    let mut found = Found { sources, named: BTreeSet::new(), depth: 0 };
    names_within(query, &mut found.named);
    match query.visit(&mut found) {
        ControlFlow::Break(what) => Err(what),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// The names that WITH gives, in all queries within.
fn names_within(query: &Query, named: &mut BTreeSet<String>) {
    struct Names<'n>(&'n mut BTreeSet<String>);
    impl Visitor for Names<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            let tables = query.with.iter().flat_map(|with| &with.cte_tables);
            self.0.extend(tables.map(|table| table.alias.name.value.to_lowercase()));
            ControlFlow::Continue(())
        }
    }
    let _ = query.visit(&mut Names(named));
}

/// How a SELECT computes a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Computed {
    /// Its expression.
    pub(crate) sql: String,
    /// The one source whose row it is computed of; `None` where it takes other rows or tables.
    pub(crate) from: Option<String>,
    /// The columns of that row that it reads.
    pub(crate) reads: BTreeSet<String>,
}

impl Default for Computed {
    fn default() -> Self {
        Self { sql: "computed within the SELECT".into(), from: None, reads: BTreeSet::new() }
    }
}

/// The expressions of a SELECT, by the columns that they yield.
pub(crate) fn computed(sql: &str, sources: &[&str]) -> BTreeMap<String, Computed> {
    let Some(mut query) = query(sql) else { return BTreeMap::new() };
    let mut named = BTreeSet::new();
    names_within(&query, &mut named);
    let SetExpr::Select(select) = query.body.as_mut() else { return BTreeMap::new() };
    let table = match select.from.as_slice() {
        [from] if from.joins.is_empty() => table_name(&from.relation),
        _ => None,
    };
    let is_source = |name: &str| {
        sources.iter().any(|source| source.eq_ignore_ascii_case(name)) && !named.contains(&name.to_lowercase())
    };
    let table = table.filter(|(name, _)| is_source(name));
    let is_ungrouped = matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    let mut found = BTreeMap::new();
    for item in &mut select.projection {
        let (expr, alias) = match item {
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias.value.clone())),
            SelectItem::UnnamedExpr(expr) => (expr, None),
            _ => continue,
        };
        let (mut reads, mut first, mut is_of_row) = (BTreeSet::new(), None, is_ungrouped);
        let _ = visit_expressions_mut(expr, |expr| {
            if let Expr::CompoundIdentifier(parts) = expr {
                match (parts.as_slice(), &table) {
                    ([of, column], Some((_, alias))) if of.value.eq_ignore_ascii_case(alias) => {
                        *expr = Expr::Identifier(column.clone());
                    }
                    _ => is_of_row = false,
                }
            }
            match expr {
                Expr::Identifier(column) => {
                    first.get_or_insert(column.value.clone());
                    reads.insert(column.value.clone());
                }
                Expr::Function(function) => {
                    is_of_row &= function.over.is_none() && !is_aggregate(&function.name.to_string());
                }
                Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => is_of_row = false,
                _ => {}
            }
            ControlFlow::<()>::Continue(())
        });
        let Some(name) = alias.or(first) else { continue };
        let from = table.as_ref().filter(|_| is_of_row).map(|(name, _)| name.clone());
        found.insert(name, Computed { sql: expr.to_string(), from, reads });
    }
    found
}

/// Whether a function takes the values of many rows.
pub(crate) fn is_aggregate(name: &str) -> bool {
    let names = [
        "avg",
        "count",
        "sum",
        "min",
        "max",
        "median",
        "stddev",
        "stdev",
        "stddev_samp",
        "stdev_samp",
        "total",
        "variance",
        "var",
        "var_samp",
        "first",
        "last",
        "quantile_cont",
        "quantile_disc",
        "corr",
        "covar",
        "covar_pop",
        "covar_samp",
        "array_agg",
        "string_agg",
        "row_number",
        "rank",
        "dense_rank",
        "lag",
        "lead",
        "first_value",
        "last_value",
    ];
    names.iter().any(|aggregate| aggregate.eq_ignore_ascii_case(name))
}

/// A name without the quotes round it.
pub(crate) fn plain(name: &str) -> String {
    name.trim_matches(['"', '`']).to_string()
}

/// Name and alias of a table; `None` for a SELECT in its place.
pub(crate) fn table_name(table: &TableFactor) -> Option<(String, String)> {
    let TableFactor::Table { name, alias, .. } = table else { return None };
    let name = plain(&name.to_string());
    let alias = alias.as_ref().map_or(name.clone(), |alias| alias.name.value.clone());
    Some((name, alias))
}

struct Found<'s> {
    sources: &'s [&'s str],
    named: BTreeSet<String>,
    depth: usize,
}

impl Visitor for Found<'_> {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        let (mut body, mut parts) = (query.body.as_ref(), 1);
        while let SetExpr::SetOperation { left, .. } = body {
            (body, parts) = (left, parts + 1);
        }
        match parts > DEEPEST {
            true => ControlFlow::Break(format!(
                "{parts} SELECTs in a UNION, {DEEPEST} at most: `files = [\"...\", ...]` of a source reads many files as one table"
            )),
            false => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<String> {
        match table {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => {
                ControlFlow::Break(format!(
                    "{name}(...) reads something that the recipe does not list: name files in a [[source]], and the source in the SELECT"
                ))
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<String> {
        let name = relation.to_string();
        let name = name.trim_matches(['"', '`']);
        let is_known = |known: &str| known.eq_ignore_ascii_case(name);
        if self.sources.iter().any(|source| is_known(source)) || self.named.contains(&name.to_lowercase()) {
            return ControlFlow::Continue(());
        }
        let near = nearest(name, self.sources.iter().copied());
        let near = near.map_or(".".to_string(), |near| format!("; did you mean \"{near}\"?"));
        let sources = self.sources.join(", ");
        ControlFlow::Break(format!("there is no source \"{name}\"{near} The sources are: {sources}"))
    }

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<String> {
        self.depth += 1;
        match self.depth > DEEPEST {
            true => ControlFlow::Break(format!(
                "expressions nested more than {DEEPEST} deep: split it into several, or prepare the column in another program"
            )),
            false => ControlFlow::Continue(()),
        }
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<String> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(sql: &str) -> String {
        check(sql, &["log", "users"]).expect_err("refused")
    }

    #[test]
    fn one_select_over_the_sources_is_let_through() {
        for sql in [
            "SELECT * FROM log",
            "SELECT l.a FROM log AS l JOIN \"users\" u ON l.id = u.id WHERE l.a IN (SELECT a FROM log)",
            "WITH day AS (SELECT a FROM log) SELECT * FROM day UNION ALL SELECT a FROM users",
            "SELECT COALESCE(a, LOWER(b)) FROM (SELECT a, b FROM log) sub",
        ] {
            assert_eq!(check(sql, &["log", "users"]), Ok(()), "{sql}");
        }
    }

    #[test]
    fn an_expression_is_of_a_row_where_it_reads_nothing_else() {
        let of = |sql: &str, name: &str| {
            let found = computed(sql, &["log", "users"]);
            found
                .get(name)
                .map(|c| (c.sql.clone(), c.from.clone(), c.reads.iter().cloned().collect::<Vec<_>>().join(",")))
        };
        let log = || Some("log".to_string());
        let sql = "SELECT LOWER(l.city) AS city, item_id AS id, UPPER(town), AVG(a) OVER () AS mean, m.city AS other FROM log l";
        assert_eq!(of(sql, "city"), Some(("LOWER(city)".into(), log(), "city".into())));
        assert_eq!(of(sql, "id"), Some(("item_id".into(), log(), "item_id".into())));
        assert_eq!(of(sql, "town"), Some(("UPPER(town)".into(), log(), "town".into())));
        assert_eq!(of(sql, "mean").unwrap().1, None);
        assert_eq!(of(sql, "other").unwrap().1, None, "a field of a struct is no column");
        assert_eq!(of("SELECT l.b + u.c AS d FROM log l JOIN users u ON l.id = u.id", "d").unwrap().1, None);
        assert_eq!(of("WITH t AS (SELECT * FROM log) SELECT a || 'x' AS d FROM t", "d").unwrap().1, None);
    }

    #[test]
    fn everything_else_is_refused_by_what_it_is() {
        assert!(refusal("SELECT * FROM read_csv('/etc/passwd')").contains("read_csv(...) reads something"));
        assert!(refusal("SELECT * FROM log JOIN read_parquet('x') r ON true").contains("read_parquet"));
        assert!(refusal("DROP TABLE log").contains("\"DROP TABLE ...\" is no SELECT"));
        assert!(refusal("SELECT 1; SELECT 2").contains("2 statements"));
        assert!(refusal("SELECT * FROM lug").contains("no source \"lug\"; did you mean \"log\"?"));
    }

    #[test]
    fn what_is_too_deep_to_be_planned_is_refused_before_it_is_planned() {
        let terms = vec!["1"; 20_000].join("+");
        assert!(refusal(&format!("SELECT a+{terms} FROM log")).contains("nested more than"));
        let unions = vec!["SELECT a FROM log"; 3_000].join(" UNION ALL ");
        assert!(refusal(&unions).contains("3000 SELECTs in a UNION"));
        assert!(refusal(&format!("SELECT {} FROM log", "a,".repeat(200_000))).contains("bytes"));
    }
}
