//! What was measured, by program, and the table of it.

use crate::Bench;
use crate::common::stats::{Spread, number};
use leader_elector::rfc3339;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

pub struct Report {
    /// When, of which version, by which command, on what.
    pub setting: String,
    pub programs: Vec<String>,
    pub rows: Vec<Row>,
    /// Sentences below the table.
    pub notes: Vec<String>,
}

pub struct Row {
    /// Tells the row apart in the figure.
    pub key: &'static str,
    pub what: String,
    pub unit: &'static str,
    /// In the order of the programs; nothing where it was not measured.
    pub values: Vec<Option<Value>>,
}

#[derive(Clone, Debug)]
pub enum Value {
    Once(f64),
    Often(Spread),
}

impl Value {
    pub fn middle(&self) -> f64 {
        match self {
            Value::Once(value) => *value,
            Value::Often(spread) => spread.p50(),
        }
    }
}

impl Report {
    pub fn new(bench: &Bench) -> Report {
        let programs = bench.programs.iter().map(|program| program.name.clone()).collect();
        Report { setting: setting(bench), programs, rows: Vec::new(), notes: Vec::new() }
    }

    pub fn add(&mut self, key: &'static str, what: impl Into<String>, unit: &'static str, values: Vec<Option<Value>>) {
        self.rows.push(Row { key, what: what.into(), unit, values });
    }

    /// The same for what was measured often, of each program.
    pub fn add_spreads(
        &mut self,
        key: &'static str,
        what: impl Into<String>,
        unit: &'static str,
        values: Vec<Vec<f64>>,
    ) {
        let spread = |values: Vec<f64>| (!values.is_empty()).then(|| Value::Often(Spread::of(values)));
        self.add(key, what, unit, values.into_iter().map(spread).collect());
    }

    pub fn row(&self, key: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.key == key)
    }

    /// Markdown. Spreads are p50, and in brackets minimum, p99 and maximum. The last column says what part of the polling
    /// elector's value ours is.
    pub fn table(&self) -> String {
        let mut text = format!("| measurement | {} | ours / polling |\n", self.programs.join(" | "));
        text.push_str(&"|---".repeat(self.programs.len() + 2));
        text.push_str("|\n");
        for row in &self.rows {
            let _ = writeln!(text, "{}", self.line(row));
        }
        for note in &self.notes {
            let _ = writeln!(text, "\n{note}");
        }
        text
    }

    /// One line of the table.
    pub fn line(&self, row: &Row) -> String {
        let cell = |value: &Option<Value>| value.as_ref().map(|value| cell(value, row.unit)).unwrap_or_default();
        let cells: Vec<String> = row.values.iter().map(cell).collect();
        let middle = |index: usize| row.values.get(index)?.as_ref().map(Value::middle);
        let ratio = middle(0).zip(middle(1)).filter(|(_, polling)| *polling > 0.0);
        let ratio = ratio.map(|(ours, polling)| format!("{:.3}", ours / polling)).unwrap_or_default();
        format!("| {} | {} | {ratio} |", row.what, cells.join(" | "))
    }
}

fn cell(value: &Value, unit: &str) -> String {
    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    match value {
        Value::Once(value) => format!("{}{unit}", number(*value)),
        Value::Often(spread) => format!(
            "{}{unit} ({}, {}, {}; {} times)",
            number(spread.p50()),
            number(spread.min()),
            number(spread.p99()),
            number(spread.max()),
            spread.count()
        ),
    }
}

fn setting(bench: &Bench) -> String {
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let date = rfc3339::format(i64::try_from(micros).unwrap_or_default());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let rivals: Vec<&str> = bench.programs[2..].iter().map(|program| program.name.as_str()).collect();
    let rivals = if rivals.is_empty() { String::new() } else { format!("RIVALS={}=… ", rivals.join("=…,")) };
    let command = [format!("{rivals}just bench")].into_iter().chain(args).collect::<Vec<_>>().join(" ");
    format!(
        "{}, leader-elector {}, `{command}`, {cores} cores, {}",
        &date[..10],
        env!("CARGO_PKG_VERSION"),
        bench.server.name()
    )
}
