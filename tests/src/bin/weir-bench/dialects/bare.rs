//! Envoy without Weir: as it is, and with its own signer for AWS, which a gateway of any kind would have there too.

use serde_json::{Value, json};
use weir_tests::harness::{Envoy, EnvoyConfig, free_port};

const CLUSTER: &str = "weir-gpu-pool";
const CODEC: &str = "envoy.filters.http.upstream_codec";

/// One that runs, and where it listens.
pub async fn start(upstream: u16, signs: bool) -> Result<(Envoy, u16), String> {
    let mut config = EnvoyConfig::read("envoy/inject/envoy.yaml");
    config.without_filters(CLUSTER);
    if signs {
        let mut found = 0;
        sign(config.cluster(CLUSTER), &mut found);
        if found != 1 {
            return Err(format!("{found} lists of filters end in {CODEC} where one should"));
        }
    }
    let port = free_port();
    config.port(8080, port).port(9101, upstream);
    let envoy = Envoy::builder(config).name(if signs { "bench-signed" } else { "bench-bare" });
    let envoy = envoy.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
    Ok((envoy.env("AWS_SECRET_ACCESS_KEY", "simulated").try_start().await?, port))
}

/// Puts the signer before the codec.
fn sign(value: &mut Value, found: &mut usize) {
    match value {
        Value::Array(all) => {
            if let Some(at) = all.iter().position(|filter| filter["name"] == CODEC) {
                *found += 1;
                all.insert(
                    at,
                    json!({"name": "envoy.filters.http.aws_request_signing", "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.http.aws_request_signing.v3.AwsRequestSigning",
                        "service_name": "bedrock", "region": "us-east-1",
                    }}),
                );
            }
            all.iter_mut().for_each(|value| sign(value, found));
        }
        Value::Object(all) => all.values_mut().for_each(|value| sign(value, found)),
        _ => {}
    }
}
