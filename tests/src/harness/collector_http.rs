//! OTLP/HTTP in front of a collector's store, as strictly as the OTLP specification has it: one method, one media type,
//! one path for each signal, protobuf both ways. The messages are OpenTelemetry's own crate's.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::LogsService;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::MetricsService;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::TraceService;
use prost::Message;
use tokio::net::TcpListener;
use tonic::{Code, Status};

use super::collector::Store;

type Answer = Response<Full<Bytes>>;

/// Media type of both directions.
const PROTOBUF: &str = "application/x-protobuf";

/// Answers until it is dropped.
pub(super) async fn serve(listener: TcpListener, store: Store, prefix: String, pause: u64) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (store, prefix) = (store.clone(), prefix.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| async {
                Ok::<_, Infallible>(answer(request, &store, &prefix, pause).await)
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(request: Request<Incoming>, store: &Store, prefix: &str, pause: u64) -> Answer {
    let (parts, body) = request.into_parts();
    if parts.method != Method::POST {
        return plain(StatusCode::METHOD_NOT_ALLOWED);
    }
    if parts.headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != PROTOBUF) {
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let Ok(body) = body.collect().await.map(|body| body.to_bytes()) else {
        return plain(StatusCode::BAD_REQUEST);
    };
    let taken = match parts.uri.path().strip_prefix(prefix) {
        Some("/v1/traces") => take(body, async |message| TraceService::export(store, message).await).await,
        Some("/v1/metrics") => take(body, async |message| MetricsService::export(store, message).await).await,
        Some("/v1/logs") => take(body, async |message| LogsService::export(store, message).await).await,
        _ => return plain(StatusCode::NOT_FOUND),
    };
    match taken {
        Ok(message) => {
            // 200 by the specification; some collectors say 202, and exporters take it for the same.
            let metrics = parts.uri.path().ends_with("/v1/metrics");
            let status = if metrics { StatusCode::ACCEPTED } else { StatusCode::OK };
            let answer = Response::builder().status(status).header(header::CONTENT_TYPE, PROTOBUF);
            answer.body(Full::from(message)).expect("headers are valid")
        }
        Err(status) => refused(&status, pause),
    }
}

async fn take<Q, A>(
    body: Bytes,
    export: impl AsyncFnOnce(tonic::Request<Q>) -> Result<tonic::Response<A>, Status>,
) -> Result<Vec<u8>, Status>
where
    Q: Message + Default,
    A: Message,
{
    let message = Q::decode(body).map_err(|why| Status::invalid_argument(why.to_string()))?;
    Ok(export(tonic::Request::new(message)).await?.into_inner().encode_to_vec())
}

fn refused(status: &Status, pause: u64) -> Answer {
    let mut answer = plain(match status.code() {
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    });
    if pause > 0 {
        answer.headers_mut().insert(header::RETRY_AFTER, pause.into());
    }
    answer
}

fn plain(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}
