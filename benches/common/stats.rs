//! Numbers, and how they are told.

/// What was measured several times.
#[derive(Clone, Debug, Default)]
pub struct Spread(Vec<f64>);

impl Spread {
    pub fn of(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        Spread(values)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn min(&self) -> f64 {
        self.at(0.0)
    }

    pub fn p50(&self) -> f64 {
        self.at(0.5)
    }

    pub fn p99(&self) -> f64 {
        self.at(0.99)
    }

    pub fn max(&self) -> f64 {
        self.at(1.0)
    }

    fn at(&self, part: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
    }
}

/// With as many digits as are of interest.
pub fn number(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => String::new(),
        _ if value < 0.0 => format!("-{}", number(-value)),
        0.0 => "0".to_owned(),
        size if size < 1.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => {
            let digits = format!("{value:.0}");
            let grouped: Vec<String> =
                digits.as_bytes().rchunks(3).rev().map(|chunk| String::from_utf8_lossy(chunk).into_owned()).collect();
            grouped.join(",")
        }
    }
}
