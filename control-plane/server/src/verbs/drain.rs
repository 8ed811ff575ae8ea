//! `weir drain`: takes gateways out of service so that nothing of any budget stays with them. In Kubernetes it runs
//! before Envoy is told to end (k8s/base).

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::serve::{block_on, signal};
use crate::Failure;
use crate::client::{At, Client};

/// How often is looked whether it is done.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Return what gateways do not use, wait for their running requests, and close their sessions.
#[derive(Debug, Args)]
pub struct Drain {
    /// The gateway: Envoy's node id. Left out: WEIR_NODE.
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    node: Option<String>,
    /// Every gateway.
    #[arg(long)]
    all: bool,
    /// Begin when this program is told to end (SIGTERM), as beside an Envoy in the same pod.
    #[arg(long)]
    on_term: bool,
    /// Begin so much later, while the gateway leaves its load balancers.
    #[arg(long, value_name = "TIME", default_value = "0s")]
    after: weir_config::policy::Duration,
    /// Wait at most so long for running requests.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    timeout: weir_config::policy::Duration,
    /// Where gateways fetch their configuration, HOST:PORT, in place of the API: there a gateway needs no token.
    #[arg(long, value_name = "ADDRESS")]
    control: Option<String>,
    #[command(flatten)]
    at: At,
}

impl Drain {
    pub fn run(self) -> Result<(), Failure> {
        let node =
            self.node.clone().or_else(|| std::env::var("WEIR_NODE").ok().filter(|name| !name.is_empty()));
        if node.is_none() && !self.all {
            return Err(Failure::new(
                "say which gateway: --node NAME (its Envoy's node id), WEIR_NODE, or --all",
            ));
        }
        let body = match (&node, self.all) {
            (_, true) => json!({"all": true}),
            (Some(node), _) => json!({"node": node}),
            (None, _) => json!({}),
        };
        block_on(async {
            if self.on_term {
                signal()?.await;
            }
            tokio::time::sleep(Duration::from_millis(self.after.ms)).await;
            let client = match &self.control {
                Some(address) => Client::new(address, true)?,
                None => self.at.client()?,
            };
            drain(&client, &body, Duration::from_millis(self.timeout.ms)).await
        })
    }
}

async fn drain(client: &Client, body: &Value, timeout: Duration) -> Result<(), Failure> {
    let begun = Instant::now();
    let told = client.post("/api/drain", body).await?;
    let wanted: Vec<String> = each(&told["sessions"]).map(|one| name(one, "sid")).collect();
    if wanted.is_empty() {
        println!("no such gateway holds anything of a budget");
        return Ok(());
    }
    loop {
        let told = client.get("/api/sessions", &[]).await;
        // A control plane that restarts meanwhile is no reason to give up.
        let open: Option<Vec<Value>> = told.as_ref().ok().map(|told| {
            let ours = each(&told["sessions"]).filter(|one| wanted.contains(&name(one, "sid")));
            ours.filter(|one| one["closed"] != true && one["lost"] != true).cloned().collect()
        });
        if open.as_ref().is_some_and(Vec::is_empty) {
            println!("{} drained in {:.1} s", wanted.join(", "), begun.elapsed().as_secs_f64());
            return Ok(());
        }
        if begun.elapsed() >= timeout {
            let still: Vec<String> = open
                .iter()
                .flatten()
                .map(|one| {
                    let (node, counters) = (name(one, "node"), one["counters"].as_u64().unwrap_or(0));
                    format!("{node} still holds something in {counters} counters")
                })
                .collect();
            let hint = "requests still run there: what they hold is stranded if Envoy ends now; a longer --timeout waits for them";
            return Err(Failure::new(match told {
                Ok(_) => format!("{}; {hint}", still.join(", ")),
                Err(why) => format!("{why}; {hint}"),
            }));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn each(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn name(of: &Value, field: &str) -> String {
    of[field].as_str().unwrap_or_default().to_owned()
}
