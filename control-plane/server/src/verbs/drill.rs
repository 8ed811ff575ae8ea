//! `weir drill`: proves on a running gateway that what its policy hides does not get through. The policy needs a model
//! that leads to the drill: a provider of kind `vllm` whose endpoint is where the drill listens.

use clap::Args;

use super::serve::block_on;
use crate::Failure;
use crate::drill::provider::Provider;
use crate::drill::values::planted;
use crate::drill::{APIS, Drill as Ends, Way};

/// Send planted values through a running gateway in every type and direction; exit 1 if anything gets through.
#[derive(Debug, Args)]
pub struct Drill {
    /// The gateway, as its clients reach it. Its key is taken from WEIR_KEY.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    gateway: String,
    /// Where the drill listens as a provider: what the endpoint of the model's provider is.
    #[arg(long, value_name = "ADDRESS")]
    listen: String,
    /// A model that leads there.
    #[arg(long)]
    model: String,
    /// Detectors and groups, separated by commas; left out: all.
    #[arg(short, long, value_delimiter = ',')]
    find: Vec<String>,
    /// Directions that the policy searches: request, response.
    #[arg(long = "in", value_delimiter = ',', default_value = "request,response", value_parser = ["request", "response"])]
    directions: Vec<String>,
    /// The clients' APIs: chat, messages, responses.
    #[arg(long, value_delimiter = ',', default_value = "chat,messages,responses", value_parser = clap::builder::PossibleValuesParser::new(APIS))]
    api: Vec<String>,
}

impl Drill {
    pub fn run(self) -> Result<(), Failure> {
        let key =
            std::env::var("WEIR_KEY").map_err(|_| Failure::new("WEIR_KEY has no key of the gateway"))?;
        let mut kinds = Vec::new();
        for name in &self.find {
            let members = weir_model::detectors_of(name);
            kinds.extend(members.ok_or_else(|| Failure::new(format!("unknown detector or group `{name}`")))?);
        }
        let mut values = planted();
        values.retain(|planted| self.find.is_empty() || kinds.contains(&planted.kind));
        let searched = |direction: &str| self.directions.iter().any(|one| one == direction);
        let mut ways = Vec::new();
        if searched("request") {
            ways.push(Way::Request);
        }
        if searched("response") {
            ways.extend([Way::Answer, Way::Stream]);
        }
        block_on(async {
            let provider = Provider::listen(&self.listen).await?;
            let http = reqwest::Client::builder().no_proxy().build();
            let ends = Ends {
                gateway: self.gateway.trim_end_matches('/').to_owned(),
                key,
                model: self.model.clone(),
                provider: &provider,
                http: http.map_err(|why| Failure::new(format!("no client: {why}")))?,
            };
            let (mut sent, mut through) = (0, Vec::new());
            for api in &self.api {
                let harmless = ends.harmless(api).await?;
                println!(
                    "{:<22}{}",
                    api,
                    ways.iter().map(|way| format!("{:<10}", name(*way))).collect::<String>()
                );
                for planted in &values {
                    let mut line = format!("  {:<20}", planted.kind);
                    for way in &ways {
                        let outcome = ends.send(api, planted, *way, &harmless).await;
                        line.push_str(&format!("{:<10}", outcome.shown()));
                        sent += 1;
                        if !outcome.passes() {
                            through.push(format!(
                                "{api} {} {}: {}",
                                name(*way),
                                planted.kind,
                                outcome.shown()
                            ));
                        }
                    }
                    println!("{}", line.trim_end());
                }
            }
            if through.is_empty() {
                println!("{sent} values sent, none got through");
                return Ok(());
            }
            Err(Failure::new(format!(
                "{} of {sent} got through or were not seen:\n{}",
                through.len(),
                through.join("\n")
            )))
        })
    }
}

fn name(way: Way) -> &'static str {
    match way {
        Way::Request => "request",
        Way::Answer => "answer",
        Way::Stream => "stream",
    }
}
