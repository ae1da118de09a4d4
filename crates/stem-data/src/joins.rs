//! What is joined to the rows of a table on their way through a SELECT, its subqueries and what WITH names.

use sqlparser::ast::{
    BinaryOperator, Cte, Expr, GroupByExpr, Join, JoinConstraint, JoinOperator, Query, Select, SetExpr, SetOperator,
    SetQuantifier, TableFactor,
};

use crate::scan::quoted;
use crate::sql::{plain, query, table_name, with_room};

/// The way of the rows of one table from there to the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trunk {
    /// The table that they begin in: a source, or a subquery that makes rows of its own (with GROUP BY).
    pub(crate) from: String,
    /// Whether something besides joins leaves rows out on the way: WHERE, LIMIT, DISTINCT.
    pub(crate) filtered: bool,
    /// Whether equal rows become one on the way.
    pub(crate) distinct: bool,
    /// What is joined to them.
    pub(crate) joins: Vec<Joined>,
    /// For each SELECT on the way that both filters and joins: the SELECTs that count its rows before and after its joins.
    pub(crate) counts: Vec<[String; 2]>,
}

/// A table that is joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joined {
    /// Its name.
    pub(crate) table: String,
    /// The columns of it that must be unique, so that no row is multiplied.
    pub(crate) keys: Vec<String>,
    /// Whether rows that find no partner in it stay.
    pub(crate) keeps: bool,
    /// The SELECT of how many rows each key has, as [`ROWS`]. `None` where the keys are unique by themselves.
    pub(crate) rows_of_keys: Option<String>,
}

/// The column of a number of rows.
pub(crate) const ROWS: &str = "rows of one key";

/// The ways that rows take through a SELECT: one, or of a UNION ALL those of its parts. None where it is not seen.
pub(crate) fn trunks(sql: &str) -> Vec<Trunk> {
    let found = with_room(|| {
        let mut trunks = Vec::new();
        follow(&query(sql)?, &Scope(Vec::new()), &mut trunks).then_some(trunks)
    });
    found.unwrap_or_default()
}

/// What WITH names, outermost first.
#[derive(Clone)]
struct Scope<'q>(Vec<&'q Cte>);

impl<'q> Scope<'q> {
    fn within(&self, query: &'q Query) -> Self {
        let more = query.with.iter().flat_map(|with| &with.cte_tables);
        Self(self.0.iter().copied().chain(more).collect())
    }

    /// The query of that name, and what it sees itself.
    fn get(&self, name: &str) -> Option<(&'q Query, Self)> {
        let place = self.0.iter().rposition(|cte| cte.alias.name.value.eq_ignore_ascii_case(name))?;
        Some((&*self.0[place].query, Self(self.0[..place].to_vec())))
    }

    /// A SELECT that sees the same.
    fn select(&self, select: &str) -> String {
        let named: Vec<String> = self.0.iter().map(|cte| cte.to_string()).collect();
        if named.is_empty() { select.into() } else { format!("WITH {} {select}", named.join(", ")) }
    }
}

/// Adds the ways of the rows that a query gives; `false` where they are not seen.
fn follow<'q>(query: &'q Query, scope: &Scope<'q>, trunks: &mut Vec<Trunk>) -> bool {
    let scope = scope.within(query);
    let before = trunks.len();
    let is_seen = follow_body(&query.body, &scope, trunks);
    if query.limit_clause.is_some() || query.fetch.is_some() {
        trunks[before..].iter_mut().for_each(|trunk| trunk.filtered = true);
    }
    is_seen
}

fn follow_body<'q>(body: &'q SetExpr, scope: &Scope<'q>, trunks: &mut Vec<Trunk>) -> bool {
    match body {
        SetExpr::Query(query) => follow(query, scope, trunks),
        SetExpr::SetOperation { op: SetOperator::Union, set_quantifier, left, right } => {
            let before = trunks.len();
            let is_seen = follow_body(left, scope, trunks) && follow_body(right, scope, trunks);
            if !matches!(set_quantifier, SetQuantifier::All | SetQuantifier::AllByName) {
                trunks[before..].iter_mut().for_each(|trunk| (trunk.filtered, trunk.distinct) = (true, true));
            }
            is_seen
        }
        SetExpr::Select(select) => match makes_rows(select) {
            true => false,
            false => follow_select(select, scope, trunks),
        },
        _ => false,
    }
}

/// Whether a SELECT gives rows of its own in place of those that it reads.
fn makes_rows(select: &Select) -> bool {
    !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty()) || select.having.is_some()
}

fn follow_select<'q>(select: &'q Select, scope: &Scope<'q>, trunks: &mut Vec<Trunk>) -> bool {
    let Some((from, others)) = select.from.split_first() else { return false };
    let mut joins = Vec::new();
    for join in &from.joins {
        match joined(join, scope) {
            Some(Found::Joined(join)) => joins.push(join),
            Some(Found::Filter) => {}
            None => return false,
        }
    }
    for other in others {
        let Some((table, alias)) = name_of(&other.relation) else { return false };
        let mut keys = Vec::new();
        select.selection.iter().for_each(|on| equal_columns(on, &alias, &mut keys));
        joins.push(Joined { rows_of_keys: rows_of_keys(&other.relation, &keys, scope), table, keys, keeps: false });
    }
    let before = trunks.len();
    let within = match &from.relation {
        TableFactor::Table { .. } => match table_name(&from.relation).and_then(|(name, _)| scope.get(&name)) {
            Some((query, scope)) => follow(query, &scope, trunks),
            None => false,
        },
        TableFactor::Derived { subquery, .. } => follow(subquery, scope, trunks),
        _ => return false,
    };
    if !within {
        trunks.truncate(before);
        let Some((from, _)) = name_of(&from.relation) else { return false };
        trunks.push(Trunk { from, filtered: false, distinct: false, joins: vec![], counts: vec![] });
    }
    let has_filter = select.selection.is_some() || select.qualify.is_some() || select.top.is_some();
    let semi = from.joins.len() + others.len() > joins.len();
    let drops = from.joins.iter().any(|join| matches!(joined(join, scope), Some(Found::Joined(join)) if !join.keeps));
    for trunk in &mut trunks[before..] {
        if drops && (has_filter || trunk.filtered) && others.is_empty() && !semi {
            let joins: String = from.joins.iter().map(|join| format!(" {join}")).collect();
            let count = |joins: &str| scope.select(&format!("SELECT COUNT(*) AS n FROM {}{joins}", from.relation));
            trunk.counts.push([count(""), count(&joins)]);
        }
        trunk.filtered |= has_filter || semi || select.distinct.is_some();
        trunk.distinct |= select.distinct.is_some();
        trunk.joins.extend(joins.iter().cloned());
    }
    true
}

/// What a JOIN does.
enum Found {
    /// It brings columns of another table.
    Joined(Joined),
    /// It chooses among the rows.
    Filter,
}

fn joined(join: &Join, scope: &Scope<'_>) -> Option<Found> {
    let (table, alias) = name_of(&join.relation)?;
    let constraint = match &join.join_operator {
        JoinOperator::Join(on)
        | JoinOperator::Inner(on)
        | JoinOperator::Left(on)
        | JoinOperator::LeftOuter(on)
        | JoinOperator::FullOuter(on)
        | JoinOperator::Right(on)
        | JoinOperator::RightOuter(on)
        | JoinOperator::CrossJoin(on) => on,
        JoinOperator::Semi(_) | JoinOperator::LeftSemi(_) | JoinOperator::Anti(_) | JoinOperator::LeftAnti(_) => {
            return Some(Found::Filter);
        }
        _ => return None,
    };
    let mut keys = Vec::new();
    match constraint {
        JoinConstraint::On(on) => equal_columns(on, &alias, &mut keys),
        JoinConstraint::Using(columns) => keys.extend(columns.iter().map(|column| plain(&column.to_string()))),
        JoinConstraint::Natural | JoinConstraint::None => {}
    }
    let keeps = matches!(join.join_operator, JoinOperator::Left(_) | JoinOperator::LeftOuter(_));
    let rows_of_keys = rows_of_keys(&join.relation, &keys, scope);
    Some(Found::Joined(Joined { table, keys, keeps, rows_of_keys }))
}

/// Name of a table and what columns of it are called by.
fn name_of(table: &TableFactor) -> Option<(String, String)> {
    match table {
        TableFactor::Derived { alias, .. } => {
            let name = alias.as_ref().map_or("a subquery".to_string(), |alias| alias.name.value.clone());
            Some((name.clone(), name))
        }
        table => table_name(table),
    }
}

fn rows_of_keys(table: &TableFactor, keys: &[String], scope: &Scope<'_>) -> Option<String> {
    let within = match table {
        TableFactor::Derived { subquery, .. } => Some(&**subquery),
        table => table_name(table).and_then(|(name, _)| scope.get(&name)).map(|(query, _)| query),
    };
    if keys.is_empty() || within.is_some_and(|query| is_grouped_by(query, keys)) {
        return None;
    }
    let names = keys.iter().map(|key| quoted(key)).collect::<Vec<_>>().join(", ");
    Some(scope.select(&format!("SELECT {names}, COUNT(*) AS {} FROM {table} GROUP BY {names}", quoted(ROWS))))
}

/// Whether a query gives one row for each value of these columns, or of some of them.
fn is_grouped_by(query: &Query, keys: &[String]) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    let GroupByExpr::Expressions(by, _) = &select.group_by else { return false };
    let is_key = |by: &Expr| match by {
        Expr::Identifier(column) => keys.contains(&column.value),
        Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|column| keys.contains(&column.value)),
        _ => false,
    };
    !by.is_empty() && by.iter().all(is_key)
}

/// The columns of `table` that a condition holds equal to others.
fn equal_columns(condition: &Expr, table: &str, keys: &mut Vec<String>) {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            equal_columns(left, table, keys);
            equal_columns(right, table, keys);
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            for side in [left, right] {
                if let Expr::CompoundIdentifier(parts) = side.as_ref()
                    && let [of, column] = parts.as_slice()
                    && of.value.eq_ignore_ascii_case(table)
                {
                    keys.push(column.value.clone());
                }
            }
        }
        Expr::Nested(inner) => equal_columns(inner, table, keys),
        _ => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Where rows begin, what is joined to them by which keys, whether rows without a partner stay, and whether something else drops rows.
    fn shown(sql: &str) -> Vec<String> {
        let of = |trunk: Trunk| {
            let joins = trunk.joins.iter().map(|join| {
                let kept = if join.keeps { "keeps" } else { "drops" };
                format!(" {} by {} {kept}", join.table, join.keys.join("+"))
            });
            format!("{}{}{}", trunk.from, joins.collect::<String>(), if trunk.filtered { " filtered" } else { "" })
        };
        trunks(sql).into_iter().map(of).collect()
    }

    #[test]
    fn the_tables_that_are_joined_and_their_keys_are_found() {
        let plain = "SELECT l.a, u.age FROM log l LEFT JOIN users AS u ON l.\"user\" = u.\"user\" AND u.day = l.day";
        assert_eq!(shown(plain), ["log users by user+day keeps"]);
        assert_eq!(shown(&format!("{plain} WHERE l.a > 1")), ["log users by user+day keeps filtered"]);
        assert_eq!(shown("SELECT a FROM log JOIN users USING (\"user\")"), ["log users by user drops"]);
        assert_eq!(shown("SELECT a FROM log l, users u WHERE l.id = u.id"), ["log users by id drops filtered"]);
        assert_eq!(shown("SELECT a FROM log"), ["log"]);
        assert!(shown("SELECT l.a FROM log l JOIN users u ON l.id = u.id GROUP BY l.a").is_empty());
    }

    #[test]
    fn joins_are_found_in_subqueries_and_in_what_with_names() {
        for sql in [
            "WITH j AS (SELECT l.*, u.age FROM log l JOIN users u ON l.id = u.id) SELECT * FROM j",
            "SELECT * FROM (SELECT l.*, u.age FROM log l JOIN users u ON l.id = u.id) AS x",
            "WITH a AS (SELECT * FROM log), b AS (SELECT a.*, u.age FROM a JOIN users u ON a.id = u.id) SELECT * FROM b",
            "WITH a AS (SELECT * FROM log) SELECT * FROM a JOIN users ON a.id = users.id",
        ] {
            assert_eq!(shown(sql), ["log users by id drops"], "{sql}");
        }
        let two = "SELECT x.*, i.price FROM (SELECT l.*, u.age FROM log l LEFT JOIN users u ON l.id = u.id WHERE l.a > 1) x JOIN items i ON x.item = i.item";
        assert_eq!(shown(two), ["log users by id keeps items by item drops filtered"]);
        let parts = "SELECT a FROM log JOIN users USING (id) UNION ALL SELECT a FROM old";
        assert_eq!(shown(parts), ["log users by id drops", "old"]);
        let own = "WITH s AS (SELECT \"user\", MAX(click) AS c FROM log GROUP BY \"user\") SELECT * FROM s JOIN users u ON s.\"user\" = u.\"user\"";
        assert_eq!(shown(own), ["s users by user drops"]);
    }

    #[test]
    fn keys_are_counted_where_they_are_not_unique_by_themselves() {
        let counted = |sql: &str| trunks(sql)[0].joins[0].rows_of_keys.clone();
        let means =
            "WITH m AS (SELECT id, AVG(x) AS x FROM other GROUP BY id) SELECT * FROM log l LEFT JOIN m ON l.id = m.id";
        assert_eq!(counted(means), None);
        let latest = "SELECT * FROM log l LEFT JOIN (SELECT id, day FROM users WHERE day > 3) AS u ON l.id = u.id";
        let expected = "SELECT \"id\", COUNT(*) AS \"rows of one key\" FROM (SELECT id, day FROM users WHERE day > 3) AS u GROUP BY \"id\"";
        assert_eq!(counted(latest).unwrap(), expected);
        let named = counted("WITH u AS (SELECT id FROM users) SELECT * FROM log l JOIN u ON l.id = u.id").unwrap();
        assert!(named.starts_with("WITH u AS (") && named.ends_with("FROM u GROUP BY \"id\""), "{named}");
    }
}
