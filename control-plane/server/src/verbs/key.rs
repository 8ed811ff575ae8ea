//! `weir key`: key pairs for AWS's SDKs, issued by a running control plane.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::serve::block_on;
use super::show::{table, text, time};
use crate::Failure;
use crate::client::{At, escape};

/// Issue, list and revoke key pairs.
#[derive(Debug, Args)]
pub struct Key {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Issue a key pair; its secret is shown this once. The policy's `identity.from` needs `sigv4: {}`.
    Issue(Issue),
    /// Show them, without secrets.
    List(List),
    /// Take one back: every gateway refuses it in under a second.
    Revoke(Revoke),
}

#[derive(Debug, Args)]
struct Issue {
    /// Whose it is.
    #[arg(value_name = "TENANT")]
    tenant: String,
    /// Its name, shown in spans and spend.
    #[arg(value_name = "ID")]
    id: String,
    /// A label that overrides the tenant's; once for each.
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// From then on it is refused.
    #[arg(long, value_name = "YYYY-MM-DD")]
    expires: Option<String>,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Args)]
struct Revoke {
    /// Id or access key.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    at: At,
}

impl Key {
    pub fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Issue(issue) => issue.run(),
            What::List(list) => list.run(),
            What::Revoke(revoke) => revoke.run(),
        }
    }
}

impl Issue {
    fn run(self) -> Result<(), Failure> {
        let mut labels = serde_json::Map::new();
        for label in &self.label {
            let Some((name, value)) = label.split_once('=') else {
                return Err(Failure::new(format!("`{label}` is not NAME=VALUE")));
            };
            labels.insert(name.to_owned(), value.into());
        }
        let mut body = json!({"tenant": self.tenant, "id": self.id, "labels": labels});
        if let Some(expires) = self.expires {
            body["expires"] = expires.into();
        }
        let client = self.at.client()?;
        let told = block_on(client.post("/api/pairs", &body))?;
        println!("export AWS_ACCESS_KEY_ID={}", text(&told["access_key"]));
        println!("export AWS_SECRET_ACCESS_KEY={}", text(&told["secret"]));
        println!("export AWS_ENDPOINT_URL_BEDROCK_RUNTIME=http://GATEWAY");
        Ok(())
    }
}

impl List {
    fn run(self) -> Result<(), Failure> {
        let client = self.at.client()?;
        let told = block_on(client.get("/api/pairs", &[]))?;
        let row = |pair: &Value| {
            let expires =
                if pair["expires_ms"].is_null() { String::new() } else { time(&pair["expires_ms"]) };
            vec![
                text(&pair["id"]),
                text(&pair["tenant"]),
                text(&pair["access_key"]),
                time(&pair["created_ms"]),
                expires,
            ]
        };
        let rows: Vec<Vec<String>> = told["pairs"].as_array().into_iter().flatten().map(row).collect();
        print!("{}", table(&["id", "tenant", "access key", "issued", "expires"], &rows));
        Ok(())
    }
}

impl Revoke {
    fn run(self) -> Result<(), Failure> {
        let client = self.at.client()?;
        let told = block_on(client.post(&format!("/api/pairs/{}/revoke", escape(&self.name)), &json!({})))?;
        println!("revoked {} ({})", text(&told["id"]), text(&told["access_key"]));
        Ok(())
    }
}
