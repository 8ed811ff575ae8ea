//! The gRPC face of xDS: each stream feeds one [`weir_xds::Session`] and sends what it says.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
    aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer},
};
use envoy_types::pb::envoy::service::extension::v3::extension_config_discovery_service_server::{
    ExtensionConfigDiscoveryService, ExtensionConfigDiscoveryServiceServer,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use weir_xds::{Form, In, Kind, Out, Session, release};

use crate::fleet::{Fleet, Peer};

/// The largest request or answer: a policy with all its providers in one delta.
const MAX_MESSAGE: usize = 64 << 20;
/// Answers that wait for a slow gateway; a session sends one per kind before it waits itself.
const QUEUE: usize = 16;

/// All xDS services over one fleet.
#[derive(Clone)]
pub struct Xds {
    fleet: Arc<Fleet>,
}

impl Xds {
    /// Services that serve what `fleet` publishes.
    pub fn new(fleet: Arc<Fleet>) -> Self {
        Self { fleet }
    }

    /// ADS: everything on one stream.
    pub fn aggregated(&self) -> AggregatedDiscoveryServiceServer<Self> {
        AggregatedDiscoveryServiceServer::new(self.clone())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    /// ECDS alone, for filters injected into gateways that others configure.
    pub fn extensions(&self) -> ExtensionConfigDiscoveryServiceServer<Self> {
        ExtensionConfigDiscoveryServiceServer::new(self.clone())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    fn stream<W: Wire>(&self, request: Request<Streaming<W>>, only: Option<Kind>) -> Answers<W::Answer> {
        let address = request.remote_addr().map(|address| address.to_string()).unwrap_or_default();
        let service = if only.is_some() { "ECDS" } else { "ADS" };
        let (send, receive) = mpsc::channel(QUEUE);
        let fleet = self.fleet.clone();
        tokio::spawn(async move {
            let peer = fleet.join(address, service);
            converse::<W>(&fleet, &peer, request.into_inner(), only, send).await;
        });
        Box::pin(ReceiverStream::new(receive))
    }
}

type Answers<A> = Pin<Box<dyn Stream<Item = Result<A, Status>> + Send>>;

/// The two ways to speak xDS.
trait Wire: Send + 'static {
    type Answer: Send + 'static;
    fn node(&self) -> Option<&Node>;
    fn event(self) -> In;
    fn answer(out: Out) -> Option<Self::Answer>;
}

impl Wire for DiscoveryRequest {
    type Answer = DiscoveryResponse;

    fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    fn event(self) -> In {
        In::Sotw(self)
    }

    fn answer(out: Out) -> Option<DiscoveryResponse> {
        if let Out::Sotw(answer) = out { Some(answer) } else { None }
    }
}

impl Wire for DeltaDiscoveryRequest {
    type Answer = DeltaDiscoveryResponse;

    fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    fn event(self) -> In {
        In::Delta(self)
    }

    fn answer(out: Out) -> Option<DeltaDiscoveryResponse> {
        if let Out::Delta(answer) = out { Some(answer) } else { None }
    }
}

/// In which form a gateway of a release is answered: lists need clusters and a route that Weir writes.
fn form(release: &str, only: Option<Kind>) -> Form {
    match Form::of(release) {
        Form::Lists if only.is_some() => Form::Single,
        form => form,
    }
}

/// One stream until either side ends it.
async fn converse<W: Wire>(
    fleet: &Fleet,
    peer: &Peer,
    mut requests: Streaming<W>,
    only: Option<Kind>,
    send: mpsc::Sender<Result<W::Answer, Status>>,
) {
    let begin = Instant::now();
    let now = || begin.elapsed().as_millis() as u64;
    // The first request says who asks, and so in which form the answers have to be.
    let Some(Ok(first)) = requests.next().await else { return };
    let form = form(&first.node().map(release).unwrap_or_default(), only);
    let mut news = fleet.news();
    news.mark_unchanged();
    let mut session = Session::new(fleet.for_a_new_stream(form), only);
    let mut first = Some(first);
    let mut out = Vec::new();
    loop {
        let wake = session.deadline().map(|due| Duration::from_millis(due.saturating_sub(now())));
        let next = async {
            match first.take() {
                Some(first) => Some(Ok(first)),
                None => requests.next().await,
            }
        };
        let input = tokio::select! {
            biased;
            request = next => match request {
                Some(Ok(request)) => request.event(),
                _ => return,
            },
            changed = news.changed() => match changed {
                Ok(()) => In::Target(news.borrow_and_update().form(form).clone()),
                Err(_) => return,
            },
            () = tokio::time::sleep(wake.unwrap_or_default()), if wake.is_some() => In::Tick,
            () = send.closed() => return,
        };
        session.handle(now(), input, &mut out);
        for item in out.drain(..) {
            match item {
                Out::Event(event) => fleet.note(peer, event),
                other => {
                    if let Some(answer) = W::answer(other)
                        && send.send(Ok(answer)).await.is_err()
                    {
                        return;
                    }
                }
            }
        }
        fleet.progress(peer, session.progress());
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Xds {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Ok(Response::new(self.stream(request, None)))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Ok(Response::new(self.stream(request, None)))
    }
}

#[tonic::async_trait]
impl ExtensionConfigDiscoveryService for Xds {
    type StreamExtensionConfigsStream = Answers<DiscoveryResponse>;
    type DeltaExtensionConfigsStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_extension_configs(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamExtensionConfigsStream>, Status> {
        Ok(Response::new(self.stream(request, Some(Kind::Extension))))
    }

    async fn delta_extension_configs(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaExtensionConfigsStream>, Status> {
        Ok(Response::new(self.stream(request, Some(Kind::Extension))))
    }

    async fn fetch_extension_configs(
        &self,
        request: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        let mut out = Vec::new();
        let request = request.into_inner();
        let form = form(&request.node().map(release).unwrap_or_default(), Some(Kind::Extension));
        let mut session = Session::new(self.fleet.for_a_new_stream(form), Some(Kind::Extension));
        session.handle(0, In::Sotw(request), &mut out);
        let answer = out.into_iter().find_map(DiscoveryRequest::answer);
        answer.map(Response::new).ok_or_else(|| Status::not_found("no such extension configuration"))
    }
}
