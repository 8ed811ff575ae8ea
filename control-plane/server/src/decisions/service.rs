//! The gRPC face that takes the gateways' decision records: one unary method, written by hand.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use weir_lease::message::{DecisionReport, DecisionsKept};

use super::Decisions;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Largest batch: more than a worker keeps.
const MAX_MESSAGE: usize = 64 << 20;

/// The service.
#[derive(Clone)]
pub struct DecisionServer(pub Arc<Decisions>);

impl NamedService for DecisionServer {
    const NAME: &'static str = weir_lease::DECISION_SERVICE;
}

struct Report(Arc<Decisions>);

impl UnaryService<DecisionReport> for Report {
    type Response = DecisionsKept;
    type Future = Boxed<Result<tonic::Response<DecisionsKept>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<DecisionReport>) -> Self::Future {
        let decisions = self.0.clone();
        Box::pin(async move {
            let kept = decisions.take(request.into_inner()).await;
            kept.map(|()| tonic::Response::new(DecisionsKept {})).map_err(tonic::Status::unavailable)
        })
    }
}

impl Service<http::Request<Body>> for DecisionServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let known = request.uri().path().rsplit('/').next() == Some(weir_lease::DECISION_METHOD);
        let report = Report(self.0.clone());
        Box::pin(async move {
            if !known {
                return Ok(tonic::Status::unimplemented("no such method").into_http());
            }
            let codec = tonic_prost::ProstCodec::<DecisionsKept, DecisionReport>::default();
            let mut grpc = Grpc::new(codec).max_decoding_message_size(MAX_MESSAGE);
            Ok(grpc.unary(report, request).await)
        })
    }
}
