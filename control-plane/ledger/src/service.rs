//! The gRPC face `weir.ledger.v1.Ledger` over any [`Engine`], written by hand: five unary methods need no generator.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use prost::Message;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use weir_lease::message::{CloseRequest, DrainRequest, OpenRequest, SyncRequest, WatchRequest};

use crate::core::Status;
use crate::engine::Engine;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A tower service that answers the ledger's methods; see [`service`].
pub struct LedgerServer<E> {
    engine: Arc<E>,
}

/// The service of an engine, for `tonic::transport::Server::add_service` or `tonic::service::Routes`.
pub fn service<E: Engine>(engine: Arc<E>) -> LedgerServer<E> {
    LedgerServer { engine }
}

impl<E> Clone for LedgerServer<E> {
    fn clone(&self) -> Self {
        LedgerServer { engine: Arc::clone(&self.engine) }
    }
}

impl<E> NamedService for LedgerServer<E> {
    const NAME: &'static str = weir_lease::SERVICE;
}

/// One method: the engine and the function of it that answers.
struct Unary<E, F> {
    engine: Arc<E>,
    answer: F,
}

impl<E, F, Q, A, Fut> UnaryService<Q> for Unary<E, F>
where
    F: Fn(Arc<E>, Q) -> Fut,
    Fut: Future<Output = Result<A, Status>> + Send + 'static,
    A: Send + 'static,
{
    type Response = A;
    type Future = Boxed<Result<tonic::Response<A>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<Q>) -> Self::Future {
        let answer = (self.answer)(Arc::clone(&self.engine), request.into_inner());
        Box::pin(async move {
            match answer.await {
                Ok(reply) => Ok(tonic::Response::new(reply)),
                Err(Status { code, message }) => {
                    Err(tonic::Status::new(tonic::Code::from_i32(code as i32), message))
                }
            }
        })
    }
}

fn unary<E, F, Q, A, Fut>(
    engine: &Arc<E>,
    request: http::Request<Body>,
    answer: F,
) -> Boxed<Result<http::Response<Body>, Infallible>>
where
    E: Engine,
    F: Fn(Arc<E>, Q) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<A, Status>> + Send + 'static,
    Q: Message + Default + Send + Sync + 'static,
    A: Message + Default + Send + Sync + 'static,
{
    let method = Unary { engine: Arc::clone(engine), answer };
    Box::pin(async move {
        let codec = tonic_prost::ProstCodec::<A, Q>::default();
        Ok(Grpc::new(codec).unary(method, request).await)
    })
}

impl<E: Engine> tower_service::Service<http::Request<Body>> for LedgerServer<E> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let engine = &self.engine;
        match method.as_str() {
            "Open" => unary(engine, request, |e: Arc<E>, q: OpenRequest| async move { e.open(q).await }),
            "Sync" => unary(engine, request, |e: Arc<E>, q: SyncRequest| async move { e.sync(q).await }),
            "Watch" => unary(engine, request, |e: Arc<E>, q: WatchRequest| async move { e.watch(q).await }),
            "Drain" => unary(engine, request, |e: Arc<E>, q: DrainRequest| async move { e.drain(q).await }),
            "Close" => unary(engine, request, |e: Arc<E>, q: CloseRequest| async move { e.close(q).await }),
            _ => Box::pin(async move { Ok(tonic::Status::unimplemented("no such method").into_http()) }),
        }
    }
}
