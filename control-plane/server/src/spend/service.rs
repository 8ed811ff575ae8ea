//! The gRPC face that takes the gateways' spend records: one unary method, written by hand.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use weir_lease::message::{SpendReport, SpendTaken};

use super::Spend;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Largest batch.
const MAX_MESSAGE: usize = 8 << 20;

/// The service.
#[derive(Clone)]
pub struct SpendServer(pub Arc<Spend>);

impl NamedService for SpendServer {
    const NAME: &'static str = weir_lease::SPEND_SERVICE;
}

struct Report(Arc<Spend>);

impl UnaryService<SpendReport> for Report {
    type Response = SpendTaken;
    type Future = Boxed<Result<tonic::Response<SpendTaken>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<SpendReport>) -> Self::Future {
        let spend = self.0.clone();
        Box::pin(async move {
            match spend.take(request.into_inner()).await {
                Ok(()) => Ok(tonic::Response::new(SpendTaken {})),
                Err(why) => Err(tonic::Status::unavailable(why)),
            }
        })
    }
}

impl Service<http::Request<Body>> for SpendServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let known = request.uri().path().rsplit('/').next() == Some(weir_lease::SPEND_METHOD);
        let report = Report(self.0.clone());
        Box::pin(async move {
            if !known {
                return Ok(tonic::Status::unimplemented("no such method").into_http());
            }
            let codec = tonic_prost::ProstCodec::<SpendTaken, SpendReport>::default();
            let mut grpc = Grpc::new(codec).max_decoding_message_size(MAX_MESSAGE);
            Ok(grpc.unary(report, request).await)
        })
    }
}
