//! The results of all programs, and their table.

use crate::Bench;
use crate::common::stats::{Samples, format_number};
use leader_elector::rfc3339;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

pub struct Report {
    /// The date, version, command, number of cores and API server of the run.
    pub setting: String,
    pub programs: Vec<String>,
    pub rows: Vec<Row>,
    /// Sentences below the table.
    pub notes: Vec<String>,
}

pub struct Row {
    /// Identifies the row in the chart.
    pub key: &'static str,
    pub what: String,
    pub unit: &'static str,
    /// One value for each program, in their order; `None` if the program was not measured.
    pub values: Vec<Option<Measurement>>,
}

#[derive(Clone, Debug)]
pub enum Measurement {
    Single(f64),
    Repeated(Samples),
}

impl Measurement {
    pub fn median(&self) -> f64 {
        match self {
            Measurement::Single(value) => *value,
            Measurement::Repeated(samples) => samples.p50(),
        }
    }
}

impl Report {
    pub fn new(bench: &Bench) -> Report {
        let programs = bench.programs.iter().map(|program| program.name.clone()).collect();
        Report { setting: setting(bench), programs, rows: Vec::new(), notes: Vec::new() }
    }

    pub fn add(
        &mut self,
        key: &'static str,
        what: impl Into<String>,
        unit: &'static str,
        values: Vec<Option<Measurement>>,
    ) {
        self.rows.push(Row { key, what: what.into(), unit, values });
    }

    /// Adds a row with repeated measurements of each program.
    pub fn add_samples(
        &mut self,
        key: &'static str,
        what: impl Into<String>,
        unit: &'static str,
        values: Vec<Vec<f64>>,
    ) {
        let repeated = |values: Vec<f64>| (!values.is_empty()).then(|| Measurement::Repeated(Samples::of(values)));
        self.add(key, what, unit, values.into_iter().map(repeated).collect());
    }

    pub fn row(&self, key: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.key == key)
    }

    /// The table in Markdown. Repeated measurements are shown as p50, and in parentheses minimum, p99 and maximum. The last
    /// column is the ratio of the p50 of leader-elector and of the polling elector.
    pub fn table(&self) -> String {
        let mut text = format!("| measurement | {} | leader-elector / polling |\n", self.programs.join(" | "));
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
        let cell = |value: &Option<Measurement>| value.as_ref().map(|value| cell(value, row.unit)).unwrap_or_default();
        let cells: Vec<String> = row.values.iter().map(cell).collect();
        let middle = |index: usize| row.values.get(index)?.as_ref().map(Measurement::median);
        let ratio = middle(0).zip(middle(1)).filter(|(_, polling)| *polling > 0.0);
        let ratio =
            ratio.map(|(leader_elector, polling)| format!("{:.3}", leader_elector / polling)).unwrap_or_default();
        format!("| {} | {} | {ratio} |", row.what, cells.join(" | "))
    }
}

fn cell(value: &Measurement, unit: &str) -> String {
    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    match value {
        Measurement::Single(value) => format!("{}{unit}", format_number(*value)),
        Measurement::Repeated(samples) => format!(
            "{}{unit} ({}, {}, {}; {} times)",
            format_number(samples.p50()),
            format_number(samples.min()),
            format_number(samples.p99()),
            format_number(samples.max()),
            samples.count()
        ),
    }
}

fn setting(bench: &Bench) -> String {
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let date = rfc3339::format(i64::try_from(micros).unwrap_or_default());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let others: Vec<&str> = bench.programs[2..].iter().map(|program| program.name.as_str()).collect();
    let others = if others.is_empty() { String::new() } else { format!("RIVALS={}=… ", others.join("=…,")) };
    let command = [format!("{others}just bench")].into_iter().chain(args).collect::<Vec<_>>().join(" ");
    format!(
        "{}, leader-elector {}, `{command}`, {cores} cores, {}",
        &date[..10],
        env!("CARGO_PKG_VERSION"),
        bench.server.name()
    )
}
