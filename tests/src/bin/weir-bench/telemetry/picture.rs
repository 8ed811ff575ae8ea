//! The panels of `envoy/observe/dashboard.json`, drawn as one SVG from what a real Prometheus kept of a run. Grafana draws
//! them finer; this is what they show.

use std::fmt::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use weir_tests::harness::{Prometheus, repo_root};
use weir_tests::reconcile::{Plan, Run, Verdict};

/// The panels that such a run fills.
const PANELS: [&str; 12] = [
    "Requests",
    "Duration, 95 of 100",
    "First piece of a stream, 95 of 100",
    "Where the time of a request goes",
    "Weir's own computing, a request",
    "Time at the provider, by $by",
    "Cost",
    "Tokens",
    "Failures by reason",
    "Tries of a request",
    "Reservations without a wait",
    "Spans",
];
const COLUMNS: usize = 3;
/// Pixels of a panel, and of the drawing in it: left, top, width, height.
const PANEL: (usize, usize) = (400, 210);
const PLOT: (f64, f64, f64, f64) = (62.0, 58.0, 322.0, 118.0);
/// Told apart by people who see few colours, too.
const COLOURS: [&str; 8] =
    ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#7f7f7f", "#000000"];
/// Seconds between two points, and over which rates are taken.
const STEP: u32 = 2;
const WINDOW: &str = "10s";

/// A line of a panel: its name and its points, seconds since 1970 and values.
type Line = (String, Vec<(f64, f64)>);

/// Runs the plan with a Prometheus beside it and draws what it saw.
pub async fn run(plan: Plan, path: &Path) -> Result<Verdict, String> {
    let run = Run::start(plan).await?;
    let targets = [
        ("weir-gateway", run.stage.envoy.admin_port(), "/stats/prometheus"),
        ("weir-control", run.stage.api_port(), "/metrics"),
    ];
    let prometheus = Prometheus::start("picture", &targets, "groups: []\n").await;
    let begun = now();
    let verdict = run.finish().await?;
    let between = (begun, now());
    let dashboard = std::fs::read_to_string(repo_root().join("envoy/observe/dashboard.json"));
    let dashboard: Value =
        serde_json::from_str(&dashboard.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    let (width, rows) = (PANEL.0 * COLUMNS, PANELS.len().div_ceil(COLUMNS));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <title>{} requests, {} of 100 left by their clients</title>\n",
        PANEL.1 * rows,
        plan.requests,
        plan.aborted_percent
    );
    for (number, title) in PANELS.iter().enumerate() {
        let panels = dashboard["panels"].as_array().into_iter().flatten();
        let panel = panels.clone().find(|panel| panel["title"] == *title);
        let panel = panel.ok_or_else(|| format!("the dashboard has no panel {title:?}"))?;
        let lines = lines(&prometheus, panel, between).await;
        if lines.is_empty() {
            return Err(format!("the panel {title:?} shows nothing"));
        }
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default();
        let at = (number % COLUMNS * PANEL.0, number / COLUMNS * PANEL.1);
        draw(&mut svg, at, &title.replace("$by", "model"), unit, &lines, between);
    }
    svg.push_str("</svg>\n");
    std::fs::write(path, svg).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(verdict)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

async fn lines(prometheus: &Prometheus, panel: &Value, between: (f64, f64)) -> Vec<Line> {
    let mut out = Vec::new();
    for target in panel["targets"].as_array().into_iter().flatten() {
        let mut expression = target["expr"].as_str().unwrap_or_default().to_owned();
        for (name, value) in [
            ("$__rate_interval", WINDOW),
            ("$__range", "1h"),
            ("$by", "model"),
            ("$tenant", ".*"),
            ("$model", ".*"),
            ("$provider", ".*"),
        ] {
            expression = expression.replace(name, value);
        }
        for (labels, points) in prometheus.range(&expression, between, STEP).await {
            let legend = target["legendFormat"].as_str().unwrap_or_default().replace("$by", "model");
            let labels = labels.as_object().into_iter().flatten();
            let name = labels.fold(legend, |name, (label, value)| {
                name.replace(&format!("{{{{{label}}}}}"), value.as_str().unwrap_or_default())
            });
            // A request that was refused before it had a model has none.
            let name = if name.contains("{{") { "none".to_owned() } else { name };
            let points: Vec<(f64, f64)> = points.into_iter().filter(|(_, value)| value.is_finite()).collect();
            if points.iter().any(|(_, value)| *value > 0.0) {
                out.push((name, points));
            }
        }
    }
    out
}

fn draw(svg: &mut String, at: (usize, usize), title: &str, unit: &str, lines: &[Line], between: (f64, f64)) {
    let (left, top, width, height) = PLOT;
    let most = lines.iter().flat_map(|(_, points)| points).map(|(_, value)| *value).fold(0.0, f64::max);
    let most = ceiling(most);
    _ = writeln!(
        svg,
        "<g transform=\"translate({} {})\"><rect x=\"4\" y=\"4\" width=\"{}\" height=\"{}\" rx=\"4\" fill=\"#fff\" stroke=\"#d0d4da\"/>\n\
         <text x=\"16\" y=\"24\" font-size=\"13\" font-weight=\"bold\" fill=\"#222\">{}</text>",
        at.0,
        at.1,
        PANEL.0 - 8,
        PANEL.1 - 8,
        escaped(title)
    );
    for part in [0.0, 0.5, 1.0] {
        let y = top + height * (1.0 - part);
        _ = writeln!(
            svg,
            "<path d=\"M{left} {y}h{width}\" stroke=\"#e4e7eb\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#555\">{}</text>",
            left - 6.0,
            y + 4.0,
            told(most * part, unit)
        );
    }
    let length = between.1 - between.0;
    for part in [0.0, 0.5, 1.0] {
        _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{:.0} s</text>",
            left + width * part,
            top + height + 16.0,
            length * part
        );
    }
    let mut x = 16.0;
    for (number, (name, points)) in lines.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        if x + 7.0 * name.len() as f64 <= PANEL.0 as f64 - 10.0 {
            _ = writeln!(svg, "<text x=\"{x:.0}\" y=\"42\" fill=\"{colour}\">{}</text>", escaped(name));
            x += 7.0 * name.len() as f64 + 10.0;
        }
        let mut path = String::new();
        let mut last = f64::NEG_INFINITY;
        for (moment, value) in points {
            // A gap in what Prometheus knows is a gap in the line.
            let step = if moment - last > 1.5 * f64::from(STEP) { 'M' } else { 'L' };
            last = *moment;
            let (x, y) = (left + width * (moment - between.0) / length, top + height * (1.0 - value / most));
            _ = write!(path, "{step}{x:.1} {y:.1}");
        }
        _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>");
    }
    svg.push_str("</g>\n");
}

/// The next 1, 2 or 5 with zeros.
fn ceiling(most: f64) -> f64 {
    let power = 10f64.powf(most.max(1e-12).log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|step| step * power).into_iter().find(|step| *step >= most).unwrap_or(most)
}

fn told(value: f64, unit: &str) -> String {
    match unit {
        _ if value == 0.0 => "0".to_owned(),
        "s" if value < 1e-3 => format!("{:.0} µs", value * 1e6),
        "s" if value < 1.0 => format!("{:.0} ms", value * 1e3),
        "s" => format!("{value:.1} s"),
        "ms" => format!("{value:.0} ms"),
        "percentunit" => format!("{:.0} %", value * 100.0),
        "reqps" => format!("{value:.0}/s"),
        "currencyUSD" if value < 0.1 => format!("${value:.4}"),
        "currencyUSD" => format!("${value:.0}"),
        _ if value >= 10_000.0 => format!("{:.0} k", value / 1e3),
        _ if value < 10.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
