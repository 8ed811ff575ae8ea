//! Judgement of one metric: instrument, unit, and the attributes of every point.

use serde_json::Value;

use super::{Fault, expect, fault, typed};
use crate::harness::collector::Metric;

/// Where a limit on the number of series is reached, OpenTelemetry's SDK specification wants this one attribute.
const OVERFLOW: &str = "otel.metric.overflow";

pub(super) fn faults(convention: &Value, metric: &Metric) -> Vec<Fault> {
    let mut faults = Vec::new();
    let Some(known) = convention["attributes"].as_object() else {
        fault(&mut faults, &metric.name, "no metric of these conventions");
        return faults;
    };
    let unit = convention["unit"].as_str().unwrap_or_default();
    expect(&mut faults, "unit", metric.unit == unit, || format!("`{}`, not `{unit}`", metric.unit));
    let instrument = convention["instrument"].as_str().unwrap_or_default();
    expect(&mut faults, "instrument", instrument == "histogram", || {
        format!("a histogram, not a {instrument}")
    });
    for point in &metric.points {
        if point.attributes.contains_key(OVERFLOW) {
            continue;
        }
        let there = |name: &str| point.attributes.contains_key(name);
        for (name, about) in known {
            let must = about["level"] == "required"
                || (name == "server.port" && there("server.address"))
                || name == "gen_ai.provider.name";
            expect(&mut faults, name, !must || there(name), || "missing".into());
        }
        for (name, value) in &point.attributes {
            match known.get(name) {
                Some(about) => typed(&mut faults, name, about, value),
                None => fault(&mut faults, name, "no attribute of this metric"),
            }
        }
        let sum: u64 = point.counts.iter().sum();
        expect(&mut faults, "count", sum == point.count, || {
            format!("{sum} in buckets, {} in all", point.count)
        });
        let buckets = point.bounds.len() + 1 == point.counts.len() && point.bounds.is_sorted();
        expect(&mut faults, "buckets", buckets, || format!("{:?}", point.bounds));
        expect(&mut faults, "time", point.start < point.at, || format!("{} to {}", point.start, point.at));
    }
    faults
}
