//! `weir up`: the control plane and one Envoy beside it, as on a developer's machine or in one container.

use clap::Args;
use tokio::sync::watch;
use weir_xds::Address;

use super::serve::{Serve, block_on, signal, start_log};
use crate::Failure;
use crate::envoy::{self, Plan};

/// Run the control plane and an Envoy.
#[derive(Debug, Args)]
pub struct Up {
    #[command(flatten)]
    serve: Serve,
    /// Envoy's own admin interface.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9901")]
    admin: Address,
    /// Envoy's worker threads. Left out: one per core.
    #[arg(long, value_name = "NUMBER")]
    concurrency: Option<u32>,
}

impl Up {
    pub fn run(self) -> Result<(), Failure> {
        start_log();
        let program = envoy::find()?;
        block_on(async {
            let stop = signal()?;
            let plan = Plan {
                program,
                admin: self.admin,
                control: Address::new(self.serve.xds.ip().to_string(), self.serve.xds.port()),
                concurrency: self.concurrency,
                data: self.serve.data.clone(),
            };
            // Whoever starts both wants this policy, not an earlier one.
            let (_control, services) = self.serve.start(false).await?;
            let (say_stop, mut hear_stop) = watch::channel(false);
            let envoy = envoy::keep(&plan, async move {
                let _ = hear_stop.wait_for(|stop| *stop).await;
            });
            tokio::pin!(envoy, services);
            tokio::select! {
                ended = &mut envoy => return ended,
                ended = &mut services => {
                    say_stop.send_replace(true);
                    envoy.await?;
                    return ended;
                }
                () = stop => {}
            }
            // The ledger is there until the last stream has settled.
            say_stop.send_replace(true);
            tokio::select! {
                ended = envoy => ended,
                ended = services => ended,
            }
        })
    }
}
