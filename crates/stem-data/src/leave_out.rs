//! A SELECT without columns that only a training needs.

use sqlparser::ast::{Expr, Query, SelectItem, SetExpr, SetQuantifier, TableFactor};

use crate::sql;

/// The SELECT without the columns of these names, wherever it may leave them out; `None` of what is no SELECT.
pub(crate) fn without(sql: &str, names: &[&str]) -> Option<String> {
    let mut query = sql::query(sql)?;
    leave_out(&mut query, names);
    Some(query.to_string())
}

fn leave_out(query: &mut Query, names: &[&str]) {
    let tables = query.with.iter_mut().flat_map(|with| &mut with.cte_tables);
    tables.for_each(|table| leave_out(&mut table.query, names));
    leave_out_of(&mut query.body, names);
}

/// Rows that are DISTINCT, or of a UNION that drops the same ones, would be others without a column.
fn leave_out_of(body: &mut SetExpr, names: &[&str]) {
    match body {
        SetExpr::Query(query) => leave_out(query, names),
        SetExpr::SetOperation { left, right, set_quantifier: SetQuantifier::All, .. } => {
            leave_out_of(left, names);
            leave_out_of(right, names);
        }
        SetExpr::Select(select) if select.distinct.is_none() => {
            let is_kept = |item: &SelectItem| {
                let name = match item {
                    SelectItem::ExprWithAlias { alias, .. } => &alias.value,
                    SelectItem::UnnamedExpr(Expr::Identifier(column)) => &column.value,
                    SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => match parts.last() {
                        Some(column) => &column.value,
                        None => return true,
                    },
                    _ => return true,
                };
                !names.contains(&name.as_str())
            };
            if select.projection.iter().any(is_kept) {
                select.projection.retain(is_kept);
            }
            for table in &mut select.from {
                let joined = table.joins.iter_mut().map(|join| &mut join.relation);
                for relation in std::iter::once(&mut table.relation).chain(joined) {
                    if let TableFactor::Derived { subquery, .. } = relation {
                        leave_out(subquery, names);
                    }
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_left_out_where_the_rows_stay_the_same() {
        let without = |sql: &str| without(sql, &["click", "split"]).unwrap_or_default();
        assert_eq!(without("SELECT a, l.click, b AS split FROM log l"), "SELECT a FROM log l");
        assert_eq!(
            without("WITH day AS (SELECT a, click FROM log) SELECT a, click > 0 AS click FROM day"),
            "WITH day AS (SELECT a FROM log) SELECT a FROM day"
        );
        assert_eq!(
            without("SELECT a, click FROM log UNION ALL SELECT a, click FROM users"),
            "SELECT a FROM log UNION ALL SELECT a FROM users"
        );
        for same in ["SELECT DISTINCT a, click FROM log", "SELECT click FROM log", "SELECT * FROM log"] {
            assert_eq!(without(same), same);
        }
    }
}
