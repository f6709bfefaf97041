//! `keyrack analytics sql STATEMENT`: asks a server, and shows the rows: a table for people, JSON or CSV for scripts.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use keyrack_core::analytics::sql::tables::Tables;
use keyrack_core::analytics::sql::tree::Checked;
use keyrack_core::analytics::sql::{self, Asked};
use keyrack_core::catalogue::Operation as _;
use keyrack_core::clock::Clock;
use keyrack_core::error::{Code, Error};
use keyrack_core::operations::analytics::{GetRatelimits, GetVerifications};
use serde_json::{Value, json};

use crate::api::{Failure, Inputs, connection};
use crate::shown::{self, Form, with_patience};
use crate::table::Table;

const STATEMENT: &str = "statement";
const RATELIMITS: &str = "ratelimits";

/// The command and its flags.
pub(super) fn command() -> Command {
    let statement = Arg::new(STATEMENT)
        .value_name("STATEMENT")
        .required(true)
        .help("One SELECT, @FILE, or - for standard input");
    let ratelimits = Arg::new(RATELIMITS)
        .long(RATELIMITS)
        .action(ArgAction::SetTrue)
        .help("Ask about rate-limit decisions [default: as the tables say that the statement reads]");
    Command::new("sql")
        .about("Asks a server about verifications or rate-limit decisions, in the SQL dialect of ClickHouse")
        .after_help(
            "Tables: key_verifications_v1 and ratelimits_v1 have a row per event, …_per_minute_v1, …_per_hour_v1, \
             …_per_day_v1 and …_per_month_v1 sums: always write SUM(count) and SUM(total). `keyrack api analytics \
             get-verifications --help` says more.\n\n\
             Exit codes: 0 answered, 2 usage, 3 authentication, 4 not found, 5 rate limited, 1 anything else.\n\n\
             Example:\n  keyrack analytics sql \"SELECT outcome, SUM(count) AS total FROM key_verifications_per_day_v1 \
             GROUP BY outcome\"",
        )
        .arg(statement)
        .arg(ratelimits)
        .args(Form::flags())
        .args(connection::arguments())
}

/// Asks, and shows the answer.
pub(super) async fn run(matches: &ArgMatches) -> ExitCode {
    match execute(matches, &mut Inputs::of_process()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn execute(matches: &ArgMatches, inputs: &mut Inputs) -> Result<(), Failure> {
    let argument = matches.get_one::<String>(STATEMENT).map(String::as_str).unwrap_or_default();
    let statement = inputs.given("the statement", argument)?;
    let settings = connection::settings(matches)?;
    let form = Form::of(&settings, matches)?;
    let remote = connection::connect(&settings, matches, inputs)?;
    let tables = if matches.get_flag(RATELIMITS) { Tables::Ratelimits } else { asked_tables(&statement) };
    let operation = match tables {
        Tables::Verifications => GetVerifications::ABOUT.name,
        Tables::Ratelimits => GetRatelimits::ABOUT.name,
    };
    let request = json!({ "query": statement });
    let answer = with_patience(remote.call(operation, &request)).await?;
    if !answer.is_success() {
        return Err(Failure::Refused(answer));
    }
    let rows = answer.body["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    show(rows, form, || columns(&statement, tables))
}

/// Rows go to stdout, words about them to stderr. Without rows, their columns are asked for.
fn show(rows: &[Value], form: Form, columns: impl FnOnce() -> Vec<String>) -> Result<(), Failure> {
    let text = match form {
        Form::People if rows.is_empty() => {
            eprintln!("no rows");
            return Ok(());
        }
        Form::People => Table::of(rows).aligned(),
        Form::Json => Table::of(rows).json(),
        Form::Csv if rows.is_empty() => Table::with_columns(columns(), rows).csv().map_err(Failure::Output)?,
        Form::Csv => Table::of(rows).csv().map_err(Failure::Output)?,
    };
    shown::print(&text)
}

/// Which tables a statement reads; those of verifications where that cannot be told, and the server says what is wrong.
fn asked_tables(statement: &str) -> Tables {
    let is_of_others =
        |tables| checked(statement, tables).is_err_and(|error| error.code() == Code::InvalidAnalyticsTable);
    if is_of_others(Tables::Verifications) && !is_of_others(Tables::Ratelimits) {
        Tables::Ratelimits
    } else {
        Tables::Verifications
    }
}

/// The columns of a statement that the server has answered: an answer without rows does not tell them.
fn columns(statement: &str, tables: Tables) -> Vec<String> {
    let Ok(checked) = checked(statement, tables) else { return Vec::new() };
    let mut columns: Vec<String> = Vec::new();
    for column in checked.columns() {
        if !columns.contains(&column.name) {
            columns.push(column.name.clone());
        }
    }
    columns
}

/// A statement as the guard of a server reads it.
fn checked(statement: &str, tables: Tables) -> Result<Checked, Error> {
    let asked = Asked {
        operation: tables,
        workspace_id: String::new(),
        narrowed: None,
        retention_days: 0,
        now: Clock::system().now(),
        most_rows: 1,
        reports: false,
    };
    sql::check(statement, &asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_those_that_the_statement_reads() {
        for (statement, tables) in [
            ("SELECT count() FROM key_verifications_v1", Tables::Verifications),
            ("SELECT SUM(total) FROM ratelimits_per_day_v1", Tables::Ratelimits),
            (
                "SELECT 'key_verifications_v1' AS a, count() FROM ratelimits_v1 -- key_verifications_v1",
                Tables::Ratelimits,
            ),
            ("WITH a AS (SELECT identifier FROM ratelimits_v1) SELECT count() FROM a", Tables::Ratelimits),
            ("SELECT nothing FROM ratelimits_v1", Tables::Ratelimits),
            ("SELECT nothing FROM key_verifications_v1", Tables::Verifications),
            ("SELECT count() FROM nowhere", Tables::Verifications),
            ("no statement at all", Tables::Verifications),
        ] {
            assert_eq!(asked_tables(statement), tables, "{statement}");
        }
    }

    #[test]
    fn columns_without_rows_are_those_of_the_statement() {
        let named = |statement| columns(statement, Tables::Verifications);
        assert_eq!(named("SELECT outcome AS z, count() AS a FROM key_verifications_v1 GROUP BY z"), ["z", "a"]);
        assert_eq!(named("SELECT outcome, outcome FROM key_verifications_v1"), ["outcome"]);
        assert!(named("SELECT").is_empty());
    }
}
