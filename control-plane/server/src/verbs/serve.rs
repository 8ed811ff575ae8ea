//! `weir serve`: the control plane alone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::Server;
use weir_xds::{AccessLog, Address};

use crate::Failure;
use crate::api::{self, Guard, token};
use crate::control::{Control, Options};
use crate::convert::Surroundings;
use crate::records;
use crate::{module, xds};

/// Run the control plane.
#[derive(Debug, Args)]
pub struct Serve {
    /// The policy file; changes are live in every gateway in under a second.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Where gateways connect: xDS and ledger, gRPC.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:18000")]
    pub xds: SocketAddr,
    /// Where people connect: REST API.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    pub api: SocketAddr,
    /// What has to survive a restart: ledger, last good policy, copies of the module.
    #[arg(long, value_name = "DIR", default_value = "weir-data")]
    pub data: PathBuf,
    /// The wasm module; a new file there is loaded by running gateways. Left out: beside this program.
    #[arg(long, value_name = "PATH", conflicts_with = "gateway_module")]
    pub module: Option<PathBuf>,
    /// The wasm module's path in gateways that bring their own, as on other machines.
    #[arg(long, value_name = "PATH")]
    pub gateway_module: Option<PathBuf>,
    /// Where gateways reach this control plane. Left out: the address of --xds.
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<Address>,
    /// Where gateways listen, in place of `gateway.listen`. Plain HTTP: beyond loopback, something in front of
    /// them has to speak TLS.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Where gateways write their access log: `stdout`, `off`, or a file.
    #[arg(long, value_name = "TO", default_value = "stdout")]
    pub access_log: String,
    /// Authorities that gateways trust, a file on their machines.
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt")]
    pub ca_file: String,
}

impl Serve {
    pub fn run(self) -> Result<(), Failure> {
        start_log();
        block_on(async {
            let stop = signal()?;
            self.serve(true, stop).await
        })
    }

    /// Serves until `stop` is done.
    pub async fn serve(self, fall_back: bool, stop: impl Future<Output = ()>) -> Result<(), Failure> {
        let (control, services) = self.start(fall_back).await?;
        drop(control);
        tokio::select! {
            ended = services => ended,
            () = stop => Ok(()),
        }
    }

    /// Binds, reads everything once, and gives the services that then have to be run.
    pub async fn start(
        self,
        fall_back: bool,
    ) -> Result<(Arc<Control>, impl Future<Output = Result<(), Failure>>), Failure> {
        let (xds_at, api_at) = (self.xds, self.api);
        let grpc = listen(xds_at).await?;
        let listener = listen(api_at).await?;
        let (control, watcher) = Control::start(&self.options(fall_back)?).await?;
        tracing::info!(xds = %xds_at, api = %api_at, "serving");
        let services = xds::Xds::new(control.fleet.clone());
        let routes = Routes::from(api::for_gateways(control.clone()))
            .add_service(services.aggregated())
            .add_service(services.extensions())
            .add_service(records::Server(control.spend.clone()))
            .add_service(records::Server(control.decisions.clone()));
        let routes = control.ledger.serve(routes);
        let grpc = Server::builder()
            // Many gateways' streams live on few connections, and each of them may be silent for hours.
            .http2_keepalive_interval(Some(std::time::Duration::from_secs(10)))
            .tcp_nodelay(true)
            .add_routes(routes)
            .serve_with_incoming(TcpListenerStream::new(grpc));
        let http = api::router(control.clone(), Guard { token: token()? });
        let http = axum::serve(listener, http.into_make_service_with_connect_info::<SocketAddr>());
        let run = async move {
            let watch = tokio::spawn(watcher.run());
            tokio::select! {
                ended = grpc => ended.map_err(|why| Failure::new(format!("xDS: {why}"))),
                ended = http => ended.map_err(|why| Failure::new(format!("API: {why}"))),
                ended = watch => ended.map_err(|why| Failure::new(format!("watching the policy: {why}"))),
            }
        };
        Ok((control, run))
    }

    fn options(self, fall_back: bool) -> Result<Options, Failure> {
        let module = match (self.gateway_module, self.module) {
            (Some(theirs), _) => (theirs, true),
            (None, Some(ours)) => (ours, false),
            (None, None) => {
                let found = module::find().ok_or_else(|| {
                    Failure::new(
                        "no weir.wasm beside this program: run `cargo xtask build`, or say --module PATH",
                    )
                })?;
                (found, false)
            }
        };
        let access_log = match self.access_log.as_str() {
            "off" => AccessLog::Off,
            "stdout" => AccessLog::Stdout,
            file => AccessLog::File(file.to_owned()),
        };
        let ledger =
            self.advertise.unwrap_or_else(|| Address::new(self.xds.ip().to_string(), self.xds.port()));
        Ok(Options {
            config: self.config,
            data: self.data,
            module,
            listen: self.listen,
            around: Surroundings { ledger, access_log, ca_file: self.ca_file },
            fall_back,
        })
    }
}

async fn listen(at: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(at).await.map_err(|why| Failure::new(format!("cannot listen on {at}: {why}")))
}

/// Runs on threads of its own.
pub fn block_on<T>(run: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|why| Failure::new(format!("no threads: {why}")))?.block_on(run)
}

/// Done at the first SIGTERM or SIGINT.
pub fn signal() -> Result<impl Future<Output = ()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|why| Failure::new(format!("signals: {why}")));
    let (mut term, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! { _ = term.recv() => {}, _ = interrupt.recv() => {} }
    })
}

/// Lines on standard error; `RUST_LOG` chooses which.
pub fn start_log() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .try_init();
}
