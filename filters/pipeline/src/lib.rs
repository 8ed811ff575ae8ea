//! The sans-IO core of the filters: two machines, and everything that judges a request between them.
//!
//! [`Exchange`] is the client's side, once per request; [`Attempt`] is one try at a provider. Both take
//! [`io::Input`]s and answer with [`io::Effect`]s. No clock, host call, thread, environment or randomness
//! lives here: the same code runs in Envoy, in tests at every split point, and in `weir explain`.

pub mod answer;
pub mod attempt;
pub mod budget;
pub mod codec;
pub mod config;
pub mod content;
pub mod cooling;
pub mod copy;
pub mod decide;
pub mod exchange;
pub mod feedback;
pub mod identity;
pub mod io;
pub mod learned;
pub mod lost;
pub mod measure;
pub mod metrics;
pub mod otlp;
pub mod outside;
mod own;
pub mod parts;
pub mod paths;
pub mod plan;
pub mod policy;
pub mod prompt;
pub mod ratelimit;
pub mod record;
pub mod refusal;
pub mod repeats;
pub mod search;
pub mod seen;
mod shared;
pub mod sigv4;
pub mod span;
pub mod trace;
pub mod translate;

pub use attempt::Attempt;
pub use exchange::Exchange;
pub use policy::Policy;
