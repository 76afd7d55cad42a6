//! The chart of a report, as SVG with colours for light and dark screens.

use crate::common::stats::format_number;
use crate::report::{Measurement, Report};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const SIZE: (u32, u32) = (860, 640);

/// The panels: a title, and the key and the label of each row.
const PANELS: [(&str, &[(&str, &str)]); 2] = [
    (
        "Milliseconds without a leader: minimum, p50, maximum",
        &[
            ("sigterm first", "SIGTERM, first survivor"),
            ("sigterm all", "SIGTERM, all survivors"),
            ("sigkill first", "SIGKILL after lease, first"),
            ("sigkill all", "SIGKILL after lease, all"),
            ("start", "start to leading"),
        ],
    ),
    (
        "Idle, per minute",
        &[
            ("leader requests", "leader, requests"),
            ("follower requests", "follower, requests"),
            ("leader cpu", "leader, ms of CPU time"),
            ("follower cpu", "follower, ms of CPU time"),
            ("leader rss", "leader, MiB of memory"),
            ("follower wake-ups", "follower, wake-ups per second"),
        ],
    ),
];

/// The colours for light screens, which plotters writes. A style sheet replaces them by `DARK` on dark screens.
const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);
const GRID: RGBColor = RGBColor(0xd0, 0xd7, 0xde);
const PROGRAMS: [RGBColor; 4] =
    [RGBColor(0x09, 0x69, 0xda), RGBColor(0xbc, 0x4c, 0x00), RGBColor(0x82, 0x50, 0xdf), RGBColor(0x1a, 0x7f, 0x37)];
const DARK: [(&str, &str); 6] = [
    ("#1F2328", "#e6edf3"),
    ("#D0D7DE", "#3d444d"),
    ("#0969DA", "#58a6ff"),
    ("#BC4C00", "#f0883e"),
    ("#8250DF", "#bc8cff"),
    ("#1A7F37", "#3fb950"),
];

/// The width of the labels, left of the axis.
const LABELS_WIDTH: i32 = 230;
const ROW_HEIGHT: i32 = 38;

pub fn draw(report: &Report) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        legend(&area, report);
        let mut top = 60;
        for (title, rows) in PANELS {
            top = panel(&area, report, title, rows, top) + 46;
        }
        text(&area, &report.setting.replace('`', ""), (16, SIZE.1 as i32 - 12), 11, HPos::Left, &INK);
        area.present().expect("writing to a string cannot fail");
    }
    with_dark_colours(&svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn legend(area: &Area, report: &Report) {
    let mut left = 16;
    for (index, name) in report.programs.iter().enumerate() {
        let colour = PROGRAMS[index % PROGRAMS.len()];
        area.draw(&Circle::new((left + 6, 22), 5, colour.filled())).expect("writing to a string cannot fail");
        text(area, name, (left + 16, 22), 14, HPos::Left, &INK);
        left += 40 + 9 * name.len() as i32;
    }
}

/// Draws a panel; returns the y coordinate of its lower end.
fn panel(area: &Area, report: &Report, title: &str, rows: &[(&str, &str)], top: i32) -> i32 {
    let values: Vec<f64> = rows
        .iter()
        .filter_map(|(key, _)| report.row(key))
        .flat_map(|row| row.values.iter().flatten())
        .flat_map(range)
        .collect();
    let scale = Scale::of(&values);
    let bottom = top + 24 + ROW_HEIGHT * rows.len() as i32;
    text(area, title, (16, top), 14, HPos::Left, &INK);
    for (at, label) in scale.ticks() {
        area.draw(&PathElement::new(vec![(at, top + 20), (at, bottom)], GRID))
            .expect("writing to a string cannot fail");
        text(area, &label, (at, bottom + 10), 11, HPos::Center, &INK);
    }
    for (index, (key, label)) in rows.iter().enumerate() {
        let middle = top + 24 + ROW_HEIGHT * index as i32 + ROW_HEIGHT / 2;
        text(area, label, (LABELS_WIDTH - 12, middle), 13, HPos::Right, &INK);
        let Some(row) = report.row(key) else { continue };
        let lines = row.values.len() as i32;
        for (program, value) in row.values.iter().enumerate() {
            let Some(value) = value else { continue };
            let at = middle + (2 * program as i32 - lines + 1) * 11 / 2;
            draw_value(area, value, &scale, at, PROGRAMS[program % PROGRAMS.len()]);
        }
    }
    bottom
}

/// Draws a line from the minimum to the maximum, a dot at p50, and the p50 as text.
fn draw_value(area: &Area, value: &Measurement, scale: &Scale, at: i32, colour: RGBColor) {
    let [least, most] = range(value);
    let line = vec![(scale.x(least), at), (scale.x(most), at)];
    area.draw(&PathElement::new(line, colour.stroke_width(2))).expect("writing to a string cannot fail");
    area.draw(&Circle::new((scale.x(value.median()), at), 4, colour.filled()))
        .expect("writing to a string cannot fail");
    text(area, &format_number(value.median()), (scale.x(most) + 8, at), 11, HPos::Left, &colour);
}

fn range(value: &Measurement) -> [f64; 2] {
    match value {
        Measurement::Single(value) => [*value; 2],
        Measurement::Repeated(samples) => [samples.min(), samples.max()],
    }
}

/// A logarithmic axis from 10^first to 10^last. Smaller values are drawn at its beginning.
struct Scale {
    first: i32,
    last: i32,
}

impl Scale {
    fn of(values: &[f64]) -> Scale {
        let positive = || values.iter().copied().filter(|value| *value > 0.0);
        let (least, most) = (positive().fold(f64::INFINITY, f64::min), positive().fold(0.0, f64::max));
        if most == 0.0 {
            return Scale { first: 0, last: 1 };
        }
        let first = (least.log10().floor() as i32).max(-1);
        Scale { first, last: (most.log10().ceil() as i32).max(first + 1) }
    }

    fn x(&self, value: f64) -> i32 {
        let right = SIZE.0 as i32 - 70;
        let part = (value.max(1e-9).log10() - f64::from(self.first)) / f64::from(self.last - self.first);
        LABELS_WIDTH + (part.clamp(0.0, 1.0) * f64::from(right - LABELS_WIDTH)) as i32
    }

    fn ticks(&self) -> Vec<(i32, String)> {
        let tick = |power: i32| {
            let value = 10_f64.powi(power);
            (self.x(value), if power < 0 { format!("{value:.1}") } else { format_number(value).replace(".0", "") })
        };
        (self.first..=self.last).map(tick).collect()
    }
}

fn text(area: &Area, text: &str, at: (i32, i32), size: i32, horizontal: HPos, colour: &RGBColor) {
    let style = ("sans-serif", size).into_font().color(colour).pos(Pos::new(horizontal, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style)).expect("writing to a string cannot fail");
}

/// Adds a style sheet for dark screens. In SVG a style sheet rule has priority over an attribute such as `fill`.
fn with_dark_colours(svg: &str) -> String {
    let rule = |(light, dark): &(&str, &str)| {
        format!("[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}")
    };
    let rules: String = DARK.iter().map(rule).collect();
    let style = format!("<style>@media (prefers-color-scheme: dark){{{rules}}}</style>\n");
    let (head, rest) = svg.split_once('\n').unwrap_or((svg, ""));
    format!("{head}\n{style}{rest}")
}
