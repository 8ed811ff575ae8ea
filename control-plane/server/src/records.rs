//! The gRPC face of whatever takes records from gateways: a service with one unary method, by hand, since the messages
//! are the filters' own.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use prost::Message;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Takes the reports of gateways.
pub trait Records: Send + Sync + 'static {
    /// Name of the service, with its package.
    const SERVICE: &'static str;
    /// Name of its method.
    const METHOD: &'static str;
    /// Largest report, in bytes.
    const MOST: usize;
    /// What is sent.
    type Report: Message + Default + 'static;
    /// What is answered once it is kept.
    type Kept: Message + Default + 'static;

    /// Keeps the records of a report; where that fails, the gateway is to send them again later.
    fn keep(&self, report: Self::Report) -> impl Future<Output = Result<(), String>> + Send;
}

/// The service.
pub struct Server<R>(pub Arc<R>);

impl<R> Clone for Server<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R: Records> NamedService for Server<R> {
    const NAME: &'static str = R::SERVICE;
}

impl<R: Records> UnaryService<R::Report> for Server<R> {
    type Response = R::Kept;
    type Future = Boxed<Result<tonic::Response<R::Kept>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<R::Report>) -> Self::Future {
        let records = self.0.clone();
        Box::pin(async move {
            let kept = records.keep(request.into_inner()).await;
            kept.map(|()| tonic::Response::new(R::Kept::default())).map_err(tonic::Status::unavailable)
        })
    }
}

impl<R: Records> Service<http::Request<Body>> for Server<R> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let known = request.uri().path().rsplit('/').next() == Some(R::METHOD);
        let method = self.clone();
        Box::pin(async move {
            if !known {
                return Ok(tonic::Status::unimplemented("no such method").into_http());
            }
            let codec = tonic_prost::ProstCodec::<R::Kept, R::Report>::default();
            let mut grpc = Grpc::new(codec).max_decoding_message_size(R::MOST);
            Ok(grpc.unary(method, request).await)
        })
    }
}
