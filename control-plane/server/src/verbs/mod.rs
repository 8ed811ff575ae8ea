//! The command line: one file per verb, this list, and nothing else.

mod budget;
mod check;
mod drain;
mod drill;
mod explain;
mod key;
mod prices;
mod render;
mod scan;
mod schema;
mod serve;
mod show;
mod spend;
mod tokenizer;
mod up;
mod why;

use clap::{Parser, Subcommand};

use crate::Failure;

/// LLM policy in Envoy: the control plane.
#[derive(Debug, Parser)]
#[command(name = "weir", version, about)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the control plane: xDS and ledger for gateways, REST API for people.
    Serve(serve::Serve),
    /// Run the control plane and an Envoy that it starts and watches.
    Up(up::Up),
    /// Validate a policy: exit 0 when it can run, 2 when it is invalid, 3 when it asks for the unbuilt.
    Check(check::Check),
    /// Show stage by stage what would happen to a request.
    Explain(explain::Explain),
    /// Print the patch that injects the filters into a gateway that others configure, or takes them out.
    Render(render::Render),
    /// Find personal data and secrets in texts: types and places, never values.
    Scan(scan::Scan),
    /// Send planted values through a running gateway; exit 1 if anything gets through.
    Drill(drill::Drill),
    /// Show what is spent: settled, held, leased, stranded; or who spent it.
    Spend(spend::Spend),
    /// Look at budgets; raise a limit for a while, give free what lost gateways have.
    Budget(budget::Budget),
    /// Key pairs for AWS's SDKs: issue, list, revoke.
    Key(key::Key),
    /// Take gateways out of service without stranding what they hold.
    Drain(drain::Drain),
    /// Count a model's own tokenizer exactly: compile its tokenizer.json and deliver it to the filters.
    Tokenizer(tokenizer::Tokenizer),
    /// What models cost: change the policy's table of prices, live at once.
    Prices(prices::Prices),
    /// Explain one request from the decision log, or say whether the log is as it was written.
    Why(why::Why),
    /// Print the JSON Schema of the policy file.
    Schema(schema::Schema),
}

impl Cli {
    /// Runs the verb.
    pub fn run(self) -> Result<(), Failure> {
        match self.verb {
            Verb::Serve(verb) => verb.run(),
            Verb::Up(verb) => verb.run(),
            Verb::Check(verb) => verb.run(),
            Verb::Explain(verb) => verb.run(),
            Verb::Render(verb) => verb.run(),
            Verb::Scan(verb) => verb.run(),
            Verb::Drill(verb) => verb.run(),
            Verb::Spend(verb) => verb.run(),
            Verb::Budget(verb) => verb.run(),
            Verb::Key(verb) => verb.run(),
            Verb::Drain(verb) => verb.run(),
            Verb::Tokenizer(verb) => verb.run(),
            Verb::Prices(verb) => verb.run(),
            Verb::Why(verb) => verb.run(),
            Verb::Schema(verb) => verb.run(),
        }
    }
}
